"""A live server with a filled project, and a real headless browser."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import entering
import pytest
import seeding
from desk import KEY, maps_of
from entering import Opened
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from webapp.evaluations.models import Evaluation

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


@pytest.fixture
def sign_in(live_server: Any, seeded: seeding.Seeded, context: Any) -> Opened:
    """A page of a fresh browser profile, signed in."""

    def make(width: int = 1440, height: int = 900, **options: Any) -> Page:
        size = {"width": width, "height": height}
        opened = context(base_url=live_server.url, viewport=size, **options).new_page()
        return entering.sign_in(opened, seeded.user.username)

    return make


@pytest.fixture
def two(seeded: seeding.Seeded) -> list[Evaluation]:
    """Two runs with maps on different grids, and the film of one video."""
    first, second = seeded.evaluations
    seeding.add_maps(seeded, first)
    seeding.add_maps(seeded, second, rows=6, columns=10, tubelets=1)
    seeding.add_footage(seeded, KEY)
    return [first, second]


@pytest.fixture
def known(seeded: seeding.Seeded) -> list[Evaluation]:
    """A: 4 x 4 patches, row 2 column 3 is 1 and row 4 column 4 the middle; B: 2 x 8, one is 1."""
    first, second = seeded.evaluations
    maps_of(first, rows=4, columns=4, scores={6: 1.0, 15: 113 / 255})
    maps_of(second, rows=2, columns=8, scores={4: 1.0})
    seeding.add_footage(seeded, KEY)
    return [first, second]
