"""Sweeps of a server. See docs/sweeps.md for what they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vad.client.records import Sweep
from vad.client.transport import Transport
from vad.errors import VadError

PATH = "/api/v1/sweeps/"


class Sweeps:
    """As `client.sweeps`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, project: str = "") -> Iterator[Sweep]:
        """The newest first."""
        rows = self._transport.pages(PATH, {"project": project, "limit": 200})
        return map(Sweep.of, rows)

    def get(self, sweep_id: str) -> Sweep:
        """With its trials' numbers and its best settings."""
        return Sweep.of(self._transport.get(f"{PATH}{sweep_id}/"))

    def find(self, text: str) -> Sweep:
        """The sweep of this id, page address or name; of several of one name the newest.

        Raises:
            VadError: `not-found`.
        """
        last = text.rstrip("/").rpartition("/")[2]
        if len(last) == 36 and last.count("-") == 4:
            return self.get(last)
        for sweep in self.list():
            if sweep.name == text:
                return self.get(sweep.id)
        raise VadError("not-found", f"There is no sweep {text!r}.", "Name it by its id.")

    def create(self, name: str, space: Mapping[str, Any] | None = None, **more: Any) -> Sweep:
        """Start a sweep. It is not asked for twice, even when no answer came.

        Args:
            space: what each setting may be: {"values": […]}, {"low": …, "high": …, "log": True},
                or a text as in the form, "1e-5 to 1e-2 log in 4".
            more: kind, config (what is not swept), strategy, settings, seeds, parallel, objective,
                direction, take, stop_rule, feature_set, …, as docs/api.md says.
        """
        body = {"name": name, "space": dict(space or {})}
        body |= {key: value for key, value in more.items() if value is not None}
        return Sweep.of(self._transport.post(PATH, body, again=False))

    def trials(self, sweep_id: str, *, sort: str = "") -> Iterator[Mapping[str, Any]]:
        """Its trials by number, or as `sort` says: number, objective, auc, state, - in front."""
        return self._transport.pages(f"{PATH}{sweep_id}/trials/", {"sort": sort, "limit": 200})

    def act(self, sweep_id: str, step: str) -> Sweep:
        """hold, release or stop, with all of its trials."""
        return Sweep.of(self._transport.post(f"{PATH}{sweep_id}/{step}/", again=False))

    def wait(
        self,
        sweep_id: str,
        *,
        timeout_s: float | None = None,
        every_s: float = 5.0,
        on_update: Callable[[Sweep], None] | None = None,
    ) -> Sweep:
        """Wait until a sweep has ended, or holds itself for a problem.

        Raises:
            TimeoutError: it has not.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            sweep = self.get(sweep_id)
            if on_update is not None:
                on_update(sweep)
            if sweep.has_ended or sweep.problem:
                return sweep
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{sweep.name} is still {sweep.state}")
            time.sleep(every_s)
