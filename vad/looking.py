"""Stage 2 over the test videos of an evaluation; what was looked at survives an interruption.

Decoding and scoring every snippet takes hours without a GPU. So the maps of each video are written
as soon as they are there, and a run that goes on looks only at the rest.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vad.data.clips import Clips
from vad.data.features import FeatureStore
from vad.data.tensorfile import file_stem, write_bytes
from vad.errors import VadError
from vad.models.two_stage import TwoStage
from vad.patch_scoring import VideoMaps, score_patches
from vad.reporting import Reporter

# A video that cannot be looked at is left out by name; any other error ends the run.
_OF_A_VIDEO = frozenset({"file-missing", "video-no-track", "video-truncated", "video-unreadable"})


@dataclass(frozen=True)
class Looked:
    """What stage 2 saw.

    Args:
        maps: by video key, in the order asked for.
        left_out: videos that turned out unreadable, each with the reason.
        damaged: videos of which a part could not be read, each with what happened.
        stopped: the run was asked to stop before the end.
    """

    maps: dict[str, VideoMaps] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


class KeptMaps:
    """Maps of single videos in a folder, until the evaluation is done.

    Args:
        folder: is emptied when it holds maps of anything else.
        identity: of all that the maps depend on.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        note = folder / "of.txt"
        if not note.is_file() or note.read_text(encoding="utf-8") != identity:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_bytes(note, identity.encode())

    def get(self, key: str) -> tuple[VideoMaps, str] | None:
        """Maps and the note about damage; None when the video was not looked at."""
        try:
            with np.load(self._path(key), allow_pickle=False) as found:
                return VideoMaps(found["maps"], found["kept"]), str(found["damage"])
        except (OSError, ValueError, KeyError, EOFError):
            return None  # not there; a torn file was never renamed to its place

    def put(self, key: str, maps: VideoMaps, damage: str) -> None:
        content = io.BytesIO()
        np.savez(content, maps=maps.maps, kept=maps.kept, damage=np.array(damage))
        write_bytes(self._path(key), content.getvalue())

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{file_stem(key)}.npz"


def look(
    model: TwoStage,
    store: FeatureStore,
    clips: Clips,
    keys: Sequence[str],
    kept: KeptMaps,
    reporter: Reporter,
) -> Looked:
    """Score the patches of every snippet of videos.

    Args:
        kept: has what an interrupted run looked at before, and gets the rest.
        reporter: hears of each video, and is asked after each whether to stop.
    """
    found = Looked()
    for done, key in enumerate(keys):
        if reporter.stop_requested:
            return Looked(found.maps, found.left_out, found.damaged, stopped=True)
        reporter.progress(done, len(keys), "videos", note=key)
        before = kept.get(key)
        if before is not None:
            found.maps[key], damage = before
        else:
            try:
                found.maps[key] = score_patches(model, store, clips, key)
            except VadError as exc:
                if exc.code not in _OF_A_VIDEO:
                    raise
                reporter.log(f"{exc.message} It is left out.", "warning")
                found.left_out[key] = exc.message
                continue
            damage = clips.damaged.get(key, "")
            kept.put(key, found.maps[key], damage)
        if damage:
            found.damaged[key] = damage
    reporter.progress(len(keys), len(keys), "videos")
    return found
