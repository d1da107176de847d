"""What drives sweeps: stop hopeless trials, make the next ones, end.

Whoever calls, as often and at once as they like, comes to the same trials: the sweep's row is
locked while one looks and makes, and a trial's number is unique. Nothing is remembered between two
calls, so a driver that is killed anywhere is made good by the next.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from vad.configs import EvaluateConfig, ProxiesConfig, TwoStageConfig, UrdmuConfig
from vad.errors import VadError
from webapp.runs import metrics, pipelines
from webapp.runs.lifecycle import commands
from webapp.runs.models import ENDED, State
from webapp.sweeps import planning, results, stopping
from webapp.sweeps.models import Strategy, Sweep, SweepState, Trial
from webapp.sweeps.planning import Next
from webapp.sweeps.results import Row
from webapp.sweeps.stopping import Curve
from webapp.sweeps.trials import Status

MOST_FAILED = 5  # in a row without one that ended well; then a person should look
CURVE_POINTS = 2000

log = logging.getLogger(__name__)


def advance_all() -> int:
    """Every sweep that is active. Returns the trials that were made."""
    active = Sweep.objects.filter(state=SweepState.ACTIVE).values_list("pk", flat=True)
    return sum(_advance_safely(pk) for pk in list(active))


def advance_of(run_id: UUID) -> int:
    """The sweep that a run belongs to, if any, once the run has ended."""
    found = Trial.objects.filter(Q(run=run_id) | Q(evaluation=run_id))
    sweeps = found.filter(sweep__state=SweepState.ACTIVE).values_list("sweep", flat=True)
    return sum(_advance_safely(pk) for pk in list(sweeps))


def _advance_safely(sweep_id: UUID) -> int:
    """A fault in one sweep must stop neither the others nor the worker that looks after them."""
    try:
        return advance(sweep_id)
    except (OperationalError, InterfaceError):
        raise  # the worker knows what to do without a database
    except Exception:
        log.exception("sweep.not_advanced sweep_id=%s", sweep_id)
        return 0


def advance(sweep_id: UUID) -> int:
    """Bring a sweep as far as it can go now. Returns the trials that were made.

    One that cannot go on is held, and says why.
    """
    active = Sweep.objects.filter(pk=sweep_id, state=SweepState.ACTIVE)
    strategy = active.values_list("strategy", flat=True).first()
    if strategy == Strategy.TPE:  # Optuna takes most of a second to import: not under the lock
        import webapp.sweeps.tpe  # noqa: F401
    try:
        with transaction.atomic():
            return _advance(sweep_id) if strategy else 0
    except VadError as exc:
        log.warning("sweep.held sweep_id=%s code=%s", sweep_id, exc.code)
        _hold(sweep_id, exc)
        return 0


def _advance(sweep_id: UUID) -> int:
    sweep = locked(sweep_id)
    if sweep is None or sweep.state != SweepState.ACTIVE:
        return 0
    rows = results.rows_of(sweep)
    if _stop_hopeless(sweep, rows):
        rows = results.rows_of(sweep)
    _refuse_if_all_fail(sweep, rows)
    made = [row.made for row in rows]
    following = planning.next_trials(sweep.plan(), made)
    for one in following:
        _make(sweep, one)
    ended = all(trial.status != Status.ACTIVE for trial in made)
    if ended and not following and len(made) >= sweep.trials_planned:
        Sweep.objects.filter(pk=sweep.pk).update(state=SweepState.DONE, changed_at=Now())
    return len(following)


def locked(sweep_id: UUID) -> Sweep | None:
    """The row as it is now, locked until the transaction ends."""
    rows = Sweep.objects.select_for_update(of=("self",)).select_related("project", "owner")
    return rows.filter(pk=sweep_id).first()


def _hold(sweep_id: UUID, problem: VadError) -> None:
    Sweep.objects.filter(pk=sweep_id, state=SweepState.ACTIVE).update(
        state=SweepState.HELD, problem=problem.to_dict(), changed_at=Now()
    )


# --- making ---------------------------------------------------------------------------------


def _make(sweep: Sweep, one: Next) -> Trial:
    """The runs of a trial: a training, and the evaluation that waits for it."""
    config = sweep.config_of(one.params, one.seed)
    assert isinstance(config, UrdmuConfig)
    made = pipelines.pipeline_create(
        project=sweep.project,
        by=sweep.owner,
        train=config,
        evaluate=EvaluateConfig(device=config.device) if sweep.evaluate else None,
        proxies=ProxiesConfig() if isinstance(config, TwoStageConfig) else None,
        feature_set=sweep.feature_set,
        name=f"{sweep.name}, trial {one.number + 1}",
        tags=sweep.tags,
        priority=sweep.priority,
        resources=sweep.resources,
    )
    return Trial.objects.create(
        sweep=sweep, number=one.number, setting=one.setting, seed=one.seed, params=one.params,
        run=made.trainings[0], evaluation=made.evaluations[0] if made.evaluations else None,
    )  # fmt: skip


def _refuse_if_all_fail(sweep: Sweep, rows: Sequence[Row]) -> None:
    """A setting that fails is a result; when everything fails, it is something else.

    Raises:
        VadError: with the last run's error.
    """
    if any(row.status == Status.DONE for row in rows):
        return
    failed = [row.run for row in rows if row.run is not None and row.run.state == State.FAILED]
    since = [run for run in failed if run.ended_at and run.ended_at > sweep.changed_at]
    if len(since) < MOST_FAILED:
        return
    last = max(since, key=lambda run: run.ended_at or sweep.changed_at)
    said = (last.error or {}).get("message", "")
    raise VadError(
        "sweep-failing",
        f"The first {len(since)} trials failed, and none ended well. The last one said: {said}",
        "Look at its log. Release the sweep to go on as it is, or stop it and start another.",
    )


# --- stopping early -------------------------------------------------------------------------


def _stop_hopeless(sweep: Sweep, rows: Sequence[Row]) -> bool:
    """Ask hopeless trials to stop. One that a person queued again afterwards is let be."""
    running = [row for row in rows if _may_be_stopped(row)]
    if not sweep.stop_rule or not running:
        return False
    ids = {row.run.pk: row for row in rows if row.run is not None}
    series = metrics.read_many(list(ids), [sweep.objective], max_points=CURVE_POINTS)
    judged = {row.trial.number for row in running}
    curves = [
        Curve(
            number=ids[pk].trial.number, steps=found.steps, values=found.values,
            active=ids[pk].trial.number in judged,
        )
        for (pk, _), found in series.items()
    ]  # fmt: skip
    verdicts = stopping.hopeless(
        stopping.Rule(sweep.stop_rule), curves, after=sweep.stop_after, least=sweep.stop_least,
        falling=sweep.falling,
    )  # fmt: skip
    by_number = {row.trial.number: row for row in running}
    for verdict in verdicts:
        trial = by_number[verdict.number].trial
        trial.pruned_step, trial.pruned_why = verdict.step, verdict.why[:300]
        trial.save(update_fields=["pruned_step", "pruned_why"])
        stop_runs(trial, f"stopped early by the sweep {sweep.name}: {verdict.why}")
    return bool(verdicts)


def _may_be_stopped(row: Row) -> bool:
    run = row.run
    return (
        run is not None
        and run.state == State.RUNNING
        and not run.stop
        and row.trial.pruned_step is None
    )


def stop_runs(trial: Trial, cause: str) -> None:
    """Cancel what goes on of a trial. A run that ends at this moment has ended by itself."""
    for run in trial.runs:
        if run.state not in ENDED:
            with suppress(VadError):
                commands.cancel(run, by=None, cause=cause)
