"""What a checkpoint scored on a test split, under which protocol."""

from __future__ import annotations

from pathlib import Path

from django.db import models

from webapp.accounts.access import through
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs.models import Checkpoint, Run
from webapp.storage import artifacts

_EMPTY = models.Value({}, models.JSONField())  # the database's own, for code that is older


class Evaluation(models.Model):
    """The result of one evaluate run. Its scores are kept, so any figure can be drawn later."""

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="evaluation"
    )
    of_run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="evaluations")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.SET_NULL, null=True)
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT)
    feature_set = models.ForeignKey(FeatureSet, on_delete=models.PROTECT)
    protocol = models.JSONField(default=dict)
    fingerprint = models.CharField(max_length=64, db_index=True)  # of the protocol
    selection = models.CharField(max_length=40)  # how the checkpoint was chosen
    frame_auc = models.FloatField(null=True, db_index=True)
    frame_ap = models.FloatField(null=True)
    metrics = models.JSONField(default=dict)
    intervals = models.JSONField(default=dict)
    per_class = models.JSONField(default=list)
    counts = models.JSONField(default=dict)
    scores_sha256 = models.CharField(max_length=64)
    # of two stages, else empty: the patch metrics, and the frame metrics of each stage
    patch = models.JSONField(default=dict, db_default=_EMPTY, blank=True)
    stages = models.JSONField(default=dict, db_default=_EMPTY, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = through("run__project").as_manager()

    def __str__(self) -> str:
        return f"evaluation of {self.of_run}"

    @property
    def scores_path(self) -> Path:
        """The score store, a safetensors file; fetched when it is in the object storage."""
        return artifacts.local(self.run.folder / "scores.safetensors")

    @property
    def patches_path(self) -> Path:
        """The maps of stage 2, a safetensors file; only there where `has_maps`."""
        return artifacts.local(self.run.folder / "patches.safetensors")

    @property
    def has_maps(self) -> bool:
        """Whether stage 2 was evaluated; its file may still be gone."""
        return bool(self.patch) or (self.run.folder / "patches.safetensors").is_file()
