"""A sweep on a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vad.configs import config_class
from webapp.sweeps import driver, services, space
from webapp.sweeps.models import Sweep

SPACE = {"lr": "1e-4 1e-3", "dropout": "0.3 0.5"}


@pytest.fixture
def make_sweep(project, user, feature_set) -> Callable[..., Sweep]:
    """A sweep by its service; its first trials are made."""

    def make(
        texts: dict[str, str] | None = None, *, kind: str = "train-urdmu",
        config: dict[str, Any] | None = None, **fields: Any,
    ) -> Sweep:  # fmt: skip
        values: dict[str, Any] = {
            "project": project, "by": user, "name": "rates", "strategy": "grid",
            "feature_set": feature_set, "parallel": 2, "seeds": [1],
        }  # fmt: skip
        sweep = services.sweep_create(
            config=config_class(kind).from_dict(config or {}),
            space=space.from_texts(kind, SPACE if texts is None else texts),
            **{**values, **fields},
        )
        driver.advance(sweep.pk)  # as it goes on commit
        sweep.refresh_from_db()
        return sweep

    return make
