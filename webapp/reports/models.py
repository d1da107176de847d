"""Reports: their revisions, what was frozen in them, what people say of them, and who may look."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from webapp.accounts.access import ProjectQuerySet, through
from webapp.accounts.models import Project


class Report(models.Model):
    """A page of text and panels. What it says is in its newest revision."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="reports")
    title = models.CharField(max_length=120)  # the newest revision's, for lists
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ["-changed_at", "-id"]
        indexes = [models.Index(fields=["project", "-changed_at", "-id"], name="report_list")]

    def __str__(self) -> str:
        return self.title


class Revision(models.Model):
    """What a report said from one save to the next. Never changed; see blocks.py for `blocks`."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=120)
    blocks = models.JSONField(default=list)
    note = models.CharField(max_length=200, blank=True)  # what was changed
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["report", "number"], name="report_revision_once")
        ]

    def __str__(self) -> str:
        return f"revision {self.number} of {self.title}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            raise TypeError("a revision is never changed; make the next one")
        super().save(*args, **kwargs)


class Snapshot(models.Model):
    """A panel's content as it was when it was frozen, under the digest of that content."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="snapshots")
    sha256 = models.CharField(max_length=64)
    spec = models.JSONField()  # the panel that it was made of, without its caption
    content = models.JSONField()
    taken_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["report", "sha256"], name="report_snapshot_once")
        ]

    def __str__(self) -> str:
        return f"{self.sha256[:12]} of {self.report_id}"


class Comment(models.Model):
    """What somebody says of a panel."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="comments")
    block = models.CharField(max_length=12)  # the panel's id, the same in all revisions
    text = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    at = models.DateTimeField(auto_now_add=True)

    objects = through("report__project").as_manager()

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"comment by {self.by} on {self.report_id}"


class ShareLink(models.Model):
    """Lets people without an account read one report. Only a digest of its secret is kept."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="links")
    revision = models.ForeignKey(  # None: whichever is the newest
        Revision, on_delete=models.CASCADE, null=True, blank=True, related_name="links"
    )
    digest = models.CharField(max_length=64, unique=True)
    note = models.CharField(max_length=80, blank=True)  # whom it is for
    password = models.CharField(max_length=200, blank=True)  # hashed; empty: none is asked for
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    views = models.PositiveIntegerField(default=0)
    viewed_at = models.DateTimeField(null=True, blank=True)

    objects = through("report__project").as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"link to {self.report_id}"

    @property
    def problem(self) -> str:
        """Why it no longer works; empty while it does."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= timezone.now() else ""
