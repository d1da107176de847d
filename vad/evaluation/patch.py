"""All metrics of an evaluation at patch level: where in the frame. numpy only.

Every metric is computed from stretches of frames that share a map and a truth, weighted by their
length, which gives exactly what working on every frame would. A metric that is not defined is
None: never 0, never NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vad.evaluation.components import patch_regions
from vad.evaluation.frame import MetricInfo
from vad.evaluation.patch_set import PatchSet
from vad.evaluation.patch_truth import box_iou, patch_boxes
from vad.evaluation.regions import Detections, Matches, TrueRegions, match_regions, true_regions
from vad.evaluation.sweep import Sweep

THRESHOLD = 0.5  # of patches and of frames; fixed beforehand, so it has not seen the truth
REGION_THRESHOLDS = tuple(t / 10 for t in range(1, 10))
PATCH_IOU_FLOOR = 1e-6  # in the published formula

PATCH_METRICS: Mapping[str, MetricInfo] = {
    "patch_auc": MetricInfo(
        "Patch AUC", "Area under the ROC curve over all patches of all frames, gated by the frame."
    ),
    "patch_ap_step": MetricInfo("Patch AP", "Average precision in steps over the same patches."),
    "patch_ap_pr_auc": MetricInfo(
        "Patch PR-AUC", "Area under the precision-recall points by trapezoids; the PAP of papers."
    ),
    "patch_auc_ungated": MetricInfo("Patch AUC, ungated", "Patch AUC of the patch scores alone."),
    "patch_ap_step_ungated": MetricInfo("Patch AP, ungated", "Patch AP of the patch scores alone."),
    "patch_ap_pr_auc_ungated": MetricInfo(
        "Patch PR-AUC, ungated", "Patch PR-AUC of the patch scores alone."
    ),
    "patch_auc_located": MetricInfo(
        "Patch AUC, frames with a box", "Ungated patch AUC over the frames that carry a box."
    ),
    "patch_ap_step_located": MetricInfo(
        "Patch AP, frames with a box", "Ungated patch AP over the frames that carry a box."
    ),
    "patch_ap_pr_auc_located": MetricInfo(
        "Patch PR-AUC, frames with a box", "Ungated patch PR-AUC over the frames that carry a box."
    ),
    "tiou": MetricInfo(
        "TIoU", "Mean IoU of predicted and true box; 0 where the frame score is below 0.5."
    ),
    "tiou_quantised": MetricInfo(
        "TIoU, boxes of patches", "TIoU against the box around the abnormal patches."
    ),
    "tiou_legacy": MetricInfo(
        "TIoU as averaged by SST", "Falls as the frame scores get better; for comparison only."
    ),
    "tiou_oracle": MetricInfo(
        "Best-threshold TIoU (oracle)",
        "TIoU at the thresholds with the best Youden's J on these very frames.",
        oracle=True,
    ),
    "patch_iou": MetricInfo("Patch IoU", "Mean IoU of the sets of predicted and true patches."),
    "rbdc": MetricInfo(
        "RBDC", "Area under the region detection rate, to 1 false positive a frame."
    ),
    "tbdc": MetricInfo("TBDC", "Area under the track detection rate, to 1 false positive a frame."),
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The scores from which a patch belongs to the predicted box, and a frame is flagged."""

    patch: float = THRESHOLD
    frame: float = THRESHOLD


@dataclass(frozen=True)
class Overlap:
    """A mean over frames, and how many frames it is over; None where there is no frame."""

    value: float | None
    frames: int


def patch_metrics(
    patches: PatchSet,
    *,
    limits: Limits | None = None,
    region_thresholds: Sequence[float] = REGION_THRESHOLDS,
) -> dict[str, float | None]:
    """The metrics over the whole set, in the order of `PATCH_METRICS`.

    Args:
        limits: of TIoU and patch IoU; fixed at 0.5 by default, or picked on validation.
        region_thresholds: where the gated maps are cut into regions for RBDC and TBDC.
    """
    gated, ungated = patch_sweep(patches, gated=True), patch_sweep(patches, gated=False)
    located = patch_sweep(patches, gated=False, located=True)
    limits = limits or Limits()
    regions = match_patch_regions(patches, region_thresholds)
    curve = regions.curve(patches.num_frames) if regions else None
    return {
        **_areas(gated, ""),
        **_areas(ungated, "_ungated"),
        **_areas(located, "_located"),
        "tiou": tiou(patches, limits).value,
        "tiou_quantised": tiou(patches, limits, quantised=True).value,
        "tiou_legacy": tiou_legacy(patches, limits).value,
        "tiou_oracle": _tiou_oracle(patches, ungated),
        "patch_iou": patch_iou(patches, limits).value,
        "rbdc": curve.rbdc if curve else None,
        "tbdc": curve.tbdc if curve else None,
    }


def patch_sweep(patches: PatchSet, *, gated: bool, located: bool = False) -> Sweep:
    """Every threshold over all patches of all frames, normal videos included.

    Its `auc` and `ap_pr_auc`, gated, are PAUC and PAP of the papers.

    Args:
        gated: patch score times frame score, not the patch score alone.
        located: only frames that carry a box.

    Source: SST-WSVADL, `compute_pauc_pap`.
    """
    counts = [v.counts(located=located) for v in patches.videos]
    scores = [v.gated if gated else v.maps for v in patches.videos]
    return Sweep.over(
        np.concatenate([s.ravel() for s in scores]),
        np.concatenate([positives.ravel() for positives, _ in counts]),
        np.concatenate([negatives.ravel() for _, negatives in counts]),
    )


def tiou(patches: PatchSet, limits: Limits, *, quantised: bool = False) -> Overlap:
    """Mean overlap of predicted and true box, over frames of abnormal videos that carry a box.

    The predicted box is the tight one around the patches at or above the patch limit. A frame
    counts 0 without such a patch, and where its score is below the frame limit.

    Args:
        quantised: the true box is the one around the abnormal patches, not the exact hull.

    Source: Liu and Ma 2019, as later work uses it.
    """
    iou, flagged, frames = _overlaps(patches, limits, quantised)
    located = iou >= 0
    return _mean(iou[located] * flagged[located], frames[located])


def tiou_legacy(patches: PatchSet, limits: Limits, *, quantised: bool = False) -> Overlap:
    """TIoU as SST-WSVADL averages it. To compare with its tables, and for nothing else.

    Frames of abnormal videos without a true box enter the mean with 0 where the frame score is
    below the frame limit, and are left out where it is a false alarm. So better frame scores
    give a lower number: with perfect detection a true 0.5 can read 0.167.

    Source: SST-WSVADL, `compute_tiou` without `anomaly_frames_only`.
    """
    iou, flagged, frames = _overlaps(patches, limits, quantised)
    counted = (iou >= 0) | ~flagged
    return _mean(np.maximum(iou, 0.0)[counted] * flagged[counted], frames[counted])


def patch_iou(patches: PatchSet, limits: Limits) -> Overlap:
    """Mean over frames with an abnormal patch of sum(p*g) / (sum(p + g - p*g) + 1e-6).

    p is 1 for patches at or above the patch limit, g for abnormal ones. No frame score.

    Source: SST-WSVADL, `compute_iou`.
    """
    values, weights = [], []
    for video in patches.videos:
        at_map, at_run, frames = video.pieces
        some = video.truth.masks[at_run].any(axis=1)
        predicted = (video.maps >= np.float32(limits.patch))[at_map[some]]
        true = video.truth.masks[at_run[some]]
        shared, whole = (predicted & true).sum(axis=1), (predicted | true).sum(axis=1)
        values.append(shared / (whole + PATCH_IOU_FLOOR))
        weights.append(frames[some])
    return _mean(np.concatenate(values), np.concatenate(weights))


def match_patch_regions(
    patches: PatchSet, thresholds: Sequence[float] = REGION_THRESHOLDS
) -> Matches | None:
    """The regions of the gated maps against the boxes over time; None without any such box."""
    truth = TrueRegions.joined(
        [
            true_regions(v.tracks, v.video, position=at, rule=patches.rule)
            for at, v in enumerate(patches.videos)
        ]
    )
    if len(truth.boxes) == 0:
        return None
    found = Detections.joined(
        [
            patch_regions(v.gated, v.bounds, thresholds, position=at, rule=patches.rule)
            for at, v in enumerate(patches.videos)
        ]
    )
    return match_regions(found, truth)


def _areas(sweep: Sweep, suffix: str) -> dict[str, float | None]:
    return {
        f"patch_auc{suffix}": sweep.auc(),
        f"patch_ap_step{suffix}": sweep.ap_step(),
        f"patch_ap_pr_auc{suffix}": sweep.ap_pr_auc(),
    }


def _tiou_oracle(patches: PatchSet, ungated: Sweep) -> float | None:
    """TIoU at the thresholds of the best Youden's J: of patches, and of frames for a box."""
    located, others, scores = [], [], []
    for video in patches.videos:
        at_map, at_run, frames = video.pieces
        scores.append(video.frame_scores[at_map])
        located.append(frames * video.truth.located[at_run])
        others.append(frames - located[-1])
    of_frames = Sweep.over(
        np.concatenate(scores), np.concatenate(located), np.concatenate(others)
    ).best_youden()
    of_patches = ungated.best_youden()
    if of_frames is None or of_patches is None:
        return None
    return tiou(patches, Limits(patch=of_patches[1], frame=of_frames[1])).value


def _overlaps(
    patches: PatchSet, limits: Limits, quantised: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU (-1 without a true box), frame flagged or not, and frames; of abnormal videos."""
    parts = [(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))]
    for video in (v for v in patches.videos if v.video.label == 1):
        at_map, at_run, frames = video.pieces
        predicted = patch_boxes(video.maps >= np.float32(limits.patch), patches.rule)
        true = patch_boxes(video.truth.masks, patches.rule) if quantised else video.truth.boxes
        iou = box_iou(predicted[at_map], true[at_run])
        iou[np.isnan(true[at_run, 0])] = -1.0
        parts.append((iou, (video.frame_scores >= np.float32(limits.frame))[at_map], frames))
    iou, flagged, frames = (np.concatenate(column) for column in zip(*parts, strict=True))
    return iou, flagged, frames


def _mean(values: np.ndarray, frames: np.ndarray) -> Overlap:
    total = int(frames.sum())
    return Overlap(float(np.dot(values, frames)) / total if total else None, total)
