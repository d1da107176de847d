"""Reading video files the same way every time, from the start or from a key frame.

What stage 2 looks at must be the same in every run, damaged files included, and be found quickly.
`vad.video.reader` counts frames and reads videos in order; here they are found by number, too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from vad.errors import VadError
from vad.video.reader import (
    BLOCK_FRAMES,
    Limits,
    VideoReader,
    check_container,
    check_size,
    open_video,
)

BLOCK_BYTES = 64 << 20  # of decoded frames in memory at a time, in each thread
FAR = 600  # frames into a source, behind which it is not tried


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameIndex:
    """What a file's packets say of its frames before they are decoded.

    Args:
        times: [F] int64, when each frame is shown, in the stream's units, rising.
        keys: [K] int64, numbers of the frames at which decoding can begin, rising.
        fps: on average; 0 where the file does not say.
        width, height: of a frame that stands upright.
    """

    times: np.ndarray
    keys: np.ndarray
    fps: float
    width: int
    height: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read all packets, and decode the first frame.

        Raises:
            VadError: `video-unreadable`.
        """
        import av

        check_container(path)
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                frame = next(container.decode(stream))
                graph = upright_rgb(stream, frame.rotation)
                graph.push(frame)
                height, width = graph.pull().to_ndarray().shape[:2]
                fps = float(stream.average_rate or 0)
            with av.open(str(path)) as container:
                packets = [
                    (p.dts or 0 if p.pts is None else p.pts, p.is_keyframe)
                    for p in container.demux(video=0)
                    if p.size
                ]
        except (StopIteration, IndexError, ValueError, av.FFmpegError) as exc:
            raise VadError("video-unreadable", f"{path.name} cannot be decoded ({path}).") from exc
        check_size(path, width, height, len(packets), Limits())
        times = np.sort(np.array([time for time, _ in packets], np.int64))
        keys = np.array([time for time, is_key in packets if is_key], np.int64)
        return cls(
            times=times,
            keys=np.unique(np.searchsorted(times, keys)),
            fps=fps,
            width=width,
            height=height,
        )

    def fits(self, frame: Any) -> bool:
        """Whether a decoded frame has the size of the first one."""
        return sorted((frame.width, frame.height)) == sorted((self.width, self.height))

    def number(self, time: int | None) -> int:
        """Of the frame that is shown at a time; -1 where there is none."""
        if time is None:
            return -1
        at = int(self.times.searchsorted(time))
        return at if at < len(self.times) and self.times[at] == time else -1


class ForwardReader(VideoReader):
    """A file decoded by PyAV, forwards from its start: right, the same every time, slow to jump.

    decord is neither in three cases. Where a file is damaged, the number of frames that it hands
    out before the error differs from run to run, as it decodes ahead in threads of its own; it may
    even refuse to open the file. In some HEVC files the frames that it finds by number are wrong
    ones. And of a transport stream with B-frames it leaves out the first group of pictures and
    repeats frames at the end instead. Elsewhere the frames here are equal to decord's bit by bit:
    the same libraries decode, and a filter graph turns and converts as decord's does.
    """

    def __init__(self, path: Path, index: FrameIndex) -> None:
        self.path, self.index, self.fps = path, index, index.fps
        self.width, self.height = index.width, index.height
        self.listed_frames = len(index.times)
        self.changes_size = False  # as far as it was decoded
        self._container: Any = None
        self._graph: Any = None
        self._next = 0

    def frames(self, start: int, stop: int) -> np.ndarray:
        import av

        found = np.empty((stop - start, self.height, self.width, 3), np.uint8)
        try:
            self._go_near(start)
            while self._next < stop:
                number, frame = self._decode()
                if number > max(start, self._next):
                    raise ValueError(f"frame {self._next} is missing")
                if number >= start:
                    found[number - start] = self._picture(frame)
                self._next = number + 1
        except (StopIteration, ValueError, av.FFmpegError) as exc:
            what = "changes its size" if self.changes_size else "is damaged"
            text = f"{what} behind frame {self._next} of {self.listed_frames}"
            self.close()  # a decoder that failed may be in any state
            raise VadError(
                "video-unreadable",
                f"{self.path.name} {text} ({self.path}).",
                "Export it again from the source, or take it out of the data set.",
            ) from exc
        return found

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = self._graph = None

    def times_tell(self, count: int = BLOCK_FRAMES) -> bool:
        """Whether the times of the first frames give their numbers; in AVI they may not."""
        import av

        try:
            self._go_near(0)
            for number in range(min(count, self.listed_frames)):
                if self.index.number(self._decode()[1].pts) != number:
                    return False
        except (StopIteration, av.FFmpegError):
            pass
        finally:
            self.close()
        return True

    def _go_near(self, start: int) -> None:
        """Make the next frame that is decoded `start`, or one before it."""
        if self._container is None or start < self._next:
            self.close()
            self._begin()

    def _decode(self) -> tuple[int, Any]:
        """The next frame, and its number."""
        return self._next, next(self._decoder)

    def _begin(self) -> None:
        import av

        self._container = av.open(str(self.path))
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "NONE"  # videos are decoded in parallel, not their frames
        self._decoder = self._container.decode(self._stream)
        self._next = 0

    def _picture(self, frame: Any) -> np.ndarray:
        """[H, W, 3] RGB, upright."""
        if not self.index.fits(frame):
            self.changes_size = True
            raise ValueError("it changes its size")
        if self._graph is None:
            self._graph = upright_rgb(self._stream, frame.rotation)
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()


class SeekingReader(ForwardReader):
    """A file decoded by PyAV, each time from the key frame before.

    Frames are known by their times, so a frame is right or missing. In place of decord because of
    its costs: for 16 frames of a proxy decord takes six times as long, and each of its open readers
    keeps 100 MB and more.
    """

    def _go_near(self, start: int) -> None:
        at = int(np.searchsorted(self.index.keys, start, side="right")) - 1
        key = int(self.index.keys[at]) if at >= 0 else 0
        if self._container is not None and key <= self._next <= start:
            return
        if not key:  # opened anew: not every container can go back to its start
            self.close()
        if self._container is None:
            self._begin()
        if key:
            time = int(self.index.times[key])
            self._container.seek(time, stream=self._stream, backward=True)
            self._decoder = self._container.decode(self._stream)
            self._next = 0  # none is missing so far

    def _decode(self) -> tuple[int, Any]:
        while True:
            frame = next(self._decoder)
            number = self.index.number(frame.pts)
            if number >= self._next:  # not one in front of a key frame, cut off from its own
                return number, frame


def upright_rgb(stream: Any, rotation: int) -> Any:
    """A filter graph; `rotation` in degrees, counterclockwise, as the file asks for."""
    import av

    turns: dict[int, list[tuple[str, str | None]]] = {
        90: [("transpose", "cclock")],
        -90: [("transpose", "clock")],
        180: [("hflip", None), ("vflip", None)],
    }
    graph = av.filter.Graph()
    # Each open reader would hold a thread a core, and waking them costs more than one takes.
    graph.threads = 1
    chain = [graph.add_buffer(template=stream)]
    for name, setting in turns.get(180 if abs(rotation) == 180 else rotation, []):
        chain.append(graph.add(name, setting) if setting else graph.add(name))
    chain += [graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")]
    for before, after in itertools.pairwise(chain):
        before.link_to(after)
    graph.configure()
    return graph


def open_source(path: Path, *, index: FrameIndex | None = None) -> VideoReader:
    """A reader that is right, and fails at the same frame every time; `open_video` otherwise.

    Args:
        index: of the file, where it was read before.

    Raises:
        VadError: as `open_video`.
    """
    if not path.is_file():
        return open_video(path)
    try:
        return ForwardReader(path, index or FrameIndex.of(path))
    except VadError:
        return open_video(path)  # says why not


def block_frames(reader: VideoReader) -> int:
    """How many frames to decode at a time, so that large ones do not fill the memory."""
    return max(1, min(BLOCK_FRAMES, BLOCK_BYTES // (reader.height * reader.width * 3)))


def finds_frames(reader: VideoReader) -> bool:
    """Whether a file's frames come out by number as they do in order.

    Tried at its start, and on both sides of the second key frame, where looking for frames begins
    to matter.
    """
    if not isinstance(reader, ForwardReader):
        return True
    near = [key + by for key in reader.index.keys[1:2].tolist() for by in (8, 3, 1, 0, -1)]
    places = [at for at in (*near, 3, 2, 1, 0) if at < min(reader.listed_frames, FAR)]
    if not reader.times_tell():
        return False
    try:
        with SeekingReader(reader.path, reader.index) as finder:
            by_number = {at: finder.frames(at, at + 1) for at in places}
        return all(
            np.array_equal(by_number[at], reader.frames(at, at + 1)) for at in sorted(places)
        )
    except VadError:
        return False  # it is damaged, and forwards is the safer way
