"""What the viewer paints: maps, boxes, wipe, difference, and which frame of the film."""

from __future__ import annotations

import re

import pytest
import seeding
from desk import (
    DESK,
    FILM,
    HALF,
    KEY,
    MAP,
    NUMBERS,
    ONE,
    PIXEL,
    close,
    frame_is,
    go,
    numbered_film,
)
from entering import Opened
from playwright.sync_api import expect

from vad.data.manifest import load_truth
from webapp.evaluations.models import Evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_known_map_and_a_known_box_lie_where_they_belong(
    sign_in: Opened, known: list[Evaluation], seeded: seeding.Seeded
) -> None:
    page = sign_in()
    start, end = load_truth(seeded.version.folder, "test")[KEY].intervals[0]
    go(page, known[:1], frame=start, threshold=1)

    box = page.request.get(f"/api/v1/evaluations/{known[0].pk}/truth/?video={KEY}").json()["boxes"][
        0
    ]
    assert box[:1] == [start]
    assert box[2:] == pytest.approx([60 / 320, 80 / 240, 110 / 320, 150 / 240], abs=1e-3)
    x0, y0, x1, y1 = box[2:]
    for x, y in (
        (x0, (y0 + y1) / 2),
        (x1, (y0 + y1) / 2),
        ((x0 + x1) / 2, y0),
        ((x0 + x1) / 2, y1),
    ):
        assert page.evaluate(PIXEL, [MAP, x, y]) == [255, 255, 255, 255]
    assert close(page.evaluate(PIXEL, [MAP, 0.625, 0.375]), ONE)
    assert close(page.evaluate(PIXEL, [MAP, 0.875, 0.875]), HALF)
    assert page.evaluate(PIXEL, [MAP, 0.875, 0.125]) == [0, 0, 0, 0]
    page.keyboard.press("t")
    assert page.evaluate(PIXEL, [MAP, x0, (y0 + y1) / 2])[3] == 0
    assert end > start


def test_the_wipe_shows_a_left_of_the_divider_and_b_right_of_it(
    sign_in: Opened, known: list[Evaluation]
) -> None:
    page = sign_in()
    a, b = [0.625, 0.375], [0.5625, 0.125]  # where only A, where only B has a score
    go(page, known, mode="wipe", wipe=50, truth="off", threshold=1)

    assert page.evaluate(PIXEL, [MAP, *a])[3] > 0  # B's patch covers the upper half of its column
    assert close(page.evaluate(PIXEL, [MAP, *b]), ONE)
    assert page.evaluate(PIXEL, [MAP, 0.7, 0.375])[3] == 0  # A's patch, but right of the divider
    divider = page.get_by_role("slider", name="Divider between the two runs")
    divider.focus()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")

    expect(divider).to_have_attribute("aria-valuenow", "90")
    assert close(page.evaluate(PIXEL, [MAP, 0.7, 0.375]), ONE)
    assert page.evaluate(PIXEL, [MAP, *b])[3] == 0
    expect(page).to_have_url(re.compile(r"wipe=90\b"))
    box = page.locator("[data-viewer-stage]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", "20")
    page.keyboard.press("d")  # the divider has the focus now, and keeps only its own keys
    expect(divider).to_be_hidden()
    expect(page).to_have_url(re.compile("mode=diff"))


def test_the_difference_is_white_at_zero_and_has_its_own_scale(
    sign_in: Opened, known: list[Evaluation]
) -> None:
    page = sign_in()
    go(page, known, mode="diff", truth="off", opacity=100)

    # the common grid has 4 x 8 cells; B's patch is 2 of its rows high, A's 2 of its columns wide
    assert close(page.evaluate(PIXEL, [MAP, 0.69, 0.375]), (196, 78, 12, 255))  # A is higher
    assert close(page.evaluate(PIXEL, [MAP, 0.5625, 0.125]), (16, 88, 168, 255))  # B is higher
    assert close(page.evaluate(PIXEL, [MAP, 0.5625, 0.375]), (255, 255, 255, 89))  # both are 1
    assert close(page.evaluate(PIXEL, [MAP, 0.1, 0.9]), (255, 255, 255, 89))  # both are 0
    expect(page.locator("[data-viewer-low]")).to_have_text(re.compile("1, B higher"))
    page.keyboard.press("d")
    expect(page.locator("[data-viewer-low]")).to_have_text("0")
    assert close(page.evaluate(PIXEL, [MAP, 0.625, 0.375])[:3], ONE[:3])


def test_side_by_side_both_panes_show_the_same_frame(
    sign_in: Opened, known: list[Evaluation], seeded: seeding.Seeded
) -> None:
    numbered_film(seeded)
    page = sign_in()
    go(page, known, mode="side", truth="off", frame=200)

    expect(page.locator(".viewer-pane")).to_have_count(2)
    second = page.evaluate(
        """() => {
          const c = document.querySelectorAll('[data-viewer-canvas]')[1];
          const at = [c.width * 0.5625, c.height * 0.125].map(Math.floor);
          return [...c.getContext('2d').getImageData(...at, 1, 1).data];
        }"""
    )
    assert close(second, ONE)
    for key, frame in [
        ("ArrowRight", 201), ("ArrowRight", 202), ("ArrowLeft", 201), ("Shift+ArrowRight", 208),
        ("Shift+ArrowRight", 224), ("ArrowLeft", 223), ("Shift+ArrowLeft", 208),
    ]:  # fmt: skip
        page.keyboard.press(key)
        frame_is(page, frame)
        page.wait_for_function(f"() => !{FILM}.seeking")
        assert page.evaluate(NUMBERS) == [frame, frame]


def test_where_playing_stops_the_number_is_that_of_the_picture(
    sign_in: Opened, known: list[Evaluation], seeded: seeding.Seeded
) -> None:
    numbered_film(seeded)
    page = sign_in()
    go(page, known, mode="side", speed=2)

    for _ in range(3):
        before = page.evaluate(f"() => {DESK}.frame")
        page.keyboard.press("Space")
        page.wait_for_function(f"() => {DESK}.frame > {before + 20}")
        page.keyboard.press("Space")
        page.wait_for_timeout(200)
        number = page.evaluate(f"() => {DESK}.frame")
        assert page.evaluate(NUMBERS) == [number, number]
        page.keyboard.press("ArrowRight")
        frame_is(page, number + 1)
        page.wait_for_function(f"() => !{FILM}.seeking")
        assert page.evaluate(NUMBERS) == [number + 1, number + 1]


# As Firefox does it: the picture after a seek has the time that was sought, not its own.
AS_FIREFOX = """
const video = HTMLVideoElement.prototype;
const ask = video.requestVideoFrameCallback;
video.requestVideoFrameCallback = function (tell) {
  return ask.call(this, (now, { mediaTime }) =>
    tell(now, { mediaTime: this.paused ? this.currentTime : mediaTime }));
};
"""
WITHOUT = "delete HTMLVideoElement.prototype.requestVideoFrameCallback;"


@pytest.mark.parametrize("browser_of", [AS_FIREFOX, WITHOUT], ids=["as-firefox", "without"])
def test_the_number_is_that_of_the_picture_however_a_browser_dates_it(
    sign_in: Opened, known: list[Evaluation], seeded: seeding.Seeded, browser_of: str
) -> None:
    numbered_film(seeded)
    page = sign_in()
    page.add_init_script(browser_of)
    go(page, known, mode="side", frame=200)
    for key, frame in [("ArrowRight", 201), ("ArrowLeft", 200), ("Shift+ArrowRight", 208)]:
        page.keyboard.press(key)
        frame_is(page, frame)
        page.wait_for_timeout(200)
        frame_is(page, frame)
        assert page.evaluate(NUMBERS) == [frame, frame]

    page.keyboard.press("Space")
    page.wait_for_function(f"() => {DESK}.frame > 230")
    page.keyboard.press("Space")
    page.wait_for_timeout(300)

    number = page.evaluate(f"() => {DESK}.frame")
    assert page.evaluate(NUMBERS) == [number, number]
