"""Lock-out after failed tries to sign in, counted per account and per address.

Asking for a link to a new password is counted alike, apart from the tries.

The counts are in the database, so that several web processes share them. A try is counted before
the password is looked at and forgiven if it was right: many tries at once gain nothing. A name
that nobody has is counted like any other, so the lock says nothing about who exists.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from vad.errors import VadError
from webapp.accounts.models import FailedTries

FIRST_LOCK_S, LONGEST_LOCK_S = 30, 15 * 60  # each failure after a lock doubles it
_TRIED = "Too many failed tries with this name or from this address."
_ASKED = "A link was asked for too often, for this name or from this address."
FORGOTTEN_AFTER = timedelta(hours=24)  # without another failure


@dataclass(frozen=True)
class Counter:
    """What is counted: an account or an address."""

    kind: str
    name: str
    free: int  # failures without a lock

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.kind}:{self.name}".encode()).hexdigest()


def account(username: str) -> Counter:
    return Counter("account", username.casefold()[:150], free=5)


def source(address: str | None) -> Counter:
    """Many people may share an address, so it has more tries."""
    return Counter("address", address or "unknown", free=30)


@dataclass(frozen=True)
class Try:
    """A try that was counted; forgiven by `succeeded`."""

    account: Counter
    source: Counter
    locks: bool  # whether failing it locks


def begin(*, username: str, address: str | None, now: datetime | None = None) -> Try:
    """Count a try before its password is looked at.

    Raises:
        Locked: with how long to wait; such a try is not counted.
    """
    counters = (account(username), source(address))
    return Try(*counters, locks=_count(counters, now or timezone.now(), _TRIED))


def asked(*, name: str, address: str | None, now: datetime | None = None) -> None:
    """Count that somebody asked for a link to a new password, whether or not the name is known.

    Raises:
        Locked: this name, or this address, asked too often.
    """
    counters = (
        Counter("asked", name.casefold()[:254], free=3),
        Counter("asked-from", address or "unknown", free=10),
    )
    _count(counters, now or timezone.now(), _ASKED)


def forgive(username: str) -> None:
    """A person has proved otherwise who they are: their account starts anew."""
    FailedTries.objects.filter(pk=account(username).key).delete()


def _count(counters: tuple[Counter, Counter], now: datetime, said: str) -> bool:
    """Count for both; whether one of them is locked from now on. Raises Locked if one was."""
    with transaction.atomic():
        _forget(now)
        rows = _rows(counters, now)
        until = max(row.locked_until or now for row in rows.values())
        if until > now:
            raise Locked(until - now, said)
        locks = False
        for counter in counters:
            row = rows[counter.key]
            row.count += 1
            row.last_at, row.locked_until = now, _lock(row.count, counter.free, now)
            locks = locks or row.locked_until is not None
            row.save()
    return locks


def succeeded(found: Try) -> None:
    """The password was right: the account starts anew, and its address gets this one try back.

    Not more of the address, or who has one account could clear it between tries at others.
    """
    with transaction.atomic():
        rows = _rows((found.account, found.source), timezone.now())
        rows[found.account.key].delete()
        row = rows[found.source.key]
        row.count = max(0, row.count - 1)
        row.locked_until = None if row.count < found.source.free else row.locked_until
        row.save()


class Locked(VadError):
    """The refusal, the same for a right and a wrong password and for a name that nobody has."""

    def __init__(self, wait: timedelta, said: str) -> None:
        self.wait_s = math.ceil(wait.total_seconds())
        shown = f"{self.wait_s} s" if self.wait_s < 100 else f"{math.ceil(self.wait_s / 60)} min"
        super().__init__(
            "too-many-tries",
            f"{said} Wait {shown}.",
            "Then try again; an admin cannot shorten the wait.",
        )


def _rows(counters: tuple[Counter, Counter], now: datetime) -> dict[str, FailedTries]:
    """The rows, made if need be and locked, in one order always, or two wait for ever."""
    keys = sorted(counter.key for counter in counters)
    for key in keys:
        FailedTries.objects.get_or_create(pk=key, defaults={"last_at": now})
    return {key: FailedTries.objects.select_for_update().get(pk=key) for key in keys}


def _forget(now: datetime) -> None:
    """Drop what is old; rows that another process holds are not old."""
    old = FailedTries.objects.filter(last_at__lt=now - FORGOTTEN_AFTER)
    keys = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True))
    FailedTries.objects.filter(pk__in=keys).delete()


def _lock(count: int, free: int, now: datetime) -> datetime | None:
    over = count - free
    if over < 0:
        return None
    return now + timedelta(seconds=min(LONGEST_LOCK_S, FIRST_LOCK_S * 2 ** min(over, 10)))
