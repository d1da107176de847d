"""What goes when runs are deleted, and what keeps them from going."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from webapp.datasets.models import FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.runs.models import CLAIMED, ENDED, Checkpoint, Run
from webapp.runs.needs import FROM_RUN
from webapp.storage import artifacts, sizes


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """A deletion before it is done.

    Args:
        also: evaluate runs, which go with the runs that they evaluate.
        checkpoints: that are still on disk, by their rows.
        running: of what would go; to be stopped first.
        needed_by: runs that stay and could not go on without what would go.
        starts: ended trainings that began with one of them; they stay, without their origin.
    """

    runs: Sequence[Run]
    also: Sequence[Run]
    size_bytes: int
    checkpoints: int
    evaluations: int
    running: Sequence[Run]
    needed_by: Sequence[Run]
    starts: Sequence[Run]

    @property
    def blocked(self) -> bool:
        return bool(self.running or self.needed_by)


def preview(runs: Sequence[Run]) -> Deletion:
    """What would go with these runs; their folders are measured."""
    given = {run.pk for run in runs}
    ids = with_evaluations(given)
    also = list(Run.objects.filter(pk__in=ids - given).order_by("created_at"))
    gone = [*runs, *also]
    return Deletion(
        runs=runs,
        also=also,
        size_bytes=sum(sizes.of_folder(run.folder) for run in gone)
        + artifacts.stored_bytes(run.folder for run in gone),
        checkpoints=Checkpoint.objects.filter(run__in=ids, removed=None).count(),
        evaluations=Evaluation.objects.filter(run__in=ids).count(),
        running=[run for run in gone if run.state in CLAIMED],
        needed_by=needed_by(ids),
        starts=list(_started_from(ids).filter(state__in=ENDED).order_by("created_at")),
    )


def with_evaluations(ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """These runs and the evaluate runs that go with them."""
    found = set(ids)
    return found | set(Run.objects.filter(of_run__in=found).values_list("pk", flat=True))


def unfinished_features(ids: set[uuid.UUID]) -> QuerySet[FeatureSet]:
    """Feature sets that go with the runs, as they were never finished."""
    return FeatureSet.objects.filter(produced_by__in=ids, ready=False)


def needed_by(ids: set[uuid.UUID]) -> list[Run]:
    """Runs that are not among them and cannot go on, or cannot be shown, without them."""
    features = unfinished_features(ids).values("pk")
    waiting = Q(parents__in=ids) & ~Q(state__in=ENDED)
    others = Run.objects.filter(waiting | Q(feature_set__in=features)).exclude(pk__in=ids)
    found = {run.pk: run for run in others}
    found |= {run.pk: run for run in _started_from(ids).exclude(state__in=ENDED)}
    return sorted(found.values(), key=lambda run: run.name)


def _started_from(ids: set[uuid.UUID]) -> QuerySet[Run]:
    """Other trainings whose weights began as those of one of these."""
    starts = [f"{FROM_RUN}{pk}" for pk in ids]
    return Run.objects.filter(config__pretrained_point__in=starts).exclude(pk__in=ids)
