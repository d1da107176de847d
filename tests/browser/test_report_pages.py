"""Reports in a real browser: the page, the shared page, the file without a network, the PDF."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import entering
import pytest
import seeding
from looks import SIZES, picture
from watching import Watch, faults

from webapp.reports import offline, pdf, queries, ready, services, sharing
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


@pytest.mark.long
def test_every_page_of_a_report_is_drawn_without_a_complaint(
    live_server: Any, report: Report, context: Callable[..., Any]
) -> None:
    by = report.owner
    panel = queries.revision_of(report).blocks[1]["id"]
    services.comment_add(report=report, block=panel, text="Is this with *seed* 2022?", by=by)
    services.report_freeze(report=report, by=by)
    link, secret = sharing.link_create(report=report, by=by, note="Reviewers", password="reviewers")
    sharing.link_create(report=report, by=by, note="The workshop", revision=1)
    here = f"/reports/{report.pk}/"
    moment = next(b for b in queries.revision_of(report).blocks if b["kind"] == "moment")
    fields = f"evaluations={moment['evaluations'][0]}&video={moment['video']}"
    complaints, added = [], []
    for size, scheme in (("wide", "light"), ("narrow", "dark")):
        width, height = SIZES[size]
        page = context(
            base_url=live_server.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
        ).new_page()
        watch = Watch(page)
        entering.sign_in(page, by.username)
        for name, address in {
            "list": "/reports/",
            "report": here,
            "edit": f"{here}edit/",
            "history": f"{here}history/",
            "recheck": f"{here}recheck/",
            "share": f"{here}share/",
            "add": f"/reports/add/?kind=moment&{fields}",
            "shared-password": f"/s/{secret}/",
            "shared": f"/s/{secret}/",
        }.items():
            page.goto(address)
            if name == "shared":
                page.fill("#password", "reviewers")
                page.click("main button")
            if name in ("report", "shared"):
                page.wait_for_function(DRAWN, timeout=20_000)
            complaints += faults(page, watch, f"{name}-{size}")
            picture(page, f"{name}-{size}-{scheme}")
        page.goto(f"/evaluations/viewer/?run={moment['evaluations'][0]}&video={moment['video']}")
        page.wait_for_selector("[data-viewer-frame]:not(:text-is('\u2013'))")
        page.click("[data-viewer-do='snippet-forward']")
        page.click("[data-viewer-report]")
        page.wait_for_url("**/reports/add/?**")
        added.append(parse_qs(urlsplit(page.url).query)["frame"])
    link.refresh_from_db()

    assert added == [["16"], ["16"]]
    assert not complaints, "\n".join(complaints)
    assert link.views == 2


def test_the_file_works_without_a_network_and_prints_as_pdf(
    report: Report, context: Callable[..., Any], chromium: str, settings: Any, tmp_path: Path
) -> None:
    path = Path(os.environ.get("VADLAB_SCREENSHOTS", tmp_path)) / "report.html"
    path.write_text(offline.html(queries.revision_of(report)), encoding="utf-8")
    browser = context(viewport={"width": 1200, "height": 900}, offline=True)
    page = browser.new_page()
    watch, asked = Watch(page), []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    plot = page.locator(".chart .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    for step in range(5):  # along the upper end of the ROC curve
        page.mouse.move(box["x"] + 400 + 10 * step, box["y"] + 14)
    page.wait_for_selector(".chart-readout:not([hidden]), .hoverlayer .hovertext")
    picture(page, "offline")

    outside = [url for url in asked if not url.startswith(("file:", "data:", "blob:"))]
    assert (outside, watch.found) == ([], [])
    assert page.locator(".report-picture img").count() == 4
    assert page.evaluate("[...document.images].every(i => i.naturalWidth > 0)")

    settings.CHROMIUM = chromium
    made = pdf.pdf(queries.revision_of(report))
    path.with_suffix(".pdf").write_bytes(made)
    assert made.startswith(b"%PDF-")
    assert len(made) > 50_000
