"""Sending what is due, and writing down what became of it.

A message is sent at least once: a process that dies between sending and writing that down leaves
it to the next, after `LEASE`. Its id goes with it, so that a receiver can tell.
"""

from __future__ import annotations

import json
import logging
import smtplib
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.utils import timezone

from webapp.notify import addresses, webhook
from webapp.notify.matching import RECENT
from webapp.notify.models import Delivery, Kind, Status

BACK_OFF_S = (30, 120, 600, 3600, 6 * 3600)  # after the first, second, … attempt that failed
LEASE = timedelta(minutes=3)  # longer than an attempt may take
AT_ONCE = 50
LOOK_S = 20.0  # then the rest waits for the next beat of the clock
KEPT = timedelta(days=30)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an attempt; `final`: trying again would end the same."""

    code: int | None = None
    error: str = ""
    final: bool = False


def deliver_due() -> int:
    """Send what is due. Harmless beside others who do. Returns how many attempts were made."""
    begun_s = time.monotonic()
    stuck: set[int] = set()  # channels that failed just now: the rest of theirs waits
    due = Delivery.objects.filter(
        status=Status.PENDING, next_at__lte=timezone.now(), channel__paused=False
    ).exclude(channel__user__is_active=False)
    attempts = 0
    for delivery in due.select_related("channel").order_by("next_at")[:AT_ONCE]:
        if time.monotonic() - begun_s > LOOK_S:
            break
        if delivery.channel_id not in stuck and _claim(delivery):
            attempts += 1
            if not attempt(delivery):
                stuck.add(delivery.channel_id)
    return attempts


def forget_old() -> None:
    """Drop what was told long ago; each time a little."""
    now = timezone.now()
    # of a run that still goes on it is kept, so that a metric is not told a second time
    old = Delivery.objects.filter(created_at__lt=now - KEPT).exclude(run__beat_at__gte=now - RECENT)
    Delivery.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:1000])).delete()


def _claim(delivery: Delivery) -> bool:
    """Make it ours for a while: of two who find it due, one."""
    mine = Delivery.objects.filter(
        pk=delivery.pk, status=Status.PENDING, next_at=delivery.next_at
    ).update(next_at=timezone.now() + LEASE, attempts=F("attempts") + 1)
    delivery.attempts += mine
    return mine == 1


def attempt(delivery: Delivery) -> bool:
    """One attempt, written down. Whether it was sent."""
    begun_s = time.monotonic()
    try:
        outcome = _mail(delivery) if delivery.channel.kind == Kind.MAIL else _webhook(delivery)
    except Exception as exc:  # a fault of ours must not stop the others, nor come for ever
        log.exception("notify.crashed", delivery=delivery.pk, channel=delivery.channel_id)
        outcome = Outcome(error=f"A fault of the server ({type(exc).__name__}).", final=True)
    sent = not outcome.error
    again = not (sent or outcome.final or delivery.attempts > len(BACK_OFF_S))
    now = timezone.now()
    fields: dict[str, Any] = {
        "status": Status.SENT if sent else Status.PENDING if again else Status.FAILED,
        "code": outcome.code,
        "error": outcome.error[:300],
        "took_ms": round(1000 * (time.monotonic() - begun_s)),
    }
    if again:
        fields["next_at"] = now + timedelta(seconds=BACK_OFF_S[delivery.attempts - 1])
    else:
        fields["ended_at"] = now
    Delivery.objects.filter(pk=delivery.pk).update(**fields)
    log.log(
        logging.INFO if sent else logging.WARNING,
        "notify.sent" if sent else "notify.failed",
        delivery=delivery.pk, channel=delivery.channel_id, attempt=delivery.attempts,
        code=outcome.code, error=outcome.error or None, again=again,
    )  # fmt: skip
    return sent


def _webhook(delivery: Delivery) -> Outcome:
    body = json.dumps(delivery.payload, sort_keys=True, allow_nan=False).encode()
    secret = delivery.channel.secret
    headers = {
        "X-VADLab-Event": delivery.payload.get("event", delivery.event),
        "X-VADLab-Delivery": str(delivery.pk),
        "X-VADLab-Signature": webhook.signature(secret, int(time.time()), body),
    }
    try:
        code = webhook.post(delivery.channel.target, body, headers)
    except addresses.Refused as exc:
        return Outcome(error=str(exc), final=True)
    except webhook.Failed as exc:
        return Outcome(error=str(exc))
    if 200 <= code < 300:
        return Outcome(code=code)
    if 300 <= code < 400:
        return Outcome(
            code=code, error="It answered with a redirect; none is followed.", final=True
        )
    later = code >= 500 or code in (408, 425, 429)
    return Outcome(code=code, error=f"It answered {code}.", final=not later)


def _mail(delivery: Delivery) -> Outcome:
    if not settings.MAIL_FROM:
        return Outcome(error="Mail is not set up on this server.", final=True)
    mail = EmailMessage(
        subject=f"[VADLab] {delivery.subject}",
        body=f"{delivery.subject}\n\n{delivery.text}\n",
        from_email=settings.MAIL_FROM,
        to=[delivery.channel.target],
        headers={"X-VADLab-Delivery": str(delivery.pk), "Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused as exc:
        code = next(iter(exc.recipients.values()))[0]
        return Outcome(code=code, error="The mail server refused the address.", final=code >= 500)
    except smtplib.SMTPResponseException as exc:
        error = f"The mail server answered {exc.smtp_code}."
        return Outcome(code=exc.smtp_code, error=error)
    except (OSError, smtplib.SMTPException) as exc:
        return Outcome(error=f"The mail server could not be reached ({type(exc).__name__}).")
    return Outcome()
