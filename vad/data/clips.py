"""Clips of a version's videos at one size: what stage 2 looks at.

Opening a long video and decoding up to the frames that are wanted, at every step, is what makes the
published code slow. Here readers stay open, several videos are decoded at a time, a data set that
fits into memory is decoded once, and proxies (`vad.video.proxies`) make every frame quick to find.
What a clip shows does not depend on which of these ways it took, nor on the order of questions.

The rule for damage: for a frame that cannot be decoded stands the last one before it that can, or
the video's first where there is none before. Such videos are noted in `Clips.damaged`.

In some files frames cannot be found by number. Every source is tried once; one that fails is
decoded forwards from its start: right, but slow when it is long. A proxy is right and quick.

Shapes: B clips, F frames, H W pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from vad.data.manifest import Manifest
from vad.data.resize import resize
from vad.errors import ShapeError, VadError
from vad.video import salvage
from vad.video.pool import ReaderPool, Which
from vad.video.proxies import Proxy, ProxyStore
from vad.video.reader import VideoReader
from vad.video.seeking import (
    ForwardReader,
    FrameIndex,
    SeekingReader,
    block_frames,
    finds_frames,
    open_source,
)

Wanted = Sequence[tuple[str, np.ndarray]]  # video and its frames [F] int64, rising, ends may repeat

HELD_BYTES = 1 << 30
CACHED_BYTES = 1 << 20  # of decoded frames that are resized while a processor still holds them


class Clips:
    """Frames by video and number. Use as a context manager; any thread may ask.

    Args:
        manifest: names the videos.
        size: H and W that frames are brought to; the aspect is not kept.
        proxies: small copies to read instead of the videos; a video without one is read itself.
        threads: that decode.
        max_open: readers that are open at a time, but at least one a thread.
        held_bytes: videos are decoded once and kept whole if all that are to be asked for fit into
            this at `size`. Those are the version's, or, once `problems` was called, the ones that
            it was called for.

    Attributes:
        damaged: videos of which frames could not be shown so far, each with what happened.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        size: tuple[int, int],
        proxies: ProxyStore | None = None,
        threads: int = 2,
        max_open: int = 64,
        held_bytes: int = HELD_BYTES,
    ) -> None:
        self.size = size
        self.damaged: dict[str, str] = {}
        self._manifest, self._proxies = manifest, proxies
        self._videos = {v.key: v for v in manifest.videos}
        self._room_bytes = held_bytes
        self._announced: frozenset[str] = frozenset()
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()  # of the two above and `damaged`
        self._readers = ReaderPool(self._open, max_open)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="clips")
        self._joining = ThreadPoolExecutor(1, thread_name_prefix="clips-join")
        self._to_hold = self._fitting(self._videos)

    def get(self, wanted: Wanted) -> np.ndarray:
        """The clips: [B, F, H, W, 3] uint8, RGB.

        Args:
            wanted: a video and F frame numbers, rising, for each clip; numbers may repeat, and
                those behind a video's end mean its last frame.

        Raises:
            VadError: `video-unreadable` and its kin, when no frame of a video can be had.
            ShapeError: the numbers of a clip do not rise from 0, or clips differ in length.
        """
        return _joined(*self._begin(wanted))

    def ask(self, wanted: Wanted) -> Future[np.ndarray]:
        """The same, later: decoding goes on while the caller does something else."""
        clips, parts = self._begin(wanted)
        return self._joining.submit(_joined, clips, parts)

    def num_frames(self, key: str) -> int:
        """The frames of a video that can be used: its proxy's count, the manifest's, or, where
        neither says, what its container lists.

        Raises:
            VadError: `video-unreadable` and its kin, when the container must be opened.
        """
        return self._known_frames(key) or self._listed_frames(key)

    def problems(self, keys: Sequence[str]) -> dict[str, str]:
        """The videos that cannot be looked at, each with the reason in a sentence.

        Opens every video once. The videos are taken for those that will be asked for.
        """
        found = list(zip(keys, self._pool.map(self._problem, keys), strict=True))
        with self._lock:
            self._announced |= {key for key, text in found if not text}
            announced = self._announced
        self._to_hold = self._fitting(announced)
        return {key: text for key, text in found if text}

    @property
    def held_bytes(self) -> int:
        """What the videos kept in memory take."""
        held = [state.held for state in list(self._states.values())]
        return sum(frames.nbytes for frames in held if frames is not None)

    def close(self) -> None:
        """Give threads, readers and memory back. What was asked for and not begun is cancelled."""
        self._pool.shutdown(cancel_futures=True)
        self._joining.shutdown()
        self._readers.close()
        self._states.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    # --- what there is --------------------------------------------------------------------------

    def _proxy(self, key: str) -> Proxy | None:
        return self._proxies.get(key) if self._proxies else None

    def _path(self, key: str) -> Path:
        if self._proxies and self._proxies.get(key):
            return self._proxies.path(key, self.size)
        video = self._videos.get(key)
        if video is None or not video.path:
            raise VadError(
                "run-inputs-missing",
                f"{key} has no video file.",
                "Register the data set with its videos.",
            )
        return self._manifest.media_path(video.path)

    def _known_frames(self, key: str) -> int:
        """0 where neither proxy nor manifest says, and no reader was opened yet."""
        proxy = self._proxy(key)
        if proxy:
            return proxy.frames
        said = self._videos[key].num_frames if key in self._videos else 0
        return said or self._state(key).listed

    def _listed_frames(self, key: str) -> int:
        with self._reader(key) as reader:
            self._state(key).listed = reader.listed_frames
            return reader.listed_frames

    def _problem(self, key: str) -> str:
        try:
            with self._reader(key) as reader:
                self._state(key).listed = reader.listed_frames
                reader.frames(0, 1)
        except VadError as exc:
            return exc.message
        except OSError as exc:
            return f"{key} cannot be read ({exc})."
        return ""

    def _fitting(self, keys: Iterable[str]) -> frozenset[str]:
        """These videos if all of them can be held, else none."""
        found = frozenset(keys)
        frames = [self._known_frames(key) for key in found]
        fits = sum(frames) * self.size[0] * self.size[1] * 3 <= self._room_bytes
        return found if fits and min(frames, default=0) > 0 else frozenset()

    def _state(self, key: str) -> _State:
        with self._lock:
            return self._states.setdefault(key, _State())

    def _note(self, key: str, reason: str) -> None:
        with self._lock:
            self.damaged.setdefault(
                key, f"{reason} For the others stands the last one before them."
            )

    # --- decoding -------------------------------------------------------------------------------

    def _begin(self, wanted: Wanted) -> tuple[np.ndarray, list[Future[None]]]:
        """Room for the clips, and what fills it."""
        length = len(wanted[0][1]) if wanted else 0
        for _, frames in wanted:
            rising = frames.shape == (length,) and length and not (np.diff(frames) < 0).any()
            if not rising or frames[0] < 0:
                raise ShapeError("frames", expected=f"[{length}], rising from 0", got=frames.shape)
        clips = np.empty((len(wanted), length, *self.size, 3), np.uint8)
        parts = [
            self._pool.submit(self._show, key, frames, clip)
            for (key, frames), clip in zip(wanted, clips, strict=True)
        ]
        return clips, parts

    def _show(self, key: str, frames: np.ndarray, out: np.ndarray) -> None:
        """Fill one clip [F, H, W, 3]."""
        state, proxy = self._state(key), self._proxy(key)
        frames = np.minimum(frames, self.num_frames(key) - 1)
        if proxy and proxy.problem:
            self._note(key, proxy.problem)
        with state.turn:  # what the first one finds out, or decodes, is there for the next
            if state.forwards is None:  # proxies were tried when they were built
                state.forwards = proxy is None and not self._finds_frames(key)
            if key in self._to_hold and state.held is None and not state.tried:
                state.held, state.tried = self._whole(key, state), True
        if state.held is not None:
            np.take(state.held, frames, axis=0, out=out)
            return
        try:
            self._read(key, state, frames, out)
        except VadError:
            self._read_damaged(key, state, frames, out)

    def _whole(self, key: str, state: _State) -> np.ndarray | None:
        """A video [F, H, W, 3]; None where it is damaged, so that each clip is tried by itself."""
        frames = np.arange(self.num_frames(key))
        held = np.empty((len(frames), *self.size, 3), np.uint8)
        try:
            self._read(key, state, frames, held)
        except VadError:
            return None
        return held

    def _read(self, key: str, state: _State, frames: np.ndarray, out: np.ndarray) -> None:
        with self._readers.take((key, bool(state.forwards))) as reader:
            _fill(out, reader, frames)

    def _read_damaged(self, key: str, state: _State, frames: np.ndarray, out: np.ndarray) -> None:
        """What the rule for damage says, unless it was only that frames were not found."""
        with self._reader(key) as reader:
            with suppress(VadError):
                _fill(out, reader, frames)
                state.forwards = True
                return
            with state.turn:
                if state.stand_ins is None:
                    state.stand_ins = salvage.stand_ins(reader)
                    good = len(np.unique(state.stand_ins))
                    self._note(key, f"{good} of the frames of {key} can be decoded.")
            last = len(state.stand_ins) - 1
            frames = state.stand_ins[np.minimum(frames, last)]
            try:
                self._read(key, state, frames, out)
            except VadError:  # it decodes a little further than it is asked to
                _fill_salvaged(out, reader, frames)

    def _finds_frames(self, key: str) -> bool:
        with self._reader(key) as reader:
            return finds_frames(reader)

    def _reader(self, key: str) -> VideoReader:
        """A reader of its own for the caller, which is right in any case."""
        state, path = self._state(key), self._path(key)
        reader = open_source(path, index=state.index)
        if isinstance(reader, ForwardReader):
            state.index = reader.index
        return reader

    def _open(self, which: Which) -> VideoReader:
        key, forwards = which
        reader = self._reader(key)
        if forwards or not isinstance(reader, ForwardReader):
            return reader
        return SeekingReader(reader.path, reader.index)


@dataclass
class _State:
    """What is known of a video so far. `turn` guards what takes long to find out."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    listed: int = 0  # frames, as its container says
    index: FrameIndex | None = None
    forwards: bool | None = None  # its frames are not found by number
    held: np.ndarray | None = None  # all of it: [F, H, W, 3]
    tried: bool = False  # to hold it
    stand_ins: np.ndarray | None = None  # of a damaged one: what is shown for each frame


def _joined(clips: np.ndarray, parts: Sequence[Future[None]]) -> np.ndarray:
    for part in parts:
        part.result()
    return clips


def _fill(out: np.ndarray, reader: VideoReader, frames: np.ndarray) -> None:
    """Decode frames [F], rising, and bring them to the size of `out` [F, H, W, 3]."""
    shown, places = np.unique(frames, return_inverse=True)
    small = out if len(shown) == len(frames) else np.empty((len(shown), *out.shape[1:]), np.uint8)
    size = max(1, min(block_frames(reader), CACHED_BYTES // (reader.height * reader.width * 3)))
    at = 0
    while at < len(shown):
        start = int(shown[at])
        end = int(shown.searchsorted(start + size))
        block = reader.frames(start, int(shown[end - 1]) + 1)
        if end - at < len(block):
            block = block[shown[at:end] - start]
        small[at:end] = resize(block, (out.shape[1], out.shape[2]))
        at = end
    if small is not out:
        np.take(small, places, axis=0, out=out)


def _fill_salvaged(out: np.ndarray, reader: VideoReader, frames: np.ndarray) -> None:
    """As `_fill`, of a damaged video; all of the frames can be decoded."""
    left = set(frames.tolist())
    with closing(salvage.frames(reader)) as found:
        for number, picture in found:
            if number in left:
                out[frames == number] = resize(picture(), (out.shape[1], out.shape[2]))
                left.discard(number)
            if not left:
                return
