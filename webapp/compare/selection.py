"""Which runs are compared, and as what: each by itself, or in groups that are equal but for a seed,
a field of the configuration, or a tag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KeyTransform

from webapp.accounts.models import Project, User
from webapp.evaluations.models import Evaluation
from webapp.runs.models import EXTERNAL, Run

MOST_RUNS = 200  # of a page; figures draw fewer, see figures.MOST_CURVES
CANDIDATES = 200
BY_RUN, BY_SEED, BY_TAG, BY_FIELD = "", "seed", "tag", "config."
NOT_THE_MODEL = ("seed", "device")  # runs that differ in these alone are seeds of one setting


@dataclass(frozen=True, kw_only=True)
class Member:
    """What is compared: one run, or a group of runs.

    Args:
        runs: at least one.
        evaluations: the newest of each run that has one.
        without, first_src: addresses of the comparison without it, and with it in front.
        short: its name without what the names of all others begin with as well.
    """

    name: str
    runs: list[Run]
    evaluations: list[Evaluation] = field(default_factory=list)
    without: str = ""
    first_src: str = ""
    short: str = ""

    @property
    def label(self) -> str:
        """What columns, legends and lists call it, where its whole name stands nearby."""
        return self.short or self.name

    @property
    def run(self) -> Run:
        """The first: its colour, links and settings stand for the group."""
        return self.runs[0]

    @property
    def key(self) -> str:
        return str(self.run.pk)

    @property
    def color(self) -> int:
        return self.run.color

    @property
    def is_group(self) -> bool:
        return len(self.runs) > 1

    @property
    def evaluation(self) -> Evaluation | None:
        return self.evaluations[0] if self.evaluations else None


def chosen(user: User, ids: Sequence[UUID]) -> list[Run]:
    """The runs of these ids that the person may see, in this order; at most `MOST_RUNS`.

    An evaluate run stands for the run that it evaluated.
    """
    runs = Run.objects.visible_to(user).defer("environment", "result", "notes", "error")
    runs = runs.select_related("owner", "version__dataset", "feature_set")
    meant = dict(runs.filter(pk__in=ids).values_list("pk", "of_run"))
    order = list(dict.fromkeys(meant[pk] or pk for pk in ids if pk in meant))[:MOST_RUNS]
    by_id = {run.pk: run for run in runs.filter(pk__in=order)}
    return [by_id[pk] for pk in order if pk in by_id]


def candidates(project: Project | None, runs: Sequence[Run]) -> list[Run]:
    """Training runs, external ones among them, that could join the comparison; newest first."""
    trained = Q(kind__startswith="train") | Q(kind=EXTERNAL)
    found = Run.objects.filter(trained, project=project)
    found = found.exclude(pk__in=[run.pk for run in runs]).select_related("version__dataset")
    found = found.only("name", "version__number", "version__dataset__name")
    return list(found.order_by("-created_at")[:CANDIDATES])


def evaluations(runs: Sequence[Run]) -> dict[UUID, Evaluation]:
    """The newest evaluation of each run that has one."""
    found = with_patch_metrics(Evaluation.objects.filter(of_run__in=runs))
    return {evaluation.of_run_id: evaluation for evaluation in found.order_by("created_at")}


def with_patch_metrics(found: QuerySet[Evaluation]) -> QuerySet[Evaluation]:
    """With what the tables of a comparison read, and without the rows of every video."""
    related = found.select_related("run", "of_run", "checkpoint", "version__dataset")
    return related.defer("patch", "stages").annotate(
        patch_metrics=KeyTransform("metrics", "patch"),
        patch_intervals=KeyTransform("intervals", "patch"),
        patch_fingerprint=KeyTransform("fingerprint", "patch"),
        patch_protocol=KeyTransform("protocol", "patch"),
        patch_sha256=KeyTransform("sha256", "patch"),
    )


def members(
    runs: Sequence[Run], evaluated: dict[UUID, Evaluation], by: str = BY_RUN
) -> list[Member]:
    """The runs in their groups, in the order of each group's first run.

    Args:
        by: `BY_RUN`, `BY_SEED`, `BY_TAG` (runs with the same tags), or `config.FIELD`.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_group_of(run, by), []).append(run)
    return [
        Member(
            name=_name(own, by),
            runs=own,
            evaluations=[evaluated[run.pk] for run in own if run.pk in evaluated],
        )
        for own in groups.values()
    ]


def ways(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Ways to group these runs that make sense, as value and words."""
    found = [(BY_RUN, "each run")]
    if len(runs) < 2:
        return found
    found.append((BY_SEED, "seeds of one setting"))
    if any(run.tags for run in runs):
        found.append((BY_TAG, "runs with the same tags"))
    names = dict.fromkeys(name for run in runs for name in run.config)
    for name in names:
        values = {json.dumps(run.config.get(name)) for run in runs}
        if 1 < len(values) < len(runs) and name not in NOT_THE_MODEL:
            found.append((BY_FIELD + name, f"same {name}"))
    return found


def _group_of(run: Run, by: str) -> str:
    if by == BY_SEED:
        return json.dumps([_setting(run), run.kind, str(run.version_id), str(run.feature_set_id)])
    if by == BY_TAG:
        return json.dumps(sorted(run.tags))
    if by.startswith(BY_FIELD):
        return json.dumps(run.config.get(by.removeprefix(BY_FIELD)))
    return str(run.pk)


def _setting(run: Run) -> list[tuple[str, Any]]:
    return sorted((k, v) for k, v in run.config.items() if k not in NOT_THE_MODEL)


def _name(runs: Sequence[Run], by: str) -> str:
    first = runs[0]
    if by == BY_TAG:
        return ", ".join(sorted(first.tags)) or "no tag"
    if by.startswith(BY_FIELD):
        field_name = by.removeprefix(BY_FIELD)
        return f"{field_name} {first.config.get(field_name, '–')}"  # noqa: RUF001
    return first.name
