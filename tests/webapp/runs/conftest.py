"""What tests of the life of a run share; see also run_lives.py."""

from __future__ import annotations

import pytest

from webapp.runs import outcomes


@pytest.fixture
def no_outcomes(monkeypatch):
    """What a result leaves behind is tested elsewhere."""
    monkeypatch.setattr(outcomes, "record", lambda run, result: result)
