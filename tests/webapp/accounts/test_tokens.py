"""Personal tokens of the API: what they open, for whom, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from vad.errors import ConfigError
from webapp.accounts import access, permissions, services, tokens
from webapp.accounts.models import ApiToken, Membership, Project, Role, User
from webapp.runs.models import Run


def ask(secret: str, path: str = "/api/v1/me/", method: str = "get", **given):
    browser = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {secret}"})
    return getattr(browser, method)(path, **given)


def patch(secret: str, run: Run, name: str = "renamed"):
    return ask(
        secret, f"/api/v1/runs/{run.pk}/", "patch", data={"name": name},
        content_type="application/json",
    )  # fmt: skip


def make(user: User, **given) -> str:
    return tokens.token_create(by=user, name="script", **given)[1]


def test_a_token_is_its_person(user, project):
    answer = ask(make(user))

    assert answer.status_code == 200
    assert answer.json()["username"] == user.username
    assert [p["slug"] for p in answer.json()["projects"]] == [project.slug]
    assert answer.json()["token"]["scope"] == "read"


def test_only_a_digest_of_256_random_bits_is_kept(user):
    token, secret = tokens.token_create(by=user, name="script")

    assert secret.startswith("vad_") and len(secret) >= 4 + 43
    assert token.prefix == secret[:12]
    assert secret not in str(ApiToken.objects.values_list().get(pk=token.pk))


def test_a_token_expires_in_ninety_days_unless_it_says_otherwise(user):
    now = timezone.now()
    token, secret = tokens.token_create(by=user, name="script", now=now)

    assert token.expires_at == now + timedelta(days=90)
    assert tokens.find(secret, now=now + timedelta(days=90, seconds=-1)) is not None
    assert tokens.find(secret, now=now + timedelta(days=90)) is None


@pytest.mark.parametrize("what", ["unknown", "expired", "revoked", "inactive", "empty"])
def test_a_token_that_does_not_hold_is_401_in_the_one_shape(user, what):
    token, secret = tokens.token_create(by=user, name="script")
    if what == "expired":
        ApiToken.objects.update(expires_at=timezone.now())
    elif what == "revoked":
        tokens.token_revoke(token=token, by=user)
    elif what == "inactive":
        User.objects.filter(pk=user.pk).update(is_active=False)
    secret = {"unknown": "vad_nothing", "empty": ""}.get(what, secret)

    answer = ask(secret)

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="VADLab", error="invalid_token"'
    assert set(answer.json()) == {"code", "message", "hint", "problems", "fields"}
    assert answer.json()["code"] == "token-invalid"


def test_a_bad_token_is_not_excused_by_a_good_session(client):
    answer = client.get("/api/v1/me/", headers={"Authorization": "Bearer vad_nothing"})

    assert answer.status_code == 401


def test_nobody_is_told_to_bring_a_token(db):
    answer = Client().get("/api/v1/me/")

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="VADLab"'
    assert answer.json()["code"] == "not-signed-in"


def test_a_token_to_read_writes_nothing(user, make_run):
    run, secret = make_run(), make(user, scope="read")

    answer = patch(secret, run)

    assert ask(secret, f"/api/v1/runs/{run.pk}/").status_code == 200
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert "may only read" in answer.json()["message"]
    assert Run.objects.get(pk=run.pk).name == run.name


def test_a_token_to_write_needs_no_csrf_token_and_writes(user, make_run):
    run = make_run()

    assert patch(make(user, scope="write"), run).status_code == 200
    assert Run.objects.get(pk=run.pk).name == "renamed"


def test_a_session_still_needs_its_csrf_token(user, make_run):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    run = make_run()

    answer = browser.patch(
        f"/api/v1/runs/{run.pk}/", {"name": "forged"}, content_type="application/json"
    )

    assert answer.status_code == 403


def test_a_token_never_goes_beyond_the_role_of_its_person(viewer, make_run):
    run = make_run()

    assert patch(make(viewer, scope="write"), run).status_code in (403, 404)


def test_a_token_loses_what_its_person_loses(user, project, make_run):
    run, secret = make_run(), make(user, scope="write")
    Membership.objects.filter(user=user).update(role=Role.VIEWER)
    assert patch(secret, run).status_code in (403, 404)

    Membership.objects.filter(user=user).delete()

    assert ask(secret, f"/api/v1/runs/{run.pk}/").status_code == 404


def test_a_token_for_one_project_sees_no_other(user, project, make_run):
    other = Project.objects.create(name="Second", slug="second")
    Membership.objects.create(project=other, user=user, role=Role.ADMIN)
    here, there = make_run(), make_run(project=other)
    secret = make(user, scope="write", project=other)

    listed = ask(secret, "/api/v1/runs/").json()["results"]

    assert [run["id"] for run in listed] == [str(there.pk)]
    assert ask(secret, f"/api/v1/runs/{here.pk}/").status_code == 404
    assert patch(secret, here).status_code == 404
    assert patch(secret, there).status_code == 200
    assert [p["slug"] for p in ask(secret).json()["projects"]] == ["second"]
    assert ask(secret, f"/api/v1/queue/?project={project.slug}").status_code == 404
    assert ask(secret, f"/api/v1/projects/{project.slug}/").status_code == 404


def test_what_names_no_project_is_asked_of_the_one_of_the_token(user, project, make_run):
    other = Project.objects.create(name="Second", slug="second")
    Membership.objects.create(project=other, user=user, role=Role.MEMBER)
    make_run()
    there = make_run(project=other)

    usual = ask(make(user), "/api/v1/queue/").json()["results"]
    held = ask(make(user, project=other), "/api/v1/queue/").json()["results"]

    assert [row["run"]["project"] for row in usual] == [project.slug]
    assert [row["run"]["id"] for row in held] == [str(there.pk)]


def test_a_superuser_with_a_token_is_an_ordinary_member(make_user, project, make_run, stranger):
    chief = make_user("chief", project=project, role=Role.ADMIN)
    User.objects.filter(pk=chief.pk).update(is_superuser=True, is_staff=True)
    foreign = Project.objects.exclude(pk=project.pk).get()
    run, theirs = make_run(), make_run(project=foreign)
    secret = make(chief, scope="write")

    assert patch(secret, run).status_code == 200
    assert ask(secret, f"/api/v1/runs/{theirs.pk}/").status_code == 404
    assert ask(secret, f"/api/v1/projects/{project.slug}/audit/").status_code == 403
    chief.refresh_from_db()
    assert chief.is_superuser and chief.is_staff


def test_a_person_known_by_a_token_is_never_saved(user):
    user.token = ApiToken(scope="write")

    with pytest.raises(TypeError):
        user.save()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/api/v1/tokens/"),
        ("post", "/api/v1/tokens/"),
        ("post", "/api/v1/projects/"),
        ("post", "/api/v1/projects/{slug}/invitations/"),
        ("patch", "/api/v1/projects/{slug}/members/{name}/"),
        ("delete", "/api/v1/projects/{slug}/members/{name}/"),
    ],
)
def test_a_leaked_token_makes_no_tokens_and_lets_nobody_in(make_user, project, user, method, path):
    admin = make_user(project=project, role=Role.ADMIN)
    path = path.format(slug=project.slug, name=user.username)

    answer = (
        ask(make(admin, scope="write"), path, method, data={}, content_type="application/json")
        if method != "get"
        else ask(make(admin, scope="write"), path)
    )

    assert answer.status_code == 403


def test_a_token_opens_no_page(user):
    for path in ("/runs/", "/settings/", "/settings/tokens/"):
        assert ask(make(user), path).status_code == 302


def test_its_last_use_is_noted_once_a_minute(user):
    now = timezone.now()
    token, secret = tokens.token_create(by=user, name="script")
    seen = []
    for seconds in (0, 30, 61):
        tokens.find(secret, now=now + timedelta(seconds=seconds))
        token.refresh_from_db()
        seen.append((token.last_used_at - now).total_seconds())

    assert seen == [0, 0, 61]


@pytest.mark.parametrize(
    "given", [{"name": " "}, {"scope": "admin"}, {"days": 0}, {"days": 366}, {"name": "x" * 81}]
)
def test_a_token_out_of_bounds_is_refused(user, given):
    with pytest.raises(ConfigError):
        tokens.token_create(by=user, **{"name": "script", **given})


def test_a_token_is_not_made_for_a_project_that_one_is_not_in(user, stranger):
    foreign = Project.objects.get(members=stranger)

    with pytest.raises(ConfigError) as caught:
        tokens.token_create(by=user, name="script", project=foreign)
    assert "project" in caught.value.fields


def test_querysets_and_services_know_the_token_too(user, project, make_run):
    make_run()
    user.token = tokens.token_create(by=user, name="script", scope="read")[0]

    assert Run.objects.visible_to(user).exists()
    assert not Run.objects.editable_by(user).exists()
    assert not permissions.may_edit(user, project)
    assert not access.place(user).can_edit


def test_a_token_is_shown_once_on_the_page_that_makes_it(client, user):
    made = client.post(
        "/settings/tokens/", {"name": "laptop", "scope": "read", "project": "*", "days": "90"}
    )
    text = made.content.decode()
    secret = text[text.index(">vad_") + 1 :].partition("<")[0]

    assert ask(secret).status_code == 200
    assert "no-store" in made["Cache-Control"]
    again = client.get("/settings/tokens/").content.decode()
    assert secret not in again and secret[:12] in again


def test_a_token_is_revoked_by_its_person_alone(client, user, viewer):
    mine, _ = tokens.token_create(by=user, name="mine")
    theirs, secret = tokens.token_create(by=viewer, name="theirs")

    assert client.post(f"/settings/tokens/{theirs.pk}/revoke/").status_code == 404
    assert client.delete(f"/api/v1/tokens/{theirs.pk}/").status_code == 404
    assert client.post(f"/settings/tokens/{mine.pk}/revoke/").status_code == 302
    mine.refresh_from_db()
    assert mine.problem == "revoked"
    assert ask(secret).status_code == 200


def test_tokens_over_http(client, user, project):
    made = client.post(
        "/api/v1/tokens/", {"name": "ci", "scope": "write", "project": project.slug, "days": 7},
        content_type="application/json",
    )  # fmt: skip
    body = made.json()
    listed = client.get("/api/v1/tokens/").json()["results"]

    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    assert body["project"] == project.slug and ask(body["token"]).status_code == 200
    assert [t["id"] for t in listed] == [body["id"]] and "token" not in listed[0]
    assert client.delete(f"/api/v1/tokens/{body['id']}/").status_code == 204
    assert ask(body["token"]).status_code == 401


def test_the_member_who_is_removed_has_a_token_that_sees_nothing(
    user, project, make_user, make_run
):
    run, secret = make_run(), make(user)
    admin = make_user(project=project, role=Role.ADMIN)

    services.member_remove(project=project, user=user, by=admin)

    assert ask(secret, f"/api/v1/runs/{run.pk}/").status_code == 404
    assert ask(secret).json()["projects"] == []
