"""Deleting a project: who may, what goes, what forbids it, and what an interruption leaves."""

from __future__ import annotations

import pytest
import seeding
from django.test import Client

from vad.errors import VadError
from webapp.accounts import tokens
from webapp.accounts.models import AuditEvent, Membership, Project, Role
from webapp.evaluations.models import Evaluation
from webapp.notify.models import Channel
from webapp.reports import blocks, services, sharing
from webapp.runs import backlog
from webapp.runs.models import CLAIMED, ENDED, Run, State
from webapp.storage import projects
from webapp.storage.models import Leftover
from webapp.sweeps.models import Sweep

JSON = {"content_type": "application/json"}


@pytest.fixture
def admin(make_user, project):
    return make_user("admin", project=project, role=Role.ADMIN)


@pytest.fixture
def desk(admin, sign_in):
    return sign_in(admin)


@pytest.fixture
def seeded(db, data_dir):
    """A project with everything, in which nothing runs."""
    owner, project = seeding.people()
    Membership.objects.filter(user=owner).update(role=Role.ADMIN)
    seeded = seeding.seed(owner, project)
    seeding.add_sweep(seeded)
    Run.objects.filter(state__in=CLAIMED).update(state=State.FAILED, claim=None)
    report = services.report_create(
        project=project, title="Findings", given=[blocks.panel("runs", q="", sort="", cols="")],
        by=owner,
    )  # fmt: skip
    _, secret = sharing.link_create(report=report, by=owner)
    Channel.objects.create(project=project, kind="webhook", name="team", target="https://x.example")
    return seeded, f"/s/{secret}/"


def delete(project, by):
    return projects.project_delete(project=project, slug=project.slug, by=by)


def test_all_of_a_project_goes_rows_and_files_and_nothing_of_others(
    seeded, stranger, data_dir, django_capture_on_commit_callbacks
):
    made, link = seeded
    project, owner = made.project, made.user
    other = Project.objects.get(members=stranger)
    before = projects.preview(project)
    assert Client().get(link).status_code == 200

    with django_capture_on_commit_callbacks(execute=True):
        assert delete(project, owner) is True

    assert before.runs and before.datasets and before.evaluations and before.sweeps
    assert (before.reports, before.links, before.size_is_exact) == (1, 1, True)
    assert before.size_bytes > 0
    assert list(Project.objects.all()) == [other]
    assert not Run.objects.exists() and not Evaluation.objects.exists()
    assert not Sweep.objects.exists() and not Channel.objects.exists()
    assert not Leftover.objects.exists()
    left = [p for area in ("runs", "datasets", "features") for p in (data_dir / area).glob("*")]
    assert left == []
    assert Client().get(link).status_code == 404


def test_it_is_audited_and_the_event_outlives_the_project(seeded):
    made, _ = seeded
    delete(made.project, made.user)

    event = AuditEvent.objects.get(kind="project-deleted")
    assert (event.by, event.subject, event.project) == (made.user, made.project.name, None)
    assert event.detail["slug"] == made.project.slug and event.detail["runs"] > 0


@pytest.mark.parametrize("typed", ["", "yes", "Project"])
def test_the_slug_has_to_be_typed(desk, project, typed):
    answer = desk.post(f"/settings/projects/{project.slug}/delete/", {"slug": typed})

    assert answer.status_code == 200 and "field-error" in answer.content.decode()
    assert Project.objects.filter(pk=project.pk, deleting_at=None).exists()


def test_only_an_admin_deletes_and_not_with_a_token(user, admin, project):
    token, _ = tokens.token_create(by=admin, name="all", scope="write")
    admin.token = token
    for by in (user, admin):
        with pytest.raises(VadError, match="Only an admin"):
            delete(project, by)


def test_a_project_in_which_something_runs_stays_as_it_is(desk, admin, project, make_run):
    run = make_run(state="running", name="still here")

    page = desk.get(f"/settings/projects/{project.slug}/delete/").content.decode()
    answer = desk.post(f"/settings/projects/{project.slug}/delete/", {"slug": project.slug})

    assert "still here" in page and "disabled" in page
    assert answer.status_code == 409
    assert Run.objects.filter(pk=run.pk, state="running").exists()
    assert Membership.objects.filter(project=project, user=admin).exists()
    assert not hasattr(Project.objects.get(pk=project.pk), "pause")


def test_a_project_whose_data_another_one_uses_stays(admin, project, version, stranger, make_run):
    other = Project.objects.get(members=stranger)
    make_run(project=other, version=version, state="succeeded", name="elsewhere")

    with pytest.raises(VadError, match="elsewhere") as caught:
        delete(project, admin)

    assert caught.value.code == "project-busy"


def test_weights_that_a_waiting_training_elsewhere_begins_with_are_kept(
    admin, project, stranger, make_run
):
    first = make_run(state="succeeded")
    second = make_run(project=Project.objects.get(members=stranger), name="elsewhere")
    Run.objects.filter(pk=second.pk).update(
        config={**second.config, "pretrained_point": f"run:{first.pk}"}
    )

    assert [run.name for run in projects.preview(project).needed_by] == ["elsewhere"]
    Run.objects.filter(pk=second.pk).update(state="succeeded")
    assert projects.preview(project).needed_by == []


def test_what_takes_long_is_hidden_at_once_and_finished_by_the_clock(
    desk, client, admin, project, make_run, monkeypatch
):
    runs = [make_run() for _ in range(5)]
    monkeypatch.setattr(projects, "BATCH", 2)
    monkeypatch.setattr(projects, "AT_ONCE_S", -1)

    done = delete(project, admin)

    assert done is False and Run.objects.count() == 3
    assert client.get(f"/settings/projects/{project.slug}/").status_code == 404
    assert client.get(f"/runs/{runs[-1].pk}/").status_code == 404
    ready = Run.objects.filter(backlog.may_start(), state="queued")
    assert not ready.exists()
    assert projects.go_on() == 1
    assert not Project.objects.filter(pk=project.pk).exists() and not Run.objects.exists()


def test_a_run_that_began_in_the_last_moment_is_stopped_and_goes_later(
    admin, project, make_run, monkeypatch
):
    run = make_run()
    monkeypatch.setattr(projects, "_advance", lambda pk, seconds: False)
    delete(project, admin)
    monkeypatch.undo()
    make_run(state="succeeded", of_run=run)
    Run.objects.filter(pk=run.pk).update(state="running", claim=run.pk)

    assert projects.go_on() == 0
    assert Run.objects.get(pk=run.pk).stop == "cancel"
    Run.objects.filter(pk=run.pk).update(state="cancelled", claim=None)
    assert projects.go_on() == 1


def test_an_admin_of_the_server_sees_it_no_more_while_it_goes(
    admin, project, make_user, sign_in, monkeypatch
):
    monkeypatch.setattr(projects, "_advance", lambda pk, seconds: False)
    chief = make_user("chief")
    chief.is_superuser = True
    chief.save()
    delete(project, admin)

    browser = sign_in(chief)
    assert browser.get(f"/settings/projects/{project.slug}/").status_code == 404
    assert project.name not in browser.get("/settings/projects/").content.decode()


def test_the_preview_says_it_over_http_and_a_post_does_it(desk, project, make_run):
    here = f"/api/v1/projects/{project.slug}/deletion/"
    make_run()
    found = desk.get(here).json()
    wrong = desk.post(here, {"slug": "other"}, **JSON)
    done = desk.post(here, {"slug": project.slug}, **JSON)

    assert (found["runs"], found["queued"], found["possible"]) == (1, 1, True)
    assert (wrong.status_code, list(wrong.json()["fields"])) == (422, ["slug"])
    assert (done.status_code, done.json()) == (202, {"slug": project.slug, "done": True})
    assert desk.get(here).status_code == 404


def test_a_large_project_is_measured_by_the_last_survey(project, make_run, monkeypatch):
    make_run(state="succeeded")
    monkeypatch.setattr(projects, "MEASURED_NOW", 0)

    assert projects.preview(project).size_is_exact is False


def test_deleting_twice_at_the_same_time_does_it_once(admin, project, make_run):
    make_run(state=ENDED[0])
    stale = Project.objects.get(pk=project.pk)
    delete(project, admin)

    with pytest.raises(VadError):
        delete(stale, admin)
    assert AuditEvent.objects.filter(kind="project-deleted").count() == 1
