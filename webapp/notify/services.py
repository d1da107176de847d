"""What people do with channels and rules."""

from __future__ import annotations

import math
import re
import uuid
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from vad.errors import ConfigError, VadError
from webapp.accounts import access, audit
from webapp.accounts.models import AuditEvent, Project, User
from webapp.accounts.permissions import require_admin
from webapp.notify import addresses, messages
from webapp.notify.models import Channel, Delivery, Event, Kind, Rule, Status, new_salt

MOST_CHANNELS, MOST_RULES = 20, 50  # of a person or of a project
MOST_MINUTES = 30 * 24 * 60
WRONG_CODES = 10
MOST_TESTS, TESTS_WITHIN = 5, timedelta(minutes=1)
MADE_WITHIN = timedelta(hours=1)

Owner = User | Project


@transaction.atomic
def channel_create(*, owner: Owner, kind: str, name: str, target: str, by: User) -> Channel:
    """A channel; mail begins once the code that is sent there was entered.

    Raises:
        ConfigError: a field is wrong. VadError: `not-allowed`.
    """
    _require(owner, by)
    name, target = " ".join(name.split()), target.strip()
    wrong = {}
    if not 1 <= len(name) <= 80:
        wrong["name"] = "1 to 80 characters, to know it again by"
    if kind not in Kind.values:
        wrong["kind"] = f"{kind[:40]!r} is none of {', '.join(Kind.values)}"
    elif kind == Kind.MAIL:
        if problem := _mail_problem(target):
            wrong["target"] = problem
    elif problem := _webhook_problem(target):
        wrong["target"] = problem
    lately = AuditEvent.objects.filter(
        kind="channel-created", by=_row(by), at__gte=timezone.now() - MADE_WITHIN
    )
    if lately.count() >= MOST_CHANNELS:  # each one sends mail, also to who never asked for it
        wrong["name"] = f"you made {MOST_CHANNELS} within an hour; wait"
    if Channel.objects.of(owner).count() >= MOST_CHANNELS:
        wrong["name"] = f"there are {MOST_CHANNELS} already; delete one first"
    if wrong:
        raise ConfigError(wrong, what="The channel")
    of = {"project": owner} if isinstance(owner, Project) else {"user": _row(owner)}
    channel = Channel.objects.create(
        kind=kind, name=name, target=target,
        confirmed_at=None if kind == Kind.MAIL else timezone.now(), **of,
    )  # fmt: skip
    if kind == Kind.MAIL:
        messages.of_code(channel).to(channel, once="confirm").save(force_insert=True)
    audit.record("channel-created", by=by, project=channel.project, subject=name, type=kind)
    return channel


@transaction.atomic
def channel_delete(*, channel: Channel, by: User) -> None:
    """With its rules and what it was told."""
    _require_of(channel, by)
    audit.record(
        "channel-deleted", by=by, project=channel.project, subject=channel.name, type=channel.kind
    )
    channel.delete()


@transaction.atomic
def channel_pause(*, channel: Channel, paused: bool, by: User) -> None:
    """Nothing is sent meanwhile, and nothing that happens meanwhile is told later."""
    _require_of(channel, by)
    Channel.objects.filter(pk=channel.pk).update(paused=paused)


def channel_confirm(*, channel: Channel, code: str, by: User) -> None:
    """Enter the code that was sent to an address of mail. A wrong one is counted.

    Raises:
        VadError: `request-invalid`, it is another one; `too-many-tries`.
    """
    _require_of(channel, by)
    right = constant_time_compare(re.sub(r"\s", "", code), channel.code)
    with transaction.atomic():
        row = Channel.objects.select_for_update().get(pk=channel.pk)
        if row.confirmed_at is not None:
            return
        if row.wrong_codes >= WRONG_CODES:
            raise VadError(
                "too-many-tries",
                f"{WRONG_CODES} wrong codes were entered for {row.name}.",
                "Delete it and make it anew.",
            )
        if right:
            row.confirmed_at = timezone.now()
        else:
            row.wrong_codes += 1
        row.save(update_fields=["confirmed_at", "wrong_codes"])
    if not right:
        raise VadError(
            "request-invalid",
            f"That is not the code that was sent to {channel.shown}.",
            "Look at the newest mail, and in the folder for unwanted mail.",
        )


@transaction.atomic
def secret_renew(*, channel: Channel, by: User) -> str:
    """A new secret of a webhook; the old one signs nothing any more. Known here and never again."""
    _require_of(channel, by)
    if channel.kind != Kind.WEBHOOK:
        raise VadError("request-invalid", "Only webhooks are signed.", "Choose a webhook.")
    channel.salt = new_salt()
    channel.save(update_fields=["salt"])
    return channel.secret


@transaction.atomic
def channel_test(*, channel: Channel, by: User) -> Delivery:
    """Send a message that says that it is a test.

    Raises:
        VadError: `request-invalid`, nothing is sent there now; `too-many-tries`.
    """
    _require_of(channel, by)
    if channel.problem:
        raise VadError(
            "request-invalid",
            f"{channel.name} is {channel.problem}: nothing is sent there.",
            "Enter the code that was sent there." if not channel.confirmed_at else "Resume it.",
        )
    recent = Delivery.objects.filter(
        channel=channel, event="test", created_at__gte=timezone.now() - TESTS_WITHIN
    )
    if recent.count() >= MOST_TESTS:
        raise VadError(
            "too-many-tries", f"{channel.name} was tested {MOST_TESTS} times within a minute.",
            "Wait a minute.",
        )  # fmt: skip
    made = messages.of_test(by.username).to(channel, once=f"test:{uuid.uuid4()}")
    made.save(force_insert=True)
    return made


@transaction.atomic
def delivery_retry(*, delivery: Delivery, by: User) -> None:
    """Send a message once more that was given up."""
    _require_of(delivery.channel, by)
    Delivery.objects.filter(pk=delivery.pk, status=Status.FAILED).update(
        status=Status.PENDING, attempts=0, next_at=timezone.now(), ended_at=None
    )


@transaction.atomic
def rule_create(
    *,
    channel: Channel,
    event: str,
    by: User,
    project: Project | None = None,
    metric_key: str = "",
    above: bool = True,
    value: float | None = None,
    minutes: int | None = None,
) -> Rule:
    """A rule of a channel.

    Args:
        project: all its runs; None for the person's own, or those of the channel's project.
        metric_key, above, value: of a metric that crosses a value.
        minutes: that the queue may wait.

    Raises:
        ConfigError: a field is wrong. VadError: `not-allowed`.
    """
    _require_of(channel, by)
    project = channel.project or project
    wrong = {}
    if event not in Event.values:
        wrong["event"] = f"{event[:40]!r} is none of {', '.join(Event.values)}"
    if project is not None and not access.projects(by).filter(pk=project.pk).exists():
        wrong["project"] = "you are no member of it"
    if event == Event.METRIC_CROSSED:
        metric_key = metric_key.strip()
        if not 1 <= len(metric_key) <= 120:
            wrong["metric_key"] = "name the metric, as the run's charts do: 1 to 120 characters"
        if value is None or not math.isfinite(value):
            wrong["value"] = "a finite number"
    else:
        metric_key, above, value = "", True, None
    if event == Event.QUEUE_WAITS:
        if minutes is None or not 1 <= minutes <= MOST_MINUTES:
            wrong["minutes"] = f"from 1 to {MOST_MINUTES}"
    else:
        minutes = None
    owner = channel.project or channel.user
    assert owner is not None
    if Rule.objects.of(owner).count() >= MOST_RULES:
        wrong["event"] = f"there are {MOST_RULES} already; delete one first"
    fields = {
        "channel": channel, "event": event, "project": project, "metric_key": metric_key,
        "above": above, "value": value, "minutes": minutes,
    }  # fmt: skip
    if not wrong and Rule.objects.filter(**fields).exists():
        wrong["event"] = "there is such a rule already"
    if wrong:
        raise ConfigError(wrong, what="The rule")
    return Rule.objects.create(**fields)


@transaction.atomic
def rule_pause(*, rule: Rule, paused: bool, by: User) -> None:
    _require_of(rule.channel, by)
    Rule.objects.filter(pk=rule.pk).update(paused=paused, alarmed_at=None)


@transaction.atomic
def rule_delete(*, rule: Rule, by: User) -> None:
    """What it told stays in the log."""
    _require_of(rule.channel, by)
    rule.delete()


# --- what is allowed ------------------------------------------------------------------------


def _require(owner: Owner, by: User) -> None:
    if isinstance(owner, Project):
        require_admin(by, owner)
    elif owner.pk != by.pk or not access.may_write(by) or (by.token and by.token.project_id):
        raise VadError(
            "not-allowed",
            "A token that may only read, or that is held to a project, changes no notifications.",
            "Use another token, or a browser.",
        )


def _require_of(channel: Channel, by: User) -> None:
    owner = channel.project or channel.user
    assert owner is not None
    _require(owner, by)


def _row(user: User) -> User:
    """The person, also when known by a token, whose copy has lowered rights."""
    return user if user.token is None else User.objects.get(pk=user.pk)


def _mail_problem(target: str) -> str:
    if not settings.MAIL_FROM:
        return "mail is not set up on this server; whoever runs it sets VADLAB_MAIL_URL"
    try:
        validate_email(target)
    except ValidationError:
        return "not an address of mail"
    return "" if len(target) <= 254 and target.isprintable() else "not an address of mail"


def _webhook_problem(target: str) -> str:
    try:
        addresses.resolve(addresses.parse(target))
    except (addresses.Refused, addresses.Unresolved) as exc:
        return str(exc)
    return ""
