"""Stage 2 on real video with pixel truth, beside a motion baseline on the same clips.

    python tests/bench/bench_patches.py [--data ped2 synthetic] [--seeds 1 2 3] [--keep DIR]
        [--clips_seed 7] [--latent mean]

UCSD Ped2 in its weak split, and the synthetic clips of the demo, from video-level labels. The
baseline is learned from nothing: the mean absolute difference of neighbouring frames over a
snippet, on the same grid, its frame score the highest cell. So is the evaluated score of the model:
the highest patch of stage 2. The last step's checkpoint is taken, so no checkpoint is chosen on the
test split. Both are measured once more with their maps blurred (`map_blur`, `map_smoothing`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from vad import results
from vad.configs import (
    EvaluateConfig,
    ExtractConfig,
    RegisterConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.data.features import FeatureStore
from vad.data.manifest import load_manifest, load_truth
from vad.data.register import register
from vad.data.synthetic.maker import make
from vad.evaluating import evaluate_run
from vad.evaluation.map_blur import NO_BLUR, Blur, blurred
from vad.evaluation.patch_report import report, scored_video
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from vad.evaluation.patch_set import PatchSet
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep
from vad.features.extract import extract
from vad.places import read_places
from vad.reporting import Reporter
from vad.training import checkpoints, two_stage, urdmu
from vad.training_configs import LATENTS
from vad.video.reader import open_video

GRID = 8
MOVING = 1 / 255  # of `motion`: a patch changes by a grey level from frame to frame
SHOWN = (
    "patch_auc_ungated",
    "patch_ap_step_ungated",
    "patch_auc",
    "patch_ap_step",
    "tiou",
    "tiou_oracle",
)
REGIONS = ("rbdc", "tbdc")
TIMES = {"ped2": 1.0, "synthetic": 2.0}  # the baseline's patch AP that is to be beaten
# One tubelet a clip; each patch by itself; what the network sees of it is how it moves.
_ALONE = TwoStageConfig(
    device="cpu",
    num_segments=32,
    snippet_choice="random",
    ranking="score",
    patch_context="patch",
    num_tubelet=1,
    encoder_dim=48,
    encoder_depth=1,
    encoder_heads=4,
    selection="last",
    validation_share=0,
)
CONFIGS = {
    "ped2": replace(
        _ALONE,
        num_epochs=100,
        lr=1e-4,
        batch_size=8,
        random_snippet=True,
        resize=(256, 256),
        patch_size=256 // GRID,
        clip_view="speed",
        patch_latent="mean",
        patch_top=1,
        eval_every=100,
        checkpoint_every=100,
    ),
    # Those of the demo, here and below.
    "synthetic": replace(
        _ALONE,
        num_epochs=60,
        lr=3e-4,
        batch_size=15,
        clip_view="motion",
        patch_top=3,
        patch_latent="mean",
        eval_every=60,
        checkpoint_every=60,
    ),
}
# What stage 1 starts from; untrained without one.
STAGE1 = {
    "synthetic": UrdmuConfig(
        device="cpu",
        num_epochs=60,
        batch_size=30,
        num_segments=32,
        selection="last",
        validation_share=0,
        eval_every=60,
        checkpoint_every=60,
    )
}
BLUR = Blur(patches=0.5, snippets=0.5)


class Last(Reporter):
    """Keeps the result."""

    data: dict[str, Any]

    def send(self, record: results.Record) -> None:
        if isinstance(record, results.Result):
            self.data = dict(record.data)


def main() -> int:
    shared = Path(__file__).parents[3] / "shared" / "data" / "ucsd_ped2"
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--root", type=Path, default=shared, help="the folder of UCSD Ped2")
    parser.add_argument("--keep", type=Path, help="keep runs and maps in this folder")
    parser.add_argument("--clips_seed", type=int, default=7, help="of the synthetic clips")
    parser.add_argument("--latent", choices=LATENTS, default="sampled", help="of stage 1")
    args = parser.parse_args()
    missed = 0
    for data in args.data:
        if data == "ped2" and not args.root.is_dir():
            print(f"{args.root} is not there; name the folder of UCSD Ped2 with --root")
            continue
        with tempfile.TemporaryDirectory() as name:
            missed += measure(data, args, (args.keep or Path(name)) / data)
    return int(missed > 0)


def measure(data: str, args: argparse.Namespace, folder: Path) -> int:
    """Whether the model did not beat the baseline as it should."""
    version, features = prepare(data, args.root, folder, args.clips_seed)
    blurs = {"": NO_BLUR, ", blurred": BLUR}
    moves = motions(version, features)
    base = {name: baseline(version, features, moves, blur) for name, blur in blurs.items()}
    for name, each in base.items():
        frames = f"frame AUC {each['auc']:.3f}, AP {each['ap_step']:.3f}"
        print(f"{data}, baseline{name}: {words(each)}; {frames}")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in blurs}
    for seed in args.seeds:
        begin = time.perf_counter()
        chosen = train(data, {"seed": seed, "latent": args.latent}, version, features, folder)
        trained_s = time.perf_counter() - begin
        for name, blur in blurs.items():
            output = folder / f"evaluation-{seed}{name}"
            result = evaluate(chosen, blur, version, features, output)
            found[name].append({**result["patch"]["metrics"], "stages": result["stages"]})
            stages = ", ".join(
                f"{name} {v['auc']:.3f}/{v['ap_step']:.3f}" for name, v in result["stages"].items()
            )
            print(f"seed {seed}, trained in {trained_s:.0f} s{name}: {words(found[name][-1])}")
            print(f"  frame AUC/AP: {stages}")
            print(f"  {where(version, features, moves, output)}")
            print(f"  95 %: {intervals(result)}", flush=True)
    ratios = {}
    for name, rows in found.items():
        print(f"{len(rows)} seeds, last step{name}: {spread(rows)}")
        ap = statistics.mean(row["patch_ap_step_ungated"] for row in rows)
        ratios[name] = ap / base[name]["patch_ap_step_ungated"]
        print(f"patch AP{name} {ratios[name]:.2f} times the baseline's{name}", flush=True)
    auc = statistics.mean(row["stages"]["stage2"]["auc"] for row in found[""])
    return int(ratios[""] <= TIMES[data] or auc <= base[""]["auc"])


def train(data: str, settings: dict[str, Any], version: Path, features: Path, folder: Path) -> Path:
    """The chosen checkpoint of both stages; `settings` are of both trainings."""
    inputs: dict[str, Any] = {
        "manifest_dir": version,
        "features_dir": features,
        "reporter": Reporter(),
    }
    start = None
    if data in STAGE1:
        output = folder / f"stage1-{settings['seed']}"
        urdmu.train(replace(STAGE1[data], **settings), output=output, **inputs)
        start = checkpoints.chosen(output)
    output = folder / f"run-{settings['seed']}"
    two_stage.train(replace(CONFIGS[data], **settings), output=output, start=start, **inputs)
    return checkpoints.chosen(output)


def evaluate(
    checkpoint: Path, blur: Blur, version: Path, features: Path, output: Path
) -> dict[str, Any]:
    last = Last()
    evaluate_run(
        EvaluateConfig(
            device="cpu", score="stage2", map_blur=blur.patches, map_smoothing=blur.snippets
        ),
        manifest_dir=version,
        features_dir=features,
        checkpoint=checkpoint,
        output=output,
        reporter=last,
    )
    return last.data


def prepare(data: str, root: Path, folder: Path, clips_seed: int) -> tuple[Path, Path]:
    """Register the videos and extract their motion features; the two folders."""
    extracted = ExtractConfig(device="cpu", resize=(240, 320))
    registered = RegisterConfig(name=data, format="ucsd_ped", root=str(root), split="weak")
    if data == "synthetic":
        root = folder / "clips"
        make(root, seed=clips_seed)
        extracted = ExtractConfig(device="cpu")
        registered = RegisterConfig(name=data, format="synthetic", root=str(root))
    register(registered, output=folder / "data", reporter=Reporter())
    version = folder / "data" / "version"
    extract(
        extracted,
        manifest_dir=version,
        output=folder / "features",
        reporter=Reporter(),
    )
    return version, folder / "features" / "features"


def baseline(
    version: Path, features: Path, moves: Mapping[str, np.ndarray], blur: Blur
) -> dict[str, Any]:
    """The same metrics of mean absolute frame differences, scaled to at most 1."""
    manifest, store = load_manifest(version), FeatureStore.open(features)
    videos = list(manifest.split("test"))
    maps = {key: _blurred(grid, blur) for key, grid in moves.items()}
    scores = {key: grid.max(axis=1) for key, grid in maps.items()}
    truth = load_truth(version, "test")
    frames = ScoreSet.build(scores, videos=videos, truth=truth, rule=store.rule)
    patches = {
        key: VideoPatches(
            key=key,
            maps=grid[:, None],
            kept=np.ones_like(grid[:, None], dtype=bool),
            stage1=scores[key],
            stage2=scores[key],
            frames=frames.video(key).frames,
        )
        for key, grid in maps.items()
    }
    sweep = Sweep.of(frames)
    found = report(beside_truth(version, patches, store), samples=0, seed=0)["metrics"]
    return {**found, "auc": sweep.auc(), "ap_step": sweep.ap_step()}


def motions(version: Path, features: Path) -> dict[str, np.ndarray]:
    """`motion` of each test video."""
    manifest, store = load_manifest(version), FeatureStore.open(features)
    return {
        v.key: motion(manifest.media_path(v.path), store.shape(v.key)[1])
        for v in manifest.split("test")
    }


def beside_truth(
    version: Path, patches: Mapping[str, VideoPatches], store: FeatureStore
) -> PatchSet:
    """The maps of the test videos and where their anomalies are; the gate is the highest patch."""
    manifest, truth = load_manifest(version), load_truth(version, "test")
    videos = list(manifest.split("test"))
    frames = {v.key: v.num_frames for v in videos}
    places = read_places(manifest, videos, truth, frames, PatchRule())
    made = []
    for key, found in patches.items():
        place = places.videos[key]
        made.append(
            scored_video(
                place.video, place.truth, place.tracks, found, found.stage2, rule=store.rule
            )
        )
    return PatchSet(videos=tuple(made))


def where(version: Path, features: Path, moves: Mapping[str, np.ndarray], evaluation: Path) -> str:
    """What one sees who marks all patches that score 0.5 or more, in shares of patch frames."""
    scores = PatchScores.open(evaluation / "patches.safetensors")
    found = beside_truth(version, {v.key: v for v in scores.videos()}, FeatureStore.open(features))
    marked = dict.fromkeys(("abnormal", "beside", "moving", "still"), 0)
    total = dict(marked)
    for video in found.videos:
        abnormal, normal = video.counts()
        grid = np.pad((abnormal > 0).reshape(-1, GRID, GRID), ((0, 0), (1, 1), (1, 1)))
        near = np.lib.stride_tricks.sliding_window_view(grid, (3, 3), axis=(1, 2)).any(axis=(3, 4))
        near, fast = near.reshape(abnormal.shape), moves[video.video.key] >= MOVING
        kinds = {
            "abnormal": abnormal,
            "beside": normal * near,
            "moving": normal * (~near & fast),
            "still": normal * (~near & ~fast),
        }
        for name, frames in kinds.items():
            total[name] += int(frames.sum())
            marked[name] += int(frames[video.maps >= 0.5].sum())
    every = max(1, sum(marked.values()))
    parts = [f"{name} {marked[name] / every:.0%}" for name in marked]
    shares = [f"{name} {marked[name] / max(1, total[name]):.1%}" for name in marked]
    return f"marked: {', '.join(parts)}; of each kind is marked: {', '.join(shares)}"


def _blurred(grid: np.ndarray, blur: Blur) -> np.ndarray:
    """[T, P] float32."""
    maps = grid[:, None]
    return blurred(maps, np.ones_like(maps, dtype=bool), blur, rows=GRID, columns=GRID)[:, 0]


def motion(path: Path, snippets: int) -> np.ndarray:
    """[T, P] float32, 0 to 1: mean absolute grey difference in each cell over each snippet."""
    with open_video(path) as reader:
        frames = reader.frames(0, reader.listed_frames)
    grey = frames.astype(np.float32).mean(axis=-1) / 255
    rows, columns = (np.linspace(0, size, GRID + 1).astype(int) for size in grey.shape[1:])
    found = np.zeros((snippets, GRID, GRID), dtype=np.float32)
    for t in range(snippets):
        first = min(16 * t, len(grey) - 2)
        moved = np.abs(np.diff(grey[first : 16 * (t + 1)], axis=0)).mean(axis=0)
        for r in range(GRID):
            for c in range(GRID):
                cell = moved[rows[r] : rows[r + 1], columns[c] : columns[c + 1]]
                found[t, r, c] = cell.mean()
    return found.reshape(snippets, -1)


def words(found: dict[str, Any]) -> str:
    shown = [name for name in (*SHOWN, *REGIONS) if found.get(name) is not None]
    return ", ".join(f"{name} {found[name]:.3f}" for name in shown)


def intervals(data: dict[str, Any]) -> str:
    limits = {**data["patch"]["intervals"]}
    limits |= {f"{k} AUC": v["intervals"].get("auc") for k, v in data["stages"].items()}
    return ", ".join(f"{k} {v[0]:.3f} to {v[1]:.3f}" for k, v in limits.items() if v)


def spread(found: list[dict[str, Any]]) -> str:
    def both(values: list[float]) -> str:
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):.3f} ± {deviation:.3f}"

    parts = [
        f"{name} {both([f[name] for f in found])}"
        for name in (*SHOWN, *REGIONS)
        if all(f.get(name) is not None for f in found)
    ]
    for stage in ("stage1", "stage2", "fused"):
        for metric in ("auc", "ap_step"):
            parts.append(f"{stage} {metric} {both([f['stages'][stage][metric] for f in found])}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
