"""Signing in: lock-out, sessions, passwords."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.sessions.backends.base import UpdateError
from django.db import connection
from django.test import Client
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import guard, services, sessions
from webapp.accounts.middleware import address_of
from webapp.accounts.models import AuditEvent, BrowserSession, FailedTries, User

RIGHT, WRONG = "a-long-one-42", "not-the-one-43"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140 Safari/537"
)


def sign_in(name: str, password: str, address: str = "10.0.0.1", agent: str = FIREFOX):
    browser = Client(REMOTE_ADDR=address, HTTP_USER_AGENT=agent)
    return browser, browser.post("/login/", {"username": name, "password": password})


def fail(name: str, times: int, address: str = "10.0.0.1") -> None:
    for _ in range(times):
        assert sign_in(name, WRONG, address)[1].status_code == 200


# --- lock-out -------------------------------------------------------------------------------


def test_after_five_failures_the_right_password_is_refused_and_the_wait_is_named(user):
    fail(user.username, 5)

    browser, answer = sign_in(user.username, RIGHT)

    assert (answer.status_code, answer["Retry-After"]) == (429, "30")
    assert "Wait 30 s" in answer.content.decode()
    assert "_auth_user_id" not in browser.session


def test_a_locked_account_answers_the_same_to_any_password_and_for_a_name_that_nobody_has(user):
    fail(user.username, 5, "10.0.0.1")
    fail("nobody-at-all", 5, "10.0.0.2")
    asked = [(user.username, RIGHT), (user.username, WRONG), ("nobody-at-all", WRONG)]

    answers = [
        sign_in(name, password, f"10.0.1.{i}")[1] for i, (name, password) in enumerate(asked)
    ]

    shown = {said(answer, name) for answer, (name, _) in zip(answers, asked, strict=True)}
    assert {answer.status_code for answer in answers} == {429}
    assert len(shown) == 1


def said(answer, name: str) -> str:
    text = answer.content.decode().replace(name, "NAME")
    return text[text.index("</h1>") :].partition("csrfmiddlewaretoken")[0] + str("Wait" in text)


def test_a_wrong_name_and_a_wrong_password_read_and_cost_the_same(user, settings, monkeypatch):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    user.set_password(RIGHT)
    user.save()
    hashed = []
    encode = PBKDF2PasswordHasher.encode
    monkeypatch.setattr(
        PBKDF2PasswordHasher, "encode", lambda *a, **k: hashed.append(1) or encode(*a, **k)
    )
    texts, costs = [], []
    for name in (user.username, "nobody-at-all"):
        hashed.clear()
        texts.append(said(sign_in(name, WRONG)[1], name))
        costs.append(len(hashed))

    assert texts[0] == texts[1]
    assert costs == [1, 1]


def test_each_failure_after_a_lock_doubles_the_wait_up_to_a_quarter_of_an_hour(db):
    now, waits = timezone.now(), []
    for number in range(12):
        guard.begin(username="kim", address=f"10.0.0.{number}", now=now)
        until = FailedTries.objects.get(pk=guard.account("kim").key).locked_until
        waits.append((until - now).total_seconds() if until else 0)
        now = max(now, until or now)

    assert waits == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]


def test_a_lock_ends_by_itself_and_a_success_starts_anew(user):
    fail(user.username, 5)
    FailedTries.objects.update(locked_until=timezone.now() - timedelta(seconds=1))

    assert sign_in(user.username, RIGHT)[1].status_code == 302
    fail(user.username, 4)
    assert sign_in(user.username, RIGHT)[1].status_code == 302


def test_a_try_during_a_lock_does_not_make_it_longer(db):
    now = timezone.now()
    for _ in range(5):
        guard.begin(username="kim", address="10.0.0.1", now=now)
    for seconds in (1, 10, 29):
        with pytest.raises(VadError, match="Wait"):
            guard.begin(username="kim", address="10.0.0.1", now=now + timedelta(seconds=seconds))

    guard.begin(username="kim", address="10.0.0.1", now=now + timedelta(seconds=30))


@pytest.mark.django_db(transaction=True)
def test_many_tries_at_once_are_no_more_than_one_after_the_other():
    start, results = threading.Barrier(12), []

    def work(number: int) -> None:
        start.wait()
        try:
            guard.begin(username="kim", address=f"10.0.0.{number}")
            results.append("looked at")
        except guard.Locked:
            results.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["looked at"] * 5 + ["refused"] * 7


def test_names_in_other_capitals_are_one_account(db):
    for name in ("kim", "KIM", "Kim", "kIm", "kiM"):
        guard.begin(username=name, address="10.0.0.1")

    with pytest.raises(VadError, match="Wait"):
        guard.begin(username="KIm", address="10.0.0.9")


def test_an_address_is_locked_after_thirty_failures_with_any_names(user):
    for number in range(30):
        guard.begin(username=f"guess{number}", address="10.0.0.1")

    assert sign_in(user.username, RIGHT, "10.0.0.1")[1].status_code == 429
    assert sign_in(user.username, RIGHT, "10.0.0.2")[1].status_code == 302


def test_signing_in_oneself_does_not_clear_what_ones_address_did_to_others(user):
    for number in range(29):
        guard.begin(username=f"guess{number}", address="10.0.0.1")
        if number % 5 == 0:
            assert sign_in(user.username, RIGHT, "10.0.0.1")[1].status_code == 302
    guard.begin(username="guess", address="10.0.0.1")

    assert sign_in(user.username, RIGHT, "10.0.0.1")[1].status_code == 429


def test_failures_are_forgotten_after_a_day(db):
    now = timezone.now()
    for _ in range(4):
        guard.begin(username="kim", address="10.0.0.1", now=now)

    guard.begin(username="kim", address="10.0.0.1", now=now + timedelta(hours=25))

    assert FailedTries.objects.get(pk=guard.account("kim").key).count == 1


def test_no_typed_name_is_kept_of_a_failure_with_a_name_that_nobody_has(db):
    fail("my-password-by-mistake", 6 - 1)

    rows = [*FailedTries.objects.values_list(), *AuditEvent.objects.values_list()]
    assert rows
    assert "my-password" not in str(rows)


def test_the_password_page_is_locked_as_well(user):
    for _ in range(5):
        with pytest.raises(ConfigError):
            services.password_change(user=user, old=WRONG, new="another-long-one-1", keep=None)

    with pytest.raises(VadError, match="Wait") as caught:
        services.password_change(user=user, old=RIGHT, new="another-long-one-1", keep=None)
    assert caught.value.code == "too-many-tries"
    user.refresh_from_db()
    assert user.check_password(RIGHT)


# --- addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "6.6.6.6", "10.0.0.9"),  # nobody is trusted to have written it
        (1, "6.6.6.6, 7.7.7.7", "7.7.7.7"),
        (2, "6.6.6.6, 7.7.7.7, 8.8.8.8", "7.7.7.7"),
        (1, "", "10.0.0.9"),
        (2, "8.8.8.8", "10.0.0.9"),
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "<script>", None),
    ],
)
def test_the_address_is_the_one_that_our_outermost_proxy_saw(
    rf, settings, proxies, forwarded, address
):
    settings.PROXIES = proxies
    request = rf.get("/", REMOTE_ADDR="10.0.0.9")
    if forwarded:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded

    assert address_of(request) == address


# --- sessions -------------------------------------------------------------------------------


def test_all_sessions_of_a_person_are_listed_and_none_of_another(user, viewer):
    first, _ = sign_in(user.username, RIGHT, "10.0.0.1", FIREFOX)
    sign_in(user.username, RIGHT, "10.0.0.2", CHROME)
    sign_in(viewer.username, RIGHT, "10.9.9.9")

    text = first.get("/settings/").content.decode()

    assert text.index("Firefox on Linux") < text.index("this one") < text.index("Chrome on Windows")
    assert "10.0.0.1" in text and "10.0.0.2" in text and "10.9.9.9" not in text
    assert first.session.session_key not in text


def test_a_session_is_ended_from_another(user):
    here, _ = sign_in(user.username, RIGHT)
    there, _ = sign_in(user.username, RIGHT, agent=CHROME)
    handle = BrowserSession.objects.get(pk=there.session.session_key).handle

    here.post("/settings/sessions/end/", {"session": handle})

    assert there.get("/settings/").status_code == 302
    assert here.get("/settings/").status_code == 200


def test_all_other_sessions_end_and_this_one_and_those_of_others_stay(user, viewer):
    here, _ = sign_in(user.username, RIGHT)
    others = [sign_in(user.username, RIGHT)[0] for _ in range(2)]
    foreign, _ = sign_in(viewer.username, RIGHT)

    here.post("/settings/sessions/end/", {"session": "others"})

    assert [browser.get("/settings/").status_code for browser in others] == [302, 302]
    assert here.get("/settings/").status_code == foreign.get("/settings/").status_code == 200


def test_a_session_of_another_person_is_not_ended(user, viewer):
    here, _ = sign_in(user.username, RIGHT)
    foreign, _ = sign_in(viewer.username, RIGHT)
    handle = BrowserSession.objects.get(pk=foreign.session.session_key).handle

    here.post("/settings/sessions/end/", {"session": handle})

    assert foreign.get("/settings/").status_code == 200


def test_an_ended_session_does_not_come_back_by_a_request_that_was_under_way(user):
    browser, _ = sign_in(user.username, RIGHT)
    session = sessions.SessionStore(browser.session.session_key)
    session["half"] = "done"
    BrowserSession.objects.all().delete()

    with pytest.raises(UpdateError):
        session.save()
    assert not BrowserSession.objects.exists()


def test_use_is_written_down_once_a_minute(user):
    browser, _ = sign_in(user.username, RIGHT)
    key = browser.session.session_key
    old = timezone.now() - timedelta(minutes=5)
    BrowserSession.objects.filter(pk=key).update(seen_at=old)

    browser.get("/healthz")
    seen = BrowserSession.objects.get(pk=key).seen_at
    browser.get("/healthz")

    assert seen > old
    assert BrowserSession.objects.get(pk=key).seen_at == seen


def test_expired_sessions_are_not_listed(user):
    here, _ = sign_in(user.username, RIGHT)
    there, _ = sign_in(user.username, RIGHT, agent=CHROME)
    BrowserSession.objects.filter(pk=there.session.session_key).update(
        expire_date=timezone.now() - timedelta(seconds=1)
    )

    assert "Chrome" not in here.get("/settings/").content.decode()


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537 Edg/140", "Edge on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU OS 19_0 like Mac OS X) Version/19 Safari/604",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (iPhone; CPU like Mac OS X) CriOS/140 Safari/604", "Chrome on iPhone"),
        ("curl/8.9.1", "curl/8.9.1"),
        ("", "Unknown browser"),
    ],
)
def test_a_browser_is_named_as_a_person_knows_it(agent, shown):
    assert sessions.device(agent) == shown


# --- passwords ------------------------------------------------------------------------------


def change(browser: Client, old: str, new: str, again: str | None = None):
    return browser.post("/settings/", {"old": old, "new": new, "again": again or new})


def test_a_new_password_ends_all_other_sessions_and_this_one_goes_on(user):
    here, _ = sign_in(user.username, RIGHT)
    there, _ = sign_in(user.username, RIGHT)

    assert change(here, RIGHT, "quite-another-one-7").status_code == 302

    assert here.get("/settings/").status_code == 200
    assert there.get("/settings/").status_code == 302
    assert BrowserSession.objects.filter(user=user).count() == 1
    assert sign_in(user.username, RIGHT)[1].status_code == 200
    assert sign_in(user.username, "quite-another-one-7")[1].status_code == 302


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ("short-one-1", "at least 12 characters"),
        ("password12345", "too common"),
        ("kim.smith-long", "too similar"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(make_user, project, new, problem):
    kim = make_user("kim.smith-lon", project=project)
    browser, _ = sign_in(kim.username, RIGHT)

    answer = change(browser, RIGHT, new)

    assert problem in answer.content.decode()
    assert User.objects.get(pk=kim.pk).check_password(RIGHT)


def test_a_password_that_is_typed_differently_twice_changes_nothing(user, client):
    answer = change(client, RIGHT, "quite-another-one-7", "quite-another-one-8")

    assert "The two are not the same." in answer.content.decode()
    assert User.objects.get(pk=user.pk).check_password(RIGHT)


def test_a_wrong_old_password_changes_nothing(user, client):
    answer = change(client, WRONG, "quite-another-one-7")

    assert "This is not your password." in answer.content.decode()
    assert User.objects.get(pk=user.pk).check_password(RIGHT)


@pytest.mark.django_db
def test_an_open_page_whose_session_ended_is_not_filled_with_the_sign_in_page(make_run):
    page, browser = f"/runs/{make_run().pk}/", Client()

    part = browser.get(f"{page}status/", headers={"HX-Request": "true"})
    figure = browser.get(f"{page}figures/loss/", headers={"Accept": "application/json"})

    assert (part.status_code, figure.status_code) == (401, 401)
    assert b"<html" not in part.content
    assert figure.json()["code"] == "not-signed-in"
