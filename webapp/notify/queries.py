"""What the page of notifications and the API read."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from webapp.accounts.models import Project, User
from webapp.notify.models import Channel, Delivery, Rule, Status

Owner = User | Project


def channels(owner: Owner, by: User) -> QuerySet[Channel]:
    """The owner's channels; none where the person may not change them."""
    return (
        Channel.objects.manageable_by(by)
        .of(owner)
        .annotate(num_rules=Count("rules"))
        .select_related("project")
        .order_by("pk")
    )


def rules(owner: Owner, by: User) -> QuerySet[Rule]:
    found = Rule.objects.manageable_by(by).of(owner)
    return found.select_related("channel", "project").order_by("pk")


def deliveries(owner: Owner, by: User, *, status: str = "") -> QuerySet[Delivery]:
    """What was told, the newest first."""
    found = Delivery.objects.manageable_by(by).of(owner)
    if status in Status.values:
        found = found.filter(status=status)
    return found.select_related("channel", "run").order_by("-created_at", "-pk")


def under_way(owner: Owner, by: User) -> bool:
    """Whether a message will soon have another status."""
    open_rows = deliveries(owner, by, status=Status.PENDING)
    return open_rows.filter(Q(attempts=0), channel__paused=False).exists()
