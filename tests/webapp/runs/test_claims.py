"""What a claim may take: devices, memory, what is paused; and what it costs its owner."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from vad.errors import VadError
from webapp.fleet import services as fleet
from webapp.fleet.models import Worker
from webapp.runs import accounting, preempting, waiting
from webapp.runs.claims import Outcome, Slot
from webapp.runs.lifecycle import claiming, commands, ending, executing, sweeping
from webapp.runs.models import Attempt, Run, RunEvent, State, Stop, Usage

CPU = Slot("cpu")
GPUS = [Slot("gpu", i) for i in range(4)]
SUCCEEDED = Outcome(kind="succeeded")
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("no_outcomes")


@pytest.fixture
def host(worker):
    """A worker with four GPU slots on four GPUs of 80 GB."""
    worker.gpu_slots, worker.devices = 4, ["H100"] * 4
    worker.device_ids, worker.memory_mb = list("ABCD"), [80_000] * 4
    worker.save()
    return worker


@pytest.fixture
def superuser(make_user):
    found = make_user()
    found.is_superuser = True
    found.save()
    return found


def claim(worker, *slots):
    return claiming.claim_best(worker=worker, slot=slots[0], spare=slots[1:])


def back(run, **ago):
    """Let the present claim have begun earlier."""
    at = timezone.now() - timedelta(**ago)
    Run.objects.filter(pk=run.pk).update(claimed_at=at)
    Attempt.objects.filter(run=run, ended_at=None).update(started_at=at)


# --- several GPUs, and memory ----------------------------------------------------------------


def test_a_run_of_two_gpus_takes_two_and_leaves_the_rest(make_run, host):
    run = make_run(kind="train-two-stage", device="cuda", gpus=2)

    found = claim(host, *GPUS)

    run.refresh_from_db()
    assert (str(found.slot), run.slot) == ("gpu:0+1", "gpu:0+1")
    assert Attempt.objects.get(run=run).devices == 2


def test_a_run_of_two_gpus_does_not_start_on_one(make_run, host):
    make_run(kind="train-two-stage", device="cuda", gpus=2)

    assert claim(host, GPUS[0]) is None


def test_it_needs_two_devices_not_two_slots_of_one(make_run, host):
    Worker.objects.update(device_ids=list("AABB"))
    make_run(kind="train-two-stage", device="cuda", gpus=2)

    assert claim(host, GPUS[0], GPUS[1]) is None
    assert str(claim(host, *GPUS).slot) == "gpu:0+2"


def test_a_run_of_several_gpus_never_takes_a_cpu_slot(make_run, worker):
    make_run(kind="train-two-stage", gpus=2)

    assert claim(worker, CPU) is None


def test_what_runs_on_a_gpu_leaves_the_rest_of_its_memory(make_run, host):
    Worker.objects.update(device_ids=list("AABB"))
    make_run(state=State.RUNNING, worker=host, slot="gpu:0", device="cuda", memory_mb=50_000)
    make_run(device="cuda", memory_mb=40_000)

    assert claim(host, GPUS[1]) is None
    assert str(claim(host, GPUS[1], GPUS[2]).slot) == "gpu:2"


def test_the_least_busy_gpu_is_taken_first(make_run, host):
    Worker.objects.update(device_ids=list("AABB"))
    make_run(state=State.RUNNING, worker=host, slot="gpu:0", device="cuda")
    make_run(device="cuda")

    assert str(claim(host, *GPUS[1:]).slot) == "gpu:2"


def test_a_run_that_fits_nowhere_says_so(make_run, host):
    many = make_run(kind="train-two-stage", device="cuda", gpus=8)
    large = make_run(device="cuda", memory_mb=90_000)

    why = waiting.reasons([many, large])

    assert why[many.pk] == "It needs 8 GPUs; no living worker has more than 4."
    assert why[large.pk] == "It needs 90,000 MB on a GPU; the largest that is alive has 80,000 MB."


# --- pauses, drains, refusals ----------------------------------------------------------------


def test_nothing_is_claimed_of_a_paused_project(make_run, worker, project, user):
    run = make_run()
    fleet.queue_pause(project=project, by=user)

    assert claim(worker, CPU) is None
    assert waiting.reason(run) == f"The project is paused by {user}."

    fleet.queue_resume(project=project, by=user)
    assert claim(worker, CPU).run_id == run.pk


def test_a_pause_of_one_project_leaves_others_alone(make_run, worker, project, user, stranger):
    other = stranger.projects.get()
    make_run(queued_at=timezone.now() - HOUR)
    theirs = make_run(project=other, owner=stranger)
    fleet.queue_pause(project=project, by=user)

    assert claim(worker, CPU).run_id == theirs.pk


def test_a_paused_server_claims_nothing_and_what_runs_goes_on(make_run, worker, superuser):
    make_run()
    held = claim(worker, CPU)
    make_run()
    fleet.queue_pause(project=None, by=superuser)

    assert claim(worker, CPU) is None
    assert executing.beat(held) == Stop.NONE


def test_a_server_is_paused_once(superuser):
    first = fleet.queue_pause(project=None, by=superuser, reason="power cut")

    assert fleet.queue_pause(project=None, by=superuser).pk == first.pk


@pytest.mark.parametrize("step", ["pause", "drain", "share"])
def test_only_who_administers_the_server_stops_all_of_it(user, worker, step):
    steps = {
        "pause": lambda: fleet.queue_pause(project=None, by=user),
        "drain": lambda: fleet.worker_drain(worker=worker, by=user),
        "share": lambda: fleet.share_set(username=user.username, share=9, by=user),
    }

    with pytest.raises(VadError) as refused:
        steps[step]()

    assert refused.value.code == "not-allowed"


def test_a_viewer_pauses_nothing(viewer, project):
    with pytest.raises(VadError, match="not change it"):
        fleet.queue_pause(project=project, by=viewer)


def test_a_drained_worker_takes_nothing_until_it_is_let_go_on(make_run, worker, superuser):
    run = make_run()
    fleet.worker_drain(worker=worker, by=superuser)

    assert claim(worker, CPU) is None
    assert "it is being drained" in waiting.reason(run)

    fleet.worker_resume(worker=worker, by=superuser)
    assert claim(worker, CPU).run_id == run.pk


def test_a_drained_gpu_does_not_send_its_runs_to_the_cpu(make_run, gpu_worker, superuser):
    make_run(device="auto")
    fleet.worker_drain(worker=gpu_worker, by=superuser)
    other = Worker.objects.create(
        name="cpu only", host="h", data_dir="-", cpu_slots=1, started_at=timezone.now(),
        seen_at=timezone.now(),
    )  # fmt: skip

    assert claim(other, CPU) is None


def test_a_refused_worker_takes_nothing(make_run, worker):
    make_run()
    Worker.objects.update(refused="It is of another version.")

    assert claim(worker, CPU) is None


def test_a_run_that_is_not_due_waits_and_says_why(make_run, worker):
    run = make_run(not_before=timezone.now() + timedelta(minutes=5))
    RunEvent.objects.create(run=run, kind="set-back", message="The disk is full.")

    assert claim(worker, CPU) is None
    assert waiting.reason(run) == "It tries again in 5 min: The disk is full."

    Run.objects.update(not_before=timezone.now() - timedelta(seconds=1))
    assert claim(worker, CPU).run_id == run.pk


# --- accounts --------------------------------------------------------------------------------


def test_a_claim_is_charged_to_its_owner_for_every_device(make_run, host, user):
    run = make_run(kind="train-two-stage", device="cuda", gpus=2)
    held = claim(host, *GPUS)
    back(run, hours=3)

    ending.finish(held, SUCCEEDED)

    run.refresh_from_db()
    usage = Usage.objects.get(owner=user, kind="gpu")
    assert usage.used_s == pytest.approx(2 * 3 * 3600, abs=5)
    assert run.spent_s == pytest.approx(3 * 3600, abs=5)
    assert accounting.gpu_hours(run) == pytest.approx(6, abs=0.01)
    assert Attempt.objects.get().end == "succeeded"


def test_use_is_worth_half_after_its_half_life(make_run, worker, user, settings):
    usage = Usage(owner=user, kind="cpu", used_s=800, as_of=timezone.now() - 2 * HOUR)
    settings.QUEUE_HALF_LIFE_S = 3600

    assert accounting.decayed(usage, timezone.now()) == pytest.approx(200, rel=0.01)


def test_who_used_less_lately_goes_first(make_run, make_user, project, worker):
    heavy, light = make_user(project=project), make_user(project=project)
    for owner, used_s in ((heavy, 7200), (light, 60)):
        Usage.objects.create(owner=owner, kind="cpu", used_s=used_s, as_of=timezone.now())
    make_run(owner=heavy, queued_at=timezone.now() - HOUR)
    run = make_run(owner=light)

    assert claim(worker, CPU).run_id == run.pk


def test_a_share_lets_a_person_use_more(make_run, make_user, project, worker, superuser):
    team, single = make_user(project=project), make_user(project=project)
    for owner, used_s in ((team, 6000), (single, 3000)):
        Usage.objects.create(owner=owner, kind="cpu", used_s=used_s, as_of=timezone.now())
    fleet.share_set(username=team.username, share=4, by=superuser)
    run = make_run(owner=team)
    make_run(owner=single, queued_at=timezone.now() - HOUR)

    assert claim(worker, CPU).run_id == run.pk


@pytest.mark.django_db(transaction=True)
def test_claimers_at_once_never_share_a_run_and_every_claim_is_accounted(make_run, host, settings):
    runs = {make_run(device="cuda").pk for _ in range(24)}
    claimed, faults, start = [], [], threading.Barrier(4)

    def work(n: int) -> None:
        try:
            start.wait()
            while found := claim(host, GPUS[n]):
                claimed.append(found.run_id)
                ending.finish(found, SUCCEEDED)
        except BaseException as exc:
            faults.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert faults == []
    assert Counter(claimed) == Counter(runs)
    assert Attempt.objects.filter(ended_at__isnull=False).count() == 24


# --- recovery --------------------------------------------------------------------------------

OOM = VadError("memory-exhausted", "The GPU's memory has no room.", "Lower batch_size.")
FULL = VadError("disk-full", "The disk is full.", "Make room.")


def ended(run, worker, outcome):
    Run.objects.filter(pk=run.pk).update(not_before=None)
    state = ending.finish(claim(worker, CPU), outcome)
    run.refresh_from_db()
    return state


@pytest.mark.parametrize("kind", ["failed", "lost"])
def test_memory_that_ran_out_is_tried_once_more_then_it_fails_with_the_hint(make_run, worker, kind):
    run = make_run()
    out = Outcome(kind=kind, error=OOM, reason="killed by SIGKILL")

    assert ended(run, worker, out) == State.QUEUED
    assert (run.attempt, run.not_before) == (1, None)
    assert ended(run, worker, out) == State.FAILED
    assert (run.error["code"], run.error["hint"]) == ("memory-exhausted", "Lower batch_size.")


def test_a_full_disk_makes_a_run_wait_longer_each_time_and_fails_it_in_the_end(make_run, worker):
    run = make_run()
    waits = []
    while ended(run, worker, Outcome(kind="failed", error=FULL)) == State.QUEUED:
        waits.append(round((run.not_before - timezone.now()).total_seconds() / 60))

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert run.error["code"] == "disk-full"


def test_a_retry_forgets_earlier_setbacks(make_run, worker, user):
    run = make_run()
    out = Outcome(kind="failed", error=OOM)
    ended(run, worker, out)
    ended(run, worker, out)
    commands.retry(run, by=user)

    assert ended(run, worker, out) == State.QUEUED


@pytest.mark.parametrize("ask", ["cancel", "hold"])
def test_a_stop_that_was_asked_for_comes_before_another_try(make_run, worker, user, ask):
    run = make_run()
    held = claim(worker, CPU)
    getattr(commands, ask)(run, by=user)

    ended_in = ending.finish(held, Outcome(kind="failed", error=FULL))

    assert ended_in == {"cancel": State.CANCELLED, "hold": State.HELD}[ask]


def test_a_lost_worker_costs_no_wait_and_a_crash_waits_from_the_second_time(
    make_run, worker, settings
):
    settings.RUN_RETRY_S = 60
    run = make_run()
    crash = Outcome(kind="lost", reason="crashed.")

    ended(run, worker, crash)
    assert run.not_before is None
    ended(run, worker, crash)
    assert (run.not_before - timezone.now()).total_seconds() == pytest.approx(60, abs=5)

    Run.objects.update(not_before=None)
    claim(worker, CPU)
    Run.objects.update(beat_at=timezone.now() - HOUR)
    sweeping.sweep()
    run.refresh_from_db()
    assert (run.state, run.attempt, run.not_before) == (State.QUEUED, 4, None)


def test_a_run_that_comes_back_keeps_its_place(make_run, worker):
    run = make_run(queued_at=timezone.now() - HOUR)
    make_run()

    ending.finish(claim(worker, CPU), Outcome(kind="stopped"))

    assert claim(worker, CPU).run_id == run.pk


# --- time limits -----------------------------------------------------------------------------


def test_a_run_is_asked_to_stop_at_its_limit_and_goes_on_with_a_higher_one(make_run, worker, user):
    run = make_run(time_limit_s=3600)
    held = claim(worker, CPU)
    assert executing.beat(held) == Stop.NONE
    back(run, minutes=61)

    assert executing.beat(held) == Stop.LIMIT
    assert executing.beat(held) == Stop.LIMIT
    assert ending.finish(held, Outcome(kind="stopped")) == State.FAILED
    run.refresh_from_db()
    assert run.error["code"] == "time-limit"
    assert "1 h" in run.error["message"]
    assert RunEvent.objects.filter(run=run, kind="stop-asked").count() == 1

    with pytest.raises(VadError, match="time limit"):
        commands.retry(run, by=user)
    Run.objects.update(time_limit_s=7200)
    commands.retry(run, by=user)
    again = claim(worker, CPU)
    assert executing.beat(again) == Stop.NONE
    back(run, minutes=58)  # 61 of an earlier attempt count
    assert executing.beat(again) == Stop.NONE
    back(run, minutes=60)
    assert executing.beat(again) == Stop.LIMIT


def test_a_person_who_cancels_comes_before_the_limit(make_run, worker, user):
    run = make_run(time_limit_s=60)
    held = claim(worker, CPU)
    commands.cancel(run, by=user)
    back(run, hours=1)

    assert executing.beat(held) == Stop.CANCEL
    assert ending.finish(held, Outcome(kind="stopped")) == State.CANCELLED


def test_a_run_that_ends_well_in_its_last_second_has_succeeded(make_run, worker):
    run = make_run(time_limit_s=60)
    held = claim(worker, CPU)
    back(run, hours=1)
    executing.beat(held)

    assert ending.finish(held, SUCCEEDED) == State.SUCCEEDED


# --- making room -----------------------------------------------------------------------------


@pytest.fixture
def preempts(settings):
    settings.QUEUE_PREEMPTS = True


def test_the_lowest_run_leaves_for_an_urgent_one_and_comes_back_without_losing_an_attempt(
    make_run, worker, preempts
):
    low = make_run(priority=-1, max_attempts=1, queued_at=timezone.now() - HOUR)
    held = claim(worker, CPU)
    urgent = make_run(priority=3)

    assert [run.pk for run in preempting.make_room_for_urgent()] == [low.pk]
    assert preempting.make_room_for_urgent() == []  # one at a time
    assert executing.beat(held) == Stop.YIELD
    assert ending.finish(held, Outcome(kind="stopped")) == State.QUEUED

    low.refresh_from_db()
    assert (low.attempt, low.yields_to, low.stop) == (1, None, Stop.NONE)
    assert claim(worker, CPU).run_id == urgent.pk
    assert urgent.name in RunEvent.objects.get(run=low, kind="preempted").message


def test_nobody_leaves_where_the_server_does_not_say_so(make_run, worker):
    make_run(priority=-1)
    claim(worker, CPU)
    make_run(priority=3)

    assert preempting.make_room_for_urgent() == []


@pytest.mark.parametrize(
    ("running", "waits"),
    [
        ({"priority": 3}, {"priority": 3}),  # not above it
        ({"priority": 0, "kind": "evaluate"}, {"priority": 3}),  # has no checkpoint to go on from
        ({"priority": 0}, {"priority": 3, "device": "cuda"}),  # its slot would not do
    ],
)
def test_nobody_leaves_for_nothing(make_run, worker, preempts, running, waits):
    make_run(**running)
    claim(worker, CPU)
    make_run(**waits)

    assert preempting.make_room_for_urgent() == []


def test_nobody_leaves_while_a_slot_is_free(make_run, worker, preempts):
    Worker.objects.update(cpu_slots=2)
    make_run()
    claim(worker, CPU)
    make_run(priority=3)

    assert preempting.make_room_for_urgent() == []


def test_of_several_the_lowest_and_of_those_the_latest_leaves(make_run, host, preempts):
    runs = []
    for n, priority in enumerate((1, 0, 0, 1)):
        run = make_run(device="cuda", priority=priority)
        claim(host, GPUS[n])
        back(run, hours=4 - n)
        runs.append(run)
    make_run(device="cuda", priority=2)

    assert [run.pk for run in preempting.make_room_for_urgent()] == [runs[2].pk]


def test_a_person_who_holds_a_run_comes_before_making_room(make_run, worker, preempts, user):
    run = make_run()
    held = claim(worker, CPU)
    commands.hold(run, by=user)
    make_run(priority=3)

    assert preempting.make_room_for_urgent() == []
    assert ending.finish(held, Outcome(kind="stopped")) == State.HELD
