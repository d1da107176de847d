"""Which checkpoints of a run stay, by one rule that people know: the best few, the last, pins.

| stays | because |
| --- | --- |
| the best k by the run's selection metric | the rule of the project, or of the server |
| the last; of a run that may go on the two newest, and the best of each | it resumes from there |
| pinned ones | somebody said so |
| what was evaluated, or what a training started from | results refer to it |
| all of a run that somebody reads at the moment | nothing is taken from under a reader |

The child process removes nothing (`--keep-all`). A checkpoint that is let go keeps its row, which
says when it went; then its file goes (leftovers.py). The rule is applied when a checkpoint was
recorded, when a pin or the rule changes, and to all runs by the clock (`tidy`).
"""

from __future__ import annotations

import logging
import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q

from vad.configs import config_class
from vad.errors import VadError
from webapp.core.commits import after_commit
from webapp.runs.models import CLAIMED, ENDED, Checkpoint, Run, State
from webapp.runs.needs import FROM_RUN
from webapp.storage import leftovers
from webapp.storage.models import CheckpointPin, RemovedCheckpoint, RetentionRule

MOST_KEPT = 1000  # the greatest k that a rule may name
BATCH = 200  # runs looked at in one go
_DECIDING = ("selection", "validation_share", "validation_clips")  # fields that name the metric

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Holdings:
    """The checkpoints that a run has, and all that decides which of them stay.

    Args:
        rows: with a file, rising by step.
        best_key: the selection metric; None: the newest are the best.
        resumable: the run may go on from its newest checkpoint.
        needed: step to why, of checkpoints that results refer to.
        read: somebody may be reading one of them now.
    """

    run: Run
    rows: list[Checkpoint] = field(default_factory=list)
    keep_best: int
    best_key: str | None
    resumable: bool
    pinned: set[int] = field(default_factory=set)
    needed: dict[int, str] = field(default_factory=dict)
    read: bool = False

    def reasons(self) -> dict[int, list[str]]:
        """Step to why it stays; a step that is not named goes."""
        found: dict[int, list[str]] = defaultdict(list)
        ranked = _ranked(self.rows, self.best_key)
        for place, row in enumerate(ranked[: self.keep_best], start=1):
            found[row.step].append(f"best {place} of {self.keep_best}" if place > 1 else "best")
        for row in self.rows:  # by the run's own word, also where its metric was not recorded
            if row.best and "best" not in found[row.step]:
                found[row.step].append("best")
        for place, row in enumerate(reversed(self.rows[-2 if self.resumable else -1 :])):
            found[row.step].append("resume point" if place else "last")
            best = self._best_as_of(row.step) if self.resumable else None
            if best is not None and not found[best]:
                found[best].append("best at the resume point")
        for step in self.pinned:
            found[step].append("pinned")
        for step, why in self.needed.items():
            found[step].append(why)
        if self.read:
            for row in self.rows:
                found[row.step] = found[row.step] or ["in use"]
        return {step: why for step, why in found.items() if why}

    def gone(self) -> list[Checkpoint]:
        """Those that the rule lets go."""
        stays = self.reasons()
        return [row for row in self.rows if row.step not in stays]

    def resume_steps(self) -> set[int]:
        """What the run looks for when it goes on: the two newest, and the best that each names."""
        newest = [row.step for row in self.rows[-2:]]
        bests = [self._best_as_of(step) for step in newest]
        return {*newest, *(step for step in bests if step is not None)}

    def _best_as_of(self, step: int) -> int | None:
        """The best that the checkpoint of a step names; who resumes from it looks for that."""
        return max((r.step for r in self.rows if r.was_best and r.step <= step), default=None)


def _ranked(rows: Iterable[Checkpoint], key: str | None) -> list[Checkpoint]:
    """The best first; of equals the later one, as training chooses. Without a value: not at all."""
    if key is None:
        return sorted(rows, key=lambda row: -row.step)
    measured = [(value, row) for row in rows if (value := _value(row, key)) is not None]
    measured.sort(key=lambda pair: (pair[0], pair[1].step), reverse=True)
    return [row for _, row in measured]


def _value(row: Checkpoint, key: str) -> float | None:
    value = row.metrics.get(key)
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else None


def rule_of(project_id: int) -> int:
    """How many of the best checkpoints the runs of a project keep."""
    rule = RetentionRule.objects.filter(project=project_id).first()
    return settings.KEEP_BEST if rule is None else rule.keep_best


# --- looking --------------------------------------------------------------------------------


def holdings(runs: Sequence[Run], *, keep_best: int | None = None) -> list[Holdings]:
    """What these runs have, in their order; a handful of queries however many they are.

    Args:
        keep_best: as if the rule were this one; None: the rule of each run's project.
    """
    ids = [run.pk for run in runs]
    rules = dict(
        RetentionRule.objects.filter(project__in={run.project_id for run in runs}).values_list(
            "project", "keep_best"
        )
    )
    found = {
        run.pk: Holdings(
            run=run,
            keep_best=(
                rules.get(run.project_id, settings.KEEP_BEST) if keep_best is None else keep_best
            ),
            best_key=_best_key(run),
            resumable=run.state != State.SUCCEEDED,
        )
        for run in runs
    }
    for row in Checkpoint.objects.filter(run__in=ids, removed=None).order_by("step"):
        found[row.run_id].rows.append(row)
    for run_id, step in CheckpointPin.objects.filter(run__in=ids).values_list("run", "step"):
        found[run_id].pinned.add(step)
    _note_users(found)
    return list(found.values())


def _best_key(run: Run) -> str | None:
    return _key_of(run.kind, *(run.config.get(name) for name in _DECIDING))


@lru_cache(maxsize=256)
def _key_of(kind: str, *values: str | float | None) -> str | None:
    """From the fields that decide it alone: a configuration is slow to check as a whole."""
    given = zip(_DECIDING, values, strict=True)
    try:
        config = config_class(kind).from_dict({k: v for k, v in given if v is not None})
    except VadError:  # of a kind without these fields, or of a version that had others
        return None
    return getattr(config, "best_key", None)


def _note_users(found: Mapping[uuid.UUID, Holdings]) -> None:
    """Mark what evaluations and trainings took, or are taking now."""
    starts = {f"{FROM_RUN}{pk}": pk for pk in found}
    users = Run.objects.filter(
        Q(of_run__in=found) | Q(config__pretrained_point__in=list(starts))
    ).only("id", "of_run_id", "state", "started_at", "config", "result", "environment")
    for user in users:
        start = str(user.config.get("pretrained_point", ""))
        of_run = user.of_run_id
        used = found[of_run if of_run is not None and of_run in found else starts[start]]
        if user.state in CLAIMED or (user.started_at is not None and user.state not in ENDED):
            used.read = True
        step = user.result.get("checkpoint_step")
        if isinstance(step, int):
            used.needed[step] = "evaluated"
        sha256 = user.environment.get("start_sha256")
        for row in used.rows:
            if sha256 and row.sha256 == sha256:
                used.needed[row.step] = "a training started from it"


# --- letting go -----------------------------------------------------------------------------


def apply_later(run_id: uuid.UUID) -> None:
    """Apply the rule to a run once the transaction is committed; a fault in it harms nobody."""
    after_commit(apply, run_id)


@transaction.atomic
def apply(run_id: uuid.UUID) -> int:
    """Let go of what the rule does not keep; the bytes that are freed.

    The run's row is locked, as it is while a checkpoint is recorded or pinned.
    """
    run = Run.objects.select_for_update().filter(pk=run_id).first()
    if run is None:
        return 0
    gone = holdings([run])[0].gone()
    if not gone:
        return 0
    RemovedCheckpoint.objects.bulk_create(
        [RemovedCheckpoint(checkpoint=row) for row in gone], ignore_conflicts=True
    )
    leftovers.let_go(run.folder / row.path for row in gone)
    freed = sum(row.size_bytes for row in gone)
    log.info("storage.checkpoints_removed run_id=%s count=%d bytes=%d", run_id, len(gone), freed)
    return freed


def tidy(project_id: int | None = None, *, at_most: int | None = None) -> int:
    """Finish removals that were interrupted and apply the rule to all runs; the bytes freed.

    Args:
        project_id: to the runs of this project alone.
        at_most: to so many runs; the clock comes to the others.
    """
    leftovers.clear()
    return sum(apply(found.run.pk) for found in with_too_many(project_id)[:at_most])


def with_too_many(project_id: int | None = None, *, keep_best: int | None = None) -> list[Holdings]:
    """Runs that have checkpoints which the rule lets go; see `holdings`."""
    several = Checkpoint.objects.filter(removed=None)
    if project_id is not None:
        several = several.filter(run__project=project_id)
    counted = several.order_by().values("run").annotate(n=Count("pk")).filter(n__gt=1)
    ids = [row["run"] for row in counted]
    found: list[Holdings] = []
    for at in range(0, len(ids), BATCH):
        runs = list(Run.objects.filter(pk__in=ids[at : at + BATCH]))
        found += [h for h in holdings(runs, keep_best=keep_best) if h.gone()]
    return found


def taken_up(checkpoint: Checkpoint) -> None:
    """A checkpoint was written, perhaps anew: whatever was said of its file holds no more."""
    RemovedCheckpoint.objects.filter(checkpoint=checkpoint).delete()
    leftovers.take_back(checkpoint.run.folder / checkpoint.path)
