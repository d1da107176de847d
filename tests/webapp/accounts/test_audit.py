"""The audit log: what is in it, what never is, who reads it, and that it is only added to."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.test import Client

from webapp.accounts import audit, invitations, services, tokens
from webapp.accounts.models import AuditEvent, Role, User
from webapp.runs import services as runs
from webapp.runs.models import Run, State


@pytest.fixture
def admin(make_user, project) -> User:
    return make_user("chief", project=project, role=Role.ADMIN)


def kinds(**given) -> list[str]:
    return list(AuditEvent.objects.filter(**given).order_by("pk").values_list("kind", flat=True))


def test_what_people_do_is_written_down_with_whom_when_and_from_where(user, admin, project):
    browser = Client(REMOTE_ADDR="10.1.2.3")
    browser.post("/login/", {"username": "chief", "password": "wrong"})
    browser.post("/login/", {"username": "chief", "password": "a-long-one-42"})
    here = f"/settings/projects/{project.slug}"
    browser.post("/settings/tokens/", {"name": "t", "scope": "read", "project": "*", "days": "7"})
    browser.post(
        f"{here}/invitations/", {"role": "viewer", "days": 1, "max_uses": 1, "note": "Ann"}
    )
    browser.post(f"{here}/rename/", {"project-name": "Other"})
    browser.post(f"{here}/members/{user.pk}/", {"role": "viewer"})
    browser.post(f"{here}/members/{user.pk}/", {"action": "remove"})
    browser.post("/settings/projects/", {"name": "New"})
    browser.post("/logout/")

    assert kinds() == [
        "sign-in-failed", "sign-in", "token-created", "invitation-created", "project-renamed",
        "role-changed", "member-removed", "project-created", "sign-out",
    ]  # fmt: skip
    assert set(AuditEvent.objects.values_list("by_name", flat=True)) == {"chief"}
    assert set(AuditEvent.objects.values_list("address", flat=True)) == {"10.1.2.3"}
    changed = AuditEvent.objects.get(kind="role-changed")
    assert (changed.subject, changed.detail) == (user.username, {"was": "member", "now": "viewer"})
    assert changed.project == project


def test_deleting_runs_is_written_down_with_their_names(user, project, make_run):
    gone = [make_run(state=State.SUCCEEDED, name=f"run {n}") for n in "ab"]

    runs.runs_delete(runs=gone, by=user)

    event = AuditEvent.objects.get()
    assert (event.kind, event.subject, event.detail) == (
        "runs-deleted",
        "run a, run b",
        {"count": 2},
    )
    assert (event.by, event.project, event.address) == (user, project, None)
    assert not Run.objects.exists()


def test_a_refused_deletion_is_not_written_down(user, make_run):
    with pytest.raises(Exception, match="cannot be deleted"):
        runs.runs_delete(runs=[make_run(state=State.RUNNING)], by=user)

    assert not AuditEvent.objects.exists()


def test_nothing_secret_is_in_it(user, admin, project):
    browser = Client()
    browser.post("/login/", {"username": "chief", "password": "wr0ng-pass-typed"})
    browser.post("/login/", {"username": "typed-a-secret", "password": "wr0ng-pass-typed"})
    _, token = tokens.token_create(by=admin, name="t")
    made, link = invitations.invitation_create(project=project, by=admin)
    invitations.invitation_sign_up(invitation=made, username="ann", password="fresh-secret-19")
    services.password_change(user=user, old="a-long-one-42", new="newer-secret-19", keep=None)

    text = str(list(AuditEvent.objects.values_list()))
    for secret in (
        token, link, "wr0ng-pass-typed", "typed-a-secret", "fresh-secret-19", "newer-secret-19",
        "a-long-one-42",
    ):  # fmt: skip
        assert secret not in text


def test_what_a_token_does_names_the_token(user, project, make_run):
    run = make_run(state=State.SUCCEEDED)
    token, secret = tokens.token_create(by=user, name="ci", scope="write")

    answer = Client().delete(
        f"/api/v1/runs/{run.pk}/", headers={"Authorization": f"Bearer {secret}"}
    )

    assert answer.status_code == 204
    assert AuditEvent.objects.get(kind="runs-deleted").via == token.prefix


def test_it_is_only_added_to(user):
    audit.record("sign-in", by=user)
    event = AuditEvent.objects.get()
    attempts = [
        lambda: AuditEvent.objects.update(kind="sign-out"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: AuditEvent.objects.filter(pk=event.pk).delete(),
        lambda: AuditEvent.objects.bulk_update([event], ["kind"]),
        event.delete,
        event.save,
    ]
    for attempt in attempts:
        with pytest.raises(TypeError), transaction.atomic():
            attempt()

    assert kinds() == ["sign-in"]


def test_an_event_outlives_its_person(admin, project, make_user):
    gone = make_user("gone", project=project)
    audit.record("token-created", by=gone, project=project, subject="t")

    gone.delete()

    event = AuditEvent.objects.get()
    assert (event.by, event.by_name) == (None, "gone")


def test_an_unknown_kind_is_a_fault(user):
    with pytest.raises(KeyError):
        audit.record("something", by=user)


# --- the page -------------------------------------------------------------------------------


def test_an_admin_reads_what_happened_in_the_project_and_nothing_of_others(
    admin, project, stranger, user, sign_in
):
    audit.record("sign-in", by=user, subject="Firefox on Linux")
    audit.record("sign-in", by=stranger, subject="Opera on Linux")
    audit.record("sign-in-failed", by=None)

    text = sign_in(admin).get(f"/settings/projects/{project.slug}/audit/").content.decode()

    assert user.username in text and "Firefox on Linux" in text
    assert stranger.username not in text and "Opera on Linux" not in text
    assert "nobody known" not in text


def test_a_superuser_also_reads_what_belongs_to_nobody(admin, project, sign_in):
    audit.record("sign-in-failed", by=None)
    User.objects.filter(pk=admin.pk).update(is_superuser=True)

    text = sign_in(admin).get(f"/settings/projects/{project.slug}/audit/").content.decode()

    assert "nobody known" in text


def test_it_is_filtered_by_kind_and_word_and_paged(admin, project, sign_in):
    for number in range(120):
        audit.record(
            "role-changed", by=admin, project=project, subject=f"p{number}", was="a", now="b"
        )
    audit.record("member-left", by=admin, project=project, subject="p7", role="viewer")
    browser, here = sign_in(admin), f"/settings/projects/{project.slug}/audit/"

    first = browser.get(here).context["page"]
    last = browser.get(f"{here}?page=3").context["page"]
    left = browser.get(f"{here}?kind=member-left").context["page"]
    both = browser.get(f"{here}?q=p7&kind=role-changed").context["page"]

    assert (first.paginator.count, len(first), len(last)) == (121, 50, 21)
    assert first[0].kind == "member-left"
    assert [e.subject for e in left] == ["p7"]
    assert [e.subject for e in both] == [*[f"p{n}" for n in range(79, 69, -1)], "p7"]


def test_the_page_costs_the_same_for_many(admin, project, sign_in, django_assert_num_queries):
    browser, here = sign_in(admin), f"/settings/projects/{project.slug}/audit/"
    for number in range(40):
        audit.record(
            "role-changed", by=admin, project=project, subject=f"p{number}", was="a", now="b"
        )
    browser.get(here)

    with django_assert_num_queries(7):
        browser.get(here)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER])
def test_who_is_no_admin_does_not_read_it(project, make_user, role, sign_in):
    browser = sign_in(make_user(project=project, role=role))

    assert browser.get(f"/settings/projects/{project.slug}/audit/").status_code == 403
    assert browser.get(f"/api/v1/projects/{project.slug}/audit/").status_code == 403


def test_the_log_over_http_is_paged_by_a_cursor(admin, project, sign_in):
    for number in range(5):
        audit.record("member-left", by=admin, project=project, subject=f"p{number}", role="viewer")
    browser = sign_in(admin)

    first = browser.get(f"/api/v1/projects/{project.slug}/audit/?limit=3").json()
    second = browser.get(first["next"]).json()

    assert [e["subject"] for e in first["results"]] == ["p4", "p3", "p2"]
    assert [e["subject"] for e in second["results"]] == ["p1", "p0"]
    assert first["results"][0]["by"] == "chief"
