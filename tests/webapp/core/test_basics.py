"""The frame of the server: health, sign-in, projects, the first admin, errors for people."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from vad.errors import VadError
from webapp import urls
from webapp.accounts.models import Membership, Project, Role, User
from webapp.core import errors
from webapp.core.middleware import SESSION_KEY
from webapp.core.rest import StrictRenderer
from webapp.settings import env


@pytest.mark.parametrize("links", [True, False])
def test_processes_that_start_together_have_one_secret_key(data_dir, monkeypatch, links):
    found = []

    def slow():
        monkeypatch.setattr(env, "get_random_secret_key", lambda: "of the second")
        found.append(env.secret_key(data_dir))
        return "of the first"

    def no_link(*_):
        raise PermissionError

    monkeypatch.setattr(env, "get_random_secret_key", slow)
    if not links:
        monkeypatch.setattr(env.os, "link", no_link)
    found.append(env.secret_key(data_dir))

    assert all(found)
    assert not links or found == ["of the second"] * 2
    assert [path.name for path in data_dir.iterdir()] == ["secret_key"]
    assert (data_dir / "secret_key").stat().st_mode & 0o077 == 0


def test_migrations_are_complete(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_a_person_signs_in_and_out(make_user, project):
    make_user("anna", project=project)
    browser = Client()

    refused = browser.post("/login/", {"username": "anna", "password": "wrong"})
    assert refused.status_code == 200
    assert "_auth_user_id" not in browser.session
    answer = browser.post(
        "/login/?next=/healthz", {"username": "anna", "password": "a-long-one-42"}
    )

    assert (answer.status_code, answer["Location"]) == (302, "/healthz")
    assert browser.post("/logout/").status_code == 302
    assert "_auth_user_id" not in browser.session


def test_the_first_admin_gets_a_password_that_works_and_is_made_once(db):
    out = io.StringIO()
    call_command("first_admin", "--username", "chief", stdout=out, stderr=io.StringIO())
    password = out.getvalue().split("password: ")[1].strip()

    assert Client().login(username="chief", password=password)
    admin = User.objects.get(username="chief")
    assert Membership.objects.get(user=admin).role == Role.ADMIN

    again = io.StringIO()
    call_command("first_admin", "--username", "second", stdout=again)
    assert "already: chief" in again.getvalue()
    assert not User.objects.filter(username="second").exists()


def test_a_weak_first_password_is_refused(db, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("password\n"))

    with pytest.raises(CommandError, match="too"):
        call_command("first_admin", "--password-stdin")
    assert not User.objects.exists()


def _boom(request: HttpRequest) -> HttpResponse:
    raise VadError("run-not-movable", "run <b> has ended", "Reload.", problems=["one"])


def _who(request: HttpRequest) -> HttpResponse:
    name = request.project.name if request.project else ""
    return HttpResponse(f"{name}|{request.can_edit}")


urlpatterns = [
    *urls.urlpatterns,
    path("boom/", _boom),
    path("api/v1/boom/", _boom),
    path("who/", _who),
]
handler404 = urls.handler404


@pytest.mark.urls(__name__)
def test_an_error_of_a_view_is_a_page_with_its_status(client):
    answer = client.get("/boom/")

    assert answer.status_code == 409
    assert b"run &lt;b&gt; has ended" in answer.content
    assert b"<html" in answer.content


@pytest.mark.urls(__name__)
def test_htmx_gets_the_message_alone(client):
    answer = client.get("/boom/", headers={"HX-Request": "true"})

    assert answer.status_code == 409
    assert answer["HX-Retarget"] == "#toasts"
    assert b"<html" not in answer.content
    assert b"run-not-movable" in answer.content


@pytest.mark.urls(__name__)
def test_an_error_below_api_is_json(client):
    answer = client.get("/api/v1/boom/")

    assert answer.status_code == 409
    assert answer.json() == {
        "code": "run-not-movable",
        "message": "run <b> has ended",
        "hint": "Reload.",
        "problems": ["one"],
        "fields": {},
    }


@pytest.mark.parametrize("address", ["/nowhere/", "/api/v1/nowhere/"])
def test_what_does_not_exist_is_404_in_the_asked_form(client, address):
    answer = client.get(address)

    assert answer.status_code == 404
    if address.startswith("/api/"):
        assert answer.json()["code"] == "not-found"
    else:
        assert b"Nothing here" in answer.content


def test_a_forged_form_is_refused_with_a_reason(user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)

    answer = browser.post("/logout/")

    assert answer.status_code == 403
    assert b"Nothing was changed" in answer.content


@pytest.mark.urls(__name__)
def test_the_chosen_project_holds_only_while_one_is_in_it(client, user, project):
    second = Project.objects.create(name="Second", slug="second")
    theirs = Project.objects.create(name="Theirs", slug="theirs")
    Membership.objects.create(project=second, user=user, role=Role.VIEWER)
    asked = {}
    for chosen in (None, second.pk, theirs.pk):
        session = client.session
        session[SESSION_KEY] = chosen
        session.save()
        asked[chosen] = client.get("/who/").content.decode()

    assert asked == {
        None: f"{project.name}|True",
        second.pk: "Second|False",
        theirs.pk: f"{project.name}|True",
    }


def test_a_broken_error_page_still_answers(rf: RequestFactory, monkeypatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("template")

    monkeypatch.setattr(errors, "render", broken)

    assert errors.server_error(rf.get("/x/")).status_code == 500


def test_json_never_holds_nan():
    text = StrictRenderer().render({"a": [float("nan"), 1.5, float("inf")], "b": "nan"})

    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.5, None], "b": "nan"}


def test_a_web_process_never_loads_torch_or_a_decoder():
    code = (
        "import os, sys, django\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'webapp.settings.test'\n"
        "django.setup()\n"
        "import webapp.urls\n"
        "from django.urls import get_resolver\n"
        "get_resolver().reverse_dict\n"
        "print(sorted({'torch', 'decord', 'av'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
