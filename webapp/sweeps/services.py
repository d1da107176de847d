"""What people do with sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from vad.configs import ExtractConfig, UrdmuConfig
from vad.errors import ConfigError, VadError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.core.commits import after_commit
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs import needs
from webapp.runs.lifecycle import commands
from webapp.runs.models import Run, State
from webapp.runs.resources import Resources
from webapp.runs.services import clean_tags, run_create
from webapp.sweeps import driver, objectives, space
from webapp.sweeps.models import StopRule, Strategy, Sweep, SweepState, Take
from webapp.sweeps.space import Space

MOST_TRIALS = 1000
MOST_SEEDS = 20
MOST_PARALLEL = 100
NAME_LENGTH = 80  # the name of a trial's run is longer


@transaction.atomic
def sweep_create(
    *,
    project: Project,
    by: User,
    name: str,
    config: UrdmuConfig,
    space: Space,
    strategy: str,
    feature_set: FeatureSet | None = None,
    extract: ExtractConfig | None = None,
    version: DatasetVersion | None = None,
    settings: int = 0,
    seeds: Sequence[int] = (),
    parallel: int = 4,
    entropy: int = 0,
    objective: str = "validation/video_auc",
    direction: str = "",
    take: str = Take.BEST,
    stop_rule: str = StopRule.NONE,
    stop_after: int = 0,
    stop_least: int = 4,
    evaluate: bool = True,
    tags: Sequence[str] = (),
    priority: int = 0,
    resources: Resources = Resources(),  # noqa: B008, it is frozen
) -> Sweep:
    """Start a sweep. Its first trials are queued as soon as this is committed.

    Args:
        config: what is not swept; its seed is the only one unless `seeds` names some.
        extract: with `version`, features that are made first, once, instead of `feature_set`.
        settings: how many points of the space; a grid has as many as it has.
        direction: "max" or "min"; needed for an objective that is not a known one.

    Raises:
        VadError: `config-invalid` with all problems by argument, `not-allowed`, and what
            `run_create` raises; then nothing is queued.
    """
    require_editor(by, project)
    sweep = Sweep(
        project=project, owner=by, name=" ".join(name.split()), kind=config.kind,
        config={k: v for k, v in config.to_dict().items() if k != "seed"},
        space={d.name: d.to_json() for d in space}, strategy=strategy, settings=settings,
        seeds=list(seeds) or [config.seed], parallel=parallel, entropy=entropy,
        objective=objective, falling=_falling(objective, direction), take=take,
        stop_rule=stop_rule, stop_after=stop_after, stop_least=stop_least, evaluate=evaluate,
        tags=clean_tags(tags), priority=priority, gpus=resources.gpus,
        memory_mb=resources.memory_mb, time_limit_s=resources.time_limit_s,
    )  # fmt: skip
    problems = _problems(sweep, space, config, direction)
    if problems:
        raise ConfigError(problems, what="The sweep")
    resources.check(config)
    if extract is not None:
        made = run_create(
            project=project, config=extract, by=by, version=version, tags=tags,
            name=f"{sweep.name}: features", priority=priority,
        )  # fmt: skip
        feature_set = made.features_made
    needs.inputs_of(project, config, None, feature_set, None)
    sweep.feature_set = feature_set
    sweep.save()
    after_commit(driver.advance, sweep.pk)
    return sweep


def _falling(objective: str, direction: str) -> bool:
    known = objectives.KNOWN.get(objective)
    return direction == "min" if direction else bool(known and known.falling)


def _problems(sweep: Sweep, swept: Space, config: UrdmuConfig, direction: str) -> dict[str, str]:
    """What is wrong with a sweep, by argument; sets the number of settings of a grid."""
    found: dict[str, str] = {}
    if not 1 <= len(sweep.name) <= NAME_LENGTH:
        found["name"] = f"needs 1 to {NAME_LENGTH} characters"
    found |= _wrong_choice(sweep, direction)
    seeds = sweep.seeds
    if any(type(seed) is not int or not 0 <= seed < 2**31 for seed in seeds):
        found["seeds"] = f"must be whole numbers from 0 to {2**31 - 1}"
    elif len(set(seeds)) != len(seeds) or len(seeds) > MOST_SEEDS:
        found["seeds"] = f"must differ from each other, {MOST_SEEDS} at most"
    if not 1 <= sweep.parallel <= MOST_PARALLEL:
        found["parallel"] = f"must be from 1 to {MOST_PARALLEL}"
    if not 0 <= sweep.entropy < 2**31:
        found["entropy"] = f"must be from 0 to {2**31 - 1}"
    if not -100 <= sweep.priority <= 100:
        found["priority"] = "must be from -100 to 100"
    if "strategy" not in found:
        found |= _wrong_space(sweep, swept)
    found |= _wrong_objective(sweep, config, direction)
    return found


def _wrong_choice(sweep: Sweep, direction: str) -> dict[str, str]:
    choices: dict[str, tuple[Any, Sequence[Any]]] = {
        "strategy": (sweep.strategy, Strategy.values), "take": (sweep.take, Take.values),
        "stop_rule": (sweep.stop_rule, StopRule.values),
        "direction": (direction, ["", "max", "min"]),
    }  # fmt: skip
    return {
        name: f"{str(value)[:40]!r} is not one of {', '.join(filter(None, known))}"
        for name, (value, known) in choices.items()
        if value not in known
    }


def _wrong_space(sweep: Sweep, swept: Space) -> dict[str, str]:
    if sweep.strategy == Strategy.SEEDS:
        sweep.settings = 1
        if swept:
            return {"space": "must be empty when only seeds are tried"}
    elif not swept:
        return {"space": "needs at least one setting; to try seeds alone, choose 'Seeds only'"}
    if sweep.strategy == Strategy.GRID:
        open_ = [d.name for d in swept if d.is_range and not d.points]
        if open_:
            text = "a grid needs to know how many values: LOW to HIGH in 4"
            return dict.fromkeys(open_, text)
        sweep.settings = space.grid_size(swept)
    if not 1 <= sweep.trials_planned <= MOST_TRIALS:
        at = "space" if sweep.strategy == Strategy.GRID else "settings"
        times = f"{sweep.settings:,} settings × {len(sweep.seeds)} seeds"  # noqa: RUF001
        return {at: f"{times} are {sweep.trials_planned:,} trials; 1 to {MOST_TRIALS:,} can be"}
    return _contradictions(sweep, swept)


def _contradictions(sweep: Sweep, swept: Space) -> dict[str, str]:
    """What the configuration says of the settings: of each of a grid, else of each end by itself.

    Raises nothing: a combination that is drawn and does not fit is drawn again.
    """
    if sweep.strategy == Strategy.GRID:
        tried = space.grid(swept)
    else:
        tried = [{d.name: v} for d in swept for v in (d.values or (d.at(0), d.at(1)))]
    for params in tried:
        try:
            sweep.config_of(params, 0)
        except ConfigError as exc:
            name, text = next(iter(exc.fields.items()))
            with_ = ", ".join(f"{k} {space.shown(v)}" for k, v in params.items())
            return {name: f"with {with_}: {text}"}
    return {}


def _wrong_objective(sweep: Sweep, config: UrdmuConfig, direction: str) -> dict[str, str]:
    key, found = sweep.objective, {}
    known = objectives.KNOWN.get(key)
    offered = objectives.offered(sweep.kind)
    if not 1 <= len(key) <= objectives.KEY_LENGTH:
        found["objective"] = "needs the name of a metric"
    elif known is None and objectives.is_of_evaluation(key):
        named = ", ".join(o.key for o in offered if objectives.is_of_evaluation(o.key))
        found["objective"] = f"{key} is not one of {named}"
    elif known is not None and known not in offered:
        found["objective"] = f"{key} needs both stages"
    elif known is None and not direction:
        found["direction"] = f"say whether more (max) or less (min) of {key} is better"
    elif key.startswith("validation/") and config.validation_share == 0:
        found["objective"] = f"{key} is measured on validation videos, and validation_share is 0"
    if objectives.is_of_evaluation(key):
        if not sweep.evaluate:
            found["evaluate"] = f"{key} comes from evaluations, and none are made"
        if sweep.stop_rule:
            found["stop_rule"] = f"{key} is known only at the end, too late to stop early"
    if not bool(sweep.stop_rule) <= sweep.stop_after <= 1_000_000:
        found["stop_after"] = "must be from 1 to 1,000,000 steps"
    if not 1 <= sweep.stop_least <= 100:
        found["stop_least"] = "must be from 1 to 100 trials"
    return found


# --- steps ----------------------------------------------------------------------------------


@transaction.atomic
def sweep_hold(*, sweep: Sweep, by: User) -> None:
    """Make no more trials, and hold those that go on: they write a checkpoint and leave."""
    row = _movable(sweep, by, "held", SweepState.ACTIVE)
    _move(row, SweepState.HELD)
    for run in _runs(row):
        if run.state != State.WAITING:  # what waits for a held run waits on
            with suppress(VadError):  # it ended, or was held, meanwhile
                commands.hold(run, by=by)


@transaction.atomic
def sweep_release(*, sweep: Sweep, by: User) -> None:
    """Go on: held trials from their checkpoints, then the next ones."""
    row = _movable(sweep, by, "released", SweepState.HELD)
    _move(row, SweepState.ACTIVE)
    for run in _runs(row):
        with suppress(VadError):
            commands.release(run, by=by)
    after_commit(driver.advance, row.pk)


@transaction.atomic
def sweep_stop(*, sweep: Sweep, by: User) -> None:
    """Stop the sweep for good, with all of its trials that go on."""
    row = _movable(sweep, by, "stopped", SweepState.ACTIVE, SweepState.HELD)
    _move(row, SweepState.STOPPED)
    for run in _runs(row):
        with suppress(VadError):
            commands.cancel(run, by=by, cause=f"the sweep {row.name} was stopped")


@transaction.atomic
def sweep_delete(*, sweep: Sweep, by: User) -> None:
    """Forget a sweep that has ended; its runs stay."""
    _movable(sweep, by, "deleted", SweepState.STOPPED, SweepState.DONE).delete()


STEPS: Mapping[str, Callable[..., None]] = {
    "hold": sweep_hold, "release": sweep_release, "stop": sweep_stop,
}  # fmt: skip


def _runs(sweep: Sweep) -> list[Run]:
    """Runs of the sweep that have not ended, trainings first."""
    trials = sweep.trials.select_related("run", "evaluation")
    runs = [run for trial in trials for run in trial.runs if not run.has_ended]
    return sorted(runs, key=lambda run: run.of_run_id is not None)


def _movable(sweep: Sweep, by: User, step: str, *only: SweepState) -> Sweep:
    require_editor(by, sweep.project)
    row = driver.locked(sweep.pk)
    if row is None or row.state not in only:
        raise VadError(
            "sweep-not-movable",
            f"{sweep.name} is {row.get_state_display().lower() if row else 'deleted'} and cannot "
            f"be {step}.",
            "Stop it first." if step == "deleted" else "Reload the page to see its present state.",
        )
    return row


def _move(sweep: Sweep, to: SweepState) -> None:
    Sweep.objects.filter(pk=sweep.pk).update(state=to, problem=None, changed_at=Now())
