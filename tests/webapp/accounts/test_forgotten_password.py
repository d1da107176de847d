"""A forgotten password: links from an admin, from the command line, and by mail."""

from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import passwords, services, tokens
from webapp.accounts.models import AuditEvent, BrowserSession, FailedTries, PasswordLink
from webapp.notify.models import Channel
from workers import tasks

NEW = "quite-another-43"


@pytest.fixture
def chief(make_user):
    chief = make_user("chief")
    chief.is_superuser = True
    chief.save()
    return chief


@pytest.fixture
def link(user, chief):
    """The address of a link of `user`."""
    _, secret = passwords.link_create(user=user, by=chief)
    return f"/password/{secret}/"


@pytest.fixture
def mailing(settings):
    settings.MAIL_FROM = "lab@example.org"
    settings.PUBLIC_URL = "https://lab.example.org"


def choose(address, new=NEW, browser=None):
    return (browser or Client()).post(address, {"new": new, "again": new})


def test_a_link_sets_a_password_once_and_ends_every_session(client, user, link):
    client.get("/settings/")

    seen, done, again = Client().get(link), choose(link), choose(link, "a-third-one-44")

    user.refresh_from_db()
    assert (seen.status_code, done.status_code, again.status_code) == (200, 200, 410)
    assert user.username in seen.content.decode()
    assert user.check_password(NEW)
    assert not BrowserSession.objects.filter(user=user).exists()
    assert client.get("/settings/").status_code == 302
    event = AuditEvent.objects.get(kind="password-reset")
    assert (event.by, event.detail) == (user, {"sessions_ended": 1})


def test_only_a_digest_of_the_link_is_stored_and_none_of_it_is_in_the_audit_log(link):
    secret = link.split("/")[2]
    row = PasswordLink.objects.get()

    assert row.digest == tokens.digest_of(secret) != secret
    assert secret not in str(list(AuditEvent.objects.values_list()))


@pytest.mark.parametrize("new", ["short", "password1234", "person-name-1"])
def test_the_rules_for_passwords_hold_and_the_link_stays(make_user, chief, new):
    user = make_user("person-name-1")
    _, secret = passwords.link_create(user=user, by=chief)

    answer = choose(f"/password/{secret}/", new)

    assert answer.status_code == 200 and "field-error" in answer.content.decode()
    assert not passwords.find(secret).problem


def test_a_link_expires_and_is_replaced_by_the_next(user, chief):
    _, first = passwords.link_create(user=user, by=chief)
    _, second = passwords.link_create(user=user, by=chief)
    PasswordLink.objects.filter(pk=passwords.find(second).pk).update(expires_at=timezone.now())

    answers = [Client().get(f"/password/{secret}/") for secret in (first, second, "never")]

    assert [answer.status_code for answer in answers] == [410] * 3
    assert "has expired" in answers[1].content.decode()


def test_a_link_of_who_is_deactivated_is_dead(user, link, chief):
    user.is_active = False
    user.save()

    assert choose(link).status_code == 410
    with pytest.raises(VadError, match="deactivated"):
        passwords.link_create(user=user, by=chief)


def test_only_an_admin_of_the_server_makes_links_and_not_with_a_token(user, make_user, chief):
    token, _ = tokens.token_create(by=chief, name="all", scope="write")
    chief.token = token
    for by in (user, chief):
        with pytest.raises(VadError, match="administers the server"):
            passwords.link_create(user=user, by=by)


def test_a_link_opens_an_account_that_is_locked(user, link):
    for _ in range(6):
        Client().post("/login/", {"username": user.username, "password": "wrong-one-45"})
    choose(link)

    answer = Client(REMOTE_ADDR="10.9.9.9").post(
        "/login/", {"username": user.username, "password": NEW}
    )

    assert answer.status_code == 302


def test_changing_the_password_ends_links(user, link):
    services.password_change(user=user, old="a-long-one-42", new=NEW, keep=None)

    assert Client().get(link).status_code == 410


def test_the_command_makes_a_link_for_the_admin_who_lost_theirs(chief, capsys):
    call_command("password_link", "chief")

    address = capsys.readouterr().out.strip()
    assert choose(address).status_code == 200
    chief.refresh_from_db()
    assert chief.check_password(NEW)
    assert AuditEvent.objects.get(kind="password-link-created").by is None
    with pytest.raises(CommandError, match="Admins of the server: chief"):
        call_command("password_link", "nobody")


# --- by mail --------------------------------------------------------------------------------


def test_a_link_by_mail_works_and_no_secret_is_stored_before_it_is_sent(user, mailing):
    user.email = "ada@example.org"
    user.save()

    Client().post("/login/forgotten/", {"name": "ADA@example.org"})
    waiting = PasswordLink.objects.get()
    sent = passwords.mail_links()

    assert waiting.digest is None
    assert (sent, passwords.mail_links(), len(mail.outbox)) == (1, 0, 1)
    assert mail.outbox[0].to == ["ada@example.org"]
    address = re.search(r"https://lab\.example\.org(/password/\S+)", mail.outbox[0].body)[1]
    assert choose(address).status_code == 200


def test_the_answer_is_the_same_for_a_name_that_nobody_has(user, mailing):
    user.email = "ada@example.org"
    user.save()

    answers = [
        Client(REMOTE_ADDR=f"10.0.0.{i}").post("/login/forgotten/", {"name": name})
        for i, name in enumerate((user.username, "nobody-at-all", "no@example.org"))
    ]

    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert PasswordLink.objects.count() == 1


def test_asking_is_limited_alike_for_a_name_that_nobody_has(user, mailing):
    for name in (user.username, "nobody-at-all"):
        answers = [
            Client(REMOTE_ADDR=f"10.1.{i}.1").post("/login/forgotten/", {"name": name})
            for i in range(4)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1]["Retry-After"] == "30"
    flood = [
        Client(REMOTE_ADDR="10.2.2.2").post("/login/forgotten/", {"name": f"n{i}"})
        for i in range(11)
    ]
    assert [answer.status_code for answer in flood] == [200] * 10 + [429]


def test_asking_does_not_lock_anybody_out_of_signing_in(user, mailing):
    for _ in range(4):
        Client().post("/login/forgotten/", {"name": user.username})

    answer = Client().post("/login/", {"username": user.username, "password": "a-long-one-42"})

    assert answer.status_code == 302


def test_without_mail_the_page_says_whom_to_ask_and_keeps_nothing(user):
    page = Client().get("/login/forgotten/").content.decode()
    Client().post("/login/forgotten/", {"name": user.username})

    assert "Ask an admin" in page and "<form" not in page
    assert not PasswordLink.objects.exists() and not FailedTries.objects.exists()


def test_who_chose_no_address_gets_no_mail(user, mailing):
    Client().post("/login/forgotten/", {"name": user.username})

    assert passwords.mail_links() == 0 and not mail.outbox


def test_a_mail_server_that_is_away_is_tried_again_a_few_times(user, mailing, monkeypatch):
    user.email = "ada@example.org"
    user.save()
    passwords.mail_ask(name=user.username, address=None)

    def away(self):
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.EmailMessage.send", away)
    for _ in range(5):
        assert passwords.mail_links() == 0
    row = PasswordLink.objects.get()
    assert (row.digest, row.attempts) == (None, 3)


def test_an_address_is_chosen_with_the_password_among_confirmed_ones(client, user, mailing):
    for name, confirmed in (("ada@example.org", timezone.now()), ("new@example.org", None)):
        Channel.objects.create(
            user=user, kind="mail", name=name, target=name, confirmed_at=confirmed
        )

    def save(address, password="a-long-one-42"):
        given = {"recovery-address": address, "recovery-password": password}
        client.post("/settings/recovery-mail/", given)
        user.refresh_from_db()
        return user.email

    assert save("new@example.org") == ""
    assert save("ada@example.org", "not-mine-at-all") == ""
    assert save("ada@example.org") == "ada@example.org"
    assert save("-") == ""
    assert AuditEvent.objects.filter(kind="recovery-mail-changed").count() == 2
    with pytest.raises(ConfigError):
        services.recovery_mail_set(
            user=user, address="x@example.org", password="a-long-one-42", known=()
        )


# --- cleared by the clock -------------------------------------------------------------------


def test_the_clock_clears_expired_sessions_and_links(client, user, link, chief, monkeypatch):
    monkeypatch.setattr(tasks.database, "closing", nullcontext)
    client.get("/settings/")
    living = Client()
    living.force_login(chief)
    BrowserSession.objects.filter(user=user).update(expire_date=timezone.now())
    passwords.link_create(user=chief, by=chief)
    PasswordLink.objects.filter(user=user).update(expires_at=timezone.now() - timedelta(days=8))

    tasks.reap()

    assert list(BrowserSession.objects.values_list("user", flat=True)) == [chief.pk]
    assert list(PasswordLink.objects.values_list("user", flat=True)) == [chief.pk]
