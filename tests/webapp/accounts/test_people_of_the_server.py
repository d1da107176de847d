"""All people of the server: who may look, and what deactivating one ends and leaves."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from vad.errors import VadError
from webapp.accounts import invitations, passwords, people, services, tokens
from webapp.accounts.models import AuditEvent, BrowserSession, Membership, Role, User
from webapp.notify import delivering, matching
from webapp.notify.models import Channel, Delivery
from webapp.notify.models import Rule as NotifyRule
from webapp.runs.models import Run

JSON = {"content_type": "application/json"}


@pytest.fixture
def chief(make_user):
    chief = make_user("chief")
    User.objects.filter(pk=chief.pk).update(is_superuser=True)
    chief.refresh_from_db()
    return chief


@pytest.fixture
def desk(chief, sign_in):
    return sign_in(chief)


def bearer(secret):
    return {"headers": {"Authorization": f"Bearer {secret}"}}


def test_people_are_listed_with_what_is_alive_of_theirs(desk, client, user, project, make_run):
    client.get("/settings/")
    tokens.token_create(by=user, name="living")
    tokens.token_create(by=user, name="old", now=timezone.now() - timedelta(days=400))
    make_run(state="running")
    make_run()
    make_run(state="succeeded")

    found = {p["username"]: p for p in desk.get("/api/v1/people/").json()["results"]}

    theirs = found[user.username]
    assert {k: theirs[k] for k in ("sessions", "tokens", "running", "waiting")} == {
        "sessions": 1, "tokens": 1, "running": 1, "waiting": 1,
    }  # fmt: skip
    assert [p["slug"] for p in theirs["projects"]] == [project.slug]
    assert theirs["last_seen_at"] is not None
    assert (found["chief"]["admin"], theirs["admin"]) == (True, False)
    page = desk.get(f"/settings/people/?q={project.name}").content.decode()
    assert user.username in page and "chief</a>" not in page


def test_only_an_admin_of_the_server_sees_the_page_and_its_tab(client, desk, user):
    assert client.get("/settings/people/").status_code == 403
    assert client.get(f"/settings/people/{user.pk}/").status_code == 403
    assert client.post(f"/settings/people/{user.pk}/deactivate/").status_code == 403
    assert "/settings/people/" not in client.get("/settings/").content.decode()
    assert "/settings/people/" in desk.get("/settings/").content.decode()


def test_the_list_costs_the_same_for_many(desk, make_user, project, django_assert_max_num_queries):
    for _ in range(20):
        make_user(project=project)

    with django_assert_max_num_queries(10):
        desk.get("/settings/people/")


def test_deactivating_ends_every_way_in_and_leaves_runs(
    desk, client, user, chief, project, make_run, sign_in
):
    client.get("/settings/")
    _, token = tokens.token_create(by=user, name="theirs")
    Membership.objects.filter(user=user).update(role=Role.ADMIN)
    _, invitation = invitations.invitation_create(project=project, by=user)
    _, link = passwords.link_create(user=user, by=chief)
    run = make_run()

    answer = desk.post(f"/settings/people/{user.pk}/deactivate/", follow=True)

    assert "1 session ended, 1 token revoked" in answer.content.decode()
    assert "1 unfinished run of theirs stay" in answer.content.decode()
    assert client.get("/runs/").status_code == 302
    assert not BrowserSession.objects.filter(user=user).exists()
    assert Client().get("/api/v1/me/", **bearer(token)).status_code == 401
    assert Client().get(f"/join/{invitation}/").status_code == 410
    assert Client().get(f"/password/{link}/").status_code == 410
    entered = Client().post("/login/", {"username": user.username, "password": "a-long-one-42"})
    assert entered.status_code == 200
    assert Run.objects.get(pk=run.pk).state == "queued"
    detail = AuditEvent.objects.get(kind="person-deactivated").detail
    assert detail == {"sessions_ended": 1, "tokens_revoked": 1, "runs_left": 1}


def test_the_queue_says_that_the_owner_of_a_run_is_deactivated(user, chief, viewer, make_run):
    make_run()
    people.person_deactivate(user=user, by=chief)
    browser = Client()
    browser.force_login(viewer)

    assert "deactivated</span>" in browser.get("/queue/").content.decode()


def test_who_is_reactivated_signs_in_and_their_tokens_stay_revoked(desk, user, chief):
    _, token = tokens.token_create(by=user, name="theirs")
    people.person_deactivate(user=user, by=chief)

    desk.post(f"/settings/people/{user.pk}/reactivate/")

    entered = Client().post("/login/", {"username": user.username, "password": "a-long-one-42"})
    assert entered.status_code == 302
    assert Client().get("/api/v1/me/", **bearer(token)).status_code == 401
    assert AuditEvent.objects.filter(kind="person-reactivated").count() == 1


def test_the_last_active_admin_of_the_server_stays(desk, chief, make_user):
    second = make_user("second")
    User.objects.filter(pk=second.pk).update(is_superuser=True, is_active=False)

    answers = [
        desk.post(f"/settings/people/{chief.pk}/{action}/")
        for action in ("deactivate", "end-admin")
    ]

    chief.refresh_from_db()
    assert [answer.status_code for answer in answers] == [409, 409]
    assert chief.is_active and chief.is_superuser


@pytest.mark.django_db(transaction=True)
def test_of_two_admins_who_deactivate_each_other_one_stays(make_user):
    pair = [make_user("one"), make_user("two")]
    User.objects.update(is_superuser=True)
    pair = list(User.objects.order_by("pk"))
    start, results = threading.Barrier(2), []

    def go(user, by):
        start.wait()
        try:
            people.person_deactivate(user=user, by=by)
            results.append("done")
        except VadError as exc:
            results.append(exc.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=each) for each in (pair, pair[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["done", "last-admin"]


def test_a_second_admin_is_made_and_the_first_may_go(desk, chief, user):
    desk.post(f"/settings/people/{user.pk}/make-admin/")

    answer = desk.post(f"/settings/people/{chief.pk}/deactivate/")

    user.refresh_from_db()
    assert user.is_superuser and answer.status_code == 302
    kinds = set(AuditEvent.objects.values_list("kind", flat=True))
    assert {"server-admin-made", "person-deactivated"} <= kinds


def test_an_admin_who_is_deactivated_does_not_count_as_the_last_of_a_project(
    user, chief, project, make_user
):
    gone = make_user(project=project, role=Role.ADMIN)
    last = make_user(project=project, role=Role.ADMIN)
    people.person_deactivate(user=gone, by=chief)

    with pytest.raises(VadError, match="last admin"):
        services.project_leave(project=project, by=last)
    services.member_remove(project=project, user=gone, by=last)


def test_who_is_deactivated_is_told_nothing_more(user, chief, project, make_run, monkeypatch):
    channel = Channel.objects.create(
        user=user, kind="mail", name="me", target="me@example.org", confirmed_at=timezone.now()
    )
    NotifyRule.objects.create(channel=channel, project=project, event="run-ended")
    Delivery.objects.create(channel=channel, once="x", event="test", subject="s", text="t")
    people.person_deactivate(user=user, by=chief)

    assert list(matching._speaking("run-ended")) == []
    assert delivering.deliver_due() == 0


def test_an_admin_of_a_project_does_not_read_what_was_done_on_the_server(
    user, chief, project, sign_in, make_user
):
    Membership.objects.create(project=project, user=chief, role=Role.MEMBER)
    people.person_deactivate(user=make_user("gone"), by=chief)
    Membership.objects.filter(user=user).update(role=Role.ADMIN)
    there = f"/settings/projects/{project.slug}/audit/?kind=person-deactivated"

    assert "<td" not in sign_in(user).get(there).content.decode()
    assert "gone" in sign_in(chief).get(there).content.decode()


# --- over HTTP ------------------------------------------------------------------------------


def test_a_person_is_changed_over_http_only_as_they_were_read(desk, user):
    here = f"/api/v1/people/{user.username}/"
    etag = desk.get(here)["ETag"]
    first = desk.patch(here, {"active": False}, headers={"If-Match": etag}, **JSON)
    stale = desk.patch(here, {"admin": True}, headers={"If-Match": etag}, **JSON)
    back = desk.patch(here, {"active": True}, headers={"If-Match": first["ETag"]}, **JSON)

    assert (first.status_code, first.json()["active"]) == (200, False)
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition-failed")
    assert back.json()["active"] is True


def test_a_link_to_a_new_password_over_http(desk, user):
    made = desk.post(f"/api/v1/people/{user.username}/password-link/")

    assert made.status_code == 201 and made["Cache-Control"] == "no-store"
    address = made.json()["link"].removeprefix("http://testserver")
    assert Client().get(address).status_code == 200


def test_a_token_of_an_admin_of_the_server_reaches_no_people(chief, user):
    _, token = tokens.token_create(by=chief, name="all", scope="write")

    answers = [
        Client().get("/api/v1/people/", **bearer(token)),
        Client().patch(f"/api/v1/people/{user.username}/", {}, **JSON, **bearer(token)),
        Client().post(f"/api/v1/people/{user.username}/password-link/", **bearer(token)),
    ]

    assert [answer.status_code for answer in answers] == [403] * 3


def test_the_page_of_a_person_shows_their_link_once(desk, user):
    made = desk.post(f"/settings/people/{user.pk}/password-link/").content.decode()

    assert "/password/" in made
    assert "/password/" not in desk.get(f"/settings/people/{user.pk}/").content.decode()
