"""What happens after a commit harms nobody, whatever it is and however it fails."""

from __future__ import annotations

from functools import partial

import pytest

from webapp.core.commits import after_commit


def fails(what: str) -> None:
    raise OSError(what)


@pytest.mark.django_db
@pytest.mark.parametrize("function", [fails, partial(fails)])
def test_a_fault_after_the_commit_is_logged_and_nothing_else(
    function, django_capture_on_commit_callbacks, caplog
):
    called = []
    with django_capture_on_commit_callbacks() as callbacks:
        after_commit(function, "the disk is gone")
        after_commit(called.append, 1)

    assert len(callbacks) == 2
    with pytest.raises(OSError, match="the disk is gone"):
        callbacks[0]()
    assert "fails" in callbacks[0].__qualname__
    callbacks[1]()
    assert called == [1]


@pytest.mark.django_db(transaction=True)
def test_a_fault_does_not_reach_who_committed():
    after_commit(partial(fails), "the disk is gone")
