"""Runs and what they leave behind: events, checkpoints, metrics."""

from __future__ import annotations

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from vad.configs import CONFIGS, ExternalConfig, RunConfig, config_class
from webapp.accounts.access import ProjectQuerySet, through
from webapp.accounts.models import Project
from webapp.datasets.models import DatasetVersion, FeatureSet


class State(models.TextChoices):
    WAITING = "waiting", "Waiting"
    QUEUED = "queued", "Queued"
    HELD = "held", "Held"
    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


def kind_choices() -> list[tuple[str, str]]:
    """A function, so that a new kind of run needs no migration."""
    return [(kind, config.title) for kind, config in CONFIGS.items()]


EXTERNAL = ExternalConfig.kind
CLAIMED = (State.STARTING, State.RUNNING)
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class Stop(models.TextChoices):
    """What becomes of a run that is asked to checkpoint and leave."""

    NONE = "", "-"
    CANCEL = "cancel", "Cancel"
    HOLD = "hold", "Hold"
    LIMIT = "limit", "Stop at its time limit"
    YIELD = "yield", "Make room"


class Run(models.Model):
    """One piece of work: register, extract, train, evaluate. Its row decides; see lifecycle/."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=kind_choices)
    config = models.JSONField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    tags = models.JSONField(default=list, blank=True)
    notes = models.TextField(blank=True)
    color = models.PositiveSmallIntegerField(default=0)  # index into charts.palette, for good

    # what it works on
    version = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    feature_set = models.ForeignKey(
        FeatureSet, on_delete=models.PROTECT, null=True, blank=True, related_name="runs"
    )
    of_run = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="evaluated_by"
    )  # an evaluate run: the training run whose checkpoint it takes
    cloned_from = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="clones"
    )
    parents = models.ManyToManyField(
        "self", symmetrical=False, related_name="children", blank=True
    )  # runs that must have succeeded before this one may start

    # its life; written by lifecycle/ alone
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    priority = models.SmallIntegerField(default=0)
    by_hand = models.IntegerField(null=True, blank=True)  # place in its project and priority
    device = models.CharField(max_length=8, default="auto")
    gpus = models.PositiveSmallIntegerField(default=1)
    memory_mb = models.PositiveIntegerField(null=True, blank=True)  # of each GPU; null: not known
    time_limit_s = models.PositiveIntegerField(null=True, blank=True)  # over all attempts
    not_before = models.DateTimeField(null=True, blank=True)
    setbacks = models.JSONField(default=dict, blank=True)  # error code: times it came back with it
    attempt = models.PositiveSmallIntegerField(default=1)
    max_attempts = models.PositiveSmallIntegerField(default=5)
    claim = models.UUIDField(null=True, blank=True, unique=True)
    worker = models.ForeignKey(
        "fleet.Worker", on_delete=models.SET_NULL, null=True, blank=True, related_name="runs"
    )
    slot = models.CharField(max_length=60, blank=True)  # as claims.Slot writes it
    stop = models.CharField(max_length=8, choices=Stop.choices, default=Stop.NONE, blank=True)
    yields_to = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="waits_for_room_of"
    )  # the run that it was asked to make room for
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)  # of the present claim
    spent_s = models.FloatField(default=0)  # in attempts that ended
    ended_at = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)  # VadError.to_dict() of a failed run

    # how far it is; written by the executor under its claim
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    unit = models.CharField(max_length=12, blank=True)
    progress_note = models.CharField(max_length=200, blank=True)
    rate = models.FloatField(null=True, blank=True)  # units a second, smoothed
    environment = models.JSONField(default=dict, blank=True)
    result = models.JSONField(default=dict, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["project", "-created_at", "-id"], name="run_list"),
            models.Index(fields=["project", "tags"], name="run_tags"),  # see used_tags.py
            models.Index(  # the heads of its groups are read from the index alone; see backlog.py
                fields=[
                    "owner",
                    "project",
                    "priority",
                    "gpus",
                    "memory_mb",
                    "queued_at",
                    "by_hand",
                    "device",
                    "not_before",
                    "state",
                ],
                condition=Q(state="queued"),
                name="run_backlog",
            ),
            models.Index(  # what runs now; SQLite sees that it fits `claim IS NOT NULL` alone
                fields=["slot"], condition=Q(claim__isnull=False), name="run_claimed"
            ),
            models.Index(
                fields=["beat_at"], condition=Q(state__in=["starting", "running"]), name="run_beat"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="run_claimed_while_it_runs",
                condition=(
                    Q(state__in=["starting", "running"], claim__isnull=False)
                    | (~Q(state__in=["starting", "running"]) & Q(claim__isnull=True))
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        """The run's files: config.json, log.txt, checkpoints/, scores.safetensors, …"""
        return settings.DATA_DIR / "runs" / str(self.pk)

    @property
    def typed_config(self) -> RunConfig:
        """The configuration, checked."""
        return config_class(self.kind).from_dict(self.config)

    @property
    def is_active(self) -> bool:
        """Whether its page has something to wait for."""
        return self.state not in (*ENDED, State.HELD)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_external(self) -> bool:
        """Trained elsewhere: no worker has it, and it ends when its script says so."""
        return self.kind == EXTERNAL

    @property
    def silent_s(self) -> float | None:
        """Seconds since a running external run was heard of; None unless they are too many."""
        if not self.is_external or self.state != State.RUNNING or self.beat_at is None:
            return None
        since_s = (timezone.now() - self.beat_at).total_seconds()
        return since_s if since_s >= settings.EXTERNAL_SILENT_S else None

    @property
    def percent(self) -> int:
        """Progress, 0 to 100; 100 only when it succeeded."""
        if self.state == State.SUCCEEDED:
            return 100
        return min(99, 100 * self.done // self.total) if self.total else 0

    @property
    def eta_s(self) -> float | None:
        """Seconds to go at the present rate; None when unknown."""
        if self.state != State.RUNNING or not self.rate:
            return None
        return (self.total - self.done) / self.rate

    @property
    def took_s(self) -> float | None:
        """Seconds from its first start to its end, or to now while it runs; None before."""
        if self.started_at is None:
            return None
        return ((self.ended_at or timezone.now()) - self.started_at).total_seconds()


class RunEvent(models.Model):
    """One thing that happened to a run, for its page and for the audit."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=24)
    message = models.CharField(max_length=400, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    attempt = models.PositiveSmallIntegerField(default=1)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class Attempt(models.Model):
    """One claim of a run, from beginning to end: what the run cost. See accounting.py."""

    id = models.UUIDField(primary_key=True)  # the claim's
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    number = models.PositiveSmallIntegerField()
    worker = models.CharField(max_length=120)
    slot = models.CharField(max_length=60)
    kind = models.CharField(max_length=3)  # "gpu" or "cpu"
    devices = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end = models.CharField(max_length=24, blank=True)  # kind of the event that ended it

    class Meta:
        ordering = ["started_at", "id"]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.run_id}"


class Usage(models.Model):
    """What a person used of a kind of device, each second worth half after the half-life."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="usage"
    )
    kind = models.CharField(max_length=3)  # "gpu" or "cpu"
    used_s = models.FloatField(default=0)  # device-seconds, as of `as_of`
    as_of = models.DateTimeField()
    last_start_at = models.DateTimeField(null=True, blank=True)
    share = models.FloatField(default=1)  # with 2, twice as much as others

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "kind"], name="usage_once")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.owner}"


class Checkpoint(models.Model):
    """A checkpoint file of a run, complete on disk."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checkpoints")
    step = models.PositiveBigIntegerField()
    path = models.CharField(max_length=200)  # below the run's folder
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    best = models.BooleanField(default=False)  # of the run, by its selection rule; one at most
    was_best = models.BooleanField(default=False)  # when it was written
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = through("run__project").as_manager()

    class Meta:
        ordering = ["step"]
        constraints = [models.UniqueConstraint(fields=["run", "step"], name="checkpoint_once")]

    def __str__(self) -> str:
        return f"step {self.step}"


class MetricChunk(models.Model):
    """Up to `chunks.CHUNK_POINTS` points of one metric, packed; see chunks.py.

    `steps` int64 and `values` float64, little-endian, same length. `buckets` is the middle level
    of the pyramid, the columns least, greatest and last its top (finite values; else null).
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metric_chunks")
    key = models.CharField(max_length=120)
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    count = models.PositiveIntegerField()
    least = models.FloatField(null=True)
    least_step = models.BigIntegerField(null=True)
    greatest = models.FloatField(null=True)
    greatest_step = models.BigIntegerField(null=True)
    last = models.FloatField(null=True)
    steps = models.BinaryField()
    values = models.BinaryField()
    buckets = models.BinaryField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "key", "first_step"], name="metric_chunk_once")
        ]

    def __str__(self) -> str:
        return f"{self.key} {self.first_step}..{self.last_step}"


class MetricSummary(models.Model):
    """One row per run and metric: what sorts and fills the runs table."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metric_summaries")
    key = models.CharField(max_length=120)
    count = models.PositiveBigIntegerField()
    last = models.FloatField(null=True)
    last_step = models.BigIntegerField()
    least = models.FloatField(null=True)
    least_step = models.BigIntegerField(null=True)
    greatest = models.FloatField(null=True)
    greatest_step = models.BigIntegerField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="metric_summary_once")]
        indexes = [
            models.Index(fields=["key", "last"], name="metric_by_last"),
            models.Index(fields=["key", "greatest"], name="metric_by_greatest"),
            models.Index(fields=["key", "least"], name="metric_by_least"),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.run}"


class RunPin(models.Model):
    """A run that a person keeps on top of their table."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="run_pins"
    )
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="pins")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [models.UniqueConstraint(fields=["user", "run"], name="run_pin_once")]

    def __str__(self) -> str:
        return f"{self.run} pinned by {self.user}"


class SavedView(models.Model):
    """A name for an address of the runs table: nothing but a link, for the whole project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    query = models.TextField()  # what follows the "?", in the table's own spelling
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="saved_view_name_once")
        ]

    def __str__(self) -> str:
        return self.name
