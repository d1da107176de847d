"""Who runs what, and what waits, in which order and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from webapp.accounts.models import User
from webapp.fleet import listing
from webapp.fleet.models import Worker
from webapp.runs.claims import Slot
from webapp.runs.lifecycle import claiming, commands
from webapp.runs.models import Run, State


def waiting(client: Client) -> list[tuple[str, str]]:
    rows = client.get("/queue/").context["waiting"]
    return [(row.run.name, row.why) for row in rows]


def test_without_a_worker_the_page_says_that_nothing_will_start(
    client: Client, make_run: Callable[..., Run]
) -> None:
    make_run(name="a")

    assert "No worker has reported" in client.get("/queue/").content.decode()
    assert waiting(client) == [("a", "No worker is alive; start one.")]


def test_a_slot_shows_the_run_that_it_runs(
    client: Client, worker: Worker, make_run: Callable[..., Run]
) -> None:
    run = make_run(state=State.RUNNING, worker=worker, slot="cpu:0")

    slot = client.get("/queue/").context["workers"][0].slots[0]

    assert (slot.name, slot.run) == ("cpu:0", run)


def test_a_run_of_another_project_takes_its_slot_without_a_name(
    worker: Worker,
    make_run: Callable[..., Run],
    stranger: User,
    sign_in: Callable[[User], Client],
) -> None:
    run = make_run(state=State.RUNNING, worker=worker, slot="cpu:0", name="secret plan")

    text = sign_in(stranger).get("/queue/").content.decode()

    assert "A run of another project" in text
    assert run.name not in text


def test_a_worker_that_was_not_heard_of_is_lost(client: Client, worker: Worker) -> None:
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=5))

    row = client.get("/queue/").context["workers"][0]

    assert not row.alive
    assert "No worker is alive" in client.get("/queue/").content.decode()


def test_the_order_shown_is_the_order_in_which_runs_are_claimed(
    client: Client, worker: Worker, make_run: Callable[..., Run], user: User
) -> None:
    now = timezone.now()
    for name, priority, age in (("late", 0, 1), ("early", 0, 3), ("urgent", 9, 0)):
        make_run(name=name, priority=priority, queued_at=now - timedelta(minutes=age))

    shown = [name for name, _ in waiting(client)]
    claimed = []
    while claim := claiming.claim_best(worker=worker, slot=Slot("cpu", 0)):
        claimed.append(Run.objects.get(pk=claim.run_id).name)

    assert shown == claimed == ["urgent", "early", "late"]


def test_each_waiting_run_says_why(
    client: Client, gpu_worker: Worker, make_run: Callable[..., Run], user: User
) -> None:
    parent = make_run(
        name="parent", state=State.RUNNING, worker=gpu_worker, slot="gpu:0", device="cuda"
    )
    broken = make_run(name="broken", state=State.FAILED)
    make_run(name="full", device="cuda")
    make_run(name="free", device="cpu")
    make_run(name="child", state=State.WAITING, parents=[parent])
    make_run(name="orphan", state=State.WAITING, parents=[broken])
    held = make_run(name="held")
    commands.hold(held, by=user)

    assert dict(waiting(client)) == {
        "full": "The GPU slot is taken.",
        "free": "It is about to start.",
        "child": "It starts after parent.",
        "orphan": "It cannot start: broken failed. Retry that run, or cancel this one.",
        "held": f"Held by {user}; release it to go on.",
    }


def test_a_run_is_moved_up_and_down_within_bounds(
    client: Client, make_run: Callable[..., Run]
) -> None:
    run = make_run(priority=99)

    for _ in range(3):
        client.post(f"/runs/{run.pk}/priority/", {"change": "1"})
    run.refresh_from_db()
    assert run.priority == 100

    client.post(f"/runs/{run.pk}/priority/", {"change": "-1"})
    run.refresh_from_db()
    assert run.priority == 99


def test_the_page_costs_the_same_queries_however_many_runs_wait(
    client: Client,
    worker: Worker,
    make_run: Callable[..., Run],
    django_assert_max_num_queries: Any,
) -> None:
    parent = make_run(state=State.RUNNING, worker=worker, slot="cpu:0")

    def fill(n: int) -> None:
        for _ in range(n):
            make_run()
            make_run(state=State.HELD)
            make_run(state=State.WAITING, parents=[parent])

    fill(2)
    with django_assert_max_num_queries(32) as few:
        client.get("/queue/")
    fill(10)
    with django_assert_max_num_queries(32) as many:
        client.get("/queue/")

    assert len(many) == len(few)


def test_htmx_gets_the_part_that_changes(client: Client, worker: Worker) -> None:
    text = client.get("/queue/", headers={"HX-Request": "true"}).content.decode()

    assert text.lstrip().startswith('<div id="queue"')


def test_what_waits_is_shown_in_pages_whose_places_go_on(
    client: Client,
    worker: Worker,
    make_run: Callable[..., Run],
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "PAGE_SIZE", 3)
    monkeypatch.setattr("webapp.runs.waiting.LOOK_AHEAD", 4)  # the fifth is only known to be behind
    now = timezone.now()
    for i in range(5):
        make_run(name=f"queued{i}", queued_at=now + timedelta(seconds=i))
    for i in range(2):
        commands.hold(make_run(name=f"held{i}"), by=user)

    shown = []
    for number in (1, 2, 3):
        rows = client.get("/queue/", {"page": number}).context["waiting"]
        shown.append([(row.run.name, row.place) for row in rows])

    assert shown == [
        [("queued0", 1), ("queued1", 2), ("queued2", 3)],
        [("queued3", 4), ("queued4", 5), ("held0", 0)],
        [("held1", 0)],
    ]


def test_a_poll_leaves_what_waits_as_it_is_until_something_happens(
    client: Client,
    worker: Worker,
    make_run: Callable[..., Run],
    user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run(name="one")

    def poll(**of: str) -> Any:
        return client.get("/queue/", of, headers={"HX-Request": "true", "Queue-Mark": mark})

    monkeypatch.setattr(listing, "MARK_S", 10**9)  # time does not pass on the way
    mark = client.get("/queue/").context["mark"]
    unchanged = poll().content.decode()
    assert "hx-preserve" in unchanged and str(run.pk) not in unchanged
    assert "hx-preserve" not in poll(page="2").content.decode()  # another page is another thing
    commands.hold(run, by=user)
    text = poll().content.decode()

    assert "hx-preserve" not in text and "Held by" in text
