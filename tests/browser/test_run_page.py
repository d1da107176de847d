"""The page of one run as a person uses it, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import entering
import numpy as np
import pytest
import seeding
from playwright.sync_api import Page, expect
from watching import OVERFLOW, Watch

from webapp.runs import chunks
from webapp.runs.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TABS = ("overview", "system", "log", "checkpoints", "config", "events", "lineage")
SPIKE = 123_456


def enter(page: Page, seeded: seeding.Seeded) -> Page:
    return entering.sign_in(page, seeded.user.username)


@pytest.fixture
def page(live_server: Any, seeded: seeding.Seeded, context: Any) -> Iterator[Page]:
    """A signed-in page that must not complain."""
    opened = context(
        base_url=live_server.url,
        viewport={"width": 1440, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    ).new_page()
    watch = Watch(opened)
    yield enter(opened, seeded)
    assert watch.found == []


@pytest.fixture
def running(seeded: seeding.Seeded) -> Run:
    seeding.add_usage(seeded.runs["running"])
    return seeded.runs["running"]


def drawn(page: Page, chart: str) -> None:
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    page.locator(f"#{chart} .main-svg").first.wait_for(timeout=15_000)


def state(page: Page, chart: str, what: str) -> Any:
    """Something of a chart: of its figure (`figure`) or of what Plotly drew (`plot`)."""
    return page.evaluate(
        f"(({{figure, plot}}) => {what})(document.getElementById({chart!r}).vadlab)"
    )


def until(page: Page, chart: str, what: str) -> None:
    """Wait for it. Not by Playwright's own means: it evaluates text, which the policy refuses."""
    for _ in range(200):
        if state(page, chart, what):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{chart}: {what}")


def x_range(page: Page, chart: str) -> tuple[float, float]:
    low, high = state(page, chart, "plot._fullLayout.xaxis.range")
    return low, high


def test_smoothing_and_log_axes_change_what_is_drawn_and_are_in_the_link(
    page: Page, running: Run
) -> None:
    page.goto(f"/runs/{running.pk}/")
    drawn(page, "chart-loss")
    before = state(page, "chart-loss", "plot._fullData.map(t => t.y.slice(0, 50))")
    assert len(before) == 1

    page.locator('input[name="smooth"]').focus()
    page.keyboard.press("End")
    for _ in range(9):
        page.keyboard.press("ArrowLeft")

    expect(page).to_have_url(re.compile(r"smooth=0\.9$"))
    expect(page.locator(".chart-controls output")).to_have_text("0.90")
    until(page, "chart-loss", "plot._fullData.length === 2")
    raw, smoothed = state(
        page, "chart-loss", "plot._fullData.map(t => [t.opacity, t.y.slice(0, 50)])"
    )
    assert raw[0] == pytest.approx(0.3)
    assert raw[1] == before[0]
    assert np.std(np.diff(smoothed[1])) < 0.3 * np.std(np.diff(before[0]))

    page.select_option('select[name="x"]', "log")
    page.select_option('select[name="y"]', "log")
    until(page, "chart-loss", "plot._fullLayout.xaxis.type === 'log'")
    until(page, "chart-loss", "plot._fullLayout.yaxis.type === 'log'")
    expect(page).to_have_url(re.compile(r"smooth=0\.9&x=log&y=log"))

    page.reload()  # as somebody sees it who was sent the link
    drawn(page, "chart-loss")
    assert state(page, "chart-loss", "plot._fullLayout.yaxis.type") == "log"
    assert state(page, "chart-loss", "plot._fullData.length") == 2
    expect(page.locator('select[name="x"]')).to_have_value("log")


def test_curves_are_drawn_over_the_time_that_passed(page: Page, running: Run) -> None:
    page.goto(f"/runs/{running.pk}/")
    drawn(page, "chart-loss")
    page.select_option('select[name="x"]', "time")

    until(page, "chart-loss", "plot._fullLayout.xaxis.range[1] < 13")
    assert "min" in state(page, "chart-loss", "plot._fullLayout.xaxis.title.text")


def test_a_zoom_reaches_the_raw_points_and_a_spike_of_one_step(
    page: Page, seeded: seeding.Seeded
) -> None:
    run = seeded.runs["first"]
    steps = np.arange(1, 200_001)
    values = 0.5 + 0.01 * np.sin(steps / 50)
    values[SPIKE - 1] = 9.0
    chunks.append(run, {"loss/total": (steps, values)})
    page.goto(f"/runs/{run.pk}/")
    drawn(page, "chart-loss")
    assert state(page, "chart-loss", f"plot._fullData[0].x.includes({SPIKE})")  # seen from afar
    assert "of 200,000 points" in page.locator("#chart-loss [data-chart-note]").inner_text()

    for _ in range(3):
        area = page.locator("#chart-loss .nsewdrag").bounding_box()
        low, high = x_range(page, "chart-loss")
        at = area["x"] + area["width"] * (SPIKE - low) / (high - low)
        middle = area["y"] + area["height"] / 2
        page.mouse.move(at - 22, middle)
        page.mouse.down()
        page.mouse.move(at + 22, middle, steps=6)
        page.mouse.up()
        until(page, "chart-loss", f"plot._fullLayout.xaxis.range[0] > {(low + SPIKE) / 2}")
        page.wait_for_timeout(600)

    raw = "plot._fullData[0].x.every((x, i, all) => !i || x === all[i - 1] + 1)"
    until(page, "chart-loss", raw)
    low, high = x_range(page, "chart-loss")
    assert high - low < 700
    x, y = state(page, "chart-loss", "[plot._fullData[0].x, plot._fullData[0].y]")
    assert set(range(int(low) + 1, int(high))) <= set(x)
    assert y[x.index(SPIKE)] == 9.0

    page.locator('#chart-loss [data-chart-action="reset"]').click()
    until(page, "chart-loss", "plot._fullLayout.xaxis.range[1] > 190000")


def test_one_cursor_reads_all_charts(page: Page, running: Run) -> None:
    page.goto(f"/runs/{running.pk}/")
    drawn(page, "chart-score")
    drawn(page, "chart-loss")
    page.wait_for_timeout(300)
    area = page.locator("#chart-loss .nsewdrag").bounding_box()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
    page.mouse.move(area["x"] + area["width"] / 2 + 3, area["y"] + area["height"] / 2)

    for chart in ("chart-loss", "chart-score"):
        expect(page.locator(f"#{chart} .chart-readout")).to_contain_text("Step")
    values = page.locator("#chart-score .chart-readout b")
    expect(values).to_have_count(2)


def test_charts_are_found_by_a_word(page: Page, running: Run) -> None:
    page.goto(f"/runs/{running.pk}/?tab=system")
    page.fill('input[name="q"]', "memory")

    expect(page.locator(".chart-cell:visible")).to_have_count(2)
    expect(page.locator("[data-curve-count]")).to_have_text("2 of 7 charts")
    expect(page).to_have_url(re.compile("q=memory"))
    drawn(page, "chart-system-memory")


def test_the_whole_log_is_searched_while_one_types(page: Page, seeded: seeding.Seeded) -> None:
    run = seeded.runs["running"]
    early = "".join(f"2026-11-22 08:00:00 warming up {i}\n" for i in range(9000))
    log = run.folder / "log.txt"
    log.write_text(early + log.read_text())  # far more than the page loads
    page.goto(f"/runs/{run.pk}/?tab=log")
    expect(page.locator("#log-text")).not_to_contain_text("warming up 4321")

    page.locator("[data-log-search]").focus()
    page.keyboard.type("warming up 432")
    # 432, and 4320 to 4329
    expect(page.locator(".log-bar")).to_contain_text("Hit 1 of 11", timeout=8000)
    expect(page).to_have_url(re.compile("find=warming"))
    expect(page.locator(".is-current mark")).to_have_text("warming up 432")
    expect(page.locator("[data-log-search]")).to_be_focused()

    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("[data-log-hit]")).to_have_text("Hit 3")
    expect(page.locator(".is-current")).to_contain_text("warming up 4321")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".is-current")).to_contain_text("warming up 4320")
    expect(page).to_have_url(re.compile("hit=2"))
    page.reload()
    expect(page.locator(".is-current")).to_contain_text("warming up 4320")

    page.locator(".is-current a").click()  # the line in its place
    expect(page.locator("#here")).to_contain_text("warming up 4320")
    expect(page.locator("#here")).to_be_in_viewport()

    page.goto(f"/runs/{run.pk}/?tab=log")
    page.select_option('select[name="level"]', "warning")
    expect(page.locator(".is-current")).to_contain_text("the GPU is shared", timeout=8000)
    page.get_by_role("link", name="End search").click()
    with log.open("a") as file:
        file.write("2026-11-22 10:00:00 and it goes on\n")
    expect(page.locator("#log-text .log-line").last).to_contain_text("it goes on", timeout=8000)


def test_the_lineage_is_walked_by_keyboard(page: Page, seeded: seeding.Seeded) -> None:
    page.goto(f"/runs/{seeded.runs['first'].pk}/?tab=lineage")
    boxes = page.locator(".lineage-svg:visible .lineage-node")
    expect(boxes).to_have_count(6)

    walked = []
    boxes.first.focus()
    for _ in range(6):
        walked.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert page.evaluate(
            "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth"
        ) == ("3px")
        page.keyboard.press("Tab")
    assert [label.split(":")[0] for label in walked] == [
        "Data set", "Features", "Train UR-DMU", "Checkpoint", "Checkpoint", "Evaluation",
    ]  # fmt: skip
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/evaluations/{seeded.evaluations[0].pk}/"))


def test_the_command_is_copied(page: Page, seeded: seeding.Seeded) -> None:
    page.goto(f"/runs/{seeded.runs['second'].pk}/?tab=config")
    page.get_by_role("button", name="Copy the command: On this server").click()

    assert page.evaluate("navigator.clipboard.readText()").startswith("python manage.py run_submit")


def test_a_clone_shows_what_differs_while_it_is_edited(page: Page, seeded: seeding.Seeded) -> None:
    page.goto(f"/runs/new/?from={seeded.runs['second'].pk}")
    summary = page.locator("[data-clone-summary]")
    expect(summary).to_contain_text("Nothing differs")

    page.fill('input[name="lr"]', "0.0003")  # as it was, written in another way
    expect(summary).to_contain_text("Nothing differs")
    page.fill('input[name="lr"]', "1e-3")
    page.select_option('select[name="selection"]', "last")

    expect(summary).to_contain_text("2 fields differ")
    expect(page.locator(".field:has(#config-lr) .field-was")).to_have_text("was 0.0003")
    expect(page.locator(".field:has(#config-selection) .field-was")).to_have_text("was test")


def test_every_part_fits_a_phone(
    live_server: Any, seeded: seeding.Seeded, running: Run, context: Any
) -> None:
    opened = context(
        base_url=live_server.url, viewport={"width": 390, "height": 844}, has_touch=True
    ).new_page()
    watch = Watch(opened)
    enter(opened, seeded)
    for tab in TABS:
        opened.goto(f"/runs/{running.pk}/?tab={tab}")
        assert opened.evaluate(OVERFLOW) <= 0, tab
        expect(opened.locator(".tabs [aria-current]")).to_be_in_viewport()
    expect(opened.locator(".lineage-picture.is-upright")).to_be_visible()
    expect(opened.locator(".lineage-picture:not(.is-upright)")).to_be_hidden()
    assert watch.found == []
