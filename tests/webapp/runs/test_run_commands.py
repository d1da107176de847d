"""What people may do with a run, in which state."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from run_lives import CPU, claim, events

from vad.errors import VadError
from webapp.runs.lifecycle import claiming, commands
from webapp.runs.models import CLAIMED, Run, RunEvent, State, Stop


def test_entering_queues_notes_and_rings(make_run, user, bells, django_capture_on_commit_callbacks):
    run = make_run(queued_at=None, device="cpu")

    with django_capture_on_commit_callbacks(execute=True):
        commands.enter(run, by=user)

    assert run.state == State.QUEUED
    assert bells == ["cpu"]
    assert RunEvent.objects.get(run=run).by == user


def test_a_run_enters_once(make_run, user, worker):
    run = make_run(queued_at=None)
    commands.enter(run, by=user)
    claim(worker)

    with pytest.raises(VadError, match="cannot be"):
        commands.enter(run, by=user)


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
            getattr(commands, step)(run, by=user)
        assert refused.value.code == "run-not-movable"
        assert events(run) == []
    else:
        getattr(commands, step)(run, by=user)
        noted = RunEvent.objects.get(run=run)
        assert noted.by == user
    run.refresh_from_db()
    assert run.state == (after or state)
    if state in CLAIMED and after:
        assert run.stop == step
        assert run.claim is not None


def test_what_is_being_cancelled_cannot_be_held_instead(make_run, user):
    run = make_run(state=State.RUNNING)
    commands.cancel(run, by=None, cause="its sweep gave it up")

    with pytest.raises(VadError, match="is being cancelled") as refused:
        commands.hold(run, by=user)

    run.refresh_from_db()
    assert refused.value.code == "run-not-movable"
    assert run.stop == Stop.CANCEL


def test_a_retried_run_starts_with_fresh_attempts_and_no_error(make_run, user):
    run = make_run(state=State.FAILED, attempt=5, error={"code": "worker-lost"}, done=40, total=100)

    commands.retry(run, by=user)

    run.refresh_from_db()
    assert (run.attempt, run.error, run.ended_at, run.done) == (1, None, None, 40)


def test_priority_acts_at_once_and_only_before_the_start(make_run, user, worker):
    make_run(queued_at=timezone.now() - timedelta(hours=1))
    second = make_run()
    commands.prioritize(second, priority=3, by=user)

    assert claim(worker).run_id == second.pk
    with pytest.raises(VadError):
        commands.prioritize(second, priority=4, by=user)
    assert events(second) == ["prioritized", "claimed"]


def test_a_cancelled_run_is_never_claimed(make_run, worker, user):
    commands.cancel(make_run(), by=user)

    assert claiming.claim_best(worker=worker, slot=CPU) is None


def test_a_step_on_a_deleted_run_says_so(make_run, user):
    run = make_run()
    Run.objects.filter(pk=run.pk).delete()

    with pytest.raises(VadError, match="deleted"):
        commands.cancel(run, by=user)
