"""One way to read video: files through decord, and folders of numbered frames through Pillow.

A frame's number is its place in decoding order, counted by decoding; what the container says about
length is only a guess. The decoder is imported when the first file is opened, so listing folders
and reading annotations work without one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from vad.errors import VadError

VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .wmv .flv .gif".split()  # noqa: SIM905
)
IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".bmp", ".png", ".jpg", ".jpeg"})
BLOCK_FRAMES = 64
_HINT = "Export it again as H.264 MP4 and register the data set again."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a video may ask of this machine before it is refused."""

    max_pixels: int = 7680 * 4320  # of one frame
    max_frames: int = 10_000_000


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a video really holds, after decoding all of it."""

    num_frames: int
    fps: float  # 0 for frame folders, which do not say
    width: int
    height: int


class VideoReader(ABC):
    """Frames by number. Use as a context manager; not shared between threads."""

    path: Path
    fps: float
    width: int
    height: int
    listed_frames: int  # what the container claims, or the number of image files

    @abstractmethod
    def frames(self, start: int, stop: int) -> np.ndarray:
        """Frames [start, stop) as uint8 [F, H, W, 3], RGB.

        Raises:
            VadError: `video-truncated` when the video ends before, `video-unreadable` when a frame
                cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Give memory and file handles back."""

    def blocks(
        self, num_frames: int, size: int = BLOCK_FRAMES, start: int = 0
    ) -> Iterator[np.ndarray]:
        """The frames [start, num_frames) in order, at most `size` at a time."""
        for first in range(start, num_frames, size):
            yield self.frames(first, min(first + size, num_frames))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def open_video(path: Path, limits: Limits | None = None) -> VideoReader:
    """Open a video file, or a folder that holds one image a frame.

    Raises:
        VadError: `file-missing`, `video-unreadable`, `video-no-track`.
    """
    if path.is_dir():
        return FrameFolder(path, limits or Limits())
    if not path.is_file():
        raise VadError("file-missing", f"{path} does not exist.", "Check the path.")
    reader = FileReader(path, limits or Limits())
    return reader if reader.batches_fit else PaddedReader(reader)


def probe(path: Path, limits: Limits | None = None) -> VideoInfo:
    """Decode a video from its first to its last frame and say what it holds.

    The one place that touches files nobody has looked at before.

    Raises:
        VadError: `video-unreadable` names the first frame that cannot be decoded; also
            `file-missing` and `video-no-track`.
    """
    if path.is_file():
        check_container(path)
        _check_header(path, limits or Limits())
    with open_video(path, limits) as reader:
        for _ in reader.blocks(reader.listed_frames):
            pass
        return VideoInfo(
            num_frames=reader.listed_frames,
            fps=reader.fps,
            width=reader.width,
            height=reader.height,
        )


class FileReader(VideoReader):
    """A video file, decoded by decord (which honours rotation and variable frame rates)."""

    def __init__(self, path: Path, limits: Limits) -> None:
        check_container(path)
        import decord  # here, so that modules above import without a decoder

        decord.logging.set_level(decord.logging.QUIET)
        self.path = path
        try:
            self._reader: Any = decord.VideoReader(str(path), num_threads=1)
            self.listed_frames = len(self._reader)
            if not self.listed_frames:
                raise RuntimeError("it holds no frame")
            first = self._reader[0]
            self.height, self.width = (int(n) for n in first.shape[:2])
            self.fps = float(self._reader.get_avg_fps())
        except (RuntimeError, IndexError, decord.DECORDError) as exc:
            if "cannot find video stream" in str(exc).lower():
                raise VadError(
                    "video-no-track", f"{path.name} has no video track ({path}).", _HINT
                ) from exc
            raise VadError(
                "video-unreadable",
                f"{path.name} cannot be decoded: {_reason(exc)} ({path}).",
                _HINT,
            ) from exc
        check_size(path, self.width, self.height, self.listed_frames, limits)
        self.batches_fit = self._batches_fit()

    def _batches_fit(self) -> bool:
        """Whether the decoder's rows are free of padding.

        At some small widths (32, 48 and 96 pixels were seen, decord2 3.4.0) single frames come
        sheared, and batches not at all.
        """
        import decord

        try:
            self._reader.get_batch([0])
        except decord.DECORDError as exc:
            return "size must exactly match" not in str(exc)
        return True

    def frames(self, start: int, stop: int) -> np.ndarray:
        import decord

        if stop > self.listed_frames:
            raise _truncated(self.path, stop, self.listed_frames)
        try:
            return self._reader.get_batch(range(start, stop)).asnumpy()
        except (RuntimeError, IndexError, decord.DECORDError) as exc:
            raise _damaged(self.path, _good_frames(self.path, stop), self.listed_frames) from exc

    def close(self) -> None:
        self._reader = None


class PaddedReader(VideoReader):
    """A file whose width decord cannot hand out; PyAV decodes it, forwards where it can."""

    def __init__(self, file: FileReader) -> None:
        self.path, self.fps = file.path, file.fps
        self.width, self.height = file.width, file.height
        self.listed_frames = file.listed_frames
        file.close()
        self._restart()

    def _restart(self) -> None:
        import av

        self.close()
        self._container = av.open(str(self.path))
        self._decoder = self._container.decode(video=0)
        self._next = 0

    def frames(self, start: int, stop: int) -> np.ndarray:
        import av

        if stop > self.listed_frames:
            raise _truncated(self.path, stop, self.listed_frames)
        if start < self._next:
            self._restart()
        found = []
        try:
            while self._next < stop:
                frame = next(self._decoder)
                if self._next >= start:
                    found.append(frame.to_ndarray(format="rgb24"))
                self._next += 1
        except (StopIteration, av.FFmpegError) as exc:
            raise _damaged(self.path, self._next, self.listed_frames) from exc
        return np.stack(found)

    def close(self) -> None:
        container = getattr(self, "_container", None)
        if container is not None:
            container.close()


class FrameFolder(VideoReader):
    """A folder with one image a frame, in the order of the numbers in the file names."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.fps = 0.0
        self._files = frame_files(path)
        self.listed_frames = len(self._files)
        if not self._files:
            raise VadError(
                "video-unreadable",
                f"{path} holds no frame ({', '.join(sorted(IMAGE_SUFFIXES))}).",
                "Name a folder with one image a frame.",
            )
        try:
            with Image.open(self._files[0]) as image:
                self.width, self.height = image.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as exc:
            raise _bad_image(self._files[0]) from exc
        check_size(path, self.width, self.height, self.listed_frames, limits)

    def frames(self, start: int, stop: int) -> np.ndarray:
        if stop > len(self._files):
            raise _truncated(self.path, stop, len(self._files))
        block = np.empty((stop - start, self.height, self.width, 3), dtype=np.uint8)
        for i, file in enumerate(self._files[start:stop]):
            try:
                with Image.open(file) as image:
                    if image.size != (self.width, self.height):
                        raise VadError(
                            "video-unreadable",
                            f"{file} is {image.size[0]}x{image.size[1]}, the first frame of its "
                            f"folder {self.width}x{self.height}.",
                            "All frames of a video need the same size.",
                        )
                    block[i] = np.asarray(image.convert("RGB"))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
                raise _bad_image(file) from exc
        return block

    def close(self) -> None:
        self._files = []


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder in frame order; hidden files (macOS leaves some) do not count."""
    files = [
        p
        for p in folder.iterdir()
        if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
    ]
    return sorted(files, key=lambda p: (_numbers(p.stem), p.name))


def _numbers(stem: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", stem))


def check_container(path: Path) -> None:
    """Let only real video containers reach the decoder.

    FFmpeg goes by content, not by name, and some contents are lists that make it open other files
    or addresses.
    """
    try:
        with path.open("rb") as file:
            head = file.read(192 * 2)
    except OSError as exc:
        raise VadError(
            "video-unreadable", f"{path} cannot be read: {exc.strerror}.", "Check its rights."
        ) from exc
    known = (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
        or head.startswith(
            (
                b"\x1a\x45\xdf\xa3",  # Matroska, WebM
                b"\x00\x00\x01\xba",  # MPEG program stream
                b"\x00\x00\x01\xb3",  # MPEG video
                b"FLV\x01",
                b"\x30\x26\xb2\x75",  # ASF, WMV
                b"GIF8",
                b"OggS",
            )
        )
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (head[:1] == b"\x47" and head[188:189] == b"\x47")  # MPEG transport stream
    )
    if not known:
        what = "is empty" if not head else "is no video file, whatever its name says"
        raise VadError("video-unreadable", f"{path.name} {what} ({path}).", _HINT)


def _check_header(path: Path, limits: Limits) -> None:
    """Refuse a header that promises too much; decord would make room for all that it promises."""
    import av

    try:
        with av.open(str(path)) as container:
            for stream in container.streams.video:
                if stream.codec_context is not None:
                    check_size(path, stream.width, stream.height, stream.frames, limits)
    except av.FFmpegError:
        return  # what is wrong with it is said by who decodes it


def check_size(path: Path, width: int, height: int, frames: int, limits: Limits) -> None:
    if width * height > limits.max_pixels or frames > limits.max_frames:
        raise VadError(
            "video-unreadable",
            f"{path.name} has {frames} frames of {width}x{height}, more than this program takes "
            f"({limits.max_frames} frames, {limits.max_pixels} pixels each).",
            "Cut it, or export it with a smaller size.",
        )


def _reason(exc: Exception) -> str:
    """The decoder's own words, without its source lines."""
    text = re.sub(r"\[[\d:]+\]|/\S+\.(cc|h):\d+:", " ", str(exc)).strip()
    return " ".join(text.split())[:160] or "unknown reason"


def _good_frames(path: Path, stop: int) -> int:
    """Frames before the first bad one, at most `stop`.

    Counted with a decoder without threads: how many frames decord hands out before it reports the
    error is up to how busy the machine is.
    """
    import av

    number = 0
    with suppress(StopIteration, av.FFmpegError), av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        decoder = container.decode(video=0)
        while number < stop:
            next(decoder)
            number += 1
    return number


def _damaged(path: Path, good: int, listed: int) -> VadError:
    return VadError(
        "video-unreadable",
        f"{path.name} is damaged: {good} of its {listed} frames can be decoded, then an error "
        f"comes ({path}).",
        "Export it again from the source, or take it out of the data set.",
    )


def _bad_image(file: Path) -> VadError:
    return VadError(
        "video-unreadable",
        f"{file} is no image that can be read.",
        "Export this frame again, or take its folder out of the data set.",
    )


def _truncated(path: Path, wanted: int, there: int) -> VadError:
    return VadError(
        "video-truncated",
        f"{path.name} ends after {there} frames, but frame {wanted} was asked for ({path}).",
        "The file changed since the data set was registered; register the data set again.",
    )
