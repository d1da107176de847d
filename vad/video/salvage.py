"""What can still be decoded of a damaged video.

Behind a damage, decoding begins anew at the next key frame: what can be decoded is then what a
decoder that looks for frames by number can reach as well.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from vad.errors import VadError
from vad.video.reader import VideoReader
from vad.video.seeking import ForwardReader, upright_rgb


def stand_ins(reader: VideoReader) -> np.ndarray:
    """For each frame of a video the one that is shown in its place: [F], rising.

    Raises:
        VadError: no frame can be decoded.
    """
    good = np.zeros(reader.listed_frames, bool)
    with closing(frames(reader)) as found:
        for number, _ in found:
            good[number] = True
    if not good.any():
        raise VadError(
            "video-unreadable",
            f"No frame of {reader.path.name} can be decoded ({reader.path}).",
            "Export it again from the source, or take it out of the data set.",
        )
    places = np.where(good, np.arange(len(good)), -1)
    return np.maximum(np.maximum.accumulate(places), good.argmax())


def frames(reader: VideoReader) -> Generator[tuple[int, Callable[[], np.ndarray]], None, None]:
    """Numbers of the frames that can be decoded, and what makes their pictures [1, H, W, 3]."""
    if not isinstance(reader, ForwardReader) or not reader.times_tell():
        for number in range(reader.listed_frames):
            try:
                block = reader.frames(number, number + 1)
            except VadError:
                if reader.path.is_dir():
                    continue
                return  # what comes behind has no number
            yield number, partial(np.asarray, block)
        return
    import av

    index = reader.index
    with av.open(str(reader.path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        decoder.thread_type = "NONE"  # as other readers do
        graph: Any = None
        lost = False
        for packet in container.demux(stream):
            if lost and not packet.is_keyframe:
                continue
            if lost:
                decoder.flush_buffers()
            try:
                found, lost = decoder.decode(packet), False
            except av.FFmpegError:
                lost, found = True, _drained(decoder)
            for frame in found:
                graph = graph or upright_rgb(stream, frame.rotation)
                number = index.number(frame.pts)
                if number >= 0 and index.fits(frame):
                    yield number, partial(_picture, graph, frame)


def _picture(graph: Any, frame: Any) -> np.ndarray:
    graph.push(frame)
    return graph.pull().to_ndarray()[None]


def _drained(decoder: Any) -> list[Any]:
    """Frames that were decoded before a damage and are not out yet."""
    import av

    try:
        return list(decoder.decode(None))
    except (av.FFmpegError, EOFError):
        return []
