"""What is kept of runs that are trained elsewhere beside the run itself."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from webapp.accounts.access import through
from webapp.runs.models import Run


class ExternalRun(models.Model):
    """What came with an external run; the run itself is a `Run` of the kind `external`."""

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="external"
    )
    client = models.CharField(max_length=60, blank=True)  # what logs it, as it calls itself
    labels = models.JSONField(default=dict, blank=True)  # names with a text each, as MLflow's tags
    sessions = models.JSONField(default=dict, blank=True)  # last part of the log, by who sent it

    def __str__(self) -> str:
        return f"{self.run} by {self.client or 'an unnamed client'}"


class MetricHistory(models.Model):
    """Points of one metric as they were sent, in their order, each with its time; see history.py.

    `records` are `history.RECORD`, little-endian.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metric_history")
    key = models.CharField(max_length=120)
    count = models.PositiveIntegerField()
    records = models.BinaryField()

    class Meta:
        indexes = [models.Index(fields=["run", "key", "id"], name="metric_history_order")]

    def __str__(self) -> str:
        return f"{self.count} points of {self.key}"


class Upload(models.Model):
    """A file of an external run: on its way, or complete. `path` is what its sender calls it.

    Its place on the disk has its id for a name; see uploads.py.
    """

    class Kind(models.TextChoices):
        CHECKPOINT = "checkpoint", "Checkpoint"
        ARTIFACT = "artifact", "File"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="uploads")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    path = models.CharField(max_length=400)
    step = models.PositiveBigIntegerField(null=True, blank=True)  # of a checkpoint
    best = models.BooleanField(default=False)  # of a checkpoint
    metrics = models.JSONField(default=dict, blank=True)  # of a checkpoint
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    received_bytes = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    touched_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = through("run__project").as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["run", "path"], name="upload_by_path"),
            models.Index(
                fields=["touched_at"], condition=Q(finished_at=None), name="upload_unfinished"
            ),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def place(self) -> Path:
        """Where it belongs when it is complete, below the run's folder."""
        if self.kind == Upload.Kind.CHECKPOINT:
            return Path("checkpoints") / f"{self.pk}.safetensors"
        return Path("artifacts") / str(self.pk)

    @property
    def file(self) -> Path:
        """Where it is, or is to be, when it is complete."""
        return self.run.folder / self.place

    @property
    def part(self) -> Path:
        """Where it grows: on the same disk, so that one rename completes it."""
        return self.run.folder / "uploads" / f"{self.pk}.part"
