"""The viewer's state: its link shows the same elsewhere, keys and clicks change it."""

from __future__ import annotations

import re

import pytest
import seeding
from desk import (
    COMPLETE,
    DESK,
    HALF,
    ONE,
    PICTURES,
    PIXEL,
    close,
    frame_is,
    go,
    maps_of,
)
from entering import Opened
from playwright.sync_api import expect
from watching import Watch

from webapp.evaluations.models import Evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_link_shows_the_same_elsewhere(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two, frame=180)
    watch = Watch(page)
    for key in ("ArrowRight", "2", "d", ">"):
        page.keyboard.press(key)
    page.locator("[data-viewer-limit]").fill("0.35")
    page.get_by_label("Opacity of the map").fill("90")
    page.get_by_role("button", name="Sort by highest").click()
    frame_is(page, 181)
    page.wait_for_url(re.compile(r"opacity=90"))
    page.wait_for_function(COMPLETE)
    page.locator("#video-timeline .main-svg").first.wait_for()
    page.wait_for_timeout(500)
    state = page.evaluate(f"() => JSON.stringify({DESK}.state)")
    pictures = page.evaluate(PICTURES)
    link = page.url

    other = sign_in()
    other.goto(link)
    other.wait_for_function(COMPLETE)
    other.locator("#video-timeline .main-svg").first.wait_for()
    frame_is(other, 181)
    other.wait_for_timeout(500)

    assert other.evaluate(f"() => JSON.stringify({DESK}.state)") == state
    assert '"mode":"diff","a":1,"b":0,"threshold":0.35,"opacity":0.9' in state
    assert other.evaluate(PICTURES) == pictures
    assert other.url == link
    film = "() => document.querySelector('[data-viewer-video]')"
    assert other.evaluate(f"{film}.currentTime") == page.evaluate(f"{film}.currentTime")
    assert other.evaluate(f"{film}.playbackRate") == 2
    assert watch.found == []


def test_everything_works_by_keyboard_alone(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two)
    errors = page.evaluate(f"() => {DESK}.errors.map((e) => e.start)")
    assert len(errors) > 3

    page.keyboard.press("]")
    frame_is(page, errors[0] or errors[1])
    expect(page.locator("[data-viewer-live]")).to_contain_text("False alarm of")
    expect(page.locator("[data-viewer-error][aria-current]")).to_have_count(1)
    page.keyboard.press("]")
    page.keyboard.press("[")
    page.keyboard.press("2")
    expect(page.locator('[data-viewer-do="choose"]').nth(1)).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("w")
    expect(page.locator("[data-viewer-wipe]")).to_be_visible()
    page.keyboard.press("s")
    expect(page.locator(".viewer-pane")).to_have_count(2)
    page.keyboard.press("d")
    expect(page.locator('[data-viewer-do="diff"]')).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("?")
    expect(page.locator("#viewer-keys")).to_be_visible()
    page.keyboard.press("Escape")
    reached = set()
    for _ in range(70):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(({ ariaLabel, id, name, textContent }) =>"
                " ariaLabel || id || name || textContent.trim())(document.activeElement)"
            )
        )
    wanted = {
        "Frame", "Play", "Previous error", "Next error", "Back a snippet", "Speed", "Keys",
        "viewer-threshold", "viewer-opacity", "Map", "Truth", "Wipe", "Difference", "Side by side",
        "Sort by highest", "row", "column", "Add curve", "Videos",
    }  # fmt: skip
    assert wanted <= reached


def test_a_patch_gets_a_curve_that_can_be_taken_away(
    sign_in: Opened, two: list[Evaluation]
) -> None:
    page = sign_in()
    go(page, two[:1], frame=200)
    name = f"patch 2,3 of {two[0].of_run.name}"
    box = page.locator("[data-viewer-stage]").bounding_box()
    assert box is not None

    page.mouse.click(box["x"] + 2.5 / 8 * box["width"], box["y"] + 1.5 / 8 * box["height"])

    legend = page.locator("#video-timeline .legendtext")
    expect(legend.get_by_text(name)).to_be_visible(timeout=10_000)
    expect(page).to_have_url(re.compile(r"patch=1\.2\.3\b"))
    page.get_by_role("button", name="Take away the curve of patch 2,3").click()
    expect(legend.get_by_text(name)).to_have_count(0)
    page.locator('input[name="row"]').fill("8")
    page.locator('input[name="row"]').press("Enter")
    expect(legend.get_by_text("patch 8,1 of")).to_be_visible(timeout=10_000)


def test_a_click_on_the_matrix_goes_there_and_draws_the_patch(
    sign_in: Opened, two: list[Evaluation]
) -> None:
    page = sign_in()
    go(page, two[:1])
    page.locator("#video-timeline .main-svg").first.wait_for()
    page.locator("[data-viewer-matrix]").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    plot = page.locator("#video-timeline .nsewdrag").first.bounding_box()
    box = page.locator("[data-viewer-matrix-canvas]").bounding_box()
    assert plot is not None
    assert box is not None
    x = plot["x"] + plot["width"] * 0.25
    y = box["y"] + 8 + (box["height"] - 8) * (19.5 / 64)

    page.mouse.move(x, y)
    expect(page.locator("[data-viewer-matrix-note]")).to_contain_text("row 3, column 4")
    page.mouse.click(x, y)

    count = page.evaluate("() => Number(document.querySelector('[data-viewer]').dataset.frames)")
    page.wait_for_function(f"() => Math.abs({DESK}.frame - {count / 4}) < 3")
    expect(page).to_have_url(re.compile(r"patch=1\.3\.4\b"))
    line = page.locator("[data-viewer-matrix-playhead]").bounding_box()
    assert line is not None
    assert abs(line["x"] + 1 - x) < 4


def test_the_matrix_has_the_highest_score_of_every_pixel(
    sign_in: Opened, known: list[Evaluation]
) -> None:
    page = sign_in()
    go(page, known[:1])
    page.locator("#video-timeline .main-svg").first.wait_for()
    page.wait_for_timeout(400)
    canvas = "[data-viewer-matrix-canvas]"

    def row(patch: int) -> list[int]:
        return page.evaluate(PIXEL, [canvas, 0.5, (8 + 212 * (patch + 0.5) / 16) / 220])

    assert close(row(6), (*ONE[:3], 255))
    assert close(row(15), (*HALF[:3], 255))
    assert row(5)[3] == 0


def test_a_single_high_score_is_never_lost_between_two_pixels(
    sign_in: Opened, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[0]
    maps_of(evaluation, rows=4, columns=4, scores={6: 0.1}, tubelets=64, spike=(40, 21, 6))
    page = sign_in()
    go(page, [evaluation])
    page.locator("#video-timeline .main-svg").first.wait_for()
    page.wait_for_timeout(400)

    bright = page.evaluate(
        """() => {
          const c = document.querySelector('[data-viewer-matrix-canvas]');
          const y = Math.floor((c.height * (8 + 212 * (6.5 / 16))) / 220);
          const { data } = c.getContext('2d').getImageData(0, y, c.width, 1);
          return Array.from({ length: c.width }, (_, x) => x).filter((x) => data[4 * x] > 240);
        }"""
    )

    assert len(bright) in (1, 2)  # of 4,544 maps on about 1,100 pixels


def test_grids_of_two_runs_meet_at_the_nearest_patch(
    sign_in: Opened, two: list[Evaluation]
) -> None:
    page = sign_in()
    go(page, two[:1])
    grids = [((8, 8), (6, 10)), ((5, 7), (3, 4)), ((2, 9), (7, 2)), ((4, 4), (4, 4))]

    got = page.evaluate(
        """async (grids) => {
          const script = document.querySelector('script[src*="js/viewer."]').src;
          const { shared } = await import(script.replace('viewer.js', 'viewer-maps.js'));
          return grids.map((pair) => {
            const [a, b] = pair.map(([rows, columns]) => ({ rows, columns }));
            const { rows, columns, ofA, ofB } = shared(a, b);
            return [rows, columns, [...ofA], [...ofB]];
          });
        }""",
        grids,
    )

    def nearest(own: int, all_of_them: int, at: int) -> int:
        """The patch whose middle is the nearest to the middle of a cell; later at a tie."""
        middle = (at + 0.5) / all_of_them
        return min(range(own), key=lambda n: (round(abs((n + 0.5) / own - middle), 9), -n))

    for (a, b), (rows, columns, of_a, of_b) in zip(grids, got, strict=True):
        assert (rows, columns) == (max(a[0], b[0]), max(a[1], b[1]))
        for grid, found in ((a, of_a), (b, of_b)):
            assert found == [
                nearest(grid[0], rows, r) * grid[1] + nearest(grid[1], columns, c)
                for r in range(rows)
                for c in range(columns)
            ]
