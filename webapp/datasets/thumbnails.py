"""Small pictures of videos, made when they are first asked for, and kept.

They lie in `thumbnails/<version>/<video>-<frame>.webp` of the data folder, with what could not be
decoded beside them as `.json`, which is believed for `BELIEVED_S`. All of it is a cache: it may be
deleted at any time.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings

from vad.data.tensorfile import write_bytes
from vad.errors import VadError
from webapp.datasets.decoder import TURN_S, decoder
from webapp.datasets.media import no_file, picture_source
from webapp.datasets.models import Video

BELIEVED_S = 600  # a video is repaired, proxies are built, a busy machine has time again
CONTENT_TYPE = "image/webp"

log = structlog.get_logger(__name__)


def thumbnail(video: Video, frame: int = 0, *, wait_s: float = TURN_S) -> bytes:
    """A frame of a video as WebP, 320 pixels wide at most.

    Args:
        frame: of the video; those of a client are checked by the caller, as each one is kept.

    Raises:
        VadError: why there is no picture.
        Busy: others come first.
    """
    path = _path(video.version_id, video.pk, frame)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    problem = _problem(path)
    if problem:
        raise problem
    try:
        source = picture_source(video)
        content = decoder.thumbnail(source, frame, wait_s=wait_s)
    except VadError as exc:
        if exc.code != "unexpected":  # that one is no matter of the video
            _keep(path.with_suffix(".json"), json.dumps(exc.to_dict()).encode())
        raise
    _keep(path, content)
    return content


def known_problem(video: Video, frame: int = 0) -> VadError | None:
    """Why there is no picture, as far as that is known without trying."""
    if not video.path:
        return no_file(video)
    return _problem(_path(video.version_id, video.pk, frame))


def _path(version_id: UUID, video_id: int, frame: int) -> Path:
    return settings.DATA_DIR / "thumbnails" / str(version_id) / f"{video_id}-{frame}.webp"


def _problem(path: Path) -> VadError | None:
    note = path.with_suffix(".json")
    try:
        if time.time() - note.stat().st_mtime > BELIEVED_S:
            return None
        return VadError.from_dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        return None


def _keep(path: Path, content: bytes) -> None:
    """A full disk takes nothing from who asked: the picture is made again the next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError:
        log.warning("thumbnail.not-kept", path=path, exc_info=True)
