"""People, projects, and who may do what in which project."""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone


class User(AbstractUser):
    """A person. A model of our own from the start, since it cannot be swapped later."""

    token: ApiToken | None = None  # what the request came with, when it is no browser's session

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Refuses the copy that a token made: its rights are lowered, see tokens.TokenAuth."""
        if self.token is not None:
            raise TypeError("a person known by a token is not to be saved")
        super().save(*args, **kwargs)


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    MEMBER = "member", "Member"
    ADMIN = "admin", "Admin"


class Project(models.Model):
    """What a team works on; everything else belongs to one."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    deleting_at = models.DateTimeField(
        null=True, blank=True
    )  # nobody sees it since; see storage/projects.py
    members = models.ManyToManyField(User, through="Membership", related_name="projects")

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's role in a project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"


class Invitation(models.Model):
    """A link by which people enter a project. Only a digest of its secret is kept."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    digest = models.CharField(max_length=64, unique=True)
    note = models.CharField(max_length=80, blank=True)  # whom it is for
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.MEMBER)
    max_uses = models.PositiveSmallIntegerField(default=1)
    uses = models.PositiveSmallIntegerField(default=0)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"invitation to {self.project} as {self.role}"

    @property
    def problem(self) -> str:
        """Why nobody can use it any more; empty while it works."""
        if self.revoked_at is not None:
            return "revoked"
        if self.uses >= self.max_uses:
            return "used"
        return "expired" if self.expires_at <= timezone.now() else ""


class Scope(models.TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Read and write"


class ApiToken(models.Model):
    """A person's key to the API. A digest is kept of 256 random bits, which need no salt."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12)  # the first characters, to recognise it by
    digest = models.CharField(max_length=64, unique=True)
    scope = models.CharField(max_length=5, choices=Scope.choices, default=Scope.READ)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def problem(self) -> str:
        """Why it no longer works; empty while it does."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else ""


class BrowserSession(AbstractBaseSession):
    """A session with whose it is and from where, so that a person can see and end theirs.

    The row is the session itself: deleting it signs that browser out. See sessions.py.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="sessions")
    agent = models.CharField(max_length=200, blank=True)  # as the browser calls itself
    address = models.GenericIPAddressField(null=True)
    signed_in_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(default=timezone.now)

    @property
    def handle(self) -> str:
        """Names the session on a page, which must not show the key itself."""
        return hashlib.sha256(self.session_key.encode()).hexdigest()[:16]


class PasswordLink(models.Model):
    """A link by which a person sets a new password, once. Only a digest of its secret is kept.

    One that goes by mail has no secret, and no digest, until it is sent: what is stored never opens
    anything.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="password_links")
    digest = models.CharField(max_length=64, unique=True, null=True)  # noqa: DJ001
    by_mail = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)  # to mail it
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)  # a newer one was made, or another was used

    def __str__(self) -> str:
        return f"link for a new password of {self.user}"

    @property
    def problem(self) -> str:
        """Why it no longer works; empty while it does."""
        if self.used_at is not None:
            return "used"
        if self.revoked_at is not None or not self.user.is_active:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else ""


class FailedTries(models.Model):
    """How often signing in failed, for one account or one address, and until when it is locked.

    The key is a digest: what people type as a name is now and then their password.
    """

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()
    locked_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.count} failed tries"


class AppendOnlyQuerySet(models.QuerySet):
    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("the audit log is only ever added to")

    def delete(self) -> NoReturn:
        raise TypeError("the audit log is only ever added to")


class AuditEvent(models.Model):
    """Who did what to whom, when and from where. Written by audit.record alone; never changed.

    Names are kept as text beside the rows, so that an event outlives what it speaks of.
    """

    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=32)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    by_name = models.CharField(max_length=150, blank=True)
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, related_name="+")
    subject = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    via = models.CharField(max_length=20, blank=True)  # the prefix of a token; empty: a browser

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project", "-at", "-id"], name="audit_of_project"),
            models.Index(fields=["by", "-at", "-id"], name="audit_of_person"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.by_name or 'nobody known'}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("the audit log is only ever added to")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("the audit log is only ever added to")
