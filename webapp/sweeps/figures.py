"""The figures of a sweep, from its trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.urls import reverse

from webapp.charts import Figure, sweeps
from webapp.charts.sweeps import Axis, Share, TrialPoint
from webapp.sweeps import listing, space
from webapp.sweeps.listing import View
from webapp.sweeps.models import SweepState
from webapp.sweeps.results import Row
from webapp.sweeps.trials import Status

KINDS = {Status.DONE: "done", Status.PRUNED: "pruned", Status.ACTIVE: "active"}


def history(view: View) -> Figure:
    sweep = view.sweep
    return sweeps.trial_history(
        [_point(row) for row in view.rows if _is_drawn(row)],
        title=f"{sweep.objective_title} over the trials",
        objective=sweep.objective,
        falling=sweep.falling,
        live=_live(view),
    )


def parallel(view: View) -> Figure:
    """Trials that ended, stopped ones too."""
    sweep = view.sweep
    rows = [row for row in view.rows if _is_drawn(row) and row.status != Status.ACTIVE]
    axes = [_axis(d, rows) for d in sweep.typed_space]
    if len(sweep.seeds) > 1:
        axes.append(Axis(name="seed", values=[str(seed) for seed in sweep.seeds]))
    tried = [{**row.trial.params, "seed": row.trial.seed} for row in rows]
    return sweeps.parallel_coordinates(
        [_point(row) for row in rows],
        [[_on(a, params[a.name]) for a in axes] for params in tried],
        axes,
        title="Settings and what came of them",
        objective=sweep.objective,
        falling=sweep.falling,
        live=_live(view),
    )


def importance(view: View) -> Figure:
    found, trials = listing.importance(view)
    return sweeps.importance_bars(
        [Share(name=i.name, share=i.share, error=i.error, chance=i.chance) for i in found],
        title=f"What explains {view.sweep.objective}",
        trials=trials,
        live=_live(view),
    )


FIGURES: Mapping[str, Callable[[View], Figure]] = {
    "history": history, "parallel": parallel, "importance": importance,
}  # fmt: skip


def _live(view: View) -> bool:
    return view.sweep.state == SweepState.ACTIVE or view.counts.active > 0


def _is_drawn(row: Row) -> bool:
    return row.value is not None and row.status in KINDS


def _point(row: Row) -> TrialPoint:
    assert row.value is not None
    return TrialPoint(
        number=row.trial.number + 1,
        kind=KINDS[row.status],
        value=row.value,
        params=words(row),
        href=reverse("runs:detail", args=[row.run.pk]) if row.run else "",
    )


def words(row: Row) -> str:
    """What a trial tried, in one line."""
    tried = {**row.trial.params, "seed": row.trial.seed}
    return ", ".join(f"{name} {space.shown(value)}" for name, value in tried.items())


def _axis(d: space.Dimension, rows: list[Row]) -> Axis:
    """A range as far as it was tried; a list of numbers as a choice, each at its place."""
    if not d.is_range:
        return Axis(name=d.name, values=[space.shown(value) for value in d.values])
    tried = [row.trial.params[d.name] for row in rows] or [d.low, d.high]
    return Axis(name=d.name, low=min(tried), high=max(tried), log=d.log)


def _on(a: Axis, value: Any) -> Any:
    return space.shown(value) if a.values else value
