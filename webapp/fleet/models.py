"""Who is alive to run things."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class WorkerQuerySet(models.QuerySet):
    def alive(self) -> WorkerQuerySet:
        """Workers that were heard of within the time after which a run counts as lost."""
        limit = Now() - timedelta(seconds=settings.RUN_LOST_AFTER_S)
        return self.filter(seen_at__gte=limit, stopped_at=None)


class Worker(models.Model):
    """One worker process on one host, and the slots that it offers."""

    name = models.CharField(max_length=120, unique=True)
    host = models.CharField(max_length=120)
    version = models.CharField(max_length=40)
    data_dir = models.CharField(max_length=400)
    cpu_slots = models.PositiveIntegerField(default=0)
    gpu_slots = models.PositiveIntegerField(default=0)
    devices = models.JSONField(default=list)  # names of the GPUs, by index
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
