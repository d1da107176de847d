"""What axe-core finds on a page, as short lines."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = ("serious", "critical")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def findings(page: Page) -> list[str]:
    """Serious and critical findings of WCAG 2.2 AA and of good practice."""
    page.evaluate("window.scrollTo(0, 0)")  # what the header covers counts as cut off
    found = Axe().run(page, options={**RULES, "resultTypes": ["violations"]})
    return [
        f"axe {rule['id']}: {node['target'][0]}: {node['failureSummary']}".replace("\n", " ")
        for rule in found.response["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
