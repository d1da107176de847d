"""Projects and roles: who decides, and that somebody always can."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.test import Client

from vad.errors import ConfigError, VadError
from webapp.accounts import services
from webapp.accounts.models import Membership, Project, Role, User
from webapp.core.middleware import SESSION_KEY


@pytest.fixture
def admin(make_user, project) -> User:
    return make_user("chief", project=project, role=Role.ADMIN)


@pytest.fixture
def desk(admin, sign_in) -> Client:
    """The browser of the admin."""
    return sign_in(admin)


def role_of(user: User, project: Project) -> str | None:
    return (
        Membership.objects.filter(user=user, project=project).values_list("role", flat=True).first()
    )


def test_an_admin_changes_a_role_and_it_holds_at_once(desk, user, project, sign_in):
    theirs = sign_in(user)
    assert theirs.get("/runs/new/").status_code == 200

    desk.post(f"/settings/projects/{project.slug}/members/{user.pk}/", {"role": "viewer"})

    assert role_of(user, project) == Role.VIEWER
    assert theirs.get("/runs/new/").status_code == 403


def test_an_admin_removes_a_member_who_then_finds_nothing(desk, user, project, sign_in, make_run):
    theirs, run = sign_in(user), make_run()

    desk.post(f"/settings/projects/{project.slug}/members/{user.pk}/", {"action": "remove"})

    assert role_of(user, project) is None
    assert theirs.get(f"/runs/{run.pk}/").status_code == 404
    assert run.owner == user


def test_the_last_admin_is_neither_demoted_nor_removed_nor_gone(desk, admin, user, project):
    here = f"/settings/projects/{project.slug}"
    answers = [
        desk.post(f"{here}/members/{admin.pk}/", {"role": "member"}),
        desk.post(f"{here}/members/{admin.pk}/", {"action": "remove"}),
        desk.post(f"{here}/leave/"),
    ]

    assert [answer.status_code for answer in answers] == [409] * 3
    assert all("last admin" in answer.content.decode() for answer in answers)
    assert role_of(admin, project) == Role.ADMIN


def test_with_a_second_admin_the_first_may_go(desk, admin, user, project):
    services.member_set_role(project=project, user=user, role=Role.ADMIN, by=admin)

    assert desk.post(f"/settings/projects/{project.slug}/leave/").status_code == 302
    assert role_of(admin, project) is None


def test_a_superuser_is_not_let_around_the_last_admin(make_user, admin, project):
    root = make_user("root")
    root.is_superuser = True
    root.save()

    with pytest.raises(VadError) as caught:
        services.member_remove(project=project, user=admin, by=root)
    assert caught.value.code == "last-admin"


@pytest.mark.django_db(transaction=True)
def test_of_two_admins_who_leave_at_once_one_stays(make_user, project):
    admins = [make_user(project=project, role=Role.ADMIN) for _ in range(2)]
    start, results = threading.Barrier(2), []

    def leave(person: User) -> None:
        start.wait()
        try:
            services.project_leave(project=project, by=person)
            results.append("left")
        except VadError as exc:
            results.append(exc.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=(person,)) for person in admins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["last-admin", "left"]


def test_a_member_leaves_by_themselves(client, user, project):
    answer = client.post(f"/settings/projects/{project.slug}/leave/", follow=True)

    assert role_of(user, project) is None
    assert "You are in no project" in answer.content.decode()


def test_an_unknown_role_is_refused(admin, user, project):
    with pytest.raises(ConfigError):
        services.member_set_role(project=project, user=user, role="owner", by=admin)
    assert role_of(user, project) == Role.MEMBER


def test_a_member_of_another_project_is_not_reached_over_ones_own(desk, project, stranger):
    answer = desk.post(
        f"/settings/projects/{project.slug}/members/{stranger.pk}/", {"action": "remove"}
    )

    assert answer.status_code == 404
    assert Membership.objects.filter(user=stranger).exists()


def test_who_creates_a_project_is_its_admin_and_works_there(client, user):
    answer = client.post("/settings/projects/", {"name": "Night shift"}, follow=True)

    made = Project.objects.get(name="Night shift")
    assert answer.context["request"].project == made
    assert role_of(user, made) == Role.ADMIN


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "Taken"])
def test_a_project_without_a_name_of_its_own_is_not_made(client, name):
    Project.objects.create(name="Taken", slug="taken")

    answer = client.post("/settings/projects/", {"name": name})

    assert answer.status_code == 200
    assert "field-error" in answer.content.decode()
    assert Project.objects.filter(name=name.strip() or "-").count() <= 1
    assert Project.objects.count() == 2


def test_a_project_is_renamed_and_keeps_its_address(desk, project):
    slug = project.slug
    desk.post(f"/settings/projects/{slug}/rename/", {"project-name": "Campus  by night"})

    project.refresh_from_db()
    assert (project.name, project.slug) == ("Campus by night", slug)


def test_a_name_that_is_taken_is_refused_and_the_page_keeps_the_old_one(desk, project):
    Project.objects.create(name="Taken", slug="taken")

    answer = desk.post(f"/settings/projects/{project.slug}/rename/", {"project-name": "Taken"})

    assert "already exists" in answer.content.decode()
    assert f"<h1>{project.name}</h1>" in answer.content.decode()


def test_the_switch_goes_to_the_chosen_project_and_stays_there(client, user):
    second = Project.objects.create(name="Second", slug="second")
    Membership.objects.create(project=second, user=user, role=Role.VIEWER)

    answer = client.post("/settings/switch/", {"project": "second", "next": "/queue/"})

    assert answer["Location"] == "/queue/"
    assert client.session[SESSION_KEY] == second.pk
    assert client.get("/runs/").context["project"] == second


def test_the_switch_leads_to_no_foreign_site_and_into_no_foreign_project(client, project, stranger):
    foreign = Project.objects.get(members=stranger)

    away = client.post("/settings/switch/", {"project": project.slug, "next": "//evil.example/"})
    into = client.post("/settings/switch/", {"project": foreign.slug})

    assert away["Location"] == "/runs/"
    assert into.status_code == 404


def test_a_viewer_sees_who_is_in_and_no_control(viewer, user, project, sign_in):
    text = sign_in(viewer).get(f"/settings/projects/{project.slug}/").content.decode()

    assert user.username in text
    assert "Remove" not in text and "Invitations" not in text and "Audit log" not in text


def test_the_members_page_costs_the_same_for_many(
    desk, project, make_user, django_assert_num_queries
):
    desk.get(f"/settings/projects/{project.slug}/")
    for _ in range(20):
        make_user(project=project)

    with django_assert_num_queries(7):
        desk.get(f"/settings/projects/{project.slug}/")


# --- over HTTP ------------------------------------------------------------------------------


def test_people_of_a_project_over_http(desk, admin, user, viewer, project):
    here = f"/api/v1/projects/{project.slug}/"
    json = {"content_type": "application/json"}

    members = desk.get(here).json()["members"]
    renamed = desk.patch(here, {"name": "Renamed"}, **json)
    role = desk.patch(f"{here}members/{user.username}/", {"role": "admin"}, **json)
    gone = desk.delete(f"{here}members/{viewer.username}/")

    assert [(m["username"], m["role"]) for m in members] == [
        ("chief", "admin"), (user.username, "member"), (viewer.username, "viewer"),
    ]  # fmt: skip
    assert renamed.json()["name"] == "Renamed"
    assert role.json() == {"username": user.username, "role": "admin"}
    assert gone.status_code == 204 and role_of(viewer, project) is None


def test_invitations_over_http(desk, project):
    here = f"/api/v1/projects/{project.slug}/invitations/"
    made = desk.post(here, {"role": "viewer", "days": 1}, content_type="application/json").json()

    assert Client().get(made["link"].removeprefix("http://testserver")).status_code == 200
    assert "link" not in desk.get(here).json()["results"][0]
    assert desk.delete(f"{here}{made['id']}/").status_code == 204
    assert Client().get(made["link"].removeprefix("http://testserver")).status_code == 410


def test_projects_over_http(client, user):
    made = client.post("/api/v1/projects/", {"name": "Third"}, content_type="application/json")

    assert made.status_code == 201
    assert "third" in {p["slug"] for p in client.get("/api/v1/projects/").json()["results"]}
    again = client.post("/api/v1/projects/", {"name": "Third"}, content_type="application/json")
    assert again.status_code == 422
    assert "name" in again.json()["fields"]


def test_oneself_leaves_over_http(client, user, project):
    answer = client.delete(f"/api/v1/projects/{project.slug}/members/{user.username}/")

    assert answer.status_code == 204
    assert role_of(user, project) is None
