"""All metrics of an evaluation at frame and video level. numpy only.

Definitions and sources stand in docs/evaluation.md. A metric that is not defined, because one of
the two classes is missing, is None: never 0, never NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vad.evaluation.curves import Curve, operating_point, pr_curve, roc_curve
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep

__all__ = [
    "METRICS",
    "METRIC_VERSION",
    "THRESHOLD",
    "Curve",
    "MetricInfo",
    "class_metrics",
    "evaluate",
    "metrics",
    "operating_point",
    "pr_curve",
    "roc_curve",
    "video_metrics",
]

METRIC_VERSION = 1  # part of the protocol: raised when a definition, not its speed, changes
THRESHOLD = 0.5  # of FAR and accuracy; fixed beforehand, so it has not seen the truth


@dataclass(frozen=True)
class MetricInfo:
    """How a page names a metric, and which direction is better."""

    title: str
    help: str
    higher_is_better: bool | None = True  # None: neither, it is a setting
    oracle: bool = False  # chosen on the truth it is measured on


METRICS: Mapping[str, MetricInfo] = {
    "auc": MetricInfo("AUC", "Area under the ROC curve, all frames of all videos together."),
    "ap_step": MetricInfo("AP", "Average precision in steps, all frames together."),
    "ap_pr_auc": MetricInfo(
        "PR-AUC", "Area under the precision-recall points by trapezoids; papers often call it AP."
    ),
    "auc_abnormal": MetricInfo("AUC, abnormal videos", "AUC over the abnormal videos only."),
    "ap_step_abnormal": MetricInfo("AP, abnormal videos", "AP over the abnormal videos only."),
    "ap_pr_auc_abnormal": MetricInfo(
        "PR-AUC, abnormal videos", "PR-AUC over the abnormal videos only."
    ),
    "auc_macro": MetricInfo(
        "AUC, mean of videos", "Mean of the AUC of each video that has frames of both kinds."
    ),
    "auc_fpr_01": MetricInfo(
        "AUC to 1 % FPR", "Partial AUC up to a false-positive rate of 1 %; 0.5 is chance."
    ),
    "auc_fpr_10": MetricInfo(
        "AUC to 10 % FPR", "Partial AUC up to a false-positive rate of 10 %; 0.5 is chance."
    ),
    "far_normal": MetricInfo(
        "FAR", "Share of the frames of normal videos with a score above 0.5.", False
    ),
    "video_auc": MetricInfo("Video AUC", "AUC of each video's highest score against its label."),
    "video_accuracy": MetricInfo(
        "Video accuracy", "Share of videos whose highest score is above 0.5 exactly if abnormal."
    ),
    "oracle_f1": MetricInfo(
        "Best F1 (oracle)", "F1 at the threshold that is best on these very frames.", oracle=True
    ),
    "oracle_f1_threshold": MetricInfo(
        "Threshold of the best F1 (oracle)", "Where that F1 is reached.", None, oracle=True
    ),
    "oracle_youden": MetricInfo(
        "Best TPR − FPR (oracle)",  # noqa: RUF001
        "Youden's J at the threshold that is best on these very frames.",
        oracle=True,
    ),
    "oracle_youden_threshold": MetricInfo(
        "Threshold of the best TPR − FPR (oracle)",  # noqa: RUF001
        "Where that J is reached.",
        None,
        oracle=True,
    ),
}


def evaluate(scores: ScoreSet) -> dict[str, Any]:
    """Everything an evaluation reports, as plain JSON types.

    Returns:
        `metrics`: name of `METRICS` to value or None; `per_class` and `per_video`: one row each;
        `counts`: videos, snippets and frames by kind.
    """
    return {
        "metrics": metrics(scores),
        "per_class": class_metrics(scores),
        "per_video": video_metrics(scores),
        "counts": _counts(scores),
    }


def metrics(scores: ScoreSet) -> dict[str, float | None]:
    """The metrics over the whole set, in the order of `METRICS`."""
    sweep = Sweep.of(scores)
    abnormal = scores.labels == 1
    only_abnormal = Sweep.of(scores.select(abnormal))
    f1, youden = sweep.best_f1(), sweep.best_youden()
    return {
        "auc": sweep.auc(),
        "ap_step": sweep.ap_step(),
        "ap_pr_auc": sweep.ap_pr_auc(),
        "auc_abnormal": only_abnormal.auc(),
        "ap_step_abnormal": only_abnormal.ap_step(),
        "ap_pr_auc_abnormal": only_abnormal.ap_pr_auc(),
        "auc_macro": _auc_macro(scores),
        "auc_fpr_01": sweep.partial_auc(0.01),
        "auc_fpr_10": sweep.partial_auc(0.10),
        "far_normal": _far(scores),
        "video_auc": _video_sweep(scores).auc(),
        "video_accuracy": float(np.mean((scores.max_scores > THRESHOLD) == abnormal)),
        "oracle_f1": f1[0] if f1 else None,
        "oracle_f1_threshold": f1[1] if f1 else None,
        "oracle_youden": youden[0] if youden else None,
        "oracle_youden_threshold": youden[1] if youden else None,
    }


def class_metrics(scores: ScoreSet) -> list[dict[str, Any]]:
    """One row a class, sorted by name. A video of several classes counts in each.

    `auc` and `ap_step` are over the class's own videos (the usual per-class figure),
    `*_with_normal` over those and all normal videos; `found` is how many have a score above 0.5.
    """
    rows = []
    normal = scores.labels == 0
    flagged = scores.max_scores > THRESHOLD
    for name in scores.class_names:
        members = scores.has_class(name) & ~normal
        own = Sweep.of(scores.select(members))
        both = Sweep.of(scores.select(members | normal))
        rows.append(
            {
                "class": name,
                "videos": int(members.sum()),
                "found": int((members & flagged).sum()),
                "frames": own.num_positive + own.num_negative,
                "positive_frames": own.num_positive,
                "auc": own.auc(),
                "auc_with_normal": both.auc(),
                "ap_step": own.ap_step(),
                "ap_step_with_normal": both.ap_step(),
            }
        )
    return rows


def video_metrics(scores: ScoreSet) -> list[dict[str, Any]]:
    """One row a video, in the set's order; `auc` is None where all its frames are of one kind.

    `mean_positive` and `mean_negative` are mean scores of its positive and negative frames,
    `share_above` the share of its frames with a score above 0.5.
    """
    values = scores.scores.astype(np.float64)
    positive, frames = scores.per_video(scores.positives), scores.per_video(scores.frames)
    on_positive = scores.per_video(values * scores.positives)
    on_negative = scores.per_video(values * scores.negatives)
    above = scores.per_video(scores.frames * (scores.scores > THRESHOLD))
    return [
        {
            "key": video.key,
            "label": video.label,
            "classes": list(video.classes),
            "snippets": len(video.scores),
            "frames": int(frames[v]),
            "positive_frames": int(positive[v]),
            "auc": _sweep_of_rows(video).auc(),
            "max_score": float(scores.max_scores[v]),
            "mean_score": _ratio(on_positive[v] + on_negative[v], frames[v]),
            "mean_positive": _ratio(on_positive[v], positive[v]),
            "mean_negative": _ratio(on_negative[v], frames[v] - positive[v]),
            "share_above": _ratio(above[v], frames[v]),
        }
        for v, video in enumerate(scores.videos())
    ]


def _counts(scores: ScoreSet) -> dict[str, int]:
    return {
        "videos": len(scores),
        "normal_videos": int((scores.labels == 0).sum()),
        "abnormal_videos": int((scores.labels == 1).sum()),
        "snippets": len(scores.scores),
        "frames": int(scores.frames.sum()),
        "positive_frames": int(scores.positives.sum()),
    }


def _auc_macro(scores: ScoreSet) -> float | None:
    values = [_sweep_of_rows(video).auc() for video in scores.videos() if video.positives.any()]
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _far(scores: ScoreSet) -> float | None:
    frames = scores.frames * (scores.labels[scores.video_of] == 0)
    return _ratio(frames[scores.scores > THRESHOLD].sum(), frames.sum())


def _video_sweep(scores: ScoreSet) -> Sweep:
    abnormal = (scores.labels == 1).astype(np.int64)
    return Sweep.over(scores.max_scores, abnormal, 1 - abnormal)


def _sweep_of_rows(rows: Any) -> Sweep:
    return Sweep.over(rows.scores, rows.positives, rows.frames - rows.positives)


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole else None
