"""Sweeps and their trials. What came of a trial is in its runs; nothing of it is kept twice."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from vad.configs import RunConfig, config_class
from vad.errors import ConfigError
from webapp.accounts.access import ProjectQuerySet
from webapp.accounts.models import Project
from webapp.datasets.models import FeatureSet
from webapp.runs.models import Run
from webapp.runs.resources import Resources
from webapp.sweeps import objectives, planning, space
from webapp.sweeps.planning import Plan
from webapp.sweeps.space import Params, Space


class SweepState(models.TextChoices):
    ACTIVE = "active", "Active"
    HELD = "held", "Held"
    STOPPED = "stopped", "Stopped"
    DONE = "done", "Done"


class Strategy(models.TextChoices):
    GRID = "grid", "Grid: every combination"
    RANDOM = "random", "Random"
    TPE = "tpe", "Search (Optuna's TPE)"
    SEEDS = "seeds", "Seeds only"


class Take(models.TextChoices):
    """Which value of the objective a trial counts with."""

    BEST = "best", "its best over the steps"
    LAST = "last", "its last"


class StopRule(models.TextChoices):
    NONE = "", "No trial"
    MEDIAN = "median", "Trials worse than the median"
    HALVING = "halving", "All but the best third (successive halving)"


class Sweep(models.Model):
    """Trainings of one kind that search a space of settings."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sweeps")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    name = models.CharField(max_length=80)

    # what a trial is
    kind = models.CharField(max_length=20)
    config = models.JSONField()  # what is not swept
    feature_set = models.ForeignKey(
        FeatureSet, on_delete=models.SET_NULL, null=True, related_name="sweeps"
    )
    evaluate = models.BooleanField(default=True)
    tags = models.JSONField(default=list, blank=True)
    priority = models.SmallIntegerField(default=0)
    gpus = models.PositiveSmallIntegerField(default=1)
    memory_mb = models.PositiveIntegerField(null=True, blank=True)
    time_limit_s = models.PositiveIntegerField(null=True, blank=True)

    # which trials there are
    space = models.JSONField(default=dict, blank=True)  # see space.py
    strategy = models.CharField(max_length=8, choices=Strategy.choices)
    settings = models.PositiveIntegerField()  # points of the space
    seeds = models.JSONField()  # each setting is trained with each
    parallel = models.PositiveSmallIntegerField(
        default=4, validators=[MinValueValidator(1), MaxValueValidator(100)]
    )
    entropy = models.PositiveIntegerField(default=0)  # seed of the draws

    # what it is after
    objective = models.CharField(max_length=objectives.KEY_LENGTH)
    falling = models.BooleanField(default=False)  # less is better
    take = models.CharField(max_length=4, choices=Take.choices, default=Take.BEST)
    stop_rule = models.CharField(
        max_length=8, choices=StopRule.choices, default=StopRule.NONE, blank=True
    )
    stop_after = models.PositiveIntegerField(default=0)  # steps
    stop_least = models.PositiveSmallIntegerField(default=4)  # trials to compare with

    state = models.CharField(max_length=8, choices=SweepState.choices, default=SweepState.ACTIVE)
    problem = models.JSONField(null=True, blank=True)  # VadError.to_dict(), if it held itself
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now_add=True)  # of its state

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="sweep_list"),
            models.Index(fields=["state"], condition=Q(state="active"), name="sweep_active"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def trials_planned(self) -> int:
        return self.settings * len(self.seeds)

    @property
    def typed_space(self) -> Space:
        return space.from_json(self.kind, self.space)

    @property
    def resources(self) -> Resources:
        return Resources(gpus=self.gpus, memory_mb=self.memory_mb, time_limit_s=self.time_limit_s)

    @property
    def objective_title(self) -> str:
        return objectives.title_of(self.objective)

    @property
    def chosen_on(self) -> str:
        return objectives.chosen_on(self.objective)

    @property
    def has_ended(self) -> bool:
        return self.state in (SweepState.STOPPED, SweepState.DONE)

    @property
    def badge(self) -> str:
        """The state of a run that looks the same."""
        return {"active": "running", "stopped": "cancelled", "done": "succeeded"}.get(
            self.state, self.state
        )

    def config_of(self, params: Params, seed: int) -> RunConfig:
        """The configuration of a trial.

        Raises:
            ConfigError: the settings contradict other fields.
        """
        return config_class(self.kind).from_dict({**self.config, **params, "seed": seed})

    def plan(self) -> Plan:
        """What `planning` has to know."""
        return Plan(
            space=self.typed_space, strategy=planning.Strategy(self.strategy),
            settings=self.settings, seeds=self.seeds, parallel=self.parallel,
            entropy=self.entropy, falling=self.falling, fits=self._fits,
        )  # fmt: skip

    def _fits(self, params: Params) -> bool:
        try:
            self.config_of(params, 0)
        except ConfigError:
            return False
        return True


class Trial(models.Model):
    """One training of a sweep, with the evaluation of it."""

    sweep = models.ForeignKey(Sweep, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField()  # from 0; see planning.py
    setting = models.PositiveIntegerField()
    seed = models.PositiveIntegerField()
    params = models.JSONField()  # what is swept, without the seed
    run = models.OneToOneField(
        Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="trial"
    )  # null: somebody deleted it
    evaluation = models.OneToOneField(
        Run, on_delete=models.SET_NULL, null=True, blank=True, related_name="evaluates_trial"
    )
    pruned_step = models.PositiveBigIntegerField(null=True, blank=True)  # stopped early by the rule
    pruned_why = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["sweep", "number"], name="sweep_trial_once")]

    def __str__(self) -> str:
        return f"trial {self.number + 1} of {self.sweep}"

    @property
    def typed_params(self) -> Params:
        """With tuples where JSON has lists."""
        return {k: tuple(v) if isinstance(v, list) else v for k, v in self.params.items()}

    @property
    def runs(self) -> list[Run]:
        return [run for run in (self.run, self.evaluation) if run is not None]
