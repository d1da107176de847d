"""Which metrics of a run are drawn together."""

from __future__ import annotations

from webapp.runs import figures

KEYS = [
    "loss/total",
    "loss/triplet",
    "test/frame_auc",
    "time/step_s",
    "validation/video_auc",
    "gpu/w",
]


def test_every_metric_is_drawn_exactly_once() -> None:
    drawn = [key for group in figures.shown_groups(KEYS) for key in group.keys(KEYS)]

    assert sorted(drawn) == sorted(KEYS)


def test_the_weighted_loss_stands_apart_from_terms_of_other_sizes() -> None:
    groups = {group.name: group.keys(KEYS) for group in figures.shown_groups(KEYS)}

    assert groups["loss"] == ["loss/total"]
    assert groups["terms"] == ["loss/triplet"]
    assert figures.group("terms").log_y


def test_the_terms_of_each_stage_have_a_figure_of_their_own() -> None:
    keys = ["loss/total", "loss/stage1", "loss/stage2", "loss/stage1_triplet", "loss/stage2_ratio"]
    groups = {group.name: group.keys(keys) for group in figures.shown_groups(keys)}

    assert groups == {
        "loss": keys[:3],
        "terms-1": ["loss/stage1_triplet"],
        "terms-2": ["loss/stage2_ratio"],
    }


def test_unknown_metrics_get_a_figure_of_their_own() -> None:
    assert figures.shown_groups(["gpu/w"])[0].title == "Gpu"
    assert figures.group("gpu").keys(KEYS) == ["gpu/w"]
