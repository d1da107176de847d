"""Answering doorbells."""

from __future__ import annotations

import sys

import pytest
from django.core import mail
from django.db import OperationalError
from django.utils import timezone

import vad
from vad.configs import UrdmuConfig
from webapp.accounts.models import Membership, Role
from webapp.core import doorbell
from webapp.fleet import identity
from webapp.fleet.models import Worker
from webapp.notify.models import Channel, Rule
from webapp.runs.claims import Outcome
from webapp.runs.lifecycle import claiming, commands, ending, executing
from webapp.runs.models import Run, State
from webapp.sweeps import services, space
from webapp.sweeps.models import Sweep
from workers import fleet, leaving, slots, supervisor, tasks
from workers.celery import app


@pytest.fixture(autouse=True)
def own_row(settings, monkeypatch):
    settings.WORKER_NAME = "this-worker"
    monkeypatch.setattr(fleet, "_worker", None)


@pytest.fixture
def served(monkeypatch):
    """Runs in the order in which they were seen through; each succeeds at once."""
    order = []

    def see_through(claim, slot):
        order.append(claim.run_id)
        executing.started(claim, total=1, unit="steps", done=0, environment={})
        return ending.finish(claim, Outcome(kind="succeeded"))

    monkeypatch.setattr(supervisor, "see_through", see_through)
    return order


def test_one_bell_is_enough_for_all_that_waits(make_run, served, background):
    runs = [make_run() for _ in range(3)]

    background(lambda: tasks.serve("gpu")).result()

    assert served == [run.pk for run in runs]
    assert slots.table().has_free()


def test_a_doubled_bell_runs_nothing_twice(make_run, served, background):
    run = make_run()

    for bell in [background(lambda: tasks.serve("gpu")) for _ in range(4)]:
        bell.result()

    assert served == [run.pk]


def test_a_run_that_is_queued_while_the_last_claim_finds_nothing_is_not_left_for_the_sweep(
    make_run, served, background, monkeypatch
):
    late = []

    def claim_best(*, real=claiming.claim_best, **kwargs):
        claim = real(**kwargs)
        if claim is None and not late:
            late.append(make_run())
            tasks.serve("gpu")  # its bell, which finds the only slot taken
        return claim

    monkeypatch.setattr(claiming, "claim_best", claim_best)

    background(lambda: tasks.serve("gpu")).result()

    assert served == [late[0].pk]


def test_one_bell_sees_a_whole_sweep_through_trial_by_trial(make_run, served, background):
    sweep = make_sweep(make_run, parallel=1)

    background(lambda: tasks.serve("gpu")).result()

    sweep.refresh_from_db()
    assert [trial.run_id for trial in sweep.trials.all()] == served
    assert (len(served), sweep.state) == (3, "done")


def test_the_periodic_sweep_makes_good_trials_that_nobody_made(make_run, background):
    sweep = make_sweep(make_run, parallel=2)
    sweep.trials.all().delete()  # as if whoever started it was killed before

    background(tasks.sweep).result()

    assert sweep.trials.count() == 2


def make_sweep(make_run, **fields) -> Sweep:
    run = make_run(state=State.CANCELLED)
    Membership.objects.create(project=run.project, user=run.owner, role=Role.MEMBER)
    return services.sweep_create(
        project=run.project, by=run.owner, name="rates", config=UrdmuConfig(), strategy="grid",
        space=space.from_texts(run.kind, {"lr": "0.1 0.2 0.3"}), feature_set=run.feature_set,
        evaluate=False, **fields,
    )  # fmt: skip


def test_a_leaving_worker_claims_nothing(make_run, served, background):
    run = make_run()
    leaving.leave()

    background(lambda: tasks.serve("gpu")).result()

    assert Run.objects.get(pk=run.pk).state == State.QUEUED
    assert served == []


def test_a_bell_while_the_database_is_away_is_left_to_the_sweep(
    make_run, served, background, monkeypatch
):
    make_run()

    def away(**kwargs):
        raise OperationalError("connection refused")

    monkeypatch.setattr(claiming, "claim_best", away)

    background(lambda: tasks.serve("gpu")).result()

    assert slots.table().has_free()


def test_a_claim_rings_for_the_other_free_slots(make_run, served, background, monkeypatch):
    table = slots.Table(cpu_slots=2, gpus=[])
    monkeypatch.setattr(slots, "table", lambda: table)
    rung = []
    monkeypatch.setattr(doorbell, "ring", lambda queue: rung.append(queue) or True)
    make_run()

    background(lambda: tasks.serve("gpu")).result()

    assert rung == ["gpu"]


def test_the_worker_is_registered_with_what_it_offers_and_says_when_it_leaves(
    transactional_db, background
):
    def live():
        fleet.worker()
        fleet.beat()
        fleet.end()

    background(live).result()

    row = Worker.objects.get(name="this-worker")
    assert (row.cpu_slots, row.gpu_slots) == (1, 0)
    assert row.stopped_at is not None


def test_a_row_that_somebody_deleted_is_made_again(transactional_db, background):
    def live():
        fleet.worker().delete()
        fleet.beat()

    background(live).result()

    assert Worker.objects.alive().filter(name="this-worker").exists()


def test_messages_are_json_acknowledged_early_and_kept_nowhere():
    assert app.conf.accept_content == ["json"]
    assert not app.conf.task_acks_late
    assert not app.conf.task_reject_on_worker_lost
    assert app.conf.task_ignore_result
    assert not app.conf.worker_hijack_root_logger


def test_the_supervisor_needs_no_torch_and_no_decoder():
    import subprocess

    code = (
        "import workers.tasks, sys\n"
        "print(*{'torch', 'decord', 'av', 'cv2'} & set(sys.modules), sep=',')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=tasks.__file__.rsplit("/", 2)[0],
    )  # fmt: skip

    assert done.stdout.strip() == ""


def test_a_worker_of_another_version_registers_refused_and_runs_nothing(
    make_run, served, background, settings
):
    run = make_run()
    identity.introduce(version="0.0.0", data_dir=settings.DATA_DIR)

    background(lambda: tasks.serve("gpu")).result()

    row = Worker.objects.get(name="this-worker")
    assert "the server of version 0.0.0" in row.refused
    assert served == []

    identity.introduce(version=vad.__version__, data_dir=settings.DATA_DIR)  # it was brought along
    background(fleet.beat).result()
    background(lambda: tasks.serve("gpu")).result()
    assert served == [run.pk]


def test_a_beat_keeps_a_drain(make_run, served, background):
    make_run()
    background(fleet.worker).result()
    Worker.objects.update(drained_at=timezone.now())

    background(fleet.beat).result()
    background(lambda: tasks.serve("gpu")).result()

    assert Worker.objects.get(name="this-worker").drained_at is not None
    assert served == []


def test_a_run_of_one_gpu_leaves_the_others_to_other_bells(
    make_run, served, background, monkeypatch
):
    devices = [slots.Device(name, name) for name in "AB"]
    table = slots.Table(cpu_slots=0, gpus=devices)
    monkeypatch.setattr(slots, "table", lambda: table)
    free = []
    see_through = supervisor.see_through

    def look(claim, slot):
        free.append(table.has_free())
        return see_through(claim, slot)

    monkeypatch.setattr(supervisor, "see_through", look)
    make_run()

    background(lambda: tasks.serve("gpu")).result()

    assert free == [True]
    assert len(table.take("gpu")) == 2


def test_the_clock_has_what_happened_told(make_run, settings, background):
    settings.MAIL_FROM = "vadlab@lab.example.org"
    run = make_run()
    channel = Channel.objects.create(
        user=run.owner, kind="mail", name="me", target="me@lab.example.org",
        confirmed_at=timezone.now(),
    )  # fmt: skip
    Rule.objects.create(channel=channel, event="run-ended")
    Membership.objects.get_or_create(user=run.owner, project=run.project)
    commands.cancel(run, by=run.owner)

    background(tasks.notify).result()

    assert [message.subject for message in mail.outbox] == [f"[VADLab] {run.name} was cancelled"]
    assert app.conf.beat_schedule["notify"]["task"] == tasks.notify.name
