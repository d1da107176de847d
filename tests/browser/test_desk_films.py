"""Films, lists of videos, runs that join and leave, small windows."""

from __future__ import annotations

import re
from pathlib import Path

import accessibility
import av
import numpy as np
import pytest
import seeding
from desk import (
    COMPLETE,
    DESK,
    KEY,
    MAP,
    PIXEL,
    frame_is,
    go,
)
from entering import Opened
from looks import SIZES, in_all_looks
from playwright.sync_api import expect
from watching import OVERFLOW, Watch

from vad.data.manifest import load_manifest, load_truth
from webapp.evaluations.models import Evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_speed_is_chosen_by_key_and_by_list(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two[:1])
    rate = "() => document.querySelector('[data-viewer-video]').playbackRate"
    page.keyboard.press("<")
    assert page.evaluate(rate) == 0.5
    page.select_option("[data-viewer-speed]", "4")
    assert page.evaluate(rate) == 4
    page.keyboard.press("Escape")
    page.locator("[data-viewer-speed]").blur()
    page.keyboard.press("Space")
    page.wait_for_function(f"() => {DESK}.frame > 40")
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile("speed=4"))


def test_without_a_film_the_maps_are_played_alone(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two[:1], video="test/fire_047", frame=20)

    page.keyboard.press("Space")
    page.wait_for_function(f"() => {DESK}.frame > 40")
    page.keyboard.press("Space")

    stopped = page.evaluate(f"() => {DESK}.frame")
    page.keyboard.press("ArrowRight")
    frame_is(page, stopped + 1)


def test_a_file_with_sound_alone_offers_proxies(
    sign_in: Opened, two: list[Evaluation], seeded: seeding.Seeded
) -> None:
    manifest = load_manifest(seeded.version.folder)
    path = Path(manifest.media_root) / next(v for v in manifest.videos if v.key == KEY).path
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=16_000)
        for _ in range(20):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 16_000
            file.mux(stream.encode(sound))
        file.mux(stream.encode())
    page = sign_in()

    go(page, two[:1], frame=7)

    expect(page.locator("[data-viewer-broken]")).to_contain_text("no picture that it reads")
    expect(page.locator("[data-viewer-broken] a")).to_have_attribute(
        "href", re.compile("kind=proxies")
    )
    page.keyboard.press("ArrowRight")
    frame_is(page, 8)


def test_maps_come_in_parts_from_the_playhead_on(sign_in: Opened, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    seeding.add_maps(seeded, evaluation, rows=32, columns=32, tubelets=2)
    page = sign_in()
    asked: list[int] = []
    page.on(
        "request",
        lambda r: (
            asked.append(int(re.search(r"from=(\d+)", r.url).group(1)))  # type: ignore[union-attr]
            if "/maps/" in r.url
            else None
        ),
    )

    go(page, [evaluation], frame=640)

    assert asked == [36, 0]  # 46 snippets a part of 71: around the playhead, then the rest


def test_videos_are_searched_and_stepped_through_with_all_that_is_shown(
    sign_in: Opened, two: list[Evaluation]
) -> None:
    page = sign_in()
    go(page, two, frame=33)
    page.keyboard.press("w")
    page.get_by_text("Videos", exact=True).click()
    page.get_by_label("Search videos").fill("fighting")
    rows = page.locator("#viewer-videos tbody tr")
    expect(rows).to_have_count(3)
    expect(page).to_have_url(re.compile("q=fighting"))

    rows.nth(1).locator("a").click()

    page.wait_for_url(re.compile("video=test%2Ffighting"))
    assert "mode=wipe" in page.url
    assert "q=fighting" in page.url
    page.wait_for_function(COMPLETE)
    frame_is(page, 0)
    expect(page.locator("#viewer-step .num")).to_have_text("2 of 3")
    here = page.locator("h1").inner_text()
    page.keyboard.press("n")
    expect(page.locator("h1")).not_to_have_text(here)
    expect(page.locator("#viewer-step .num")).to_have_text("3 of 3")


def test_runs_join_and_leave(sign_in: Opened, two: list[Evaluation]) -> None:
    page = sign_in()
    go(page, two[:1], frame=50, threshold=0.4)
    page.select_option("[data-viewer-add]", str(two[1].pk))
    page.wait_for_url(re.compile(f"run={two[1].pk}"))
    page.wait_for_function(COMPLETE)
    frame_is(page, 50)
    page.keyboard.press("2")
    page.keyboard.press("w")

    page.get_by_role("link", name=f"Leave out {two[0].of_run.name}").click()

    page.wait_for_function(COMPLETE)
    frame_is(page, 50)
    expect(page.locator("[data-viewer-run]")).to_have_count(1)
    assert str(two[0].pk) not in page.url
    assert "threshold=0.4" in page.url
    assert "mode" not in page.url


def test_one_stage_has_film_curve_and_errors_without_a_map(
    sign_in: Opened, seeded: seeding.Seeded
) -> None:
    seeding.add_footage(seeded, KEY)
    page = sign_in()
    watch = Watch(page)

    go(page, [seeded.evaluations[1]], frame=40)

    page.locator("#video-timeline .main-svg").first.wait_for()
    page.keyboard.press("]")
    page.wait_for_function(f"() => {DESK}.frame > 40")
    expect(page.locator("[data-viewer-matrix]")).to_have_count(0)
    start = load_truth(seeded.version.folder, "test")[KEY].intervals[0][0]
    go(page, [seeded.evaluations[1]], frame=start)
    page.wait_for_function(
        f"(args) => ({PIXEL})(args)[3] === 255", arg=[MAP, 60 / 320, (80 + 150) / 480]
    )
    assert watch.found == []


@in_all_looks
def test_it_fits_and_nobody_is_left_out(
    sign_in: Opened, two: list[Evaluation], size: str, scheme: str
) -> None:
    page = sign_in(*SIZES[size], color_scheme=scheme, reduced_motion="reduce")
    watch = Watch(page)
    for mode in ("side", "diff", "wipe", "pick"):
        go(page, two, mode=mode, frame=200, patch="1.2.3", threshold=0.3)
        assert page.evaluate(OVERFLOW) == 0, mode
        stage = page.locator("[data-viewer-stage]").bounding_box()
        assert stage is not None
        assert stage["width"] > 300, mode
        page.locator("#video-timeline").scroll_into_view_if_needed()
        page.locator("#video-timeline .main-svg").first.wait_for()
        if mode == "pick":
            page.get_by_text("Videos", exact=True).click()
        assert accessibility.findings(page) == [], mode
    assert watch.found == []
