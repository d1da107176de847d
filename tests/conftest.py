"""What all tests share: where the reference data is, and which services this machine has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def need(available: object, what: str) -> None:
    """Skip a test whose service is missing; with CI=true that is a failure."""
    if available:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs {what}")
    pytest.skip(f"{what} is not on this machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out, unless they are asked for; their number is shown."""
    if os.environ.get("VADLAB_LONG_TESTS") == "1":
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data that lies beside the project; its tests skip without it."""
    folder = Path(os.environ.get("VADLAB_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist (VADLAB_SHARED names it)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """A headless browser to drive."""
    path = os.environ.get("VADLAB_CHROMIUM")
    for name in ("chromium-headless-shell", "chromium"):  # the first is the lighter one
        path = path or shutil.which(name)
    need(path, "Chromium")
    return str(path)
