"""From facts to messages: which rules speak. The clock calls `look`; any number of times is right.

No rule tells a channel the same thing twice: the database refuses a second row with the same
`once`, whoever writes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from webapp.notify import messages
from webapp.notify.models import Delivery, Event, Look, Notice, Rule
from webapp.notify.outbox import MEANS
from webapp.runs import waiting
from webapp.runs.models import MetricSummary, Run

AT_ONCE = 200  # events in one transaction
SLACK = timedelta(minutes=10)  # longer than a transaction of a metric's may take to commit
RECENT = timedelta(days=7)  # a run that did nothing for so long tells of no metric

log = structlog.get_logger(__name__)


def look() -> None:
    """Write the messages of all rules that speak now."""
    now = timezone.now()
    while take_notices():
        pass
    measured = _measured(now)
    for rule in _speaking(Event.METRIC_CROSSED, Event.QUEUE_WAITS):
        try:
            if rule.event == Event.QUEUE_WAITS:
                _wait(rule, now)
            elif measured:
                _metric(rule, measured)
        except (OperationalError, InterfaceError):
            raise  # the database is away, for all of them
        except Exception:  # a fault in what one rule says must not silence the others
            log.exception("notify.rule_crashed", rule=rule.pk)
    Look.objects.update_or_create(pk=1, defaults={"at": now})


def runs_of(rule: Rule) -> QuerySet[Run]:
    """What a rule is about, as far as its person may see it at this moment."""
    channel = rule.channel
    if channel.user is None:
        return Run.objects.filter(project=channel.project)
    if not channel.user.is_active:
        return Run.objects.none()
    seen = Run.objects.visible_to(channel.user)
    if rule.project is None:
        return seen.filter(owner=channel.user)
    return seen.filter(project=rule.project)


@transaction.atomic
def take_notices() -> bool:
    """Turn the oldest notices into messages. False: there are none."""
    rows = Notice.objects.order_by("pk")
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True, of=("self",))
    ids = list(rows.values_list("pk", flat=True)[:AT_ONCE])
    if not ids:
        return False
    found = Notice.objects.filter(pk__in=ids).select_related(
        "event__run__project", "event__run__owner"
    )
    deliveries = []
    for notice in found:
        event = notice.event
        run = event.run
        of_run = Q(project=run.project) | Q(project=None, channel__user=run.owner)
        for rule in _speaking(*MEANS[event.kind]).filter(of_run).order_by("pk"):
            if runs_of(rule).filter(pk=run.pk).exists():
                message = messages.of_event(event)
                deliveries.append(message.to(rule.channel, once=f"event:{event.pk}", rule=rule))
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
    Notice.objects.filter(pk__in=ids).delete()
    return True


def _measured(now: datetime) -> list[UUID]:
    """Runs whose metrics may be other than at the last look: every such write is also a beat."""
    last = Look.objects.values_list("at", flat=True).first() or now - RECENT
    since = max(last - SLACK, now - RECENT)
    return list(Run.objects.filter(beat_at__gte=since).order_by().values_list("pk", flat=True))


def _metric(rule: Rule, measured: list[UUID]) -> None:
    """Each run once. The summary keeps the extremes, so no spike between two looks is missed."""
    of = runs_of(rule).filter(pk__in=measured, beat_at__gte=rule.created_at)
    beyond = Q(greatest__gt=rule.value) if rule.above else Q(least__lt=rule.value)
    told = Delivery.objects.filter(rule=rule, run=OuterRef("run"))
    rows = (
        MetricSummary.objects.filter(beyond, key=rule.metric_key, run__in=of)
        .exclude(Exists(told))
        .select_related("run__project", "run__owner")
    )
    deliveries = [
        messages.of_metric(rule, row).to(
            rule.channel, once=f"metric:{rule.pk}:{row.run_id}", rule=rule
        )
        for row in rows[:AT_ONCE]
    ]
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)


def _wait(rule: Rule, now: datetime) -> None:
    """Once, until nothing waits so long any more."""
    assert rule.minutes is not None
    late = (
        waiting.startable(runs_of(rule))
        .annotate(since=waiting.since())
        .filter(since__lt=now - timedelta(minutes=rule.minutes))
        .order_by("since")
    )
    oldest = late.select_related("project", "owner").first()
    if oldest is None:
        Rule.objects.filter(pk=rule.pk, alarmed_at__isnull=False).update(alarmed_at=None)
        return
    with transaction.atomic():
        if not Rule.objects.filter(pk=rule.pk, alarmed_at=None).update(alarmed_at=now):
            return
        message = messages.of_wait(
            rule,
            oldest=oldest,
            waited_s=(now - oldest.since).total_seconds(),
            count=late.count(),
            why=waiting.reason(oldest),
        )
        once = f"wait:{rule.pk}:{now.isoformat()}"
        message.to(rule.channel, once=once, rule=rule).save(force_insert=True)


def _speaking(*events: Event) -> QuerySet[Rule]:
    """Rules that are neither paused nor of a channel that nothing is sent to, nor of a person who
    was deactivated."""
    alive = Rule.objects.filter(
        event__in=events, paused=False, channel__paused=False, channel__confirmed_at__isnull=False
    ).exclude(channel__user__is_active=False)
    return alive.select_related("channel__user", "channel__project", "project")
