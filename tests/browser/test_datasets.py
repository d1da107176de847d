"""Data sets in a real browser: from the list to a video's viewer, by mouse, keyboard and thumb."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import entering
import pytest
import seeding
from playwright.sync_api import Page, expect
from watching import OVERFLOW, Watch

from vad.data.manifest import load_manifest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KEY = "test/running_053"
WAITING = '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="1" data-state="waiting"/>'
SHIFT = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 300);
})"""


def sign_in(page: Page, seeded: seeding.Seeded) -> Page:
    return entering.sign_in(page, seeded.user.username)


@pytest.fixture
def page(live_server: Any, seeded: seeding.Seeded, context: Any) -> Page:
    """A signed-in page; one video of the version has a film, another a file that is none."""
    seeding.add_footage(seeded, KEY)
    damaged = Path(load_manifest(seeded.version.folder).media_root) / "test/fire_047.mp4"
    damaged.write_bytes(b"\0\0\0\x18ftypmp42 and nothing behind it")
    opened = context(base_url=live_server.url, viewport={"width": 1440, "height": 900}).new_page()
    return sign_in(opened, seeded)


def card(page: Page, key: str) -> Any:
    return page.locator(".card", has=page.get_by_role("heading", name=key, exact=True))


def test_from_the_list_to_the_video_that_a_run_gets_most_wrong(
    page: Page, seeded: seeding.Seeded
) -> None:
    watch, evaluation = Watch(page), seeded.evaluations[0]
    page.goto("/datasets/")
    page.get_by_role("link", name="campus", exact=True).click()
    expect(page.get_by_role("heading", name="Splits")).to_be_visible()
    page.get_by_role("link", name="Videos", exact=True).click()
    expect(page.locator(".card")).to_have_count(60)
    expect(page.locator(".card-numbers")).to_have_count(0)

    page.get_by_label("Scores of").select_option(str(evaluation.pk))

    expect(page.locator(".card-numbers").first).to_contain_text("Error")
    page.wait_for_url(f"**run={evaluation.pk}**")
    expect(page.get_by_label("Order")).to_have_value("")  # the largest error first, by itself
    errors = [float(t) for t in page.locator(".card-numbers div:nth-child(3) dd").all_inner_texts()]
    assert len(errors) == 24
    assert errors == sorted(errors, reverse=True)

    page.get_by_label("Order").focus()
    page.get_by_label("Order").select_option("-score")
    page.wait_for_url("**sort=-score**")
    expect(page.get_by_label("Order")).to_be_focused()
    page.wait_for_function(
        """() => {
          const dd = [...document.querySelectorAll('.card-numbers div:first-child dd')];
          const peaks = dd.map((d) => Number(d.textContent));
          return peaks.length === 24 && peaks.every((p, i) => !i || p <= peaks[i - 1]);
        }"""
    )
    first = page.locator(".card").first
    key = first.get_by_role("heading").inner_text()
    first.get_by_role("link").click()
    page.wait_for_url(f"**/evaluations/**{key.split('/')[1]}**")
    assert watch.found == []


def test_pictures_come_by_themselves_and_move_nothing(page: Page, seeded: seeding.Seeded) -> None:
    watch = Watch(page)
    page.goto(f"/datasets/{seeded.version.pk}/videos/?split=test&class=Running")

    there = card(page, KEY).locator("img")
    expect(card(page, KEY).locator(".thumbnail")).to_have_class(re.compile("is-there"))

    assert there.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [320, 240]
    assert there.get_attribute("alt") == f"First frame of {KEY}"
    assert page.evaluate(SHIFT) < 0.01
    assert watch.found == []


def test_a_video_that_cannot_be_decoded_says_why_in_its_place(
    page: Page, seeded: seeding.Seeded
) -> None:
    watch = Watch(page)
    address = f"/datasets/{seeded.version.pk}/videos/?split=test&class=Fire"
    for _ in range(2):  # asked for at first, known from then on
        page.goto(address)
        box = card(page, "test/fire_047").locator(".thumbnail")
        expect(box).to_have_attribute("title", re.compile("fire_047.mp4 cannot be decoded"))
        expect(box).to_have_class(re.compile("is-missing"))
    expect(page.locator(".card").filter(has_text="test/fire_057")).to_be_visible()
    assert watch.found == []


def test_a_picture_whose_turn_has_not_come_is_asked_for_again(
    page: Page, seeded: seeding.Seeded
) -> None:
    asked: list[str] = []

    def first_time_waiting(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 2:
            route.continue_()
            return
        route.fulfill(body=WAITING, headers={"Content-Type": "image/svg+xml"})

    page.route("**/thumbnail**", first_time_waiting)
    page.goto(f"/datasets/{seeded.version.pk}/videos/?q={KEY}")

    expect(card(page, KEY).locator(".thumbnail")).to_have_class(re.compile("is-there"))
    image = card(page, KEY).locator("img")
    page.wait_for_function("() => document.querySelector('.card img').naturalWidth === 320")
    assert image.get_attribute("src").startswith("blob:")
    assert len(asked) == 3


def test_everything_is_reached_by_keyboard(page: Page, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    page.goto(f"/datasets/{seeded.version.pk}/videos/?run={evaluation.pk}&q=running_05")
    page.get_by_label("Video", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Split")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Class")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Order")).to_be_focused()
    for name in ("Clear", "Gallery", "Table"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name)).to_be_focused()
    page.keyboard.press("Tab")  # the run in the legend
    page.keyboard.press("Tab")
    link = page.locator(".card").first.get_by_role("link")
    expect(link).to_be_focused()
    assert link.evaluate("e => getComputedStyle(e.closest('.card')).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/evaluations/**")


def test_the_table_is_sorted_by_its_headers(page: Page, seeded: seeding.Seeded) -> None:
    page.goto(f"/datasets/{seeded.version.pk}/videos/?run={seeded.evaluations[0].pk}&split=test")
    page.get_by_role("link", name="Table").click()
    page.get_by_role("link", name="Peak score").click()

    page.wait_for_url("**sort=-score**")
    column = page.locator(".table-videos tbody tr td:nth-last-child(3)")
    peaks = [float(text) for text in column.all_inner_texts()]
    assert len(peaks) == 24
    assert peaks == sorted(peaks, reverse=True)
    expect(page.get_by_role("columnheader", name="Peak score")).to_have_attribute(
        "aria-sort", "descending"
    )


def test_a_phone_shows_the_same(live_server: Any, seeded: seeding.Seeded, context: Any) -> None:
    seeding.add_footage(seeded, KEY)
    seeding.add_version(seeded)
    page = sign_in(
        context(
            base_url=live_server.url, viewport={"width": 390, "height": 844}, has_touch=True
        ).new_page(),
        seeded,
    )
    watch = Watch(page)
    version = seeded.version.pk

    for address in (
        "/datasets/", f"/datasets/{version}/", f"/datasets/{version}/alignment/",
        f"/datasets/{version}/differences/", f"/datasets/{version}/videos/?view=table",
        f"/datasets/{version}/videos/?run={seeded.evaluations[0].pk}&q=running_05",
    ):  # fmt: skip
        page.goto(address)
        assert page.evaluate(OVERFLOW) <= 0, address
    page.locator(".card").first.get_by_role("link").tap()
    page.wait_for_url("**/evaluations/**")
    assert watch.found == []


def test_the_differences_of_two_versions_are_found_from_the_list(
    page: Page, seeded: seeding.Seeded
) -> None:
    watch, newer = Watch(page), seeding.add_version(seeded)
    page.goto("/datasets/")
    page.get_by_role("link", name="2 versions").click()

    expect(page.get_by_label("Compare with")).to_have_value(str(seeded.version.pk))
    expect(page.locator(".table-changes tbody")).to_have_count(5)
    page.get_by_role("link", name=re.compile("^split")).click()
    expect(page.locator(".table-changes tbody")).to_have_count(1)
    page.get_by_role("link", name="The other way round").click()
    page.wait_for_url(f"**/{seeded.version.pk}/differences/?to={newer.pk}")
    expect(page.get_by_role("row", name="added test/new_064")).to_be_visible()

    page.locator(".version-menu summary").click()
    page.get_by_role("link", name=re.compile("^v2")).click()
    page.wait_for_url(f"**/{newer.pk}/differences/")
    assert watch.found == []
