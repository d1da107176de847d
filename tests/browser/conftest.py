"""A live server with a filled project, and a real headless browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import seeding
from playwright.sync_api import Browser, BrowserContext, sync_playwright

# The browser's own loop runs in this thread; the database is used outside of it.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def seeded(transactional_db: None, settings: Any, tmp_path: Path) -> seeding.Seeded:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_ROOTS = []
    settings.DATA_DIR.mkdir()
    user, project = seeding.people()
    return seeding.seed(user, project)


@pytest.fixture
def context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """A fresh browser profile; all of them are closed at the end."""
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        made.append(browser.new_context(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()
