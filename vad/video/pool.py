"""Open readers of many videos: kept while there is room, the least recently used closed first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vad.video.reader import VideoReader

Which = tuple[str, bool]  # a video, and whether it is decoded forwards


class ReaderPool:
    """Hands out readers; one is used by one thread at a time.

    Args:
        open_one: makes a reader.
        limit: readers that are open at a time, but never less than are in use.
    """

    def __init__(self, open_one: Callable[[Which], VideoReader], limit: int) -> None:
        self._open_one, self._limit = open_one, limit
        self._idle: OrderedDict[int, tuple[Which, VideoReader]] = OrderedDict()
        self._busy = 0
        self._lock = threading.Lock()

    @contextmanager
    def take(self, which: Which) -> Iterator[VideoReader]:
        """An idle reader of this video, or a new one; leaving the block gives it back."""
        with self._lock:
            at = next((n for n, (w, _) in reversed(self._idle.items()) if w == which), None)
            reader = None if at is None else self._idle.pop(at)[1]
            self._busy += 1
            surplus = self._surplus()
        for old in surplus:
            old.close()
        whole = False
        try:
            reader = reader or self._open_one(which)
            yield reader
            whole = True
        finally:
            with self._lock:
                self._busy -= 1
                if whole and reader and self._busy + len(self._idle) < self._limit:
                    self._idle[id(reader)] = (which, reader)
                    reader = None
            if reader:  # no room; or it failed, and may be in any state
                reader.close()

    def _surplus(self) -> list[VideoReader]:
        """Idle readers, taken out, for which there is no room."""
        count = min(len(self._idle), self._busy + len(self._idle) - self._limit)
        return [self._idle.popitem(last=False)[1][1] for _ in range(count)]

    def close(self) -> None:
        with self._lock:
            for _, reader in self._idle.values():
                reader.close()
            self._idle.clear()
