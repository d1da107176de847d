"""What a page complains about, and whether it is wider than its window."""

from __future__ import annotations

from typing import Any

import accessibility
from playwright.sync_api import Page

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Watch:
    """What a page complains about."""

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"error: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and "/runs/00000000" not in str(message.location):
            self.found.append(f"console {message.type}: {message.text}")

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # left the page before the answer
            self.found.append(f"failed: {request.url} {request.failure}")

    def _response(self, response: Any) -> None:
        if response.status >= 400 and "/runs/00000000" not in response.url:
            self.found.append(f"{response.status}: {response.url}")


def faults(page: Page, watch: Watch, name: str) -> list[str]:
    """What is wrong with the page as it stands, and what it said since the last look."""
    found = accessibility.findings(page)
    if (more := page.evaluate(OVERFLOW)) > 0:
        found.append(f"is {more} px wider than the window")
    found += watch.found  # what came while it was looked at, too
    watch.found.clear()
    return [f"{name}: {each}" for each in found]
