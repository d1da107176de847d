"""Deleting a project: at once for everybody who could see it, then part by part.

First, in one transaction, nobody is in the project any more, nothing new is claimed of it, and its
reports, links and channels are gone. Then its runs go, a few in each transaction, at last its data
sets and itself. A process that is killed in between leaves a project that nobody sees; the clock
goes on with it (`go_on`).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import audit
from webapp.accounts.models import Invitation, Membership, Project, User
from webapp.accounts.permissions import require_admin
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.fleet.models import Pause
from webapp.notify.models import Channel
from webapp.reports.models import Report, ShareLink
from webapp.runs.lifecycle import commands
from webapp.runs.models import CLAIMED, ENDED, Run
from webapp.runs.needs import FROM_RUN
from webapp.storage import artifacts, deletion, leftovers, sizes
from webapp.storage.models import Measured
from webapp.sweeps.models import Sweep, SweepState

BATCH = 50  # runs that go in one transaction
AT_ONCE_S = 2.0  # while the person waits; the rest by the clock
BY_CLOCK_S = 120.0
MEASURED_NOW = 200  # folders; of a larger project the last survey says how large it is
SHOWN = 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ProjectDeletion:
    """What would go with a project, and what keeps it from going.

    Args:
        size_bytes: on disk and in the object storage.
        size_is_exact: measured now; else as of the last survey of the disk.
        queued: of `runs`: they have not begun, and never will.
        running: the first of those that are to be stopped first.
        needed_by: runs of other projects that could not go on, or not be shown, without it.
    """

    runs: int
    datasets: int
    feature_sets: int
    evaluations: int
    sweeps: int
    reports: int
    links: int
    members: int
    size_bytes: int
    size_is_exact: bool
    queued: int
    running: list[Run]
    needed_by: list[Run]

    @property
    def blocked(self) -> bool:
        return bool(self.running or self.needed_by)


def preview(project: Project) -> ProjectDeletion:
    """What deleting the project would do."""
    runs = Run.objects.filter(project=project)
    features = FeatureSet.objects.filter(version__dataset__project=project)
    size_bytes, exact = _size(project)
    return ProjectDeletion(
        runs=runs.count(),
        datasets=Dataset.objects.filter(project=project).count(),
        feature_sets=features.count(),
        evaluations=Evaluation.objects.filter(run__project=project).count(),
        sweeps=Sweep.objects.filter(project=project).count(),
        reports=Report.objects.filter(project=project).count(),
        links=ShareLink.objects.filter(report__project=project).count(),
        members=Membership.objects.filter(project=project).count(),
        size_bytes=size_bytes,
        size_is_exact=exact,
        queued=runs.exclude(state__in=(*CLAIMED, *ENDED)).count(),
        running=_running(project),
        needed_by=_needed_by(project),
    )


def project_delete(*, project: Project, slug: str, by: User) -> bool:
    """Delete a project with all that is in it; whether all of it is gone already.

    Args:
        slug: typed by the person, the project's own: it is not undone.

    Raises:
        ConfigError: another slug. VadError: `not-allowed`, `project-busy`.
    """
    require_admin(by, project)
    if slug.strip() != project.slug:
        raise ConfigError({"slug": f"type {project.slug}"}, what="The confirmation")
    _begin(project, by)
    try:
        return _advance(project.pk, seconds=AT_ONCE_S)
    except Exception:  # it is gone for everybody; the clock goes on with it
        log.exception("project.deletion_interrupted project=%s", project.slug)
        return False


def go_on() -> int:
    """Go on with what was begun; how many projects are gone now."""
    ids = Project.objects.exclude(deleting_at=None).values_list("pk", flat=True)
    return sum(_advance(pk, seconds=BY_CLOCK_S) for pk in list(ids))


@transaction.atomic
def _begin(project: Project, by: User) -> None:
    row = Project.objects.select_for_update().get(pk=project.pk)
    if row.deleting_at is not None:
        return
    Pause.objects.get_or_create(project=row, defaults={"by": by, "reason": "being deleted"})
    found = preview(row)
    if found.blocked:
        names = ", ".join(run.name for run in [*found.running, *found.needed_by][:3])
        what = "still run" if found.running else "of other projects need it"
        raise VadError(
            "project-busy",
            f"{row} cannot be deleted: runs {what} ({names}).",
            "Stop them first." if found.running else "Delete or cancel them first.",
        )
    audit.record(
        "project-deleted", by=by, subject=row.name, slug=row.slug, runs=found.runs,
        datasets=found.datasets, reports=found.reports, size_bytes=found.size_bytes,
    )  # fmt: skip
    row.deleting_at = timezone.now()
    row.save(update_fields=["deleting_at"])
    for gone in (Membership, Invitation, Report, Channel):
        gone._default_manager.filter(project=row).delete()
    Sweep.objects.filter(project=row, state=SweepState.ACTIVE).update(state=SweepState.STOPPED)


def _advance(project_id: int, *, seconds: float) -> bool:
    """Delete for about so long; whether all of it is gone."""
    until = time.monotonic() + seconds
    while _delete_runs(project_id):
        if time.monotonic() > until:
            return False
    return _delete_rest(project_id)


@transaction.atomic
def _delete_runs(project_id: int) -> int:
    """Some runs with their files; how many went. One that began in the last moment is stopped."""
    every = Run.objects.filter(project=project_id)
    for run in every.filter(state__in=CLAIMED):
        commands.cancel(run, by=None, cause="the project is deleted")
    idle = every.exclude(state__in=CLAIMED).exclude(evaluated_by__state__in=CLAIMED)
    ids = deletion.with_evaluations(idle.order_by("pk").values_list("pk", flat=True)[:BATCH])
    locked = Run.objects.select_for_update(of=("self",)).filter(pk__in=ids)
    gone = [run for run in locked.order_by("pk") if run.state not in CLAIMED]
    chosen = {run.pk for run in gone}
    Run.objects.filter(pk__in=chosen).update(feature_set=None)  # or their own features keep them
    Run.objects.filter(pk__in=chosen).delete()
    leftovers.let_go(run.folder for run in gone)
    return len(gone)


@transaction.atomic
def _delete_rest(project_id: int) -> bool:
    """What the runs worked on, and the project; False while one of them has not left."""
    if Run.objects.filter(project=project_id).exists():
        return False
    folders = list(_data_folders(project_id))
    Evaluation.objects.filter(version__dataset__project=project_id).delete()
    Dataset.objects.filter(project=project_id).delete()
    Project.objects.filter(pk=project_id).delete()
    leftovers.let_go(folders)
    return True


def _data_folders(project_id: int) -> Iterable[Path]:
    for features in FeatureSet.objects.filter(version__dataset__project=project_id):
        yield features.folder
    for version in DatasetVersion.objects.filter(dataset__project=project_id):
        yield version.folder
        yield settings.DATA_DIR / "thumbnails" / str(version.pk)


def _size(project: Project) -> tuple[int, bool]:
    """Bytes, and whether they were measured now."""
    runs = Run.objects.filter(project=project)
    if runs.count() <= MEASURED_NOW:
        folders = [*(run.folder for run in runs), *_data_folders(project.pk)]
        on_disk = sum(sizes.of_folder(folder) for folder in folders)
        return on_disk + artifacts.stored_bytes(folders), True
    of_project = Measured.objects.filter(project=project)
    return of_project.aggregate(n=Sum("size_bytes"))["n"] or 0, False


def _running(project: Project) -> list[Run]:
    rows = Run.objects.filter(project=project, state__in=CLAIMED)
    return list(rows.order_by("name")[:SHOWN])


def _needed_by(project: Project) -> list[Run]:
    """Runs elsewhere that work on data of the project, or wait for weights of a run of it."""
    of_it = (
        Q(version__dataset__project=project)
        | Q(feature_set__version__dataset__project=project)
        | Q(of_run__project=project)
        | Q(parents__project=project) & ~Q(state__in=ENDED)
    )
    elsewhere: QuerySet[Run] = Run.objects.exclude(project=project)
    found = list(elsewhere.filter(of_it).distinct().order_by("name")[:SHOWN])
    waiting = elsewhere.exclude(state__in=ENDED).filter(
        config__pretrained_point__startswith=FROM_RUN
    )
    starts: dict[uuid.UUID, list[Run]] = {}
    for run in waiting:
        text = str(run.config["pretrained_point"]).removeprefix(FROM_RUN)
        try:
            starts.setdefault(uuid.UUID(text), []).append(run)
        except ValueError:
            continue
    for pk in Run.objects.filter(project=project, pk__in=starts).values_list("pk", flat=True):
        found += [run for run in starts[pk] if run not in found]
    return found[:SHOWN]
