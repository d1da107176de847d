"""A run's life: who may take which step, and that nobody else can take it at the same time."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from vad.errors import VadError
from webapp.fleet.models import Worker
from webapp.runs import lifecycle, outcomes
from webapp.runs.lifecycle import Claim, ClaimLost, Outcome, Slot
from webapp.runs.models import CLAIMED, ENDED, Run, RunEvent, State, Stop

CPU, GPU = Slot("cpu"), Slot("gpu")
SUCCEEDED = Outcome(kind="succeeded")
LOST = Outcome(kind="lost", reason="killed by signal 9")
STOPPED = Outcome(kind="stopped")
FAILED = Outcome(kind="failed", error=VadError("video-no-track", "a.mp4 has no video track."))


@pytest.fixture(autouse=True)
def no_outcomes(monkeypatch):
    """What a result leaves behind is tested elsewhere."""
    monkeypatch.setattr(outcomes, "record", lambda run, result: result)


def claim(worker, slot=CPU) -> Claim:
    found = lifecycle.claim_best(worker=worker, slot=slot)
    assert found is not None
    return found


def running(worker, slot=CPU) -> Claim:
    found = claim(worker, slot)
    lifecycle.started(found, total=100, unit="steps", done=0, environment={"host": "h"})
    return found


def events(run) -> list[str]:
    return list(RunEvent.objects.filter(run=run).values_list("kind", flat=True))


def age(run, seconds: float) -> None:
    Run.objects.filter(pk=run.pk).update(beat_at=timezone.now() - timedelta(seconds=seconds))


# --- claiming --------------------------------------------------------------------------------


def test_nothing_queued_is_no_claim(worker):
    assert lifecycle.claim_best(worker=worker, slot=CPU) is None


@pytest.mark.parametrize("state", sorted(set(State) - {State.QUEUED}))
def test_only_a_queued_run_is_claimed(make_run, worker, state):
    make_run(state=state)

    assert lifecycle.claim_best(worker=worker, slot=CPU) is None


def test_a_claim_takes_the_run_and_says_who_has_it(make_run, worker):
    run = make_run()

    found = claim(worker)

    run.refresh_from_db()
    assert (found.run_id, found.attempt, found.id) == (run.pk, 1, run.claim)
    assert (run.state, run.worker, run.slot) == (State.STARTING, worker, "cpu:0")
    assert run.beat_at is not None
    assert run.started_at is not None
    assert lifecycle.claim_best(worker=worker, slot=CPU) is None
    assert events(run) == ["claimed"]


def test_highest_priority_first_then_longest_queued(make_run, worker):
    now = timezone.now()
    late = make_run(queued_at=now)
    early = make_run(queued_at=now - timedelta(hours=1))
    urgent = make_run(queued_at=now + timedelta(hours=1), priority=5)
    idle = make_run(queued_at=now - timedelta(hours=5), priority=-1)

    order = []
    for _ in range(4):
        found = running(worker)
        lifecycle.finish(found, SUCCEEDED)
        order.append(found.run_id)

    assert order == [urgent.pk, early.pk, late.pk, idle.pk]


def test_who_runs_least_goes_before_who_queued_first(make_run, make_user, project, worker):
    busy, idle = make_user(project=project), make_user(project=project)
    make_run(owner=busy, state=State.RUNNING, slot="cpu:1")
    make_run(owner=busy, queued_at=timezone.now() - timedelta(hours=1))
    theirs = make_run(owner=idle)

    assert claim(worker).run_id == theirs.pk


def test_runs_that_need_a_gpu_stay_off_cpu_slots(make_run, worker):
    run = make_run(device="cuda")

    assert lifecycle.claim_best(worker=worker, slot=CPU) is None
    assert claim(worker, GPU).run_id == run.pk


def test_runs_that_take_anything_wait_for_the_gpu_while_one_lives(make_run, gpu_worker):
    auto = make_run(device="auto")

    assert lifecycle.claim_best(worker=gpu_worker, slot=CPU) is None

    gpu_worker.seen_at = timezone.now() - timedelta(hours=1)
    gpu_worker.save()
    assert claim(gpu_worker, CPU).run_id == auto.pk


def test_cpu_runs_never_take_a_gpu_slot(make_run, gpu_worker):
    make_run(device="cpu")

    assert lifecycle.claim_best(worker=gpu_worker, slot=GPU) is None
    assert claim(gpu_worker, CPU)


@pytest.mark.django_db(transaction=True)
def test_fifty_runs_and_four_claimers_each_run_claimed_once(make_run, worker):
    runs = {make_run().pk for _ in range(50)}
    claimed: list[uuid.UUID] = []
    faults: list[BaseException] = []
    start = threading.Barrier(4)

    def work() -> None:
        try:
            start.wait()
            while found := lifecycle.claim_best(worker=worker, slot=CPU):
                claimed.append(found.run_id)
        except BaseException as exc:
            faults.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert faults == []
    assert Counter(claimed) == Counter(runs)
    assert RunEvent.objects.filter(kind="claimed").count() == 50


@pytest.mark.django_db(transaction=True)
def test_finish_and_sweep_at_once_leave_one_winner(make_run, worker):
    run = make_run()
    found = running(worker)
    age(run, 1000)
    start, results = threading.Barrier(2), []

    def do(name, action):
        start.wait()
        try:
            results.append((name, bool(action())))
        except ClaimLost:
            results.append((name, False))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=do, args=("finish", lambda: lifecycle.finish(found, SUCCEEDED))),
        threading.Thread(target=do, args=("sweep", lifecycle.sweep)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    run.refresh_from_db()
    assert sorted(won for _, won in results) == [False, True]
    winner = next(name for name, won in results if won)
    assert run.state == (State.SUCCEEDED if winner == "finish" else State.QUEUED)


@pytest.mark.django_db(transaction=True)
def test_two_parents_that_end_at_once_release_their_child(make_run, worker, bells):
    parents = [make_run(), make_run()]
    child = make_run(state=State.WAITING, parents=parents)
    claims = [running(worker) for _ in parents]
    start = threading.Barrier(2)

    def finish(held):
        start.wait()
        lifecycle.finish(held, SUCCEEDED)
        connection.close()

    threads = [threading.Thread(target=finish, args=(c,)) for c in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    child.refresh_from_db()
    assert child.state == State.QUEUED
    assert events(child) == ["queued"]
    assert bells == ["cpu"]


# --- the fencing token -----------------------------------------------------------------------


@pytest.fixture
def stale(make_run, worker) -> Claim:
    """A claim whose run was taken back and given to somebody else."""
    run = make_run()
    old = running(worker)
    age(run, 1000)
    lifecycle.sweep()
    running(worker)
    return old


@pytest.mark.parametrize(
    "write",
    [
        lambda c: lifecycle.beat(c, done=7),
        lambda c: lifecycle.started(c, total=1, unit="x", done=0, environment={}),
        lambda c: lifecycle.finish(c, SUCCEEDED),
        lambda c: lifecycle.finish(c, FAILED),
        lambda c: lifecycle.finish(c, LOST),
        lambda c: lifecycle.guarded(c).__enter__(),
    ],
)
def test_an_old_claim_is_refused_everywhere(stale, write):
    before = Run.objects.filter(pk=stale.run_id).values().get()

    with pytest.raises(ClaimLost):
        write(stale)

    assert Run.objects.filter(pk=stale.run_id).values().get() == before


def test_a_claim_ends_with_its_run(make_run, worker):
    make_run()
    found = running(worker)
    lifecycle.finish(found, SUCCEEDED)

    with pytest.raises(ClaimLost):
        lifecycle.beat(found)
    with pytest.raises(ClaimLost):
        lifecycle.finish(found, SUCCEEDED)


def test_what_a_guarded_block_wrote_goes_with_its_failure(make_run, worker):
    run = make_run()
    found = running(worker)

    with pytest.raises(ZeroDivisionError), lifecycle.guarded(found) as row:
        Run.objects.filter(pk=row.pk).update(done=50)
        raise ZeroDivisionError

    run.refresh_from_db()
    assert run.done == 0


# --- ends ------------------------------------------------------------------------------------


def test_started_is_noted_once_and_keeps_the_claim(make_run, worker):
    run = make_run()
    found = running(worker)
    lifecycle.started(found, total=9, unit="x", done=0, environment={})

    run.refresh_from_db()
    assert (run.state, run.claim, run.total, run.unit) == (State.RUNNING, found.id, 100, "steps")
    assert run.environment == {"host": "h"}
    assert events(run) == ["claimed", "started"]


@pytest.mark.parametrize("begun", [True, False])
def test_success_gives_the_slot_back_and_keeps_the_result(make_run, worker, begun):
    run = make_run()
    found = running(worker) if begun else claim(worker)

    ended = lifecycle.finish(found, Outcome(kind="succeeded", result={"metrics": {"auc": 0.9}}))

    run.refresh_from_db()
    assert ended == run.state == State.SUCCEEDED
    assert (run.claim, run.worker, run.slot, run.percent) == (None, None, "", 100)
    assert run.result == {"metrics": {"auc": 0.9}}
    assert run.ended_at is not None


def test_an_error_fails_the_run_at_once_with_its_words(make_run, worker):
    run = make_run()

    lifecycle.finish(running(worker), FAILED)

    run.refresh_from_db()
    assert (run.state, run.attempt) == (State.FAILED, 1)
    assert run.error["code"] == "video-no-track"


def test_a_lost_child_is_tried_again_until_its_attempts_are_spent(make_run, worker, settings):
    settings.RUN_RETRY_S = 0
    run = make_run(max_attempts=3)
    states = []
    for _ in range(3):
        states.append(lifecycle.finish(running(worker), LOST))

    run.refresh_from_db()
    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    assert run.error["code"] == "worker-lost"
    assert "lost 3 times" in run.error["message"]
    assert "signal 9" in run.error["message"]
    attempts = RunEvent.objects.filter(run=run, kind="claimed").values_list("attempt", flat=True)
    assert list(attempts) == [1, 2, 3]


def test_a_leaving_worker_costs_no_attempt(make_run, worker, django_capture_on_commit_callbacks):
    run = make_run(max_attempts=1)
    found = running(worker)

    with django_capture_on_commit_callbacks(execute=True):
        assert lifecycle.finish(found, STOPPED) == State.QUEUED

    run.refresh_from_db()
    assert run.attempt == 1


@pytest.mark.parametrize("outcome", [STOPPED, LOST])
@pytest.mark.parametrize(("ask", "end"), [("cancel", State.CANCELLED), ("hold", State.HELD)])
def test_a_stop_that_was_asked_for_is_kept_however_the_child_ends(
    make_run, worker, user, ask, end, outcome
):
    run = make_run(max_attempts=1)
    found = running(worker)
    getattr(lifecycle, ask)(run, by=user)

    assert lifecycle.beat(found) == ask
    assert lifecycle.finish(found, outcome) == end
    run.refresh_from_db()
    assert run.stop == Stop.NONE


@pytest.mark.parametrize(("ask", "end"), [("cancel", State.CANCELLED), ("hold", State.HELD)])
def test_a_stop_is_kept_when_the_worker_dies_too(make_run, worker, user, ask, end):
    run = make_run()
    running(worker)
    getattr(lifecycle, ask)(run, by=user)
    age(run, 1000)

    lifecycle.sweep()

    run.refresh_from_db()
    assert run.state == end


def test_a_result_that_cannot_be_recorded_fails_the_run_and_leaves_no_half(
    make_run, worker, monkeypatch
):
    run, other = make_run(), make_run(state=State.HELD)

    def half(run, result):
        Run.objects.filter(pk=other.pk).update(notes="half done")
        raise KeyError("fingerprint")

    monkeypatch.setattr(outcomes, "record", half)

    assert lifecycle.finish(running(worker), SUCCEEDED) == State.FAILED
    run.refresh_from_db()
    other.refresh_from_db()
    assert run.error["code"] == "unexpected"
    assert other.notes == ""


def test_a_result_that_is_refused_fails_the_run_with_that_reason(make_run, worker, monkeypatch):
    def refuse(run, result):
        raise VadError("already-registered", "The set is there already.")

    monkeypatch.setattr(outcomes, "record", refuse)
    run = make_run()

    lifecycle.finish(running(worker), SUCCEEDED)

    run.refresh_from_db()
    assert (run.state, run.error["code"]) == (State.FAILED, "already-registered")


# --- children --------------------------------------------------------------------------------


def test_a_child_waits_for_all_its_parents(make_run, worker, user):
    first, second = make_run(), make_run()
    child = make_run(queued_at=None, parents=[first, second])
    lifecycle.enter(child, by=user)
    assert child.state == State.WAITING

    lifecycle.finish(running(worker), SUCCEEDED)
    child.refresh_from_db()
    assert child.state == State.WAITING

    lifecycle.finish(running(worker), SUCCEEDED)
    child.refresh_from_db()
    assert child.state == State.QUEUED


@pytest.mark.parametrize("outcome", [FAILED, STOPPED, LOST])
def test_a_parent_that_did_not_succeed_releases_nobody(make_run, worker, outcome):
    parent = make_run()
    child = make_run(state=State.WAITING, parents=[parent])

    lifecycle.finish(running(worker), outcome)
    lifecycle.sweep()

    child.refresh_from_db()
    assert child.state == State.WAITING


def test_the_sweep_queues_a_child_that_was_forgotten(make_run, bells):
    child = make_run(state=State.WAITING, parents=[make_run(state=State.SUCCEEDED)])

    lifecycle.sweep()

    child.refresh_from_db()
    assert child.state == State.QUEUED
    assert bells == ["cpu"]


# --- what people do --------------------------------------------------------------------------


def test_entering_queues_notes_and_rings(make_run, user, bells, django_capture_on_commit_callbacks):
    run = make_run(queued_at=None, device="cpu")

    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.enter(run, by=user)

    assert run.state == State.QUEUED
    assert bells == ["cpu"]
    assert RunEvent.objects.get(run=run).by == user


def test_a_run_enters_once(make_run, user, worker):
    run = make_run(queued_at=None)
    lifecycle.enter(run, by=user)
    claim(worker)

    with pytest.raises(VadError, match="cannot be"):
        lifecycle.enter(run, by=user)


# what each step makes of each state; absent: refused
AT_ONCE = {
    "cancel": {
        **dict.fromkeys((State.WAITING, State.QUEUED, State.HELD), State.CANCELLED),
        **{s: s for s in CLAIMED},
    },
    "hold": {
        **dict.fromkeys((State.WAITING, State.QUEUED), State.HELD),
        **{s: s for s in CLAIMED},
    },
    "release": {State.HELD: State.QUEUED},
    "retry": {State.FAILED: State.QUEUED, State.CANCELLED: State.QUEUED},
}


@pytest.mark.parametrize("step", sorted(AT_ONCE))
@pytest.mark.parametrize("state", list(State))
def test_each_step_is_taken_only_where_it_is_legal_and_noted(make_run, user, step, state):
    run = make_run(state=state)
    after = AT_ONCE[step].get(state)

    if after is None:
        with pytest.raises(VadError) as refused:
            getattr(lifecycle, step)(run, by=user)
        assert refused.value.code == "run-not-movable"
        assert events(run) == []
    else:
        getattr(lifecycle, step)(run, by=user)
        noted = RunEvent.objects.get(run=run)
        assert noted.by == user
    run.refresh_from_db()
    assert run.state == (after or state)
    if state in CLAIMED and after:
        assert run.stop == step
        assert run.claim is not None


def test_a_retried_run_starts_with_fresh_attempts_and_no_error(make_run, user):
    run = make_run(state=State.FAILED, attempt=5, error={"code": "worker-lost"}, done=40, total=100)

    lifecycle.retry(run, by=user)

    run.refresh_from_db()
    assert (run.attempt, run.error, run.ended_at, run.done) == (1, None, None, 40)


@pytest.mark.parametrize("step", ["release", "retry"])
def test_a_run_goes_back_to_waiting_while_a_parent_is_not_done(make_run, user, step):
    state = {"release": State.HELD, "retry": State.FAILED}[step]
    run = make_run(state=state, parents=[make_run(state=State.FAILED)])

    getattr(lifecycle, step)(run, by=user)

    run.refresh_from_db()
    assert run.state == State.WAITING


def test_priority_acts_at_once_and_only_before_the_start(make_run, user, worker):
    make_run(queued_at=timezone.now() - timedelta(hours=1))
    second = make_run()
    lifecycle.prioritize(second, priority=3, by=user)

    assert claim(worker).run_id == second.pk
    with pytest.raises(VadError):
        lifecycle.prioritize(second, priority=4, by=user)
    assert events(second) == ["prioritized", "claimed"]


def test_a_cancelled_run_is_never_claimed(make_run, worker, user):
    lifecycle.cancel(make_run(), by=user)

    assert lifecycle.claim_best(worker=worker, slot=CPU) is None


def test_a_step_on_a_deleted_run_says_so(make_run, user):
    run = make_run()
    Run.objects.filter(pk=run.pk).delete()

    with pytest.raises(VadError, match="deleted"):
        lifecycle.cancel(run, by=user)


# --- the sweep -------------------------------------------------------------------------------


def test_the_sweep_takes_back_only_what_is_silent(make_run, worker, settings):
    quiet, alive = make_run(), make_run()
    for _ in (quiet, alive):
        running(worker)
    age(quiet, settings.RUN_LOST_AFTER_S + 1)
    age(alive, settings.RUN_LOST_AFTER_S - 5)

    assert lifecycle.sweep() == [quiet.pk]
    assert lifecycle.sweep() == []

    quiet.refresh_from_db()
    alive.refresh_from_db()
    assert (quiet.state, quiet.attempt, quiet.claim) == (State.QUEUED, 2, None)
    assert alive.state == State.RUNNING
    note = RunEvent.objects.get(run=quiet, kind="lost")
    assert worker.name in note.message


def test_a_beat_keeps_a_run_from_the_sweep(make_run, worker):
    run = make_run()
    found = running(worker)
    age(run, 1000)
    lifecycle.beat(found, done=10, total=100)

    assert lifecycle.sweep() == []
    run.refresh_from_db()
    assert run.done == 10


def test_a_silent_run_fails_when_its_attempts_are_spent(make_run, worker):
    run = make_run(attempt=5, max_attempts=5)
    running(worker)
    age(run, 1000)

    lifecycle.sweep()

    run.refresh_from_db()
    assert run.state == State.FAILED
    assert "not heard of" in run.error["message"]


def test_the_sweep_rings_for_what_is_queued(make_run, bells):
    make_run(device="cpu")
    make_run(device="cuda")
    make_run(device="cuda", state=State.HELD)

    lifecycle.sweep()

    assert sorted(bells) == ["cpu", "gpu"]


def test_a_run_for_any_device_rings_where_a_slot_may_take_it(make_run, bells, gpu_worker):
    run = make_run(device="auto")

    lifecycle.sweep()
    assert bells == ["gpu"]

    Worker.objects.update(stopped_at=timezone.now())
    lifecycle.sweep()
    assert bells == ["gpu", "cpu"]
    assert lifecycle.claim_best(worker=gpu_worker, slot=CPU).run_id == run.pk


# --- the table of steps ----------------------------------------------------------------------


def test_every_step_of_the_table_and_no_other_moves_a_row(make_run):
    for source in State:
        for to in State:
            run = make_run(state=source)
            claim_id = uuid.uuid4() if to in CLAIMED else None
            with transaction.atomic():
                moved = lifecycle._move(run.pk, to=to, claim=claim_id)
            assert moved == (source in lifecycle.SOURCES[to]), (source, to)


def test_success_is_for_good():
    assert not any(State.SUCCEEDED in sources for sources in lifecycle.SOURCES.values())
    assert set(ENDED) - {State.SUCCEEDED} <= set(lifecycle.SOURCES[State.QUEUED])


def test_the_row_itself_refuses_a_claim_on_a_run_that_does_not_run(make_run):
    from django.db import IntegrityError

    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(state=State.QUEUED, claim=uuid.uuid4())
