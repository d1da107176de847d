"""Whom to tell, of what, and what was told."""

from __future__ import annotations

import secrets
import uuid
from typing import Self
from urllib.parse import urlsplit

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from webapp.accounts import access
from webapp.accounts.models import Project, User
from webapp.runs.models import Run, RunEvent


class Kind(models.TextChoices):
    MAIL = "mail", "Mail"
    WEBHOOK = "webhook", "Webhook"


class Event(models.TextChoices):
    RUN_ENDED = "run-ended", "A run ends"
    RUN_FAILED = "run-failed", "A run fails or is lost"
    METRIC_CROSSED = "metric-crossed", "A metric crosses a value"
    QUEUE_WAITS = "queue-waits", "The queue waits too long"


class OwnedQuerySet(models.QuerySet):
    """Rows of a person, or of a project."""

    path = ""  # to the channel

    def of(self, owner: User | Project) -> Self:
        name = "project" if isinstance(owner, Project) else "user"
        return self.filter(**{f"{self.path}{name}": owner})

    def manageable_by(self, user: User) -> Self:
        """One's own, and those of projects that one administers.

        A token that is held to one project reaches none: a person's own are of no project.
        """
        if user.token is not None and user.token.project_id is not None:
            return self.none()
        projects = access.administered(user)
        return self.filter(
            Q(**{f"{self.path}user": user}) | Q(**{f"{self.path}project__in": projects})
        )


class ThroughChannel(OwnedQuerySet):
    path = "channel__"


def new_salt() -> str:
    return secrets.token_hex(16)


class Channel(models.Model):
    """A way to tell somebody: an address of mail, or one that is posted to.

    A webhook's secret is not stored: it is derived from the row's salt with the server's key.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="channels")
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, related_name="channels"
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    name = models.CharField(max_length=80)
    target = models.CharField(max_length=500)  # a webhook's may itself be a secret; see `shown`
    salt = models.CharField(max_length=32, default=new_salt)
    confirmed_at = models.DateTimeField(null=True)  # mail: somebody read it there
    wrong_codes = models.PositiveSmallIntegerField(default=0)
    paused = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="channel_of_a_person_or_a_project",
                condition=Q(user__isnull=True, project__isnull=False)
                | Q(user__isnull=False, project__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def secret(self) -> str:
        """With which a webhook's messages are signed. Shown once; never logged."""
        made = salted_hmac("vadlab.notify.sign", self.salt, algorithm="sha256")
        return f"whsec_{made.hexdigest()}"

    @property
    def code(self) -> str:
        """What is sent to an address of mail, to see that somebody reads it there."""
        given = f"{self.pk}:{self.salt}:{self.target}"
        made = salted_hmac("vadlab.notify.code", given, algorithm="sha256").hexdigest()
        return f"{int(made[:12], 16) % 10**8:08d}"

    @property
    def shown(self) -> str:
        """The target as pages and answers show it: of a webhook the host alone."""
        if self.kind == Kind.MAIL:
            return self.target
        parts = urlsplit(self.target)
        return f"{parts.scheme}://{parts.netloc}/…"

    @property
    def problem(self) -> str:
        """Why nothing is sent; empty while it is."""
        if self.confirmed_at is None:
            return "not confirmed"
        return "paused" if self.paused else ""


class Rule(models.Model):
    """What a channel is told of."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="rules")
    event = models.CharField(max_length=16, choices=Event.choices)
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, related_name="+"
    )  # all its runs; null: the person's own, wherever they are
    metric_key = models.CharField(max_length=120, blank=True)
    above = models.BooleanField(default=True)  # of a metric; False: below
    value = models.FloatField(null=True)
    minutes = models.PositiveIntegerField(null=True)  # that the queue may wait
    paused = models.BooleanField(default=False)
    alarmed_at = models.DateTimeField(null=True)  # told that the queue waits, and it still does
    created_at = models.DateTimeField(default=timezone.now)

    objects = ThroughChannel.as_manager()

    def __str__(self) -> str:
        return f"{self.event} to {self.channel_id}"

    @property
    def words(self) -> str:
        """When it speaks, in a few words."""
        if self.event == Event.METRIC_CROSSED:
            return f"{self.metric_key} goes {'above' if self.above else 'below'} {self.value:g}"
        if self.event == Event.QUEUE_WAITS:
            return f"A run waits longer than {self.minutes} min"
        return str(Event(self.event).label)


class Notice(models.Model):
    """An event that no rule has looked at yet; written in the transaction of the event."""

    event = models.OneToOneField(RunEvent, on_delete=models.CASCADE, primary_key=True)

    def __str__(self) -> str:
        return f"notice of {self.pk}"


class Status(models.TextChoices):
    PENDING = "pending", "To be sent"
    SENT = "sent", "Sent"
    FAILED = "failed", "Not sent"


class Delivery(models.Model):
    """One message to one channel: what is to be sent, and what became of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="deliveries")
    rule = models.ForeignKey(Rule, on_delete=models.SET_NULL, null=True, related_name="deliveries")
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")
    once = models.CharField(max_length=120)  # what it is about: a channel is told of it once
    event = models.CharField(max_length=16)
    subject = models.CharField(max_length=200)
    text = models.TextField()
    payload = models.JSONField(default=dict)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)  # later while it is being sent
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    took_ms = models.PositiveIntegerField(null=True)  # of the last attempt
    code = models.PositiveSmallIntegerField(null=True)  # what the other side answered last
    error = models.CharField(max_length=300, blank=True)

    objects = ThroughChannel.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "once"], name="told_once"),
        ]
        indexes = [
            models.Index(fields=["next_at"], condition=Q(status="pending"), name="delivery_due"),
            models.Index(fields=["created_at"], name="delivery_age"),
            models.Index(fields=["channel", "-created_at"], name="delivery_of_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.channel_id}: {self.status}"


class Look(models.Model):
    """When the clock last had the rules looked at. One row."""

    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.at}"
