"""What people keep of the runs table: pins of a person, saved views of a project."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import IntegrityError, transaction

from vad.errors import ConfigError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.runs.models import Run, RunPin, SavedView

MOST_PINS = 20  # of a person in a project: they stand on every page of the table
MOST_VIEWS = 100
MOST_QUERY = 2000
NAME_LENGTH = 60


def pinned_ids(user: User, project: Project | None) -> list[UUID]:
    """The person's pinned runs of the project, the oldest pin first."""
    pins = RunPin.objects.filter(user=user, run__project=project)
    return list(pins.values_list("run_id", flat=True)[:MOST_PINS])


def is_pinned(run: Run, user: User) -> bool:
    return RunPin.objects.filter(user=user, run=run).exists()


@transaction.atomic
def runs_pin(*, runs: Sequence[Run], by: User) -> None:
    """Keep these runs on top of the person's table.

    Raises:
        ConfigError: they would be too many.
    """
    for project_id in {run.project_id for run in runs}:
        ids = {run.pk for run in runs if run.project_id == project_id}
        pins = RunPin.objects.filter(user=by, run__project=project_id)
        total = pins.exclude(run__in=ids).count() + len(ids)
        if total > MOST_PINS:
            text = f"{total} runs would be pinned, {MOST_PINS} at most; unpin some first"
            raise ConfigError({"run": text}, what="The pinning")
    RunPin.objects.bulk_create([RunPin(user=by, run=run) for run in runs], ignore_conflicts=True)


def runs_unpin(*, runs: Sequence[Run], by: User) -> None:
    RunPin.objects.filter(user=by, run__in=runs).delete()


def views_of(project: Project | None) -> list[SavedView]:
    return list(SavedView.objects.filter(project=project).select_related("created_by"))


@transaction.atomic
def view_save(*, project: Project, name: str, query: str, by: User) -> SavedView:
    """Give an address of the table a name.

    Args:
        query: in the table's own spelling (`table.Shown.query`).

    Raises:
        ConfigError: `name` is empty, too long or taken; `query` is too long.
    """
    require_editor(by, project)
    if len(query) > MOST_QUERY:
        raise ConfigError({"query": "is too long; choose fewer columns"}, what="The view")
    if SavedView.objects.filter(project=project).count() >= MOST_VIEWS:
        text = f"the project has {MOST_VIEWS} views, as many as there may be; delete some"
        raise ConfigError({"name": text}, what="The view")
    view = SavedView(project=project, name=_name(name), query=query, created_by=by)
    return _stored(view)


@transaction.atomic
def view_rename(*, view: SavedView, name: str, by: User) -> SavedView:
    require_editor(by, view.project)
    view.name = _name(name)
    return _stored(view)


@transaction.atomic
def view_delete(*, view: SavedView, by: User) -> None:
    require_editor(by, view.project)
    view.delete()


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise ConfigError({"name": "must not be empty"}, what="The view")
    if len(name) > NAME_LENGTH:
        text = f"has {len(name)} characters, {NAME_LENGTH} at most"
        raise ConfigError({"name": text}, what="The view")
    return name


def _stored(view: SavedView) -> SavedView:
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        text = f"there is a view {view.name} already; choose another name"
        raise ConfigError({"name": text}, what="The view") from None
    return view
