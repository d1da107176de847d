"""Experiments: names for groups of runs within a project.

Every project has `Default`, which is no row: all runs without an experiment of their own, those
that VADLab trains itself among them. A token for one project sees plain names. A person of several
projects sees those of the others with the project in front, `other-project/name`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from webapp.accounts import access
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.core.api import storable
from webapp.interop.models import Experiment
from webapp.interop.tracking import filters
from webapp.interop.tracking.errors import TrackingError, missing
from webapp.interop.tracking.filters import ATTRIBUTE, TAG, Order

DEFAULT = "Default"
NAME_LENGTH, TAG_LENGTH, MOST_TAGS = 250, 20_000, 200
MOST_EXPERIMENTS = 5000  # of a project


@dataclass(frozen=True)
class Group:
    """An experiment as MLflow sees it: a row, or a project's default."""

    project: Project
    row: Experiment | None

    @property
    def id(self) -> str:
        return str(self.row.pk) if self.row else f"p{self.project.pk}"

    @property
    def name(self) -> str:
        return self.row.name if self.row else DEFAULT

    @property
    def tags(self) -> Mapping[str, str]:
        return self.row.tags if self.row else {}

    @property
    def created_at(self) -> datetime:
        return self.row.created_at if self.row else self.project.created_at

    @property
    def changed_at(self) -> datetime:
        return self.row.changed_at if self.row else self.project.created_at

    @property
    def is_deleted(self) -> bool:
        return self.row is not None and self.row.deleted_at is not None

    @property
    def runs(self) -> Q:
        """Which runs are in it."""
        if self.row is not None:
            return Q(tracked__experiment=self.row)
        return Q(project=self.project, tracked__experiment=None)


@dataclass(frozen=True)
class Scope:
    """Whose experiments, and in which project names without one are looked for."""

    user: User
    here: Project | None

    def full_name(self, group: Group) -> str:
        if group.project == self.here:
            return group.name
        return f"{group.project.slug}/{group.name}"

    def all(self) -> list[Group]:
        """Every experiment that the person may see, the oldest first, defaults before others."""
        projects = {p.pk: p for p in access.projects(self.user).order_by("pk")}
        rows = Experiment.objects.filter(project__in=projects).order_by("pk")
        found = [Group(project, None) for project in projects.values()]
        return found + [Group(projects[row.project_id], row) for row in rows]

    def by_id(self, text: str) -> Group:
        """`0`, which clients take when they were told none, is the default of `here`.

        Raises:
            TrackingError: there is none, or not for this person.
        """
        if text == "0" and self.here is not None:
            return Group(self.here, None)
        number = text.removeprefix("p")
        if number.isascii() and number.isdigit() and len(number) < 18:
            if text.startswith("p"):
                project = access.projects(self.user).filter(pk=int(number)).first()
                if project is not None:
                    return Group(project, None)
            else:
                rows = Experiment.objects.visible_to(self.user).select_related("project")
                row = rows.filter(pk=int(number)).first()
                if row is not None:
                    return Group(row.project, row)
        raise missing("experiment", text)

    def by_ids(self, texts: Sequence[str]) -> list[Group]:
        """Those of these that there are, in a few queries.

        Raises:
            TrackingError: one is none, or not for this person.
        """
        if len(texts) == 1:
            return [self.by_id(texts[0])]
        known = {group.id: group for group in self.all()}
        if self.here is not None:
            known["0"] = Group(self.here, None)
        for text in texts:
            if text not in known:
                raise missing("experiment", text)
        return [known[text] for text in dict.fromkeys(texts)]

    def by_name(self, text: str) -> Group:
        """
        Raises:
            TrackingError: there is none, or not for this person.
        """
        project, name = self.place(text)
        if project is not None and name == DEFAULT:
            return Group(project, None)
        row = Experiment.objects.filter(project=project, name=name).first()
        if project is None or row is None:
            raise missing("experiment", text)
        return Group(project, row)

    def place(self, text: str) -> tuple[Project | None, str]:
        """The project that a name means, and the name within it."""
        slug, slash, name = text.partition("/")
        if slash and name:
            other = access.projects(self.user).filter(slug=slug).first()
            if other is not None and other != self.here:
                return other, name
        return self.here, text


@transaction.atomic
def experiment_create(*, scope: Scope, name: str, tags: Mapping[str, str]) -> Group:
    """
    Raises:
        TrackingError: the name is taken or cannot be one.
        VadError: `not-allowed`.
    """
    project, name = scope.place(name)
    require_editor(scope.user, project)
    assert project is not None
    _check_name(name)
    for key, value in tags.items():
        _check_tag(key, value)
    if len(tags) > MOST_TAGS:
        raise TrackingError(f"An experiment takes {MOST_TAGS} tags at most.")
    if Experiment.objects.filter(project=project).count() >= MOST_EXPERIMENTS:
        raise TrackingError(f"The project has {MOST_EXPERIMENTS:,} experiments, the most it takes.")
    try:
        with transaction.atomic():
            row = Experiment.objects.create(project=project, name=name, tags=dict(tags))
    except IntegrityError:
        raise _taken(name) from None
    return Group(project, row)


def experiment_rename(*, scope: Scope, group: Group, name: str) -> None:
    """Within its project."""
    row = _row(scope, group, "renamed")
    project, name = scope.place(name)
    if project != group.project:
        raise TrackingError("An experiment stays in its project.")
    _check_name(name)
    row.name = name
    try:
        with transaction.atomic():
            row.save(update_fields=["name", "changed_at"])
    except IntegrityError:
        raise _taken(name) from None


def experiment_set_deleted(*, scope: Scope, group: Group, deleted: bool) -> None:
    """Hide it and its runs from MLflow's clients, or show them again. Nothing is lost."""
    row = _row(scope, group, "deleted")
    row.deleted_at = timezone.now() if deleted else None
    row.save(update_fields=["deleted_at", "changed_at"])


@transaction.atomic
def experiment_tag(*, scope: Scope, group: Group, key: str, value: str | None) -> None:
    """Set a tag; None takes it off."""
    row = _row(scope, group, "tagged")
    row = Experiment.objects.select_for_update().get(pk=row.pk)
    if value is None:
        row.tags.pop(key, None)
    else:
        _check_tag(key, value)
        row.tags[key] = value
    if len(row.tags) > MOST_TAGS:
        raise TrackingError(f"An experiment takes {MOST_TAGS} tags at most.")
    row.save(update_fields=["tags", "changed_at"])


def _row(scope: Scope, group: Group, what: str) -> Experiment:
    require_editor(scope.user, group.project)
    if group.row is None:
        raise TrackingError(f"{DEFAULT} is every project's own and cannot be {what}.")
    return group.row


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_LENGTH or not storable(name):
        raise TrackingError(f"An experiment has a name of 1 to {NAME_LENGTH} characters.")
    if name == DEFAULT:
        raise _taken(name)


def _check_tag(key: str, value: str) -> None:
    if not 1 <= len(key) <= NAME_LENGTH or len(value) > TAG_LENGTH or not storable([key, value]):
        raise TrackingError(
            f"The tag {key[:60]!r} needs a key of 1 to {NAME_LENGTH} characters, and a text of "
            f"{TAG_LENGTH:,} at most."
        )


def _taken(name: str) -> TrackingError:
    return TrackingError(
        f"There is an experiment {name[:80]!r} already; it may have been deleted and can be "
        "restored.",
        "RESOURCE_ALREADY_EXISTS",
    )


# --- finding --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Facts:
    """What a filter of experiments may ask; `name` stands for itself."""

    scope: Scope
    group: Group

    def value(self, entity: str, key: str) -> Any:
        if entity == TAG:
            return self.group.tags.get(key)
        if key == "name":
            return self.scope.full_name(self.group)
        if key == "experiment_id":
            return self.group.id
        at = self.group.created_at if key == "creation_time" else self.group.changed_at
        return at.timestamp() * 1000


def searched(
    scope: Scope, groups: Sequence[Group], *, text: str, orders: Sequence[str]
) -> list[Group]:
    """Those that fit a filter, in its order; else the newest change first.

    Raises:
        TrackingError: the filter or an order cannot be read.
    """
    clauses = filters.parse(text, filters.OF_EXPERIMENTS)
    given = filters.parse_orders(orders, filters.OF_EXPERIMENTS)
    rows = [_Facts(scope, group) for group in groups]
    rows = [row for row in rows if all(clause.holds(row) for clause in clauses)]
    for order in reversed(given or [Order(ATTRIBUTE, "last_update_time", falling=True)]):
        order.sort(rows)
    return [row.group for row in rows]
