"""Points and lines that wait to be sent, within bounds."""

from __future__ import annotations

Columns = dict[str, tuple[list[int], list[float]]]  # by name: steps, values


class Points:
    """By metric, in the order that they were logged. Not safe by itself: lock around it."""

    def __init__(self) -> None:
        self.count = 0
        self._columns: Columns = {}

    def add(self, key: str, step: int, value: float) -> None:
        steps, values = self._columns.setdefault(key, ([], []))
        steps.append(step)
        values.append(value)
        self.count += 1

    def take(self, most: int) -> Columns:
        """The oldest of each metric, at most so many in all."""
        taken: Columns = {}
        room = most
        for key in list(self._columns):
            steps, values = self._columns[key]
            taken[key] = (steps[:room], values[:room])
            self._columns[key] = (steps[room:], values[room:])
            room -= len(taken[key][0])
            if not self._columns[key][0]:
                del self._columns[key]
            if not room:
                break
        self.count -= most - room
        return taken

    def put_back(self, taken: Columns) -> None:
        """What could not be sent, before what came meanwhile."""
        for key, (steps, values) in taken.items():
            later = self._columns.get(key, ([], []))
            self._columns[key] = (steps + later[0], values + later[1])
            self.count += len(steps)

    def thin(self) -> None:
        """Let every second point go, and keep the last of each metric."""
        for key, (steps, values) in self._columns.items():
            self._columns[key] = (steps[::-2][::-1], values[::-2][::-1])
        self.count = sum(len(steps) for steps, _ in self._columns.values())
