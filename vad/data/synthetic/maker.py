"""Plans the synthetic data set and writes it: clips, labels, the test split's truth."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import multiprocessing
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vad.data.manifest import NORMAL
from vad.data.synthetic.clips import CLASSES, Clip, ClipPlan
from vad.data.synthetic.scenes import SCENE_NAMES
from vad.data.tensorfile import write_text
from vad.errors import VadError

GENERATOR_VERSION = 1
SNIPPET_FRAMES = 16


@dataclass(frozen=True)
class Preset:
    """How large a synthetic data set is. Abnormal counts are per class."""

    width: int
    height: int
    fps: int
    train_normal: int
    train_abnormal: int
    test_normal: int
    test_abnormal: int
    snippets: tuple[int, int]  # shortest and longest clip, in snippets of 16 frames


PRESETS = {
    "demo": Preset(160, 120, 12, 30, 6, 10, 3, (10, 22)),
    "thumbnail": Preset(64, 48, 12, 4, 1, 2, 1, (5, 8)),
}


def plans(seed: int, preset: Preset) -> list[ClipPlan]:
    """The clips of a data set, in a fixed order."""
    rng = np.random.default_rng([seed, 1])
    found = []
    counts = {
        "train": {NORMAL: preset.train_normal, **dict.fromkeys(CLASSES, preset.train_abnormal)},
        "test": {NORMAL: preset.test_normal, **dict.fromkeys(CLASSES, preset.test_abnormal)},
    }
    for split, kinds in counts.items():
        for kind, count in kinds.items():
            # the cameras take turns, so that no class belongs to one place
            turn = int(rng.integers(len(SCENE_NAMES)))
            for i in range(count):
                low, high = preset.snippets
                found.append(
                    ClipPlan(
                        key=f"{split}-{kind.lower()}-{i + 1:02d}",
                        split=split,
                        scene=SCENE_NAMES[(turn + i) % len(SCENE_NAMES)],
                        kind="" if kind == NORMAL else kind,
                        # mostly no whole number of snippets, as in real footage
                        num_frames=int(rng.integers(low * SNIPPET_FRAMES, high * SNIPPET_FRAMES)),
                        width=preset.width,
                        height=preset.height,
                        fps=preset.fps,
                    )
                )
    return found


def make(
    folder: Path,
    *,
    seed: int = 7,
    preset: str = "demo",
    processes: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Make the data set, or do nothing when the folder holds just this one already.

    Args:
        folder: appears as a whole, when everything is written.
        seed: the same seed and preset give the same bytes on the same machine.
        preset: a key of `PRESETS`.
        processes: how many to render with; by default one a core, at most four.
        on_progress: called with (clips done, clips in total).

    Raises:
        VadError: `dataset-invalid` when the folder holds something else.
    """
    size = PRESETS[preset]
    about = {"version": GENERATOR_VERSION, "preset": preset, "seed": seed}
    if folder.exists() and any(folder.iterdir()):
        if _read_about(folder) == about:
            return
        raise VadError(
            "dataset-invalid",
            f"{folder} is not empty and holds no synthetic data set of seed {seed}.",
            "Name another folder, or delete this one if it is not needed.",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        (beside / "videos").mkdir(parents=True)
        truth = {}
        planned = plans(seed, size)
        tasks = [(plan, seed, str(beside / "videos" / f"{plan.key}.mp4")) for plan in planned]
        for done, (key, found) in enumerate(_render_all(tasks, processes), start=1):
            truth[key] = found
            if on_progress:
                on_progress(done, len(tasks))
        write_text(beside / "labels.csv", _labels(planned))
        test = {plan.key: truth[plan.key] for plan in planned if plan.split == "test"}
        write_text(beside / "truth-test.json", json.dumps(test, indent=1) + "\n")
        write_text(beside / "synthetic.json", json.dumps(about) + "\n")
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def render(plan: ClipPlan, seed: int, path: Path) -> dict[str, Any]:
    """Write one clip and return its truth as plain JSON types."""
    import av  # here: planning and reading need no encoder

    clip = plan_clip(plan, seed)
    # One thread, and nothing that looks ahead: with either, the encoder's choices depend on timing
    # or on what lies in its memory (x264's macroblock tree does, for small frames).
    options = {
        "preset": "veryfast",
        "crf": "20",
        "threads": "1",
        "g": str(4 * SNIPPET_FRAMES),
        "x264-params": "bframes=0:mbtree=0:rc-lookahead=0:weightp=0",
    }
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=plan.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = plan.width, plan.height, "yuv420p"
        stream.thread_count = 1
        for frame in clip.frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return {
        "intervals": [list(pair) for pair in clip.intervals()],
        "tracks": [dataclasses.asdict(track) for track in clip.tracks()],
    }


def plan_clip(plan: ClipPlan, seed: int) -> Clip:
    """The clip of a plan, ready to draw; clips of one place share the seed of its picture."""
    rng = np.random.default_rng([seed, 2, zlib.crc32(plan.key.encode())])
    return Clip(plan, [seed, 3, SCENE_NAMES.index(plan.scene)], rng)


def _render_task(task: tuple[ClipPlan, int, str]) -> tuple[str, dict[str, Any]]:
    plan, seed, path = task
    return plan.key, render(plan, seed, Path(path))


def _render_all(
    tasks: list[tuple[ClipPlan, int, str]], processes: int | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    count = min(processes or min(os.cpu_count() or 1, 4), len(tasks))
    if count <= 1:
        yield from map(_render_task, tasks)
        return
    # spawn: a fork would copy threads' locks of whoever calls
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        yield from pool.map(_render_task, tasks)


def _labels(planned: list[ClipPlan]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "file", "split", "label", "class"])
    for plan in planned:
        file = f"videos/{plan.key}.mp4"
        writer.writerow([plan.key, file, plan.split, int(bool(plan.kind)), plan.kind or NORMAL])
    return text.getvalue()


def _read_about(folder: Path) -> Any:
    try:
        return json.loads((folder / "synthetic.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
