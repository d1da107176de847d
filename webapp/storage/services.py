"""What people decide about disk space: pins, and the rule of a project."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.db import transaction

from vad.errors import ConfigError, VadError
from webapp.accounts import audit
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.runs import lifecycle
from webapp.runs.models import Checkpoint, Run
from webapp.storage import retention
from webapp.storage.models import CheckpointPin, RetentionRule


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
        lifecycle.note(run, "checkpoint-pinned", f"step {step}", by=by)
    return pin


@transaction.atomic
def checkpoint_unpin(*, run: Run, step: int, by: User) -> None:
    """Leave a checkpoint to the rule again, which is applied at once."""
    require_editor(by, run.project)
    gone, _ = CheckpointPin.objects.filter(run=run, step=step).delete()
    if gone:
        lifecycle.note(run, "checkpoint-unpinned", f"step {step}", by=by)
        retention.apply_later(run.pk)


@transaction.atomic
def rule_set(*, project: Project, keep_best: int | None, by: User) -> int:
    """Decide how many of the best checkpoints the project's runs keep; applied at once.

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
    transaction.on_commit(partial(retention.tidy, project.pk), robust=True)
    return held
