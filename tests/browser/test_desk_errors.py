"""False alarms and misses at the threshold."""

from __future__ import annotations

import re

import pytest
import seeding
from desk import (
    frame_is,
    go,
)
from entering import Opened
from playwright.sync_api import expect

from vad.data.manifest import load_truth
from vad.evaluation.alarms import video_alarms
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_errors_in_the_browser_are_those_of_the_library(
    sign_in: Opened, two: list[Evaluation], seeded: seeding.Seeded
) -> None:
    page = sign_in()
    go(page, two[:1])
    scores, truth = store.load(two[0]), load_truth(seeded.version.folder, "test")
    given, wanted = [], []
    for video in scores.videos():
        intervals = truth[video.key].intervals if video.key in truth else ()
        reached = video.scores[video.positives > 0]  # equal to the highest: it just reaches it
        edge = float(reached.max()) if len(reached) else float(video.scores[3])
        for threshold in (0.0, 0.2, 0.5, 0.77, edge, 1.0):
            given.append(
                [
                    {
                        "starts": video.start_frames.tolist(),
                        "scores": video.scores.tolist(),
                        "frames": video.num_frames,
                    },
                    [list(i) for i in intervals],
                    threshold,
                ]
            )
            found = video_alarms(video.scores, video.frames, intervals, threshold)
            wanted.append(
                [
                    [[a.start, a.end, a.peak, a.beside] for a in found.false_alarms],
                    [[m.start, m.end, m.peak, False] for m in found.misses],
                ]
            )

    got = page.evaluate(
        """async (given) => {
          const script = document.querySelector('script[src*="js/viewer."]').src;
          const { alarms } = await import(script.replace('viewer.js', 'viewer-errors.js'));
          const flat = (list) => list.map((e) => [e.start, e.end, e.peak, e.beside]);
          const found = given.map((args) => alarms(...args));
          return found.map((each) => [flat(each.falseAlarms), flat(each.misses)]);
        }""",
        given,
    )

    assert got == wanted
    assert any(misses for _, misses in wanted)


def test_the_list_follows_the_threshold_and_seeks(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two)
    before = page.locator("[data-viewer-error]").count()

    page.get_by_label("Threshold, from 0 to 1").fill("0.3")

    expect(page.locator("[data-viewer-limit-text]")).to_have_text("0.30")
    assert page.locator("[data-viewer-error]").count() > before
    last = page.locator("[data-viewer-error]").last
    start = int(re.search(r"([\d,]+) \u2013", last.inner_text()).group(1).replace(",", ""))  # type: ignore[union-attr]
    last.click()
    frame_is(page, start)
    page.locator('[data-viewer-do="eye"]').nth(1).click()
    expect(page.locator("[data-viewer-errors] h4")).to_have_count(1)


def test_the_threshold_is_dragged_on_the_curve(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two[:1])
    page.locator("#video-timeline .main-svg").first.wait_for()
    line = page.locator(".viewer-limit")
    line.scroll_into_view_if_needed()
    box = line.bounding_box()
    plot = page.locator("#video-timeline .nsewdrag").first.bounding_box()
    assert box is not None
    assert plot is not None

    page.mouse.move(box["x"] + 200, box["y"] + 6)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, plot["y"] + plot["height"] * (1.02 - 0.8) / 1.02, steps=5)
    page.mouse.up()

    assert float(page.locator("[data-viewer-limit]").input_value()) == pytest.approx(0.8, abs=0.02)
    expect(page).to_have_url(re.compile(r"threshold=0\.(79|8|81)"))
