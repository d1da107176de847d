"""Reports in a real browser: the page, the shared page, the file without a network, the PDF."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import seeding
from playwright.sync_api import Page
from test_every_page import Watch

from webapp.reports import offline, pdf, queries, ready, services
from webapp.reports.models import Report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAWN = """() => {
  const charts = [...document.querySelectorAll('.chart')];
  return charts.length && charts.every(chart => chart.querySelector('.main-svg'));
}"""


@pytest.fixture
def report(seeded: seeding.Seeded) -> Report:
    evaluation = seeded.evaluations[0]
    seeding.add_maps(seeded, evaluation)
    seeding.add_usage(seeded.runs["first"])
    title, given = ready.of_evaluation(evaluation)
    for block in given:
        if block["kind"] == "moment":
            seeding.add_footage(seeded, block["video"])
    return services.report_create(project=seeded.project, title=title, given=given, by=seeded.user)


def picture(page: Page, name: str, **options: Any) -> None:
    folder = os.environ.get("VADLAB_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, **options)


def test_the_file_works_without_a_network(
    report: Report, context: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(offline.html(queries.revision_of(report)), encoding="utf-8")
    browser = context(viewport={"width": 1200, "height": 900}, offline=True)
    page = browser.new_page()
    watch, asked = Watch(page), []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    chart = page.locator(".chart").first
    chart.hover(position={"x": 300, "y": 200})
    picture(page, "offline")

    outside = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert (outside, watch.found) == ([], [])
    assert page.locator(".chart-readout:not([hidden])").count() >= 1
    assert page.locator(".report-picture img").count() == 4
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")


def test_the_pdf_has_pages(report: Report, chromium: str, settings: Any) -> None:
    settings.CHROMIUM = chromium

    made = pdf.pdf(queries.revision_of(report))

    folder = os.environ.get("VADLAB_SCREENSHOTS")
    if folder:
        (Path(folder) / "report.pdf").write_bytes(made)
    assert made.startswith(b"%PDF-")
    assert len(made) > 50_000
