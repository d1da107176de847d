"""Invitations by link: who enters by one, how often, and for how long."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import invitations, services
from webapp.accounts.models import Invitation, Membership, Project, Role, User

FORM = {"username": "newcomer", "password": "long-and-odd-19", "again": "long-and-odd-19"}


@pytest.fixture
def admin(make_user, project) -> User:
    return make_user("chief", project=project, role=Role.ADMIN)


def make(project, admin, **given):
    return invitations.invitation_create(project=project, by=admin, **given)


def test_who_opens_the_link_signs_up_with_the_role_and_is_signed_in(project, admin):
    _, secret = make(project, admin, role=Role.VIEWER)
    browser = Client()

    assert project.name in browser.get(f"/join/{secret}/").content.decode()
    answer = browser.post(f"/join/{secret}/", FORM, follow=True)

    assert answer.redirect_chain[-1][0] == "/runs/"
    assert answer.context["request"].user.username == "newcomer"
    assert Membership.objects.get(user__username="newcomer").role == Role.VIEWER


def test_who_is_signed_in_joins_and_works_there(project, admin, stranger, sign_in):
    _, secret = make(project, admin)
    browser = sign_in(stranger)

    assert f"Join as {stranger}" in browser.get(f"/join/{secret}/").content.decode()
    assert not Membership.objects.filter(project=project, user=stranger).exists()
    answer = browser.post(f"/join/{secret}/", follow=True)

    assert answer.context["request"].project == project
    assert Membership.objects.get(project=project, user=stranger).role == Role.MEMBER


def test_a_member_who_opens_a_link_keeps_the_role_and_uses_nothing_up(project, admin, sign_in):
    made, secret = make(project, admin, role=Role.VIEWER)

    answer = sign_in(admin).post(f"/join/{secret}/")

    made.refresh_from_db()
    assert (answer.status_code, made.uses) == (302, 0)
    assert Membership.objects.get(project=project, user=admin).role == Role.ADMIN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "has expired"),
        ({"uses": 1}, "has been used"),
        ({"revoked_at": timezone.now()}, "was taken back"),
    ],
)
def test_a_dead_link_says_why_on_one_page_and_lets_nobody_in(project, admin, change, words):
    made, secret = make(project, admin)
    Invitation.objects.filter(pk=made.pk).update(**change)

    for answer in (Client().get(f"/join/{secret}/"), Client().post(f"/join/{secret}/", FORM)):
        assert answer.status_code == 410
        assert words in answer.content.decode()
    assert not User.objects.filter(username="newcomer").exists()


def test_a_link_that_never_was_says_no_more_than_that(db):
    answer = Client().get("/join/nothing/")

    assert answer.status_code == 410
    assert "There is no such invitation" in answer.content.decode()


def test_a_link_expires_on_time(project, admin, monkeypatch):
    made, _ = make(project, admin, days=7)
    later = made.created_at + timedelta(days=7, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: later)

    with pytest.raises(VadError, match="expired"):
        invitations.invitation_sign_up(
            invitation=made, username="newcomer", password=FORM["password"]
        )


def test_a_link_for_three_lets_three_in(project, admin):
    made, secret = make(project, admin, max_uses=3)

    done = [
        Client().post(f"/join/{secret}/", {**FORM, "username": f"new{n}"}).status_code
        for n in range(4)
    ]

    made.refresh_from_db()
    assert done == [302, 302, 302, 410]
    assert made.uses == 3


def test_a_sign_up_that_is_refused_uses_nothing_up(project, admin):
    made, secret = make(project, admin)

    answer = Client().post(
        f"/join/{secret}/", {"username": "newcomer", "password": "short", "again": "short"}
    )

    made.refresh_from_db()
    assert "at least 12 characters" in answer.content.decode()
    assert made.uses == 0


def test_a_name_that_is_taken_in_other_capitals_is_refused(project, admin):
    made, _ = make(project, admin)

    with pytest.raises(ConfigError) as caught:
        invitations.invitation_sign_up(invitation=made, username="CHIEF", password=FORM["password"])
    assert "taken" in caught.value.fields["username"]


def test_only_a_digest_of_256_random_bits_is_kept(project, admin):
    made, secret = make(project, admin)

    assert len(secret) >= 43
    row = str(Invitation.objects.values_list().get(pk=made.pk))
    assert secret not in row
    assert len(made.digest) == 64


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_only_an_admin_invites(project, make_user, role):
    person = make_user(project=project, role=role)

    with pytest.raises(VadError) as caught:
        make(project, person)
    assert caught.value.code == "not-allowed"


@pytest.mark.parametrize(
    "given", [{"days": 0}, {"days": 31}, {"max_uses": 0}, {"role": "owner"}, {"note": "x" * 81}]
)
def test_an_invitation_out_of_bounds_is_refused(project, admin, given):
    with pytest.raises(ConfigError):
        make(project, admin, **given)


def test_the_links_of_who_is_no_admin_any_more_are_dead(project, admin, make_user):
    second = make_user(project=project, role=Role.ADMIN)
    made, secret = make(project, second)
    foreign = Project.objects.create(name="Foreign", slug="foreign")
    Membership.objects.create(project=foreign, user=second, role=Role.ADMIN)
    elsewhere, _ = make(foreign, second)

    services.member_set_role(project=project, user=second, role=Role.VIEWER, by=admin)

    assert Client().get(f"/join/{secret}/").status_code == 410
    elsewhere.refresh_from_db()
    assert elsewhere.problem == ""
    made.refresh_from_db()
    assert made.problem == "revoked"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_come_at_once_for_one_place_one_enters(project, admin):
    made, _ = make(project, admin)
    start, results = threading.Barrier(2), []

    def enter(name: str) -> None:
        start.wait()
        try:
            invitations.invitation_sign_up(
                invitation=Invitation.objects.get(pk=made.pk), username=name,
                password=FORM["password"],
            )  # fmt: skip
            results.append("in")
        except VadError as exc:
            results.append(exc.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=enter, args=(f"new{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["in", "invitation-unusable"]
    assert User.objects.filter(username__startswith="new").count() == 1
    made.refresh_from_db()
    assert made.uses == 1
