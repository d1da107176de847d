"""Which checkpoints are kept, which are gone by rule, and files that nothing needs any more."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from webapp.accounts.models import Project
from webapp.runs.models import Checkpoint, Run


class RetentionRule(models.Model):
    """How many checkpoints the runs of a project keep; without a row the server's default."""

    project = models.OneToOneField(
        Project, on_delete=models.CASCADE, primary_key=True, related_name="retention"
    )
    keep_best = models.PositiveSmallIntegerField()

    def __str__(self) -> str:
        return f"the best {self.keep_best} of {self.project}"


class CheckpointPin(models.Model):
    """A checkpoint that a person wants kept. By step: the row of a checkpoint is made anew when a
    run resumes before it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checkpoint_pins")
    step = models.PositiveBigIntegerField()
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "step"], name="checkpoint_pin_once")]

    def __str__(self) -> str:
        return f"step {self.step} of {self.run_id}"


class RemovedCheckpoint(models.Model):
    """A checkpoint that the rule let go: its row stays and says so, its file goes."""

    checkpoint = models.OneToOneField(
        Checkpoint, on_delete=models.CASCADE, primary_key=True, related_name="removed"
    )
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.checkpoint_id} is removed"


class Leftover(models.Model):
    """A file or folder that no row needs any more. See leftovers.py.

    Written in the transaction that ends the need, so a clean-up that is killed is not forgotten.
    """

    path = models.CharField(max_length=300, unique=True)  # below the data folder
    stored_stays = models.BooleanField(default=False)  # it moved: the copy in the bucket is needed
    since = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.path


class Measured(models.Model):
    """How much room one thing took when the disk was last looked at. See survey.py."""

    area = models.CharField(max_length=12)  # runs, features, datasets; "server" for the rest
    key = models.CharField(max_length=64)  # the thing's id, which names its folder
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, related_name="measured"
    )
    checkpoint_bytes = models.PositiveBigIntegerField(default=0)
    score_bytes = models.PositiveBigIntegerField(default=0)
    proxy_bytes = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)  # all of it
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["area", "key"], name="measured_once")]
        indexes = [models.Index(fields=["project", "-size_bytes"], name="measured_largest")]

    def __str__(self) -> str:
        return f"{self.area}/{self.key}"


class Finding(models.Model):
    """Disk and rows that do not fit: a file that no row knows, or a row whose file is gone."""

    class Kind(models.TextChoices):
        ORPHAN = "orphan", "File without a row"
        MISSING = "missing", "Row without its file"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    path = models.CharField(max_length=300)  # below the data folder
    what = models.CharField(max_length=200)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, related_name="+")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, related_name="+")
    size_bytes = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-size_bytes", "path"]
        constraints = [models.UniqueConstraint(fields=["kind", "path"], name="finding_once")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}"


class RemovalHold(models.Model):
    """Nothing is removed from the disk until then: a backup copies what its database names."""

    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"until {self.until}"


class StoredArtifact(models.Model):
    """A file that lies in the object storage, under its path; see artifacts.py."""

    path = models.CharField(max_length=300, unique=True)  # below the data folder; the key as well
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.path
