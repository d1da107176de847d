"""The table of steps is all that a row obeys."""

from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError, transaction

from webapp.runs.lifecycle import moves
from webapp.runs.models import CLAIMED, ENDED, State


def test_every_step_of_the_table_and_no_other_moves_a_row(make_run):
    for source in State:
        for to in State:
            run = make_run(state=source)
            claim_id = uuid.uuid4() if to in CLAIMED else None
            with transaction.atomic():
                moved = moves.move(run.pk, to=to, claim=claim_id)
            assert moved == (source in moves.SOURCES[to]), (source, to)


def test_success_is_for_good():
    assert not any(State.SUCCEEDED in sources for sources in moves.SOURCES.values())
    assert set(ENDED) - {State.SUCCEEDED} <= set(moves.SOURCES[State.QUEUED])


def test_the_row_itself_refuses_a_claim_on_a_run_that_does_not_run(make_run):
    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(state=State.QUEUED, claim=uuid.uuid4())
