"""Figures of a comparison, one curve a member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from vad.evaluation import members as library
from vad.evaluation.bootstrap import Band, over_seeds
from vad.evaluation.scores import ScoreSet
from webapp import charts
from webapp.compare.selection import Member
from webapp.evaluations import figures as evaluated
from webapp.evaluations.models import Evaluation
from webapp.runs import figures as run_figures
from webapp.runs import metrics

MOST_CURVES = 50  # of a figure; the best, and it says so
BANDS = 4  # up to so many members have them unless asked otherwise
CURVE_POINTS = (400, 100)  # of a curve, for few and for many members
FEW = 10
GRID = 400  # points of a mean over seeds


def roc(members: Sequence[Member], *, with_bands: bool | None = None) -> charts.Figure:
    """ROC curves: a run's own with its interval, a group's mean with its deviation."""
    shown, note = _shown(members)
    found = [_curve(member, "roc", shown, with_bands) for member in shown]
    figure = charts.roc(found, title=evaluated.title_of("Frame-level ROC", _all(shown)))
    return _noted(figure, note)


def pr(members: Sequence[Member], *, with_bands: bool | None = None) -> charts.Figure:
    """Precision-recall curves, as `roc`."""
    shown, note = _shown(members)
    found = [_curve(member, "pr", shown, with_bands) for member in shown]
    title = evaluated.title_of("Frame-level precision and recall", _all(shown))
    figure = charts.pr(found, title=title, prevalence=evaluated.prevalence(_all(shown)))
    return _noted(figure, note)


def curves(
    members: Sequence[Member],
    key: str,
    *,
    from_step: int | None = None,
    to_step: int | None = None,
) -> charts.Figure:
    """A metric over the steps: each run's own curve, or a group's mean and deviation."""
    if not any(member.is_group for member in members):
        runs = [member.run for member in members]
        names = {member.run.pk: member.label for member in members}
        figure = run_figures.of_runs(
            runs[:MOST_CURVES], key, names=names, from_step=from_step, to_step=to_step
        )
        return _noted(figure, _few(len(runs)))
    runs = [run for member in members[:MOST_CURVES] for run in member.runs]
    found = metrics.read_many(
        [run.pk for run in runs], [key], max_points=GRID, from_step=from_step, to_step=to_step
    )
    series = []
    for member in members[:MOST_CURVES]:
        parts = [found[run.pk, key] for run in member.runs if (run.pk, key) in found]
        if not parts:
            continue
        x, mean, low, high = mean_curve([(part.steps, part.values) for part in parts])
        several = len(parts) > 1
        series.append(
            charts.Series(
                name=f"{member.label} ({len(parts)} runs)" if several else member.label,
                x=x.tolist(),
                y=mean.tolist(),
                low=low.tolist() if several else (),
                high=high.tolist() if several else (),
                around=("mean - deviation", "mean + deviation"),
                index=member.color,
            )
        )
    figure = charts.metric_curves(
        series,
        title=f"{key}, mean ± deviation over the runs of a group",
        y_title=key,
        live=any(run.is_active for run in runs),
    )
    return _noted(figure, _few(len(members)))


def mean_curve(
    curves: Sequence[tuple[np.ndarray, np.ndarray]], points: int = GRID
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The mean of several curves, one deviation (n - 1) below and above it.

    Args:
        curves: steps, ascending, and values of each, which may be logged at different steps;
            between them a curve is a straight line, beyond its ends it counts no more. Values
            that are not finite are passed over.

    Returns:
        Steps, mean, low, high: [k], k at most `points`. Where one curve is left, low and high are
        the curve itself.
    """
    kept = [(x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in curves]
    kept = [(x.astype(np.float64), y.astype(np.float64)) for x, y in kept if len(x)]
    if not kept:
        return (np.zeros(0),) * 4
    grid = np.unique(np.concatenate([x for x, _ in kept]))
    if len(grid) > points:
        grid = grid[np.unique(np.linspace(0, len(grid) - 1, points).round().astype(int))]
    rows = np.array([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in kept])
    there = np.isfinite(rows)
    count = there.sum(axis=0)
    mean = np.where(there, rows, 0).sum(axis=0) / count
    squares = np.where(there, (rows - mean) ** 2, 0).sum(axis=0)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    return grid, mean, mean - deviation, mean + deviation


def _curve(
    member: Member, kind: str, shown: Sequence[Member], with_bands: bool | None
) -> charts.Curve:
    """A member's ROC or precision-recall curve."""
    with_band = len(shown) <= BANDS if with_bands is None else with_bands
    points = CURVE_POINTS[len(shown) > FEW]
    draw = evaluated.roc_of if kind == "roc" else evaluated.pr_of
    evaluations = member.evaluations
    if len(evaluations) == 1:
        curve = draw(evaluations[0], with_band=with_band, points=points)
        return replace(curve, name=member.label, key=member.key, index=member.color)
    name = "auc" if kind == "roc" else "ap_step"
    values = [v for e in evaluations if (v := e.metrics.get(name)) is not None]
    spread = over_seeds(values)
    mean = _mean(tuple((e.scores_path, e.scores_sha256) for e in evaluations))
    if mean is None:  # no curve without both kinds of frames
        return charts.Curve(name=member.label, key=member.key, x=[], y=[], value=None)
    band = mean[kind]
    return charts.Curve(
        name=f"{member.label} ({len(evaluations)} runs)",
        key=member.key,
        x=band.x.tolist(),
        y=band.y.tolist(),
        value=spread["mean"],
        deviation=spread["deviation"],
        band=charts.Band(
            x=band.x.tolist(),
            low=band.low.tolist(),
            high=band.high.tolist(),
            label="± 1 deviation over the runs",
        ),
        index=member.color,
    )


def _shown(members: Sequence[Member]) -> tuple[list[Member], str]:
    """The members to draw, the best where there are too many, and what is to be said of that."""
    there = [member for member in members if member.evaluations]
    if len(there) <= MOST_CURVES:
        return there, ""
    ranked = sorted(there, key=lambda m: -(m.evaluations[0].frame_auc or 0.0))
    return ranked[:MOST_CURVES], f"the {MOST_CURVES} of {len(there)} with the highest AUC"


def _few(count: int) -> str:
    return f"the first {MOST_CURVES} of {count}" if count > MOST_CURVES else ""


def _noted(figure: charts.Figure, note: str) -> charts.Figure:
    if note:
        figure["note"] = f"{figure['note']}; {note}" if figure.get("note") else note
    return figure


def _all(members: Sequence[Member]) -> list[Evaluation]:
    return [evaluation for member in members for evaluation in member.evaluations]


@lru_cache(maxsize=64)
def _mean(files: tuple[tuple[Path, str], ...]) -> dict[str, Band] | None:
    return library.mean_curves([ScoreSet.load(path) for path, _ in files])
