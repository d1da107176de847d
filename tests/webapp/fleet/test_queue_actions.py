"""Ordering by hand, estimates, pauses and drains over pages and the API."""

from __future__ import annotations

import json
import random
import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from vad.errors import VadError
from webapp.fleet import identity
from webapp.fleet.models import Pause, Server, Worker
from webapp.runs import outlook, waiting
from webapp.runs.claims import Slot
from webapp.runs.lifecycle import claiming, commands
from webapp.runs.models import Run, RunEvent, State, Usage
from webapp.runs.reordering import run_move

HOUR = timedelta(hours=1)


def queue(client):
    return [row.run.name for row in client.get("/queue/").context["waiting"]]


def claimed(worker):
    found = []
    while claim := claiming.claim_best(worker=worker, slot=Slot("cpu")):
        found.append(Run.objects.get(pk=claim.run_id).name)
    return found


@pytest.fixture
def three(make_run):
    now = timezone.now()
    return [
        make_run(name=name, queued_at=now - timedelta(minutes=10 - n))
        for n, name in enumerate("abc")
    ]


@pytest.fixture
def admin(make_user, project, sign_in):
    found = make_user(project=project)
    found.is_superuser = True
    found.save()
    return sign_in(found)


# --- order by hand ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "to", "after"),
    [
        ("c", "up", "acb"),
        ("c", "top", "cab"),
        ("a", "down", "bac"),
        ("a", "up", "abc"),
        ("c", "down", "abc"),
    ],
)
def test_a_run_is_moved_and_claimed_in_that_place(client, worker, three, name, to, after):
    run = next(r for r in three if r.name == name)

    answer = client.post(f"/queue/runs/{run.pk}/move/", {"to": to})

    assert answer.status_code == 302
    assert "".join(queue(client)) == after
    assert "".join(claimed(worker)) == after
    assert RunEvent.objects.get(run=run, kind="moved").by is not None


def test_moves_build_on_each_other(client, three, user):
    a, b, c = three
    for run, to in ((c, "top"), (b, "up"), (a, "up")):  # cab -> cba -> cab
        run_move(run=run, to=to, by=user)

    assert queue(client) == ["c", "a", "b"]


def test_whoever_is_moved_to_the_top_last_is_first(client, three, user):
    for run in three:
        run_move(run=run, to="top", by=user)

    assert queue(client) == ["c", "b", "a"]


@pytest.mark.parametrize("seed", range(8))
def test_any_moves_give_the_order_that_a_person_sees(client, make_run, user, seed):
    chance = random.Random(seed)
    now = timezone.now()
    runs = {
        n: make_run(name=n, queued_at=now - timedelta(minutes=9 - i))
        for i, n in enumerate("abcdef")
    }
    expected = list(runs)
    for _ in range(12):
        name, to = chance.choice("abcdef"), chance.choice(("up", "down", "top"))
        at = expected.index(name)
        expected.remove(name)
        expected.insert({"up": max(0, at - 1), "down": min(5, at + 1), "top": 0}[to], name)
        run_move(run=runs[name], to=to, by=user)
        assert [
            run.name for run in waiting.InOrder(runs[name].project, waiting.line())[:9]
        ] == expected


def test_a_run_queued_later_goes_behind_the_ones_ordered_by_hand(client, three, make_run, user):
    run_move(run=three[2], to="top", by=user)
    make_run(name="old", queued_at=timezone.now() - HOUR)

    assert queue(client) == ["c", "old", "a", "b"]


def test_another_priority_forgets_the_order_by_hand(client, three, user):
    run_move(run=three[2], to="top", by=user)
    commands.prioritize(three[2], priority=1, by=user)
    commands.prioritize(three[2], priority=0, by=user)

    assert queue(client) == ["a", "b", "c"]


@pytest.mark.parametrize("state", [State.HELD, State.RUNNING, State.SUCCEEDED])
def test_only_a_queued_run_is_moved(make_run, user, state):
    with pytest.raises(VadError) as refused:
        run_move(run=make_run(state=state), to="top", by=user)
    assert refused.value.code == "run-not-movable"


def test_a_stranger_and_a_viewer_move_nothing(three, stranger, viewer, sign_in):
    for person in (stranger, viewer):
        answer = sign_in(person).post(f"/queue/runs/{three[2].pk}/move/", {"to": "top"})
        assert answer.status_code == 404
    assert not Run.objects.filter(by_hand__isnull=False).exists()


def test_the_api_moves_a_run_too(client, three):
    answer = client.post(
        f"/api/v1/runs/{three[2].pk}/move/", json.dumps({"to": "top"}), "application/json"
    )
    assert answer.status_code == 200
    assert queue(client) == ["c", "a", "b"]
    wrong = client.post(
        f"/api/v1/runs/{three[2].pk}/move/", json.dumps({"to": "out"}), "application/json"
    )
    assert wrong.status_code == 400


# --- when it starts --------------------------------------------------------------------------


def finished(make_run, *, seconds, total=100, kind="train-urdmu", n=1):
    for _ in range(n):
        make_run(
            state=State.SUCCEEDED, kind=kind, total=total, done=total, spent_s=seconds,
            ended_at=timezone.now(),
        )  # fmt: skip


def running(make_run, worker, **fields):
    return make_run(
        state=State.RUNNING, worker=worker, slot="cpu:0", claimed_at=timezone.now(), **fields
    )


def in_s(run) -> float:
    start = outlook.starts(waiting.line(), {run.pk})[run.pk]
    return (start.at - timezone.now()).total_seconds()


def test_without_a_finished_run_nothing_is_told(make_run, worker):
    running(make_run, worker)
    run = make_run()

    assert outlook.start_of(run) is None


def test_a_start_follows_from_the_speed_of_what_runs(make_run, worker):
    running(make_run, worker, done=40, total=100, rate=0.5)
    run = make_run()

    assert in_s(run) == pytest.approx(120, abs=3)
    assert outlook.start_of(run).runs == 0


def test_a_start_follows_from_what_runs_of_the_kind_took(make_run, worker):
    finished(make_run, seconds=200, n=3)  # 2 s a step
    finished(make_run, seconds=9999, kind="extract")
    running(make_run, worker, done=40, total=100, rate=0.5)  # 120 s to go
    first = make_run(queued_at=timezone.now() - HOUR, config={"num_epochs": 50})  # 100 s
    second = make_run()

    assert in_s(first) == pytest.approx(120, abs=3)
    assert in_s(second) == pytest.approx(220, abs=3)
    assert outlook.start_of(second).runs == 3


def test_a_run_that_takes_longer_than_those_before_it_tells_nothing(make_run, worker):
    finished(make_run, seconds=60)
    late = running(make_run, worker)
    Run.objects.filter(pk=late.pk).update(claimed_at=timezone.now() - HOUR)

    assert outlook.start_of(make_run()) is None


def test_a_run_of_unknown_length_makes_what_is_behind_it_unknown(make_run, worker):
    known = make_run(kind="extract", queued_at=timezone.now() - HOUR)
    behind = make_run()

    starts = outlook.starts(waiting.line(), set(Run.objects.values_list("pk", flat=True)))
    assert starts[known.pk].is_now
    assert behind.pk not in starts


def test_two_slots_are_played_forward_side_by_side(make_run, worker):
    Worker.objects.update(cpu_slots=2)
    finished(make_run, seconds=100)
    runs = [
        make_run(queued_at=timezone.now() - timedelta(minutes=9 - n), config={"num_epochs": 60})
        for n in range(3)
    ]

    assert [round(in_s(run), -1) for run in runs] == [0, 0, 60]


def test_a_run_that_fits_nowhere_keeps_nobody_waiting(make_run, gpu_worker):
    finished(make_run, seconds=100)
    large = make_run(kind="train-two-stage", gpus=4, device="cuda", queued_at=timezone.now() - HOUR)
    small = make_run(device="cuda")

    starts = outlook.starts(waiting.line(), set(Run.objects.values_list("pk", flat=True)))
    assert large.pk not in starts
    assert starts[small.pk].is_now


def test_page_and_api_tell_the_start_and_from_how_many_runs(client, make_run, worker):
    finished(make_run, seconds=200, n=2)
    make_run(queued_at=timezone.now() - HOUR, config={"num_epochs": 300})
    run = make_run()

    assert "from 2 finished runs" in client.get("/queue/").content.decode()
    text = client.get(f"/runs/{run.pk}/").content.decode()
    assert re.search(r"It should start <time [^>]*>in (9|10) min</time> \(from 2 finished", text)
    listed = client.get("/api/v1/queue/").json()["results"]
    assert listed[1]["starts"]["from_runs"] == 2
    assert client.get(f"/api/v1/runs/{run.pk}/").json()["starts"]["from_runs"] == 2


# --- pause, drain, refuse --------------------------------------------------------------------


def test_a_member_pauses_the_project_and_the_page_says_who(client, make_run, user):
    make_run()
    client.post("/queue/pause/", {"scope": "project", "reason": "moving disks"})

    text = client.get("/queue/").content.decode()
    assert f"is paused by {user}" in text
    assert "moving disks" in text

    client.post("/queue/resume/", {"scope": "project"})
    assert not Pause.objects.exists()


@pytest.mark.parametrize("address", ["/queue/pause/", "/queue/resume/"])
def test_a_member_does_not_pause_the_server(client, address):
    Pause.objects.create(project=None)

    assert client.post(address, {"scope": "server"}).status_code == 403
    assert Pause.objects.count() == 1


def test_the_server_is_paused_and_goes_on_over_the_api(admin, client):
    body = json.dumps({"server": True, "reason": "update"})
    assert client.post("/api/v1/queue/pause/", body, "application/json").status_code == 403
    assert admin.post("/api/v1/queue/pause/", body, "application/json").status_code == 201
    assert client.get("/api/v1/queue/").json()["server_paused"]["reason"] == "update"

    gone = admin.delete("/api/v1/queue/pause/", json.dumps({"server": True}), "application/json")
    assert gone.status_code == 204
    assert client.get("/api/v1/queue/").json()["server_paused"] is None


def test_a_worker_is_drained_by_who_administers_the_server(admin, client, worker):
    assert client.post(f"/queue/workers/{worker.pk}/drain/").status_code == 404
    over_api = client.post(f"/api/v1/workers/{worker.name}/drain/", "{}", "application/json")
    assert over_api.status_code == 403
    assert admin.post(f"/queue/workers/{worker.pk}/drain/").status_code == 302
    worker.refresh_from_db()
    assert worker.drained_at is not None

    found = admin.post(f"/api/v1/workers/{worker.name}/resume/", "{}", "application/json")
    assert found.json()["drained_at"] is None


def test_shares_are_set_by_who_administers_the_server(admin, client, user):
    body = json.dumps({"user": user.username, "share": 2.5})

    assert client.patch("/api/v1/usage/", body, "application/json").status_code == 403
    assert admin.patch("/api/v1/usage/", body, "application/json").status_code == 200
    assert {u.share for u in Usage.objects.filter(owner=user)} == {2.5}
    assert client.get("/api/v1/usage/").json()["results"][0]["share"] == 2.5


def test_a_refused_worker_says_why(client, worker):
    Worker.objects.update(refused="It is of version 0.0.9.")

    text = client.get("/queue/").content.decode()
    assert "It takes nothing. It is of version 0.0.9." in text


def test_a_run_on_several_gpus_is_shown_in_each_lane(client, worker, make_run):
    Worker.objects.update(gpu_slots=3, devices=["GPU"] * 3)
    run = make_run(state=State.RUNNING, worker=worker, slot="gpu:0+2", gpus=2)

    slots = client.get("/queue/").context["workers"][0].slots
    assert [slot.run for slot in slots] == [run, None, run, None]


# --- who the server is -----------------------------------------------------------------------


def test_without_a_server_that_said_who_it_is_nobody_is_refused(db, tmp_path):
    assert identity.why_refused(version="1", data_dir=tmp_path) == ""


def test_another_version_or_another_folder_is_refused_and_the_same_folder_elsewhere_is_not(
    db, tmp_path
):
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    other.mkdir()
    (tmp_path / "mount").symlink_to(here)
    identity.introduce(version="1", data_dir=here)

    assert identity.why_refused(version="1", data_dir=tmp_path / "mount") == ""
    assert "of version 2, the server of version 1" in identity.why_refused(
        version="2", data_dir=here
    )
    assert "is not the server's" in identity.why_refused(version="1", data_dir=other)


def test_a_server_that_starts_again_is_the_same_one(db, tmp_path):
    identity.introduce(version="1", data_dir=tmp_path)
    first = Server.objects.get().data_id
    identity.introduce(version="2", data_dir=tmp_path)

    assert (Server.objects.get().data_id, Server.objects.get().version) == (first, "2")
    assert uuid.UUID(first)


# --- what a run asks for ---------------------------------------------------------------------


def test_resources_come_from_the_api_and_are_checked(client, feature_set):
    def post(**more):
        body = {"kind": "train-urdmu", "config": {}, "feature_set": feature_set.pk, **more}
        return client.post("/api/v1/runs/", json.dumps(body, default=str), "application/json")

    made = post(memory_mb=20_000, time_limit_s=7200).json()
    assert (made["gpus"], made["memory_mb"], made["time_limit_s"]) == (1, 20_000, 7200)
    assert made["gpu_hours"] == 0
    refused = post(gpus=2).json()
    assert "only training of both stages" in refused["fields"]["gpus"]
    assert "time_limit_s" in post(time_limit_s=5).json()["fields"]


def test_a_time_limit_is_raised_while_the_run_runs_and_gpus_are_not(client, make_run, worker):
    run = make_run(state=State.RUNNING, worker=worker, slot="cpu:0", time_limit_s=600)

    def patch(**changes):
        body = json.dumps(changes)
        return client.patch(f"/api/v1/runs/{run.pk}/", body, "application/json")

    assert patch(time_limit_s=1200).json()["time_limit_s"] == 1200
    assert patch(time_limit_s=None).json()["time_limit_s"] is None
    assert patch(memory_mb=100).status_code == 409
    assert RunEvent.objects.filter(run=run, kind="resources").count() == 2


def test_a_run_that_used_up_its_time_goes_on_with_more_from_its_page(client, make_run):
    error = VadError("time-limit", "The run reached its time limit.").to_dict()
    run = make_run(state=State.FAILED, time_limit_s=600, spent_s=601, error=error)

    def post(minutes):
        client.post(f"/queue/runs/{run.pk}/more-time/", {"minutes": minutes})
        run.refresh_from_db()
        return run.state, run.time_limit_s

    assert "Go on with this limit" in client.get(f"/runs/{run.pk}/").content.decode()
    assert post("5") == (State.FAILED, 600)  # it has used more than that
    assert post("20") == (State.QUEUED, 1200)


def test_gpus_must_share_a_batch_equally(client, make_run):
    run = make_run(kind="train-two-stage", config={"batch_size": 4})
    body = json.dumps({"gpus": 3})

    answer = client.patch(f"/api/v1/runs/{run.pk}/", body, "application/json")

    assert "cannot be shared equally by 3" in answer.json()["fields"]["gpus"]
