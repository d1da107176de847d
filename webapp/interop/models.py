"""What MLflow knows and a run of ours does not: experiments, and what was deleted there."""

from __future__ import annotations

import uuid

from django.db import models

from webapp.accounts.access import ProjectQuerySet
from webapp.accounts.models import Project
from webapp.runs.models import Run


class Experiment(models.Model):
    """A name for a group of a project's runs. Runs without one are in the project's `Default`."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="experiments")
    name = models.CharField(max_length=250)
    tags = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="experiment_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class TrackedRun(models.Model):
    """A run's place among MLflow's; runs without such a row are in `Default`, and not deleted."""

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="tracked"
    )
    experiment = models.ForeignKey(
        Experiment, on_delete=models.SET_NULL, null=True, blank=True, related_name="tracked_runs"
    )
    inputs = models.JSONField(default=list, blank=True)  # as mlflow.log_input sent them
    deleted_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.run} in {self.experiment or 'Default'}"


class LoggedModel(models.Model):
    """A model of `mlflow.log_model`; its files are the run's, below `path`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="logged_models")
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=210)
    kind = models.CharField(max_length=200, blank=True)  # MLflow's model_type
    status = models.CharField(max_length=40)  # as MLflow writes it
    params = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-created_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "path"], name="logged_model_path_once")
        ]

    def __str__(self) -> str:
        return self.name
