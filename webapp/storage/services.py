"""What people decide about disk space: pins, the rule of a project, and what nothing needs."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import access, audit
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.core.commits import after_commit
from webapp.runs.lifecycle import events
from webapp.runs.models import Checkpoint, Run
from webapp.storage import leftovers, queries, retention, survey
from webapp.storage.models import CheckpointPin, Finding, Measured, RetentionRule

MEASURE_AGAIN_S = 60.0
AT_ONCE = 100  # runs that a new rule is applied to while a person waits; the rest by the clock


@transaction.atomic
def checkpoint_pin(*, run: Run, step: int, by: User) -> CheckpointPin:
    """Keep a checkpoint whatever the rule says; pinning it twice changes nothing.

    Raises:
        VadError: `file-missing` when the rule has let it go already; `not-allowed`.
    """
    require_editor(by, run.project)
    Run.objects.select_for_update().get(pk=run.pk)  # the rule is not applied meanwhile
    if not Checkpoint.objects.filter(run=run, step=step, removed=None).exists():
        raise VadError(
            "file-missing",
            f"The checkpoint of step {step} of {run.name} is gone; only its row is kept.",
            "Pin one that is on disk, or keep more of them by the project's rule.",
        )
    pin, made = CheckpointPin.objects.get_or_create(run=run, step=step, defaults={"by": by})
    if made:
        events.note(run.pk, "checkpoint-pinned", f"step {step}", by=by)
    return pin


@transaction.atomic
def checkpoint_unpin(*, run: Run, step: int, by: User) -> None:
    """Leave a checkpoint to the rule again, which is applied at once."""
    require_editor(by, run.project)
    gone, _ = CheckpointPin.objects.filter(run=run, step=step).delete()
    if gone:
        events.note(run.pk, "checkpoint-unpinned", f"step {step}", by=by)
        retention.apply_later(run.pk)


@transaction.atomic
def rule_set(*, project: Project, keep_best: int | None, by: User) -> int:
    """Decide how many of the best checkpoints the project's runs keep.

    Applied at once; where very many runs are touched, to the rest of them within `TIDY_EVERY_S`.

    Args:
        keep_best: None: as many as the server's default says.

    Returns:
        The number that holds now.
    """
    require_editor(by, project)
    if keep_best is None:
        RetentionRule.objects.filter(project=project).delete()
    elif 1 <= keep_best <= retention.MOST_KEPT:
        RetentionRule.objects.update_or_create(project=project, defaults={"keep_best": keep_best})
    else:
        raise ConfigError(
            {"keep_best": f"{keep_best} is not from 1 to {retention.MOST_KEPT}"}, what="The rule"
        )
    held = settings.KEEP_BEST if keep_best is None else keep_best
    audit.record("retention-changed", by=by, project=project, keep_best=held)
    after_commit(retention.tidy, project.pk, at_most=AT_ONCE)
    return held


def measure(*, by: User) -> int:
    """Look at the disk now; the bytes that everything takes.

    Raises:
        VadError: `not-allowed` for who may change no project; `too-many-tries` within a minute.
    """
    edits = access.memberships(by).filter(role__in=access.EDITORS).exists()
    if not access.may_write(by) or not (by.is_superuser or edits):
        raise VadError(
            "not-allowed", f"{by} may change no project.", "Ask a member to measure the disk."
        )
    newest = Measured.objects.order_by("-at").values_list("at", flat=True).first()
    if newest is not None and (timezone.now() - newest).total_seconds() < MEASURE_AGAIN_S:
        raise VadError(
            "too-many-tries",
            "The disk was measured less than a minute ago.",
            "What is shown is that; wait a little to measure again.",
        )
    return survey.survey()


def orphans_of(by: User) -> list[Finding]:
    """The orphans that the person may remove: of projects they may change; all for a superuser."""
    found = queries.visible(by, Finding.Kind.ORPHAN).select_related("project")
    if not by.is_superuser:
        found = found.filter(
            project__membership__user=by, project__membership__role__in=access.EDITORS
        )
    return list(found)


def orphans_remove(*, by: User) -> tuple[int, int]:
    """Remove files that no row knows. Each is looked at once more; who found an owner stays.

    Returns:
        How many went, and their bytes.
    """
    if not access.may_write(by):
        raise VadError("not-allowed", "This token may only read.", "Use one that may write.")
    found = [finding for finding in orphans_of(by) if survey.is_orphan(finding.path)]
    freed = sum(finding.size_bytes for finding in found)
    with transaction.atomic():
        for project in {finding.project for finding in found}:
            theirs = [finding.path for finding in found if finding.project == project]
            audit.record(
                "leftovers-removed", by=by, project=project, subject=theirs[0], count=len(theirs)
            )
        leftovers.let_go(settings.DATA_DIR / finding.path for finding in found)
        Finding.objects.filter(pk__in=[finding.pk for finding in found]).delete()
    return len(found), freed
