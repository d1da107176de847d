"""What a sweep can be after, which way is better, and on which split that chooses."""

from __future__ import annotations

from dataclasses import dataclass

EVALUATION = "evaluation/"  # then a field of the runs table: a number of the trial's evaluation
KEY_LENGTH = 120


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A number that trials have."""

    key: str
    title: str
    falling: bool = False
    both_stages: bool = False  # there is one only with stage 2


KNOWN = {
    known.key: known
    for known in (
        Objective(key="validation/video_auc", title="Video AUC on validation"),
        Objective(
            key="validation/fused_video_auc", title="Fused video AUC on validation",
            both_stages=True,
        ),
        Objective(
            key="validation/patch_video_auc", title="Stage 2's video AUC on validation",
            both_stages=True,
        ),
        Objective(key="loss/total", title="Training loss", falling=True),
        Objective(key="test/frame_auc", title="Frame AUC on the test split"),
        Objective(key="test/frame_ap", title="Frame AP on the test split"),
        Objective(key="evaluation/auc", title="Frame AUC of the evaluation"),
        Objective(key="evaluation/ap", title="Frame AP of the evaluation"),
        Objective(
            key="evaluation/patch_auc", title="Patch AUC of the evaluation", both_stages=True
        ),
    )
}  # fmt: skip


def title_of(key: str) -> str:
    return KNOWN[key].title if key in KNOWN else key


def is_of_evaluation(key: str) -> bool:
    return key.startswith(EVALUATION)


def chosen_on(key: str) -> str:
    """The split whose videos choose the best trial: 'validation', 'test' or 'training'."""
    if key.startswith("validation/"):
        return "validation"
    return "test" if key.startswith(("test/", EVALUATION)) else "training"


def offered(kind: str) -> list[Objective]:
    """Those that a kind of training has."""
    both = kind == "train-two-stage"
    return [known for known in KNOWN.values() if both or not known.both_stages]
