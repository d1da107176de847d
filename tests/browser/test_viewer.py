"""The map over the video in a real browser: it plays, steps, draws, and stays at one frame."""

from __future__ import annotations

import re
from typing import Any

import entering
import pytest
import seeding
from playwright.sync_api import Locator, Page, expect
from watching import Watch

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KEY = "test/running_053"
DRAWN = """() => {
  const canvas = document.querySelector('[data-viewer-canvas]');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let seen = 0;
  for (let i = 3; i < data.length; i += 4) if (data[i]) seen++;
  return seen / (data.length / 4);
}"""
FRAME = "() => document.querySelector('[data-viewer]').vadlab.frame"
READY = "() => document.querySelector('[data-viewer]')?.vadlab?.complete"


@pytest.fixture
def page(live_server: Any, seeded: seeding.Seeded, context: Any) -> Page:
    """A signed-in page; the first evaluation has maps, and one of its videos a film."""
    seeding.add_maps(seeded, seeded.evaluations[0])
    seeding.add_footage(seeded, KEY)
    opened = context(base_url=live_server.url, viewport={"width": 1440, "height": 900}).new_page()
    return entering.sign_in(opened, seeded.user.username)


def viewer(page: Page, seeded: seeding.Seeded, query: str = f"video={KEY}") -> Locator:
    page.goto(f"/evaluations/{seeded.evaluations[0].pk}/?{query}")
    page.wait_for_function(READY)
    found = page.locator("[data-viewer]")
    found.scroll_into_view_if_needed()
    return found


def frame_is(page: Page, number: int) -> None:
    page.wait_for_function(f"() => ({FRAME})() === {number}")
    expect(page.locator("[data-viewer-frame]")).to_have_text(f"{number:,}")


def test_the_map_is_drawn_over_the_frame_that_the_address_names(
    page: Page, seeded: seeding.Seeded
) -> None:
    watch = Watch(page)
    found = viewer(page, seeded, f"video={KEY}&frame=200")

    frame_is(page, 200)
    assert page.evaluate(DRAWN) > 0.5
    expect(found.locator('[data-viewer-score="evaluated"]')).to_have_text(re.compile(r"^0\.\d{3}$"))
    expect(found.locator("[data-viewer-time]")).to_have_text("0:08.00 min")
    expect(found.locator("[data-viewer-broken]")).to_be_hidden()
    assert watch.found == []


def test_keys_step_by_frames_and_snippets_and_the_address_follows(
    page: Page, seeded: seeding.Seeded
) -> None:
    viewer(page, seeded, f"video={KEY}&frame=20")
    frame_is(page, 20)

    for key, frame in [
        ("ArrowRight", 21), ("ArrowLeft", 20), ("Shift+ArrowRight", 32), ("Shift+ArrowRight", 48),
        ("Shift+ArrowLeft", 32), ("ArrowRight", 33), ("Shift+ArrowLeft", 32),
    ]:  # fmt: skip
        page.keyboard.press(key)
        frame_is(page, frame)

    expect(page).to_have_url(re.compile(r"frame=32\b"))


def test_space_plays_and_stops(page: Page, seeded: seeding.Seeded) -> None:
    found = viewer(page, seeded)
    frame_is(page, 0)
    page.keyboard.press("Space")
    expect(found.locator('[data-viewer-do="play"]')).to_have_attribute("aria-label", "Pause")
    page.wait_for_function(f"() => ({FRAME})() > 8")

    page.keyboard.press("Space")

    expect(found.locator('[data-viewer-do="play"]')).to_have_attribute("aria-label", "Play")
    stopped = page.evaluate(FRAME)
    page.keyboard.press("ArrowRight")
    frame_is(page, stopped + 1)
    assert page.evaluate("() => document.querySelector('[data-viewer]').vadlab.stats.worst") < 100


def test_map_and_truth_are_switched_by_keys_and_the_keys_are_listed(
    page: Page, seeded: seeding.Seeded
) -> None:
    found = viewer(page, seeded)
    page.keyboard.press("m")
    expect(found.locator('[data-viewer-do="map"]')).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("t")
    expect(found.locator('[data-viewer-do="truth"]')).to_have_attribute("aria-pressed", "false")
    assert page.evaluate(DRAWN) == 0

    page.keyboard.press("?")

    expect(found.locator("dialog")).to_be_visible()


def test_the_playhead_follows_and_a_click_on_the_curve_goes_there(
    page: Page, seeded: seeding.Seeded
) -> None:
    viewer(page, seeded)
    plot = page.locator("#video-timeline .nsewdrag").first
    plot.scroll_into_view_if_needed()
    expect(page.locator("#video-timeline .viewer-playhead")).to_be_visible()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.wait_for_timeout(200)

    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)

    middle = int(page.locator("[data-viewer-position]").get_attribute("max") or 0) / 2
    page.wait_for_function(f"() => Math.abs(({FRAME})() - {middle}) < 3")
    line = page.locator("#video-timeline .viewer-playhead").bounding_box()
    assert line is not None
    assert abs(line["x"] + 1 - box["x"] - box["width"] / 2) < 4


def test_another_video_takes_the_viewer_with_it(page: Page, seeded: seeding.Seeded) -> None:
    viewer(page, seeded, f"video={KEY}&frame=20")
    frame_is(page, 20)

    page.click('a:text-is("test/fire_047")')

    page.wait_for_function(
        "() => { const v = document.querySelector('[data-viewer]');"
        " return v.getAttribute('aria-label').includes('fire_047') && v.vadlab?.complete; }"
    )
    frame_is(page, 0)
    expect(page.locator("[data-viewer-broken]")).to_contain_text("is no longer in the folder")
    page.locator("[data-viewer]").scroll_into_view_if_needed()
    page.keyboard.press("Shift+ArrowRight")  # steps without a film, too
    frame_is(page, 16)
    assert page.evaluate(DRAWN) > 0.5


def test_a_film_that_no_browser_plays_offers_proxies(page: Page, seeded: seeding.Seeded) -> None:
    seeding.add_footage(seeded, KEY).write_bytes(b"no film at all " * 1000)

    found = viewer(page, seeded)

    expect(found.locator("[data-viewer-broken]")).to_be_visible()
    expect(found.locator("[data-viewer-broken] a")).to_have_attribute(
        "href", f"/runs/new/?kind=proxies&version={seeded.version.pk}"
    )
    assert page.evaluate(DRAWN) > 0.5


def test_it_fits_a_phone(page: Page, seeded: seeding.Seeded) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    watch = Watch(page)
    found = viewer(page, seeded)

    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    box = found.locator("[data-viewer-stage]").bounding_box()
    assert box is not None
    assert 300 < box["width"] < 370
    assert watch.found == []
