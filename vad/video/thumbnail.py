"""Small pictures of videos: ``python -m vad.video.thumbnail``, one job a line, one answer each.

    {"path": "/data/a.mp4", "frame": 0, "width": 320}
    {"size": 8123, "width": 320, "height": 240}         and behind it 8,123 bytes of WebP, or
    {"error": {"code": …, "message": …, …}}

Each video is decoded in a process of its own, forked from this one, which has loaded the decoder
and never opens a video: a fork costs milliseconds, and what one file does to its process is gone
with it. Such a process may not write into a file, and its memory, its computing time and its life
are limited. This one ends when nobody asks for `IDLE_S`, or when its input does. No torch.
"""

from __future__ import annotations

import io
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from vad.errors import VadError
from vad.video.reader import Limits, check_container, check_size, open_video
from vad.video.seeking import ForwardReader, FrameIndex, SeekingReader, upright_rgb

WIDTH = 320  # pixels; as wide as a picture is shown anywhere, twice as many as in a table
QUALITY = 78
IDLE_S = 60
MEMORY_BYTES = 2 << 30  # of addresses: a frame of 8K takes 0.15 GB, and a decoder keeps some
WALL_S, CPU_S = 10.0, 8
LARGEST_BYTES = 1 << 20  # of an answer


# --- one picture ------------------------------------------------------------------------------


def thumbnail(path: Path, frame: int = 0, width: int = WIDTH) -> tuple[bytes, int, int]:
    """A frame of a video file or of a folder of frames, as WebP, never larger than it is.

    Returns:
        The bytes, and the picture's width and height.

    Raises:
        VadError: `file-missing`, `video-unreadable`, `video-no-track`, `video-truncated`.
    """
    image = Image.fromarray(picture(path, frame))
    if image.width > width:
        image = image.resize(
            (width, max(1, round(image.height * width / image.width))),
            Image.Resampling.LANCZOS,
            reducing_gap=3,
        )
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)  # 4 takes 7 ms for 5 % less
    return file.getvalue(), image.width, image.height


def picture(path: Path, frame: int = 0) -> np.ndarray:
    """Frame number `frame`, upright: uint8 [H, W, 3] RGB. Raises as `thumbnail`."""
    if path.is_file() and frame == 0:
        return _first(path)
    if not path.is_file():
        with open_video(path) as reader:
            return reader.frames(frame, frame + 1)[0]
    index = FrameIndex.of(path)
    if frame >= len(index.times):
        raise VadError(
            "video-truncated",
            f"{path.name} ends after {len(index.times)} frames, but frame {frame} was asked for.",
            "The file changed since the data set was registered; register the data set again.",
        )
    try:
        with SeekingReader(path, index) as reader:
            return reader.frames(frame, frame + 1)[0]
    except VadError:  # its times do not tell the frames, as in AVI: count them
        with ForwardReader(path, index) as reader:
            return reader.frames(frame, frame + 1)[0]


def _first(path: Path) -> np.ndarray:
    """The first frame, without a look at the rest of the file."""
    import av

    check_container(path)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            check_size(path, stream.width, stream.height, 1, Limits())
            stream.thread_type = "NONE"
            frame = next(container.decode(stream))
            check_size(path, frame.width, frame.height, 1, Limits())
            graph = upright_rgb(stream, frame.rotation)
            graph.push(frame)
            return graph.pull().to_ndarray()
    except IndexError:
        raise VadError("video-no-track", f"{path.name} has no video track.") from None
    except (StopIteration, ValueError, av.FFmpegError) as exc:
        raise VadError(
            "video-unreadable",
            f"{path.name} cannot be decoded.",
            "Export it again from the source, or take it out of the data set.",
        ) from exc


# --- the process ------------------------------------------------------------------------------


def serve(jobs: BinaryIO, answers: BinaryIO, *, wall_s: float = WALL_S) -> None:
    """Answer jobs until there are no more, each from a process of its own."""
    while True:
        signal.alarm(IDLE_S)  # ends this process; nothing is open then
        line = jobs.readline()
        signal.alarm(0)
        if not line:
            return
        job = json.loads(line)
        answers.write(_isolated(lambda job=job: _answer(job), wall_s))  # type: ignore[misc]
        answers.flush()


def _answer(job: dict[str, Any]) -> bytes:
    """What goes back for a job: a line of JSON, and the picture behind it."""
    try:
        content, width, height = thumbnail(
            Path(job["path"]), int(job.get("frame", 0)), int(job.get("width", WIDTH))
        )
    except VadError as exc:
        return _line({"error": exc.to_dict()})
    except MemoryError:
        return _line({"error": _too_much("memory").to_dict()})
    return _line({"size": len(content), "width": width, "height": height}) + content


def _isolated(work: Callable[[], bytes], wall_s: float) -> bytes:
    """What `work` gives in a forked process, or an error where that ends early or late."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _restrict()
            with os.fdopen(writing, "wb") as file:
                file.write(work())
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(writing)
    try:
        found = _read_all(reading, time.monotonic() + wall_s)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)  # not yet waited for, so the number is still its own
        _, status = os.waitpid(child, 0)
    if found is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return _line({"error": _too_much("time").to_dict()})
    head, _, rest = found.partition(b"\n")
    try:
        size = json.loads(head).get("size", 0)
    except ValueError:  # it died before it said anything
        size = -1
    if size != len(rest):
        error = VadError(
            "video-unreadable",
            "The decoder failed on this video.",
            "Export it again from the source, or take it out of the data set.",
        )
        return _line({"error": error.to_dict()})
    return found


def _restrict() -> None:
    """Give up what decoding does not need: files to write, endless memory and time, a voice."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (bound, bound))


def _read_all(file: int, deadline: float) -> bytes | None:
    """Everything up to the end of a pipe; None when it comes too late or is too much."""
    found = bytearray()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([file], [], [], left)[0]:
            return None
        block = os.read(file, 1 << 16)
        if not block:
            return bytes(found)
        found += block
        if len(found) > LARGEST_BYTES:
            return None


def _too_much(what: str) -> VadError:
    limit = f"{WALL_S:.0f} s" if what == "time" else f"{MEMORY_BYTES >> 30} GB"
    return VadError(
        "video-unreadable",
        f"A picture of this video takes more {what} than a page may use ({limit}).",
        "Build proxies of the data set: small copies in which every frame is found at once.",
    )


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"


def main() -> None:
    import av

    av.logging.set_level(None)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
