"""The `evaluate` run: what a checkpoint's scores of the test videos are worth.

A checkpoint of stage 1 gives one score a snippet. One of both stages also gives a map of patches a
snippet; its highest patch is stage 2's own score, and both can be fused. One of them is evaluated
per frame; the patches are evaluated where the data set says where its anomalies are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vad import devices, results
from vad.configs import EvaluateConfig
from vad.data.clips import Clips
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Truth, Video, fingerprint, load_manifest, load_truth
from vad.errors import ConfigError, VadError
from vad.evaluation import bootstrap, frame
from vad.evaluation.map_blur import Blur, blurred
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.protocol import Protocol, content_digest
from vad.evaluation.scores import ScoreSet
from vad.loading import load_model, selection_of
from vad.looking import KeptMaps, look
from vad.models.two_stage import TwoStage
from vad.models.urdmu import UrDmu
from vad.patch_scoring import VideoMaps
from vad.places import measure_patches, read_places
from vad.reporting import Reporter
from vad.scoring import missing_text, score_videos, with_features
from vad.training import checkpoints
from vad.video.proxies import ProxyStore

SCORES, PATCHES = "scores.safetensors", "patches.safetensors"
KEPT = "patches.part"  # folder of the maps of single videos, until the run is done
# What was evaluated, in the protocol. `stage1` is older than stage 2: stored fingerprints hold it.
FUSED = {
    "mean": "mean of stage 1 and stage 2",
    "max": "higher of stage 1 and stage 2",
    "product": "product of stage 1 and stage 2",
}
STAGE_METRICS = ("auc", "ap_step")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an evaluation works on."""

    config: EvaluateConfig
    manifest: Manifest
    truth: Mapping[str, Truth]  # of the test split
    dataset: str  # fingerprint of the version
    store: FeatureStore
    metadata: Mapping[str, Any]  # of the checkpoint
    device: torch.device
    output: Path
    reporter: Reporter
    left_out: dict[str, str] = field(default_factory=dict)  # test videos, each with the reason


def evaluate_run(
    config: EvaluateConfig,
    *,
    manifest_dir: Path,
    features_dir: Path,
    checkpoint: Path,
    output: Path,
    reporter: Reporter,
    proxies_dir: Path | None = None,
) -> None:
    """Score the test split with a checkpoint, write the scores below `output`, report metrics.

    Args:
        proxies_dir: small copies of the videos, for a checkpoint of both stages; without them the
            videos themselves are read.

    Raises:
        VadError: `features-missing`, `checkpoint-invalid`, `evaluation-impossible`, …;
            `config-invalid` when a score of stage 2 is asked for and there is none;
            `run-inputs-missing` when stage 2 can look at no test video.
    """
    device = devices.resolve(config.device)
    manifest = load_manifest(manifest_dir)
    truth = load_truth(manifest_dir, "test")
    model, metadata = load_model(checkpoint, device)
    chosen = chosen_score(config, model, checkpoint)
    inputs = Inputs(
        config=config,
        manifest=manifest,
        truth=truth,
        dataset=_dataset_fingerprint(manifest, manifest_dir, truth),
        store=FeatureStore.open(features_dir),
        metadata=metadata,
        device=device,
        output=output,
        reporter=reporter,
    )
    videos = _videos(inputs, model)
    if isinstance(model, TwoStage):
        proxies = ProxyStore.open(proxies_dir) if proxies_dir else None
        _evaluate_both(inputs, model, videos, chosen, proxies)
    else:
        _evaluate_stage1(inputs, model, videos)


def chosen_score(config: EvaluateConfig, model: UrDmu | TwoStage, checkpoint: Path) -> str:
    """`stage1`, `stage2` or `fused`.

    Raises:
        ConfigError: the checkpoint has no stage 2, and its score is asked for.
    """
    both = isinstance(model, TwoStage)
    if config.score == "auto":
        return "fused" if both else "stage1"
    if config.score != "stage1" and not both:
        raise ConfigError(
            {
                "score": f"{config.score!r} needs a checkpoint of both stages, and "
                f"{checkpoint.name} is of stage 1 alone: choose 'stage1' or 'auto'"
            }
        )
    return config.score


def _evaluate_stage1(inputs: Inputs, model: UrDmu, videos: Sequence[Video]) -> None:
    _started(inputs, len(videos))
    scores = _stage1_scores(inputs, model, videos, progress=True)
    if scores is not None:
        found = _score_set(inputs, videos, scores)
        _send(inputs, _measure(inputs, videos, found, _head(inputs, videos, "stage1")))


def _evaluate_both(
    inputs: Inputs,
    model: TwoStage,
    videos: Sequence[Video],
    chosen: str,
    proxies: ProxyStore | None,
) -> None:
    config, grid = inputs.config, model.architecture.grid
    source = proxies.fingerprint if proxies else ""
    kept = KeptMaps(
        inputs.output / KEPT,
        content_digest(
            [inputs.metadata["digest"], inputs.dataset, inputs.store.fingerprint, source]
        ),
    )
    rule = PatchRule(
        rows=grid.rows, columns=grid.columns, cell=grid.patch, overlap=config.patch_overlap
    )
    with Clips(inputs.manifest, size=(grid.height, grid.width), proxies=proxies) as clips:
        videos = _visible(inputs, videos, clips)
        covered = {v.key: _covered(inputs, v) for v in videos}
        # before hours of looking: whether the truth of places can be read
        places = read_places(inputs.manifest, videos, inputs.truth, covered, rule)
        _started(inputs, len(videos))
        looked = look(model, inputs.store, clips, [v.key for v in videos], kept, inputs.reporter)
    if looked.stopped:
        inputs.reporter.send(results.Stopped(step=len(looked.maps)))
        return
    inputs.left_out.update(looked.left_out)
    videos = [v for v in videos if v.key in looked.maps]
    if not videos:
        raise _nothing_to_see(inputs)
    stage1 = _stage1_scores(inputs, model.stage1, videos, progress=False)
    if stage1 is None:
        return
    blur = Blur(config.map_blur, config.map_smoothing)
    seen = {v.key: _blurred(looked.maps[v.key], blur, rule) for v in videos}
    stage2 = {key: found.maps.max(axis=(1, 2)) for key, found in seen.items()}
    texts = {
        "stage1": "stage1",
        "stage2": "stage2, highest patch" + (f" of maps {blur}" if blur else ""),
        "fused": FUSED[config.fusion] + (f", maps {blur}" if blur else ""),
    }
    sets = {
        "stage1": _score_set(inputs, videos, stage1),
        "stage2": _score_set(inputs, videos, stage2),
        "fused": _score_set(
            inputs, videos, {k: fuse(stage1[k], stage2[k], config.fusion) for k in stage1}
        ),
    }
    head = {**_head(inputs, videos, texts[chosen]), "proxies": source}
    data = _measure(inputs, videos, sets[chosen], head)
    stages = {name: {"score": texts[name], **_stage(inputs, found)} for name, found in sets.items()}
    maps = _patch_scores(videos, seen, stage1, sets[chosen], rule)
    patch = measure_patches(
        maps,
        sets[chosen],
        places,
        rule,
        frame_protocol=Protocol.from_dict(head["protocol"]),
        snippet_rule=inputs.store.rule,
        merge=config.tubelet_maps,
        blur=blur,
        samples=config.bootstrap_samples,
        seed=config.seed,
    )
    own = {name: patch[name] for name in ("protocol", "fingerprint")}
    sha256 = _save(maps, inputs.output / PATCHES, {**head, "patch": own})
    patch |= {"scores": PATCHES, "sha256": sha256}
    _send(
        inputs,
        {
            **data,
            "evaluated": chosen,
            "stages": stages,
            "damaged": looked.damaged,
            "patch": patch,
        },
    )
    kept.remove()


def fuse(stage1: np.ndarray, stage2: np.ndarray, fusion: str) -> np.ndarray:
    """One score a snippet from those of both stages, [T] float32; `fusion` as configured."""
    if fusion == "max":
        return np.maximum(stage1, stage2)
    first, second = stage1.astype(np.float64), stage2.astype(np.float64)
    both = first * second if fusion == "product" else (first + second) / 2
    return both.astype(np.float32)


def _blurred(seen: VideoMaps, blur: Blur, rule: PatchRule) -> VideoMaps:
    if not blur:
        return seen
    maps = blurred(seen.maps, seen.kept, blur, rows=rule.rows, columns=rule.columns)
    return VideoMaps(maps, seen.kept)


def _patch_scores(
    videos: Sequence[Video],
    seen: Mapping[str, VideoMaps],
    stage1: Mapping[str, np.ndarray],
    evaluated: ScoreSet,
    rule: PatchRule,
) -> PatchScores:
    return PatchScores.build(
        [
            VideoPatches(
                key=v.key,
                maps=seen[v.key].maps,
                kept=seen[v.key].kept,
                stage1=stage1[v.key],
                stage2=seen[v.key].maps.max(axis=(1, 2)),
                frames=evaluated.video(v.key).frames,
            )
            for v in videos
        ],
        rows=rule.rows,
        columns=rule.columns,
    )


def _started(inputs: Inputs, videos: int) -> None:
    inputs.reporter.send(
        results.Started(
            pid=os.getpid(),
            device=devices.describe(inputs.device),
            total=videos,
            unit="videos",
            environment=devices.environment(inputs.device),
        )
    )


def _stage1_scores(
    inputs: Inputs, model: UrDmu, videos: Sequence[Video], *, progress: bool
) -> dict[str, np.ndarray] | None:
    """Scores of stage 1 by video, [T] each; None when the run was asked to stop."""
    scores: dict[str, np.ndarray] = {}
    reporter = inputs.reporter
    for key, values in score_videos(model, inputs.store, [v.key for v in videos], inputs.device):
        scores[key] = values
        if progress:
            reporter.progress(len(scores), len(videos), "videos")
        if reporter.stop_requested:
            reporter.send(results.Stopped(step=len(scores)))
            return None
    return scores


def _score_set(
    inputs: Inputs, videos: Sequence[Video], scores: Mapping[str, np.ndarray]
) -> ScoreSet:
    return ScoreSet.build(
        scores,
        videos=videos,
        truth=inputs.truth,
        rule=inputs.store.rule,
        tail=inputs.config.tail,
        smoothing=inputs.config.smoothing,
    )


def _head(inputs: Inputs, videos: Sequence[Video], score: str) -> dict[str, Any]:
    """What stands in the score files as well as in the result."""
    protocol = Protocol.of(
        dataset=inputs.dataset,
        videos=videos,
        truth=inputs.truth,
        rule=inputs.store.rule,
        tail=inputs.config.tail,
        smoothing=inputs.config.smoothing,
        score=score,
    )
    return {
        "protocol": protocol.to_dict(),
        "fingerprint": protocol.fingerprint,
        "selection": selection_of(inputs.metadata),
        "checkpoint_step": inputs.metadata["step"],
        "features": inputs.store.fingerprint,
    }


def _measure(
    inputs: Inputs, videos: Sequence[Video], found: ScoreSet, head: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the scores; the part of the result that every checkpoint has."""
    samples, seed = inputs.config.bootstrap_samples, inputs.config.seed
    sha256 = _save(found, inputs.output / SCORES, head)
    measured = frame.evaluate(found)
    by_class = bootstrap.class_intervals(found, samples=samples, seed=seed)
    for row in measured["per_class"]:
        row["intervals"] = by_class[row["class"]]
    return {
        "scores": SCORES,
        "sha256": sha256,
        **head,
        **measured,
        "intervals": bootstrap.intervals(found, samples=samples, seed=seed),
    }


def _stage(inputs: Inputs, found: ScoreSet) -> dict[str, Any]:
    """The headline metrics of one stage, each with its interval."""
    measured = frame.metrics(found)
    return {
        **{name: measured[name] for name in STAGE_METRICS},
        "intervals": bootstrap.intervals(
            found,
            samples=inputs.config.bootstrap_samples,
            seed=inputs.config.seed,
            names=STAGE_METRICS,
        ),
    }


def _send(inputs: Inputs, data: dict[str, Any]) -> None:
    record = results.Result(kind=inputs.config.kind, data={**data, "left_out": inputs.left_out})
    inputs.reporter.send(record)


def _videos(inputs: Inputs, model: UrDmu | TwoStage) -> list[Video]:
    """The test videos with features; the others are noted as left out.

    Raises:
        VadError: `too-few-videos`, `features-missing`, or `checkpoint-invalid` (another width).
    """
    manifest, store = inputs.manifest, inputs.store
    if store.dim != model.feature_dim:
        raise VadError(
            "checkpoint-invalid",
            f"The checkpoint takes features of {model.feature_dim} numbers, "
            f"{store.folder} holds {store.dim}.",
            "Evaluate it on the features that it was trained on.",
        )
    test = manifest.split("test")
    if not test:
        raise VadError(
            "too-few-videos",
            f"Data set {manifest.name} has no test videos.",
            "Register a data set version with a test split.",
        )
    videos, missing = with_features(test, store)
    if not videos:
        raise VadError(
            "features-missing",
            f"None of the {len(test)} test videos of {manifest.name} has features in "
            f"{store.folder}.",
            "Choose the features of this data set.",
        )
    if missing:
        inputs.reporter.log(missing_text(missing, len(test), "test"), "warning")
    inputs.left_out.update(dict.fromkeys(missing, "It has no features."))
    return videos


def _visible(inputs: Inputs, videos: Sequence[Video], clips: Clips) -> list[Video]:
    """The videos that can be looked at; the others are noted as left out."""
    problems = clips.problems([v.key for v in videos])
    for text in problems.values():
        inputs.reporter.log(f"{text} It is left out.", "warning")
    inputs.left_out.update(problems)
    visible = [v for v in videos if v.key not in problems]
    if not visible:
        raise _nothing_to_see(inputs)
    return visible


def _nothing_to_see(inputs: Inputs) -> VadError:
    return VadError(
        "run-inputs-missing",
        f"Stage 2 can look at none of the test videos of {inputs.manifest.name}.",
        "Register the data set with its videos, or evaluate a checkpoint of stage 1.",
        problems=[f"{key}: {text}" for key, text in inputs.left_out.items()],
    )


def _covered(inputs: Inputs, video: Video) -> int:
    """How many frames the scores of a video cover, as `ScoreSet.build` counts them."""
    rule = inputs.store.rule
    if inputs.config.tail == "cut" and rule.rule == "hold":
        return inputs.store.shape(video.key)[1] * rule.snippet_len
    return video.num_frames


def _dataset_fingerprint(
    manifest: Manifest, manifest_dir: Path, test_truth: Mapping[str, Truth]
) -> str:
    """Of the whole version; the truth of training videos counts, but plays no part in scores."""
    return fingerprint(manifest, {**load_truth(manifest_dir, "train"), **test_truth})


def _save(scores: ScoreSet | PatchScores, path: Path, metadata: Mapping[str, Any]) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return scores.save(path, metadata)
    except OSError as exc:
        if checkpoints.is_full(exc):
            raise checkpoints.disk_full(path) from exc
        raise
