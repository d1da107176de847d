"""Making one proxy: small copies of a video, and the proof that they hold the same frames.

Copies are H.264 with a key frame every few frames and none that depend on later ones, so any frame
is a short decode away. One is to be looked at, and browsers play it; the other has the size of
stage 2's clips and is read in their place. Sources are decoded once, from start to end: some of
them come out right in no other order.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from vad.configs import ProxiesConfig
from vad.data.manifest import Manifest, Video
from vad.data.resize import resize
from vad.data.tensorfile import file_sha256
from vad.errors import VadError
from vad.video.proxies import Proxy
from vad.video.reader import FrameFolder, VideoReader, frame_files
from vad.video.seeking import (
    ForwardReader,
    FrameIndex,
    SeekingReader,
    block_frames,
    open_source,
)

FPS_UNKNOWN = 25.0  # of frame folders, which do not say
CHECKED = 5  # places of a proxy at which random access is compared with reading in order


def encode(
    config: ProxiesConfig,
    manifest: Manifest,
    video: Video,
    target: Path,
    check: Callable[[], None],
) -> Proxy:
    """Copy a video small, up to the first frame that cannot be decoded.

    The copy at the size of clips comes to lie beside `target`.

    Raises:
        VadError: `video-unreadable` and its kin, when not even its first frame can be decoded, or
            its frames change their size; `disk-full`.
    """
    if not video.path:
        raise VadError("file-missing", "It has no video file.")
    with open_source(manifest.media_path(video.path)) as reader:
        height, width = proxy_size(reader.height, reader.width, config.short_side)
        known = math.isfinite(reader.fps) and reader.fps > 0
        rate = Fraction(max(0.1, reader.fps if known else FPS_UNKNOWN)).limit_denominator(1001)
        count, problem = 0, ""
        clips = clip_copy(target) if config.clip_size != (0, 0) else None
        with contextlib.ExitStack() as open_files:
            encoders = [open_files.enter_context(_Encoder(target, (height, width), rate, config))]
            if clips:
                exact = _Encoder(clips, config.clip_size, rate, config, for_browsers=False)
                encoders.append(open_files.enter_context(exact))
            try:
                for block in _readable(reader):
                    check()
                    for encoder in encoders:
                        encoder.add(resize(block, encoder.size))
                    count += len(block)
            except VadError as exc:
                if exc.code == "disk-full" or not count or _changes_size(reader, count):
                    raise
                problem = f"{exc.message} "
        source_frames = max(video.num_frames, reader.listed_frames)
        if count < source_frames:
            problem += f"The proxy of {video.key} holds {count} of {source_frames} frames."
        found = Proxy(
            file=target.name,
            frames=count,
            width=width,
            height=height,
            fps=float(rate),
            size_bytes=target.stat().st_size,
            sha256=file_sha256(target),
            source_frames=source_frames,
            source_width=reader.width,
            source_height=reader.height,
            problem=problem,
        )
        if not clips:
            return found
        return replace(
            found,
            clip_file=clips.name,
            clip_height=config.clip_size[0],
            clip_width=config.clip_size[1],
            clip_bytes=clips.stat().st_size,
            clip_sha256=file_sha256(clips),
        )


def clip_copy(target: Path) -> Path:
    """Where the copy at the size of clips lies, beside the one to look at."""
    return target.with_suffix(f".clips{target.suffix}")


def _readable(reader: VideoReader) -> Iterator[np.ndarray]:
    """All frames in order, in blocks; raises at the first that cannot be decoded, not before."""
    total, size, at = reader.listed_frames, block_frames(reader), 0
    while at < total:
        try:
            block = reader.frames(at, min(at + size, total))
        except VadError:
            break
        yield block
        at += len(block)
    for number in range(at, total):
        yield reader.frames(number, number + 1)


def _changes_size(reader: VideoReader, at: int) -> bool:
    """Whether the first frame that could not be read is of another size than those before."""
    if isinstance(reader, ForwardReader):
        return reader.changes_size
    if not isinstance(reader, FrameFolder):
        return False
    try:
        with Image.open(frame_files(reader.path)[at]) as image:
            return image.size != (reader.width, reader.height)
    except (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError):
        return False


def proxy_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of a proxy: never enlarged, the aspect kept, both even as H.264 needs it.

    One short side for all videos: these copies are looked at, and serve clips of any size that has
    no copy of its own. 240 covers 240x320; what is larger gains nothing there and is slower to
    decode.
    """
    scale = min(1.0, short_side / min(height, width))
    return _even(height * scale), _even(width * scale)


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


class _Encoder:
    """Writes frames as H.264 in MP4, at a constant rate. Use as a context manager.

    `fastdecode` leaves out the deblocking filter and arithmetic coding: clips decode a third
    faster, files grow by a tenth, and the error stays the same (docs/datasets.md has figures).

    Args:
        for_browsers: colours in the format that they play, at half the resolution. Otherwise as
            RGB: in a picture as small as a clip the halves are a larger error than all the rest.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        config: ProxiesConfig,
        *,
        for_browsers: bool = True,
    ) -> None:
        import av

        self.size = size
        self._path, self._count = path, 0
        with self._writing():
            # `faststart` puts the index in front, so a browser plays before all of it is there
            self._file = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
            codec = "libx264" if for_browsers else "libx264rgb"
            stream: Any = self._file.add_stream(codec, rate=rate)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p" if for_browsers else "rgb24"
            stream.gop_size, stream.max_b_frames = config.gop, 0
            stream.codec_context.thread_count = 1  # videos are made in parallel, not their frames
            stream.options = {
                "preset": "veryfast",
                "tune": "fastdecode",
                "crf": str(config.crf),
                # Key frames at their fixed distance and nowhere else; and equal files from equal
                # videos: without the second option a byte differed now and then on a busy machine.
                "x264-params": "scenecut=0:cpu-independent=1",
            }
            self._stream = stream

    def add(self, frames: np.ndarray) -> None:
        """Append frames: uint8 [F, H, W, 3], RGB."""
        import av

        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = self._count
            with self._writing():
                self._file.mux(self._stream.encode(frame))
            self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # the file will be thrown away; why it failed is said already
            with contextlib.suppress(OSError):
                self._file.close()
            return
        with self._writing():
            self._file.mux(self._stream.encode())
            self._file.close()
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        import av

        try:
            with disk_full_said(self._path):
                yield
        except (OSError, av.FFmpegError) as exc:
            raise VadError(
                "video-unreadable", f"{self._path.name} cannot be written ({exc})."
            ) from exc


def verify(path: Path, frames: int) -> None:
    """Every frame of a copy is there, and is found by its number.

    Raises:
        VadError: `video-unreadable`.
    """
    places = sorted({round(i * (frames - 1) / (CHECKED - 1)) for i in range(CHECKED)})
    index = FrameIndex.of(path)
    in_order: dict[int, np.ndarray] = {}
    with ForwardReader(path, index) as reader, SeekingReader(path, index) as finder:
        right = reader.listed_frames == frames
        size = block_frames(reader)
        for first in range(0, frames if right else 0, size):
            block = reader.frames(first, min(first + size, frames))
            in_order |= {at: block[at - first] for at in places if 0 <= at - first < len(block)}
        right = right and all(
            np.array_equal(in_order[at], finder.frames(at, at + 1)[0]) for at in reversed(places)
        )
    if not right:
        raise VadError(
            "video-unreadable",
            f"its copy {path.name} does not hold its {frames} frames in order.",
            "Export the video again as H.264 MP4.",
        )


@contextlib.contextmanager
def disk_full_said(path: Path) -> Iterator[None]:
    """Name a full disk, whoever notices it; other errors pass."""
    try:
        yield
    except Exception as exc:
        if getattr(exc, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise VadError(
            "disk-full",
            f"The disk has no room for {path}. The proxies made before are unharmed.",
            "Free some space and start the run again; it goes on behind the finished videos.",
        ) from exc
