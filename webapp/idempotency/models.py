"""Answers that are kept for a day, so that a request that is sent again does nothing twice."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class IdempotencyKey(models.Model):
    """What a person's request with a key of theirs came to. Only what succeeded is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=300)  # method and address
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64)  # of the body, and of what the token reaches
    status = models.PositiveSmallIntegerField(null=True)  # null: under way, in this transaction
    body = models.TextField(blank=True)  # empty where the answer holds a secret
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "route", "key"], name="idempotency_key_once"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.key} of {self.user}: {self.route}"
