"""Django's session in the database, with columns for whose it is; named in the settings.

A person then lists and ends their sessions by rows, without another table that could disagree.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from webapp.accounts.models import BrowserSession

AGENT, ADDRESS, SIGNED_IN = "agent", "address", "signed_in_at"  # in the data, kept when it rotates
SEEN_EVERY = timedelta(minutes=1)


class SessionStore(DatabaseStore):
    seen_at: datetime | None = None  # as stored, once the session was read

    @classmethod
    def get_model_class(cls) -> type[BrowserSession]:
        return BrowserSession

    def create_model_instance(self, data: dict[str, Any]) -> BrowserSession:
        row = super().create_model_instance(data)
        assert isinstance(row, BrowserSession)
        row.user_id = int(data[SESSION_KEY]) if SESSION_KEY in data else None
        row.agent = data.get(AGENT, "")
        row.address = data.get(ADDRESS)
        row.signed_in_at = parse_datetime(data[SIGNED_IN]) if SIGNED_IN in data else None
        row.seen_at = timezone.now()
        return row

    def _get_session_from_db(self) -> BrowserSession | None:
        row = super()._get_session_from_db()  # type: ignore[misc]  # the stub leaves it out
        self.seen_at = row.seen_at if row is not None else None
        return row


def describe(request: HttpRequest, address: str | None) -> None:
    """Note in a session that begins from where it is. Called after `login`."""
    request.session[AGENT] = request.META.get("HTTP_USER_AGENT", "")[:200].replace("\0", "")
    request.session[ADDRESS] = address
    request.session[SIGNED_IN] = timezone.now().isoformat()


def note_seen(request: HttpRequest) -> None:
    """Write down that the session is used, once a minute at most."""
    session = request.session
    if not isinstance(session, SessionStore) or session.session_key is None:
        return
    now = timezone.now()
    if session.seen_at is not None and now - session.seen_at >= SEEN_EVERY:
        BrowserSession.objects.filter(pk=session.session_key).update(seen_at=now)


def device(agent: str) -> str:
    """Browser and system out of what a browser calls itself, as far as a person cares."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or agent.partition(" ")[0][:40] or "Unknown browser"


# The first mark that is found decides: most browsers also name the ones that they descend from.
_BROWSERS = (
    ("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"), ("HeadlessChrome/", "Headless Chrome"), ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
    ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"), ("Linux", "Linux"),
)  # fmt: skip
