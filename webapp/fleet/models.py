"""Who is alive to run things."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce, Now


class WorkerQuerySet(models.QuerySet):
    def alive(self) -> WorkerQuerySet:
        """Workers that were heard of within the time after which a run counts as lost."""
        limit = Now() - timedelta(seconds=settings.RUN_LOST_AFTER_S)
        return self.filter(seen_at__gte=limit, stopped_at=None)

    def claiming(self) -> WorkerQuerySet:
        """Living workers that take runs: not drained, not refused."""
        return self.alive().filter(drained_at=None, refused="")


class Pause(models.Model):
    """Nothing new is claimed of a project, or of the whole server, while the row is there."""

    project = models.OneToOneField(
        "accounts.Project", on_delete=models.CASCADE, null=True, blank=True
    )  # null: the whole server
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    at = models.DateTimeField(auto_now_add=True)
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(Coalesce("project", 0), name="pause_once")  # of null, too
        ]

    def __str__(self) -> str:
        return f"{self.project or 'everything'} is paused"


class Server(models.Model):
    """Who the web server is; a worker of another version or data folder is refused. One row."""

    version = models.CharField(max_length=40)
    data_id = models.CharField(max_length=40)  # what the file in its data folder says
    data_dir = models.CharField(max_length=400)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.version


class Worker(models.Model):
    """One worker process on one host, and the slots that it offers."""

    name = models.CharField(max_length=120, unique=True)
    host = models.CharField(max_length=120)
    version = models.CharField(max_length=40)
    data_dir = models.CharField(max_length=400)
    cpu_slots = models.PositiveIntegerField(default=0)
    gpu_slots = models.PositiveIntegerField(default=0)
    devices = models.JSONField(default=list)  # names of the GPUs, by index of the slot
    device_ids = models.JSONField(default=list)  # by index of the slot; slots may share a GPU
    memory_mb = models.JSONField(default=list)  # of the slot's GPU; null: not known
    device_stats = models.JSONField(default=dict)  # id: what nvidia-smi said of it last
    refused = models.CharField(max_length=300, blank=True)  # why it may not claim
    drained_at = models.DateTimeField(null=True, blank=True)  # it takes nothing new since
    drained_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)

    objects = WorkerQuerySet.as_manager()

    CONDITIONS = ("alive", "drained", "refused", "silent", "stopped")

    def __str__(self) -> str:
        return self.name

    def condition(self, now: datetime) -> str:
        """One of `CONDITIONS`; a silent one was not heard of and did not say that it leaves."""
        if self.stopped_at is not None:
            return "stopped"
        if (now - self.seen_at).total_seconds() > settings.RUN_LOST_AFTER_S:
            return "silent"
        if self.refused:
            return "refused"
        return "drained" if self.drained_at else "alive"
