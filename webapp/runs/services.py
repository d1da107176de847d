"""What people do with runs. States change in lifecycle/; this module makes and deletes rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from vad.configs import (
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    RegisterConfig,
    RunConfig,
    UrdmuConfig,
    config_class,
)
from vad.errors import ConfigError, VadError
from webapp.accounts import audit
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.datasets import registering
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs import needs
from webapp.runs.lifecycle import commands
from webapp.runs.models import CLAIMED, EXTERNAL, Run
from webapp.runs.needs import Inputs
from webapp.runs.resources import Resources
from webapp.runs.resources import of as resources_of
from webapp.storage import deletion, leftovers

NAME_LENGTH = 120
TAG_LENGTH, MAX_TAGS = 40, 20
NOTES_LENGTH = 20_000


# --- making ---------------------------------------------------------------------------------


@transaction.atomic
def run_create(
    *,
    project: Project,
    config: RunConfig,
    by: User,
    name: str = "",
    version: DatasetVersion | None = None,
    feature_set: FeatureSet | None = None,
    of_run: Run | None = None,
    tags: Sequence[str] = (),
    notes: str = "",
    priority: int = 0,
    resources: Resources = Resources(),  # noqa: B008, it is frozen
    cloned_from: Run | None = None,
) -> Run:
    """Queue a run; it starts when what it waits for is done and a fitting slot is free.

    Args:
        version: needed by extract and proxies.
        feature_set: needed by train; its version is the run's.
        of_run: needed by evaluate: the training run whose checkpoint it takes. Data set and
            features are that run's unless `feature_set` names others.

    Raises:
        VadError: `run-inputs-missing`, `not-allowed`, and what `registering.checked` raises.
    """
    require_editor(by, project)
    if isinstance(config, RegisterConfig):
        config = registering.checked(config)
    resources.check(config)
    inputs = needs.inputs_of(project, config, version, feature_set, of_run)
    run = Run(
        project=project,
        name=_name(name) or _default_name(config, inputs),
        kind=config.kind,
        config=config.to_dict(),
        owner=by,
        tags=clean_tags(tags),
        notes=_notes(notes),
        color=_color(project, config, inputs),
        version=inputs.version,
        feature_set=inputs.feature_set,
        of_run=inputs.of_run,
        cloned_from=cloned_from,
        device=config.device,
        priority=priority,
        gpus=resources.gpus,
        memory_mb=resources.memory_mb,
        time_limit_s=resources.time_limit_s,
        max_attempts=settings.RUN_MAX_ATTEMPTS,
    )
    run.save()
    run.parents.set(inputs.parents)
    if isinstance(config, ExtractConfig) and inputs.version is not None:
        FeatureSet.objects.create(
            version=inputs.version, name=run.name, produced_by=run, extractor=config.extractor
        )
    commands.enter(run, by=by)
    return run


@transaction.atomic
def run_clone(
    *, run: Run, by: User, changes: Mapping[str, Any] | None = None, name: str = ""
) -> Run:
    """The same again on the same inputs, with some fields of the configuration changed."""
    config = config_class(run.kind).from_dict({**run.config, **(changes or {})})
    return run_create(
        project=run.project,
        config=config,
        by=by,
        name=name or f"{run.name[: NAME_LENGTH - 7]} (copy)",
        version=run.version if run.kind in ("extract", "proxies") else None,
        feature_set=run.feature_set,
        of_run=run.of_run,
        tags=run.tags,
        notes=run.notes,
        priority=run.priority,
        resources=resources_of(run),
        cloned_from=run,
    )


def _default_name(config: RunConfig, inputs: Inputs) -> str:
    if isinstance(config, RegisterConfig):
        return f"Register {config.name}"[:NAME_LENGTH]
    if isinstance(config, ExtractConfig):
        return f"{config.extractor} features of {inputs.version}"[:NAME_LENGTH]
    if isinstance(config, ProxiesConfig):
        return f"Proxies of {inputs.version}"[:NAME_LENGTH]
    if isinstance(config, EvaluateConfig) and inputs.of_run:
        return f"Evaluate {inputs.of_run.name}"[:NAME_LENGTH]
    seed = f", seed {config.seed}" if isinstance(config, UrdmuConfig) else ""
    title = config.title.removeprefix("Train ").removesuffix(" (both stages)")
    return f"{title} on {inputs.version}{seed}"[:NAME_LENGTH]


def _color(project: Project, config: RunConfig, inputs: Inputs) -> int:
    """The next of the palette; an evaluation has that of its training."""
    if inputs.of_run is not None:
        return inputs.of_run.color
    return _next_color(project, config.kind)


def _next_color(project: Project, kind: str) -> int:
    """The next among what is compared with it: all trainings, wherever they run; else its kind."""
    compared = Q(kind__startswith="train") | Q(kind=EXTERNAL)
    own = compared if kind.startswith("train") or kind == EXTERNAL else Q(kind=kind)
    newest = Run.objects.filter(own, project=project).order_by("-created_at", "-id")
    last = newest.values_list("color", flat=True).first()
    return 0 if last is None else (last + 1) % 10_000


def run_row(
    *,
    project: Project,
    kind: str,
    config: Mapping[str, Any],
    by: User,
    name: str,
    tags: Iterable[str],
    notes: str,
) -> Run:
    """A run that is no configuration of ours, checked and not saved."""
    return Run(
        project=project,
        name=_name(name),
        kind=kind,
        config=dict(config),
        owner=by,
        tags=clean_tags(tags),
        notes=notes.strip(),
        color=_next_color(project, kind),
        device="cpu",
        gpus=0,
        max_attempts=1,
    )


# --- describing -----------------------------------------------------------------------------


@transaction.atomic
def run_rename(*, run: Run, name: str, by: User) -> Run:
    require_editor(by, run.project)
    run.name = _name(name)
    if not run.name:
        raise ConfigError({"name": "must not be empty"}, what="The run")
    run.save(update_fields=["name"])
    return run


@transaction.atomic
def run_annotate(*, run: Run, notes: str, by: User) -> Run:
    require_editor(by, run.project)
    run.notes = _notes(notes)
    run.save(update_fields=["notes"])
    return run


@transaction.atomic
def run_set_tags(*, run: Run, tags: Iterable[str], by: User) -> Run:
    require_editor(by, run.project)
    run.tags = clean_tags(tags)
    run.save(update_fields=["tags"])
    return run


@transaction.atomic
def runs_tag(*, runs: Sequence[Run], tag: str, by: User, remove: bool = False) -> None:
    """Give all these runs a tag more, or take it off."""
    given = clean_tags([tag])
    if not given:
        raise ConfigError({"tag": "must not be empty"}, what="The tag")
    _require_editor_of(runs, by)
    ids = [run.pk for run in runs]
    found = list(Run.objects.select_for_update(of=("self",)).filter(pk__in=ids).order_by("pk"))
    for run in found:
        others = [other for other in run.tags if other not in given]
        run.tags = others if remove else clean_tags([*others, *given])
    Run.objects.bulk_update(found, ["tags"])


def _require_editor_of(runs: Sequence[Run], by: User) -> None:
    """Refuse who may not change one of them; asks once a project, not once a run."""
    for project in Project.objects.filter(pk__in={run.project_id for run in runs}):
        require_editor(by, project)


def _notes(text: str) -> str:
    notes = text.strip()
    if len(notes) > NOTES_LENGTH:
        problem = f"have {len(notes)} characters, {NOTES_LENGTH} at most"
        raise ConfigError({"notes": problem}, what="The run")
    return notes


def _name(text: str) -> str:
    name = " ".join(text.split())
    if len(name) > NAME_LENGTH:
        raise ConfigError(
            {"name": f"has {len(name)} characters, {NAME_LENGTH} at most"}, what="The run"
        )
    return name


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Without blanks and repetitions, in their order.

    Raises:
        ConfigError: too many, or too long.
    """
    found = list(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(found) > MAX_TAGS or any(len(tag) > TAG_LENGTH for tag in found):
        problem = f"{MAX_TAGS} at most, of {TAG_LENGTH} characters each"
        raise ConfigError({"tags": problem}, what="The run")
    return found


# --- deleting -------------------------------------------------------------------------------


@transaction.atomic
def runs_delete(*, runs: Sequence[Run], by: User) -> None:
    """Delete runs, the evaluations of their checkpoints, and all their files.

    A data set or features that a run made stay; features that were never finished go.

    Raises:
        VadError: `run-not-movable` while one of them runs, `run-in-use` while another run needs
            one; then nothing is deleted.
    """
    _require_editor_of(runs, by)
    ids = deletion.with_evaluations(run.pk for run in runs)
    gone = list(Run.objects.select_for_update(of=("self",)).filter(pk__in=ids).order_by("pk"))
    busy = [run.name for run in gone if run.state in CLAIMED]
    if busy:
        raise VadError(
            "run-not-movable",
            f"{_listed(busy)} cannot be deleted while running.",
            "Stop it first, and delete it when it has ended.",
        )
    unfinished = deletion.unfinished_features(ids)
    needed_by = [run.name for run in deletion.needed_by(ids)]
    if needed_by:
        raise VadError(
            "run-in-use",
            f"{_listed(needed_by)} cannot go on without what would be deleted.",
            "Delete or cancel that first.",
        )
    folders = [run.folder for run in gone]
    for project in Project.objects.filter(pk__in={run.project_id for run in gone}):
        names = sorted(run.name for run in gone if run.project_id == project.pk)
        audit.record(
            "runs-deleted", by=by, project=project, subject=_listed(names), count=len(names)
        )
    Run.objects.filter(pk__in=ids).update(feature_set=None)  # or their own features keep them
    unfinished.delete()
    Run.objects.filter(pk__in=ids).delete()
    leftovers.let_go(folders)


def run_delete(*, run: Run, by: User) -> None:
    runs_delete(runs=[run], by=by)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


# --- steps, for who starts from a run and a person ------------------------------------------


def run_stop(*, run: Run, by: User) -> None:
    require_editor(by, run.project)
    commands.cancel(run, by=by)


def run_hold(*, run: Run, by: User) -> None:
    require_editor(by, run.project)
    commands.hold(run, by=by)


def run_release(*, run: Run, by: User) -> None:
    require_editor(by, run.project)
    commands.release(run, by=by)


def run_retry(*, run: Run, by: User) -> None:
    require_editor(by, run.project)
    commands.retry(run, by=by)


def run_prioritize(*, run: Run, priority: int, by: User) -> None:
    require_editor(by, run.project)
    if not -100 <= priority <= 100:
        raise ConfigError({"priority": "must be from -100 to 100"}, what="The run")
    commands.prioritize(run, priority=priority, by=by)


STEPS = {"stop": run_stop, "hold": run_hold, "release": run_release, "retry": run_retry}
DONE = {"stop": "stopped", "hold": "held", "release": "released", "retry": "queued again"}
