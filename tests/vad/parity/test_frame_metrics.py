"""Frame-level metrics against numbers that scikit-learn computed on the expanded frames."""

from __future__ import annotations

import numpy as np
import pytest
import vectors

from vad.data.manifest import Truth, Video
from vad.evaluation.frame import class_metrics, metrics
from vad.evaluation.scores import ScoreSet
from vad.timeline import SnippetRule, mask_intervals

TOLERANCE = 1e-9

NAMES = {  # ours: theirs
    "auc": "auc",
    "ap_pr_auc": "ap_trapezoid",
    "ap_step": "ap_step",
    "video_accuracy": "accuracy",
    "auc_abnormal": "auc_abnormal",
    "ap_step_abnormal": "ap_abnormal",
    "far_normal": "far_normal_050",
}


@pytest.fixture(scope="module")
def vector() -> dict[str, np.ndarray]:
    return vectors.vector("metrics")


@pytest.fixture(scope="module")
def score_set(vector: dict[str, np.ndarray]) -> ScoreSet:
    counts = vector["snippets_per_video"]
    snippet_len = len(vector["frame_gt"]) // len(vector["snippet_scores"])
    videos, scores, truth = [], {}, {}
    frame = snippet = 0
    for v, count in enumerate(counts.tolist()):
        key, frames = f"video-{v}", count * snippet_len
        label, kind = int(vector["video_label"][v]), int(vector["video_class"][v])
        videos.append(
            Video(
                key=key,
                split="test",
                label=label,
                classes=(str(kind),) if label else (),
                num_frames=frames,
            )
        )
        scores[key] = vector["snippet_scores"][snippet : snippet + count]
        mask = vector["frame_gt"][frame : frame + frames].astype(bool)
        truth[key] = Truth(intervals=mask_intervals(mask))
        frame, snippet = frame + frames, snippet + count
    rule = SnippetRule("hold", snippet_len)
    return ScoreSet.build(scores, videos=videos, truth=truth, rule=rule)


@pytest.mark.parametrize("ours", NAMES)
def test_a_metric_equals_the_reference(ours, vector, score_set):
    expected = float(vector[NAMES[ours]])

    assert metrics(score_set)[ours] == pytest.approx(expected, abs=TOLERANCE, rel=0)


def test_every_class_auc_equals_the_reference(vector, score_set):
    rows = class_metrics(score_set)

    expected = {
        row["class"]: (
            float(vector[f"auc_class{row['class']}_own"]),
            float(vector[f"auc_class{row['class']}_with_normal"]),
        )
        for row in rows
    }
    assert len(rows) == sum(name.endswith("_own") for name in vector)
    for row in rows:
        own, with_normal = expected[row["class"]]
        assert row["auc"] == pytest.approx(own, abs=TOLERANCE, rel=0)
        assert row["auc_with_normal"] == pytest.approx(with_normal, abs=TOLERANCE, rel=0)
