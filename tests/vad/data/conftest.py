"""What tests of the readers share; see also list_files.py."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def published(shared: Path) -> Path:
    folder = shared / "data" / "annotations"
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} does not exist")
    return folder
