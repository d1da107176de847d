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
