"""The file in which a video of a data set is looked at: its proxy, else its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from vad.data.manifest import Manifest, load_manifest
from vad.errors import VadError
from vad.video.proxies import INDEX, ProxyStore
from webapp.datasets.models import Video
from webapp.datasets.paths import inside_roots
from webapp.runs.models import Run, State

PLAYABLE = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
}
PROXIES = "proxies"  # the kind of the run, and the folder in it


@dataclass(frozen=True, kw_only=True)
class Media:
    """A file for a browser; frames, rate and size are 0 where they are unknown.

    Args:
        is_proxy: made by a proxies run, so each of its frames is one of the video's.
    """

    path: Path
    content_type: str
    is_proxy: bool
    num_frames: int
    fps: float
    width: int
    height: int


def media_of(video: Video) -> Media:
    """The file to play.

    Raises:
        VadError: `file-missing`, there is no file, or not any more; `video-unreadable`, no browser
            plays it, so proxies are needed; `path-outside-roots`, `manifest-invalid`.
    """
    return _proxy(video) or _source(video)


def picture_source(video: Video) -> Path:
    """Where its frames are decoded from: its proxy, else its file or its folder of frames.

    Raises:
        VadError: `file-missing`, `path-outside-roots`, `manifest-invalid`.
    """
    proxy = _proxy(video)
    return proxy.path if proxy else _found(video)


def playable(version_id: UUID, videos: Iterable[Video]) -> set[int]:
    """The ids of those that a browser can probably play; no file is looked for."""
    folder = _proxies(version_id)
    store = _store(folder) if folder else None
    return {
        video.pk
        for video in videos
        if (store and store.get(video.key)) or Path(video.path).suffix.lower() in PLAYABLE
    }


def _proxies(version_id: UUID) -> Path | None:
    """The folder of the newest finished proxies run."""
    made = Run.objects.filter(version=version_id, kind=PROXIES, state=State.SUCCEEDED)
    run = made.order_by("-created_at").first()
    return run.folder / PROXIES if run else None


def _proxy(video: Video) -> Media | None:
    """From the newest finished proxies run; None where it has none of this video."""
    folder = _proxies(video.version_id)
    if folder is None:
        return None
    store = _store(folder)
    proxy = store.get(video.key) if store else None
    if store is None or proxy is None:
        return None
    path = store.path(video.key).resolve()
    content_type = PLAYABLE.get(path.suffix.lower())
    if content_type is None or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    return Media(
        path=path,
        content_type=content_type,
        is_proxy=True,
        num_frames=proxy.frames,
        fps=proxy.fps,
        width=video.width or proxy.source_width,  # the picture's shape, not the copy's
        height=video.height or proxy.source_height,
    )


def _store(folder: Path) -> ProxyStore | None:
    """None where the proxies are gone or damaged: then the source will do."""
    try:
        return _opened(folder, (folder / INDEX).stat().st_mtime_ns)
    except (OSError, VadError):
        return None


@lru_cache(maxsize=8)
def _opened(folder: Path, _changed: int) -> ProxyStore:
    return ProxyStore.open(folder)


def no_file(video: Video) -> VadError:
    return VadError(
        "file-missing",
        f"{video.key} has no video file: its data set was registered without videos.",
        "Register the data set again with the folder of its videos.",
    )


def _source(video: Video) -> Media:
    path = _found(video)
    content_type = PLAYABLE.get(path.suffix.lower())
    if content_type is None or not path.is_file():
        what = "a folder of frames" if path.is_dir() else f"a {path.suffix or 'nameless'} file"
        raise VadError(
            "video-unreadable",
            f"{video.key} is {what}, which no browser plays.",
            f"Build proxies of {video.version}: small copies of its videos that every browser "
            "plays.",
        )
    return Media(
        path=path,
        content_type=content_type,
        is_proxy=False,
        num_frames=video.num_frames,
        fps=video.fps,
        width=video.width,
        height=video.height,
    )


def _found(video: Video) -> Path:
    """Its file or folder, inside the data roots."""
    if not video.path:
        raise no_file(video)
    path = manifest_of(video.version.folder).media_path(video.path)
    try:
        return inside_roots(str(path), "path")
    except VadError as exc:
        if exc.code != "file-missing":
            raise
        raise VadError(
            "file-missing",
            f"The file of {video.key}, {video.path}, is no longer in the folder of "
            f"{video.version}.",
            "Put it back where it was when the data set was registered.",
        ) from None


@lru_cache(maxsize=8)
def manifest_of(folder: Path) -> Manifest:
    """A version never changes, and a video is asked for many times while it plays."""
    return load_manifest(folder)
