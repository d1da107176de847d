import json
import math
import re

import numpy as np
import pytest

from webapp.charts import (
    Band,
    ClassValues,
    Curve,
    OperatingPoint,
    ScoreTrack,
    Series,
    class_histogram,
    metric_curves,
    per_class,
    pr,
    roc,
    score_timeline,
    style,
)
from webapp.charts.metrics import smooth

NAN = float("nan")
X = np.linspace(0, 1, 5)


def losses(**more):
    series = [
        Series(name="seed 1", x=[0, 10, 20], y=[1.0, NAN, 0.4], index=0),
        Series(name="seed 2", x=[0, 10, 20], y=[1.0, 0.5, 0.3], index=1),
    ]
    return metric_curves(series, title="Training loss", y_title="Loss", value="min", **more)


def curve(name="seed 1", value=0.8, index=0, **more):
    return Curve(name=name, x=X, y=np.sqrt(X), value=value, index=index, **more)


FIGURES = {
    "metrics": lambda: losses(smoothing=0.5, log_y=True),
    "roc": lambda: roc(
        [
            curve(
                thresholds=1 - X,
                low=0.7,
                high=0.9,
                band=Band(x=X, low=X, high=X),
                point=OperatingPoint(x=0.1, y=0.5, threshold=0.4),
            )
        ],
        title="Frame-level ROC, synthetic test, 12 videos",
    ),
    "pr": lambda: pr([curve()], title="Precision and recall, synthetic test", prevalence=0.1),
    "classes": lambda: per_class(
        [
            ClassValues(
                name="seed 1", values={"Arson": 0.7, "Fire": None}, intervals={"Arson": (0.6, 0.8)}
            )
        ],
        title="AUC by class",
        videos={"Arson": 9, "Fire": 1},
    ),
    "histogram": lambda: class_histogram(
        {"train": {"Normal": 8, "Fire": 2}, "test": {"Fire": 3}}, title="Videos by class"
    ),
    "timeline": lambda: score_timeline(
        [ScoreTrack(name="seed 1", starts=[0, 16], scores=[0.1, NAN])],
        title="Anomaly score, clip 3",
        num_frames=40,
        truth=[(16, 30)],
        threshold=0.5,
    ),
}


@pytest.fixture(params=FIGURES)
def figure(request):
    return FIGURES[request.param]()


def test_a_figure_is_json_without_nan(figure):
    json.dumps(figure, allow_nan=False)


def test_a_figure_says_what_one_sees(figure):
    layout = figure["layout"]

    assert layout["title"]["text"]
    assert layout["xaxis"]["title"]["text"]
    assert layout["yaxis"]["title"]["text"]
    assert layout["showlegend"]
    assert any(t.get("showlegend", True) and t["name"] for t in figure["data"])
    assert len(figure["alt"]) > 40


def test_a_figure_names_no_theme_colour(figure):
    """Colours are a run's own, a CSS variable, or a neutral that is seen through."""
    text = json.dumps(figure)
    runs = {style(i).color for i in range(7)}

    assert set(re.findall(r"#[0-9a-fA-F]{6}", text)) <= runs
    assert not re.search(r'"(white|black|gr[ae]y)"', text)


def test_shares_have_their_unit_on_the_axis():
    layout = FIGURES["roc"]()["layout"]

    assert layout["xaxis"]["title"]["text"] == "False positive rate (share of normal frames)"


def test_a_name_cannot_bring_markup():
    figure = roc([curve(name="<b>x</b>&")], title="ROC <i>")

    text = json.dumps(figure["data"]) + figure["layout"]["title"]["text"]
    assert "<b>" not in text
    assert "<i>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;&amp;" in text


def test_the_legend_is_sorted_by_the_value_and_shows_it():
    figure = roc([curve("low", 0.6, 0), curve("high", 0.9, 1), curve("none", None, 2)], title="ROC")

    ranked = sorted(figure["data"], key=lambda t: t["legendrank"])
    assert [t["name"] for t in ranked] == [
        "high  0.900",
        "low  0.600",
        "none  \u2013",
        "chance  0.500",
    ]


def test_the_least_loss_comes_first():
    names = [t["name"] for t in losses()["data"]]

    assert names == ["seed 2  0.3000", "seed 1  0.4000"]


def test_a_run_keeps_its_colour_whatever_its_rank():
    before = roc([curve("a", 0.6, 0), curve("b", 0.9, 4)], title="ROC")
    after = roc([curve("b", 0.1, 4)], title="ROC")

    def colour(figure):
        return next(t["line"]["color"] for t in figure["data"] if t["name"].startswith("b"))

    assert colour(before) == colour(after) == style(4).color


def test_smoothing_shows_the_raw_curve_behind():
    figure = losses(smoothing=0.9)

    assert [t["opacity"] for t in figure["data"] if "opacity" in t] == [0.3, 0.3]
    assert figure["layout"]["title"]["text"].endswith("smoothed 0.9")


def test_smoothing_starts_at_the_first_value_and_keeps_gaps():
    smoothed = smooth([2.0, None, 2.0, 4.0], 0.9)

    assert smoothed[0] == pytest.approx(2.0)
    assert smoothed[1] is None
    assert 2.0 < smoothed[3] < 4.0


def test_a_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match="smoothing"):
        losses(smoothing=1.0)


def test_a_curve_is_the_same_trace_when_its_rank_changes():
    """Live data may turn the order around; a curve that a person hid must stay the hidden one."""
    series = [
        Series(name="a", x=[0, 1], y=[0.1, 0.9], index=0),
        Series(name="b", x=[0, 1], y=[0.2, 0.5], index=1),
    ]

    early = metric_curves(
        [Series(name=s.name, x=[0], y=s.y[:1], index=s.index) for s in series],
        title="t",
        y_title="y",
    )
    late = metric_curves(series, title="t", y_title="y")

    assert [t["uid"] for t in early["data"]] == ["1 b", "0 a"]
    assert [t["uid"] for t in late["data"]] == ["0 a", "1 b"]


def test_a_reduced_curve_keeps_its_extremes_and_says_so():
    one = Series(name="a", x=[0, 100], y=[1.0, 1.0], low=[0.9, 0.1], high=[1.1, 7.0], points=200)

    figure = metric_curves([one], title="Loss", y_title="Loss", value="max")

    assert figure["note"] == "2 of 200 points"
    assert [max(t["y"]) for t in figure["data"] if t.get("fill")] == [7.0]
    assert "7.000" in figure["data"][-1]["name"]


def test_a_long_reduced_comparison_stays_small():
    """The budget of a compare page: 10 runs of 100,000 points under 500 kB."""
    rng = np.random.default_rng(7)
    columns = [rng.random(1000) for _ in range(3)]
    series = [
        Series(
            name=f"seed {i}",
            x=np.arange(1000) * 100,
            y=columns[0],
            low=columns[1],
            high=columns[2],
            points=100_000,
            index=i,
        )
        for i in range(10)
    ]

    text = json.dumps(metric_curves(series, title="Loss", y_title="Loss"), separators=(",", ":"))

    assert len(text) < 500_000


def test_no_values_yet_is_a_figure_too():
    figure = metric_curves([Series(name="a", x=[], y=[])], title="Loss", y_title="Loss", live=True)

    assert figure["live"] is True
    assert "no values yet" in figure["alt"]


def test_the_pr_baseline_is_the_prevalence():
    figure = FIGURES["pr"]()

    assert figure["data"][0]["y"] == [0.1, 0.1]
    assert "Chance is 0.100" in figure["alt"]


def test_whiskers_reach_the_ends_of_the_interval():
    bar = FIGURES["classes"]()["data"][0]
    place = bar["y"].index("Arson  9")

    assert bar["x"][place] + bar["error_x"]["array"][place] == pytest.approx(0.8)
    assert bar["x"][place] - bar["error_x"]["arrayminus"][place] == pytest.approx(0.6)


def test_truth_is_hatched_and_never_a_solid_fill():
    band = FIGURES["timeline"]()["data"][0]

    assert band["fillpattern"]["shape"] == "/"
    assert band["x"][:4] == [16, 16, 30, 30]


def test_the_last_snippet_holds_to_the_last_frame():
    track = score_timeline(
        [ScoreTrack(name="a", starts=[0, 16], scores=[0.1, 0.7])], title="Score", num_frames=40
    )["data"][0]

    assert track["x"][-1] == 40
    assert track["y"][-1] == track["y"][-2] == 0.7


def test_every_value_that_is_not_finite_becomes_a_gap():
    one = Series(name="a", x=np.arange(3), y=np.array([1.0, math.inf, NAN]))

    assert metric_curves([one], title="t", y_title="y")["data"][0]["y"] == [1.0, None, None]


@pytest.mark.parametrize(
    ("precision", "corner"), [(0.83, ("bottom", "left")), (0.08, ("top", "right"))]
)
def test_the_legend_of_precision_and_recall_stands_where_the_curves_are_not(precision, corner):
    curve = Curve(name="one", x=np.linspace(0, 1, 50), y=np.full(50, precision), value=0.5)

    legend = pr([curve], title="PR", prevalence=0.1)["layout"]["legend"]

    assert (legend["yanchor"], legend["xanchor"]) == corner


def test_the_legend_stands_above_where_a_few_curves_leave_no_corner():
    levels = [Curve(name=f"run {y}", x=np.linspace(0, 1, 50), y=np.full(50, y), value=y)
              for y in (0.05, 0.1, 0.95)]  # fmt: skip

    legend = pr(levels, title="PR", prevalence=None)["layout"]["legend"]

    assert legend["orientation"] == "h"
