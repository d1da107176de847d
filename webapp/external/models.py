"""What is kept of runs that are trained elsewhere beside the run itself."""

from __future__ import annotations

from django.db import models

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
