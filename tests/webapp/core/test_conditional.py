"""Conditional requests: nothing is sent that is known, nothing overwritten unseen."""

from __future__ import annotations

import json

import pytest

from webapp.runs.models import Run, SavedView


def change(client, address, data, etag=None, method="patch"):
    headers = {} if etag is None else {"If-Match": etag}
    call = getattr(client, method)
    return call(address, json.dumps(data), content_type="application/json", headers=headers)


@pytest.fixture
def address(make_run):
    return f"/api/v1/runs/{make_run(name='first').pk}/"


def test_what_is_known_is_not_sent_again(client, address):
    first = client.get(address)
    again = client.get(address, headers={"If-None-Match": first["ETag"]})
    Run.objects.update(done=5)
    later = client.get(address, headers={"If-None-Match": first["ETag"]})

    assert (first["Cache-Control"], again.status_code, again.content) == (
        "private, no-cache", 304, b"",
    )  # fmt: skip
    assert again["ETag"] == first["ETag"]
    assert (later.status_code, later.json()["done"]) == (200, 5)


def test_lists_and_large_answers_have_one_too(client, make_run):
    make_run()
    for address in ("/api/v1/runs/", "/api/v1/queue/", "/api/v1/schema/"):
        etag = client.get(address)["ETag"]
        assert client.get(address, headers={"If-None-Match": f"W/{etag}"}).status_code == 304


def test_a_change_of_what_somebody_changed_is_refused(client, address):
    etag = client.get(address)["ETag"]
    assert change(client, address, {"notes": "theirs"}, etag).status_code == 200

    answer = change(client, address, {"notes": "mine", "name": "mine"}, etag)

    run = Run.objects.get()
    assert (answer.status_code, answer.json()["code"]) == (412, "precondition-failed")
    assert (run.notes, run.name) == ("theirs", "first")


def test_progress_of_a_run_does_not_forbid_to_rename_it(client, address):
    etag = client.get(address)["ETag"]
    Run.objects.update(done=7)

    assert change(client, address, {"name": "second"}, etag).status_code == 200


def test_the_answer_to_a_change_has_the_next_etag(client, address):
    etag = change(client, address, {"name": "second"}, "*")["ETag"]

    assert change(client, address, {"name": "third"}, etag).status_code == 200
    assert change(client, address, {"name": "fourth"}, etag).status_code == 412


@pytest.mark.parametrize("header", ['"nothing"', "nothing", '""', 'W/"a.b", "c"'])
def test_another_etag_than_ours_does_not_match(client, address, header):
    assert change(client, address, {"name": "second"}, header).status_code == 412


def test_without_the_header_the_last_one_wins(client, address):
    assert change(client, address, {"name": "second"}).status_code == 200


def test_if_match_does_not_change_what_is_read(client, address):
    assert client.get(address, headers={"If-Match": '"other"'}).status_code == 200


def test_views_data_sets_and_projects_heed_it(client, project, user, version, sign_in, make_user):
    view = SavedView.objects.create(project=project, name="v", query="q=a", created_by=user)
    admin = sign_in(make_user(project=project, role="admin"))
    for who, address, name in (
        (client, f"/api/v1/runs/views/{view.pk}/", "name"),
        (client, f"/api/v1/datasets/{version.dataset_id}/", "description"),
        (admin, f"/api/v1/projects/{project.slug}/", "name"),
    ):
        etag = who.get(address)["ETag"]
        assert change(who, address, {name: "Theirs"}, etag).status_code == 200, address
        assert change(who, address, {name: "Mine"}, etag).status_code == 412, address
    assert (
        change(client, f"/api/v1/runs/views/{view.pk}/", None, '"x"', "delete").status_code == 412
    )
    assert change(client, f"/api/v1/runs/views/{view.pk}/", None, "*", "delete").status_code == 204


def test_a_secret_is_never_to_be_cached(client):
    answer = change(client, "/api/v1/tokens/", {"name": "laptop"}, method="post")

    assert (answer["Cache-Control"], "ETag" in answer) == ("no-store", False)


# --- roles and pauses -----------------------------------------------------------------------


def test_a_role_that_somebody_changed_is_not_changed_unseen(
    sign_in, make_user, user, viewer, project
):
    desk = sign_in(make_user(project=project, role="admin"))
    address = f"/api/v1/projects/{project.slug}/members/{user.username}/"
    etag = sign_in(viewer).get(address)["ETag"]

    first = change(desk, address, {"role": "viewer"}, etag)
    stale = change(desk, address, {"role": "admin"}, etag)
    next_one = change(desk, address, {"role": "admin"}, first["ETag"])

    assert (first.status_code, stale.status_code, next_one.status_code) == (200, 412, 200)
    assert next_one.json()["role"] == "admin"


def test_a_pause_that_somebody_else_made_or_ended_is_not_changed_unseen(client, project):
    address = "/api/v1/queue/pause/"
    read = f"{address}?project={project.slug}"
    body = {"project": project.slug}
    free = client.get(read)
    paused = change(client, address, body, free["ETag"], "post")
    late = change(client, address, body, free["ETag"], "post")
    held = client.get(read)
    ended = change(client, address, body, held["ETag"], "delete")
    change(client, address, body, None, "post")
    other = change(client, address, body, held["ETag"], "delete")

    assert (free.json(), held.json()["paused"] is None) == ({"paused": None}, False)
    assert (paused.status_code, late.status_code) == (201, 412)
    assert (ended.status_code, other.status_code) == (204, 412)


def test_whether_the_server_is_paused_is_read_apart(client, project):
    change(client, "/api/v1/queue/pause/", {"project": project.slug}, None, "post")

    assert client.get("/api/v1/queue/pause/?server=yes").json() == {"paused": None}
