"""Data sets, their immutable versions, videos, and the features made of them."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models

from webapp.accounts.access import ProjectQuerySet, through
from webapp.accounts.models import Project


class Dataset(models.Model):
    """A name under which versions are registered."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=80)
    description = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="dataset_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class DatasetVersion(models.Model):
    """An immutable manifest. Its files are in `folder`; the rows are for pages and queries."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    format = models.CharField(max_length=40)
    fingerprint = models.CharField(max_length=64)
    rules = models.JSONField(default=dict)
    notes = models.JSONField(default=list)  # what the reader found odd but acceptable
    counts = models.JSONField(default=dict)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = through("dataset__project").as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="version_number_once"),
            models.UniqueConstraint(fields=["dataset", "fingerprint"], name="version_once"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    @property
    def folder(self) -> Path:
        """Where `manifest.json` and the truth files are."""
        return settings.DATA_DIR / "datasets" / str(self.pk)


class Video(models.Model):
    """One video of a version, as pages list it; the manifest is the authority."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="videos")
    key = models.CharField(max_length=200)
    split = models.CharField(max_length=8)
    label = models.PositiveSmallIntegerField()
    classes = models.JSONField(default=list)
    path = models.CharField(max_length=500, blank=True)
    num_frames = models.PositiveIntegerField(default=0)
    fps = models.FloatField(default=0)
    width = models.PositiveIntegerField(default=0)
    height = models.PositiveIntegerField(default=0)

    objects = through("version__dataset__project").as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "key"], name="video_key_once")]

    def __str__(self) -> str:
        return self.key

    @property
    def duration_s(self) -> float | None:
        """None where the frames or their rate are unknown."""
        return self.num_frames / self.fps if self.num_frames and self.fps else None


class FeatureSet(models.Model):
    """Features of a version's videos: packed from published files, or made by an extract run."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(
        DatasetVersion, on_delete=models.CASCADE, related_name="feature_sets"
    )
    name = models.CharField(max_length=120)
    produced_by = models.OneToOneField(
        "runs.Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="features_made"
    )
    ready = models.BooleanField(default=False)
    extractor = models.CharField(max_length=60, blank=True)
    dim = models.PositiveIntegerField(default=0)
    video_count = models.PositiveIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True)
    summary = models.JSONField(default=dict)  # FeatureStore.summary()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = through("version__dataset__project").as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        """Where the feature store is, once `ready`."""
        return settings.DATA_DIR / "features" / str(self.pk)
