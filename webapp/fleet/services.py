"""Pausing the queue and draining workers."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from vad.errors import ConfigError, VadError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.core import doorbell
from webapp.fleet.models import Pause, Worker
from webapp.runs.models import Usage

REASON_LENGTH = 200


@transaction.atomic
def queue_pause(*, project: Project | None, by: User, reason: str = "") -> Pause:
    """Claim nothing new of a project; of nothing at all without one. What runs goes on.

    Raises:
        VadError: `not-allowed`: a project's members pause it, superusers pause the server.
    """
    _require(by, project)
    reason = " ".join(reason.split())[:REASON_LENGTH]
    pause, _ = Pause.objects.get_or_create(project=project, defaults={"by": by, "reason": reason})
    return pause


@transaction.atomic
def queue_resume(*, project: Project | None, by: User) -> None:
    """Let the queue go on."""
    _require(by, project)
    Pause.objects.filter(project=project).delete()
    _ring()


@transaction.atomic
def worker_drain(*, worker: Worker, by: User) -> None:
    """Let a worker finish what it runs and take nothing new."""
    _require(by, None)
    Worker.objects.filter(pk=worker.pk, drained_at=None).update(drained_at=Now(), drained_by=by)


@transaction.atomic
def worker_resume(*, worker: Worker, by: User) -> None:
    """Let a drained worker take runs again."""
    _require(by, None)
    Worker.objects.filter(pk=worker.pk).update(drained_at=None, drained_by=None)
    _ring()


@transaction.atomic
def share_set(*, username: str, share: float, by: User) -> None:
    """Let a person use `share` times as much of the devices as one with a share of 1.

    Raises:
        VadError: `not-allowed`, `not-found`, `config-invalid`.
    """
    _require(by, None)
    if not 0.01 <= share <= 100:
        raise ConfigError({"share": "must be a number from 0.01 to 100"}, what="The share")
    person = User.objects.filter(username=username).first()
    if person is None:
        raise VadError("not-found", f"There is no person {username[:60]!r}.", "Check the name.")
    for kind in ("gpu", "cpu"):
        Usage.objects.update_or_create(
            owner=person, kind=kind, defaults={"share": share},
            create_defaults={"share": share, "as_of": Now()},
        )  # fmt: skip


def _require(by: User, project: Project | None) -> None:
    if project is not None:
        require_editor(by, project)
    elif not by.is_superuser:
        raise VadError(
            "not-allowed",
            "Only who administers the server may pause all of it, or drain a worker.",
            "Ask them, or pause the queue of your project.",
        )


def _ring() -> None:
    for queue in ("gpu", "cpu"):
        transaction.on_commit(lambda queue=queue: doorbell.ring(queue) and None)  # type: ignore[misc]
