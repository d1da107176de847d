"""Share links: who reads what, for how long, and what the answer says to browsers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client

from vad.errors import ConfigError
from webapp.accounts.models import AuditEvent, Project, User
from webapp.reports import blocks, services, sharing
from webapp.reports.models import Report, ShareLink

PASSWORD = "a horse that reads"


@pytest.fixture
def report(user: User, project: Project) -> Report:
    given = [blocks.text_block("What we **found**"), blocks.panel("runs")]
    return services.report_create(project=project, title="Findings", given=given, by=user)


def shared(report: Report, user: User, **fields: Any) -> tuple[ShareLink, str]:
    link, secret = sharing.link_create(report=report, by=user, **fields)
    return link, f"/s/{secret}/"


def test_a_link_shows_the_report_to_nobody_in_particular(report: Report, user: User) -> None:
    link, address = shared(report, user)

    answer = Client().get(address)

    text = answer.content.decode()
    assert "<strong>found</strong>" in text
    assert "/reports/" not in text
    assert "csrf" not in text
    assert answer["X-Robots-Tag"].startswith("noindex")
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Cache-Control"] == "private, no-store"
    assert not answer.cookies
    link.refresh_from_db()
    assert (link.views, link.viewed_at is not None) == (1, True)


def test_only_a_digest_of_the_secret_is_kept(report: Report, user: User) -> None:
    _, address = shared(report, user, password=PASSWORD)
    secret = address.split("/")[2]

    row = ShareLink.objects.values().get()
    events = list(AuditEvent.objects.values())

    assert len(secret) >= 43
    assert secret not in str(row) + str(events)
    assert PASSWORD not in str(row) + str(events)


def test_a_link_of_a_revision_does_not_follow_the_report(report: Report, user: User) -> None:
    _, stays = shared(report, user, revision=1)
    _, follows = shared(report, user)
    services.report_save(report=report, title="Later", given=[], by=user)

    assert "<h1>Findings</h1>" in Client().get(stays).content.decode()
    assert "<h1>Later</h1>" in Client().get(follows).content.decode()


def test_a_link_ends_at_its_hour(report: Report, user: User) -> None:
    link, address = shared(report, user, days=1)
    opened = Client()
    assert opened.get(address).status_code == 200

    with patch("django.utils.timezone.now", return_value=link.expires_at - timedelta(seconds=1)):
        before = opened.get(address)
    with patch("django.utils.timezone.now", return_value=link.expires_at):
        after = opened.get(address)

    assert (before.status_code, after.status_code) == (200, 410)
    assert "has expired" in after.content.decode()
    assert "Findings" not in after.content.decode()
    assert after["X-Robots-Tag"].startswith("noindex")
    link.refresh_from_db()
    assert link.views == 2


def test_a_revoked_and_an_unknown_link_show_nothing(report: Report, user: User) -> None:
    link, address = shared(report, user)
    sharing.link_revoke(link=link, by=user)

    gone, unknown = Client().get(address), Client().get("/s/never-was/")

    assert (gone.status_code, unknown.status_code) == (410, 404)
    assert "Findings" not in gone.content.decode() + unknown.content.decode()
    kinds = AuditEvent.objects.values_list("kind", flat=True)
    assert list(kinds) == ["report-shared", "report-unshared"]


def test_a_password_is_asked_for_once_and_opens_no_other_link(report: Report, user: User) -> None:
    link, address = shared(report, user, password=PASSWORD)
    _, other = shared(report, user, password=PASSWORD)
    browser = Client(enforce_csrf_checks=True)

    asked = browser.get(address)
    wrong = browser.post(address, {"password": "a horse that does not"})
    right = browser.post(address, {"password": PASSWORD})
    cookie = next(iter(right.cookies.values()))

    assert "found" not in asked.content.decode() + wrong.content.decode()
    assert (wrong.status_code, right.status_code, right["Location"]) == (422, 303, address)
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == (address, True, "Strict")
    assert "<strong>found</strong>" in browser.get(address).content.decode()
    stolen = Client()
    stolen.cookies[f"share-{ShareLink.objects.exclude(pk=link.pk).get().pk}"] = cookie.value
    assert "<strong>found</strong>" not in stolen.get(other).content.decode()
    link.refresh_from_db()
    assert link.views == 1


def test_guessing_a_password_locks_the_link_for_a_while(report: Report, user: User) -> None:
    _, address = shared(report, user, password=PASSWORD)
    guesser = Client()

    answers = [guesser.post(address, {"password": f"guess {i}"}).status_code for i in range(7)]
    right = guesser.post(address, {"password": PASSWORD})

    assert answers[:5] == [422] * 5
    assert answers[-1] == 429
    assert (right.status_code, int(right["Retry-After"]) > 0) == (429, True)


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options"])
def test_a_link_takes_no_other_method(report: Report, user: User, method: str) -> None:
    _, address = shared(report, user)

    assert getattr(Client(), method)(address).status_code == 405


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"days": 0}, "days"),
        ({"days": 10**12}, "days"),
        ({"note": "x" * 81}, "note"),
        ({"password": "short"}, "password"),
    ],
)
def test_a_link_that_cannot_be_is_named(
    report: Report, user: User, fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        sharing.link_create(report=report, by=user, **fields)

    assert list(raised.value.fields) == [name]
    assert not ShareLink.objects.exists()


def test_comments_are_for_members_alone(report: Report, user: User) -> None:
    panel = report.revisions.get().blocks[1]["id"]
    services.comment_add(report=report, block=panel, text="between us", by=user)
    _, address = shared(report, user)

    assert "between us" not in Client().get(address).content.decode()


def test_deleting_the_report_ends_its_links(report: Report, user: User) -> None:
    _, address = shared(report, user)

    services.report_delete(report=report, by=user)

    assert Client().get(address).status_code == 404
