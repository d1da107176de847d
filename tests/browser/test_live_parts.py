"""What htmx and our scripts add to the plain pages, in a real browser."""

from __future__ import annotations

import re
from typing import Any

import entering
import pytest
import seeding
from playwright.sync_api import Page, expect

from webapp.runs import chunks
from webapp.runs.models import Run, State

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(live_server: Any, seeded: seeding.Seeded, context: Any) -> Page:
    """The runs table, signed in; its scripts are at work."""
    opened = context(base_url=live_server.url, viewport={"width": 1440, "height": 900}).new_page()
    entering.sign_in(opened, seeded.user.username)
    opened.goto("/runs/")
    return opened


def test_rows_of_the_table_change_without_losing_the_selection(
    page: Page, seeded: seeding.Seeded
) -> None:
    running = seeded.runs["running"]
    page.check(f'input[value="{running.pk}"]')

    Run.objects.filter(pk=running.pk).update(done=2400)

    expect(page.locator(f"#progress-{running.pk}")).to_contain_text("80%", timeout=8000)
    expect(page.locator(f'input[value="{running.pk}"]')).to_be_checked()
    expect(page.locator("#bulk")).to_contain_text("1 selected")


def test_the_table_stops_asking_when_nothing_is_active(page: Page) -> None:
    Run.objects.filter(state__in=(State.RUNNING, State.QUEUED, State.WAITING)).update(
        state=State.CANCELLED, claim=None
    )

    expect(page.locator("#runs-live[hx-get]")).to_have_count(0, timeout=8000)


def test_selected_runs_are_compared(page: Page, seeded: seeding.Seeded) -> None:
    for name in ("first", "second"):
        page.check(f'input[value="{seeded.runs[name].pk}"]')
    page.click('#bulk button[value="compare"]')

    expect(page).to_have_url(re.compile(r"/compare/\?run=.+&run=.+"))
    expect(page.locator("h1")).to_have_text("Compare 2 runs")


def test_choosing_a_filter_is_enough(page: Page, seeded: seeding.Seeded) -> None:
    page.select_option('select[name="state"]', "held")

    expect(page).to_have_url(re.compile("state=held"))
    expect(page.locator("#runs tbody tr")).to_have_count(1)


def test_a_run_page_follows_its_run_to_the_end(page: Page, seeded: seeding.Seeded) -> None:
    running = seeded.runs["running"]
    page.goto(f"/runs/{running.pk}/")
    Run.objects.filter(pk=running.pk).update(done=3000, state=State.SUCCEEDED, claim=None)

    expect(page.locator("#run-badge")).to_contain_text("succeeded", timeout=8000)
    expect(page.locator("#run-actions")).to_contain_text("Evaluate")
    expect(page.locator("#run-status[hx-get]")).to_have_count(0)


def test_a_live_chart_grows_with_its_run(page: Page, seeded: seeding.Seeded) -> None:
    running = seeded.runs["running"]
    page.goto(f"/runs/{running.pk}/")
    chart = page.locator("#chart-loss [data-chart-plot]")
    expect(chart).to_have_attribute("aria-label", re.compile("to 1,140"), timeout=10_000)

    chunks.append(running, chunks.columns([(2000, {"loss/total": 0.2})]))

    expect(chart).to_have_attribute("aria-label", re.compile("to 2,000"), timeout=10_000)


def test_new_log_lines_come_at_the_end(page: Page, seeded: seeding.Seeded) -> None:
    running = seeded.runs["running"]
    page.goto(f"/runs/{running.pk}/?tab=log")
    with (running.folder / "log.txt").open("a") as log:
        log.write("2026-11-22 10:00:00 WARNING the disk is nearly full\n")

    last = page.locator("#log-text .log-line").last
    expect(last).to_contain_text("the disk is nearly full", timeout=8000)
    expect(last).to_have_attribute("data-level", "warning")


def test_a_click_on_a_video_shows_its_timeline_in_place(page: Page, seeded: seeding.Seeded) -> None:
    page.goto(f"/evaluations/{seeded.evaluations[0].pk}/")
    page.click('a:text-is("test/fire_047")')

    expect(page.locator("#video-timeline .chart-title")).to_contain_text("test/fire_047")
    expect(page.locator("#video-timeline .plot-container")).to_be_visible(timeout=10_000)
    expect(page).to_have_url(re.compile("video=test"))


def test_every_control_of_the_table_is_reached_by_keyboard(page: Page) -> None:
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.rel"
                                  " || document.activeElement.textContent.trim()"))  # fmt: skip

    assert {"q", "state", "kind", "tag", "run", "New run"} <= reached


def test_the_whole_table_is_seen_on_a_usual_screen(page: Page) -> None:
    cut = page.evaluate(
        "(() => { const w = document.querySelector('.table-wrap');"
        " return w.scrollWidth - w.clientWidth; })()"
    )

    assert cut == 0
