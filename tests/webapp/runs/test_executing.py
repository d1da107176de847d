"""What an executor may write, and that an old claim is refused."""

from __future__ import annotations

import pytest
from run_lives import FAILED, LOST, SUCCEEDED, age, events, running

from webapp.runs.claims import Claim, ClaimLost
from webapp.runs.lifecycle import ending, executing, sweeping
from webapp.runs.models import Run, State

pytestmark = pytest.mark.usefixtures("no_outcomes")


@pytest.fixture
def stale(make_run, worker) -> Claim:
    """A claim whose run was taken back and given to somebody else."""
    run = make_run()
    old = running(worker)
    age(run, 1000)
    sweeping.sweep()
    running(worker)
    return old


@pytest.mark.parametrize(
    "write",
    [
        lambda c: executing.beat(c, done=7),
        lambda c: executing.started(c, total=1, unit="x", done=0, environment={}),
        lambda c: ending.finish(c, SUCCEEDED),
        lambda c: ending.finish(c, FAILED),
        lambda c: ending.finish(c, LOST),
        lambda c: executing.guarded(c).__enter__(),
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
    ending.finish(found, SUCCEEDED)

    with pytest.raises(ClaimLost):
        executing.beat(found)
    with pytest.raises(ClaimLost):
        ending.finish(found, SUCCEEDED)


def test_what_a_guarded_block_wrote_goes_with_its_failure(make_run, worker):
    run = make_run()
    found = running(worker)

    with pytest.raises(ZeroDivisionError), executing.guarded(found) as row:
        Run.objects.filter(pk=row.pk).update(done=50)
        raise ZeroDivisionError

    run.refresh_from_db()
    assert run.done == 0


def test_started_is_noted_once_and_keeps_the_claim(make_run, worker):
    run = make_run()
    found = running(worker)
    executing.started(found, total=9, unit="x", done=0, environment={})

    run.refresh_from_db()
    assert (run.state, run.claim, run.total, run.unit) == (State.RUNNING, found.id, 100, "steps")
    assert run.environment == {"host": "h"}
    assert events(run) == ["claimed", "started"]
