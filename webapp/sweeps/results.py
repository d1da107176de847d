"""How the trials of a sweep stand: read from their runs, metrics and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from webapp.runs import results
from webapp.runs.models import ENDED, MetricSummary, Run, State
from webapp.sweeps import objectives
from webapp.sweeps.models import Sweep, Take, Trial
from webapp.sweeps.trials import Made, Status


@dataclass(frozen=True, kw_only=True)
class Row:
    """A trial and what came of it.

    Args:
        state: of its run, or `pruned`, or `deleted`.
        value: of the objective, as it stands; None without any.
        auc: frame AUC on the test split, of its best evaluation.
    """

    trial: Trial
    status: Status
    state: str
    value: float | None
    step: int
    auc: float | None

    @property
    def run(self) -> Run | None:
        return self.trial.run

    @property
    def badge(self) -> tuple[str, str]:
        """The state of a run that looks the same, and the word for it."""
        return {
            "pruned": ("cancelled", "stopped early"), "evaluating": ("running", "evaluating"),
            "deleted": ("lost", "run deleted"),
        }.get(self.state, (self.state, ""))  # fmt: skip

    @property
    def made(self) -> Made:
        """As `planning` reads it."""
        return Made(
            number=self.trial.number, setting=self.trial.setting,
            params=self.trial.typed_params, status=self.status, value=self.value, step=self.step,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting over its seeds.

    Args:
        rows: its trials that ended well.
        mean: of the objective over them.
    """

    params: dict[str, Any]
    rows: list[Row]
    mean: float
    deviation: float | None

    @property
    def auc(self) -> float | None:
        """Mean frame AUC on the test split, of those that were evaluated."""
        known = [row.auc for row in self.rows if row.auc is not None]
        return fmean(known) if known else None


def rows_of(sweep: Sweep) -> list[Row]:
    """All trials that were made, by number. Four queries, however many there are."""
    trials = list(sweep.trials.select_related("run", "evaluation"))
    for trial in trials:
        trial.sweep = sweep
    ids = [trial.run_id for trial in trials if trial.run_id]
    name = sweep.objective.removeprefix(objectives.EVALUATION)
    of_evaluation = objectives.is_of_evaluation(sweep.objective)
    best = results.best_of(ids, ["auc", name] if of_evaluation else ["auc"])
    summaries = {
        s.run_id: s for s in MetricSummary.objects.filter(run__in=ids, key=sweep.objective)
    }
    rows = []
    for trial in trials:
        evaluated = best.get(trial.run_id) if trial.run_id else None
        summary = summaries.get(trial.run_id) if trial.run_id else None
        if of_evaluation:
            value = evaluated.values.get(name) if evaluated else None
        else:
            value = _value(sweep, summary) if summary else None
        rows.append(
            Row(
                trial=trial, status=status_of(trial), state=state_of(trial), value=value,
                step=summary.last_step if summary else 0, auc=evaluated.auc if evaluated else None,
            )
        )  # fmt: skip
    return rows


def _value(sweep: Sweep, summary: MetricSummary) -> float | None:
    if sweep.take == Take.LAST:
        return summary.last
    return summary.least if sweep.falling else summary.greatest


def status_of(trial: Trial) -> Status:
    """A trial goes on until its evaluation has ended, too."""
    run, evaluation = trial.run, trial.evaluation
    if run is None:
        return Status.FAILED
    if run.state == State.CANCELLED and trial.pruned_step is not None:
        return Status.PRUNED
    if run.state not in ENDED:
        return Status.ACTIVE
    if run.state != State.SUCCEEDED:
        return Status.FAILED
    if evaluation is not None and evaluation.state not in ENDED:
        return Status.ACTIVE
    needs_evaluation = objectives.is_of_evaluation(trial.sweep.objective)
    if needs_evaluation and (evaluation is None or evaluation.state != State.SUCCEEDED):
        return Status.FAILED
    return Status.DONE


def state_of(trial: Trial) -> str:
    """The word that stands for a trial."""
    if trial.run is None:
        return "deleted"
    if status_of(trial) == Status.PRUNED:
        return "pruned"
    evaluation = trial.evaluation
    if evaluation is not None and evaluation.state not in (*ENDED, State.WAITING):
        return "evaluating"
    return trial.run.state


def settings_of(sweep: Sweep, rows: Sequence[Row]) -> list[Setting]:
    """Settings with trials that ended well, the best first."""
    by_setting: dict[int, list[Row]] = {}
    for row in rows:
        if row.status == Status.DONE and row.value is not None:
            by_setting.setdefault(row.trial.setting, []).append(row)
    found = []
    for own in by_setting.values():
        values = [row.value for row in own if row.value is not None]
        deviation = stdev(values) if len(values) > 1 else None
        found.append(
            Setting(params=own[0].trial.params, rows=own, mean=fmean(values), deviation=deviation)
        )
    return sorted(found, key=lambda one: one.mean if sweep.falling else -one.mean)
