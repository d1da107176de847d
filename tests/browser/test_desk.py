"""The viewer's own page in a real browser: several runs on one clock, and links that show it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accessibility
import av
import entering
import numpy as np
import pytest
import seeding
from looks import SIZES, in_all_looks
from playwright.sync_api import Page, expect
from test_every_page import OVERFLOW, Watch

from vad.data.manifest import load_manifest, load_truth
from vad.evaluation.alarms import video_alarms
from vad.evaluation.patch_scores import PatchScores, VideoPatches
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]

KEY = "test/running_053"
DESK = "document.querySelector('[data-viewer]').vadlab"
COMPLETE = f"() => document.querySelector('[data-viewer]')?.vadlab?.complete && {DESK}.ready"
PIXEL = """([selector, x, y]) => {
  const canvas = document.querySelector(selector);
  const at = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
  return [...canvas.getContext('2d').getImageData(...at, 1, 1).data];
}"""
PICTURES = """() => ['[data-viewer-canvas]', '[data-viewer-matrix-canvas]'].map(
  (name) => document.querySelector(name).toDataURL())"""
MAP = "[data-viewer-canvas]"
FILM = "document.querySelector('[data-viewer-video]')"
# The numbers in the pictures of the film itself and of its copy, see `numbered_film`.
NUMBERS = """() => [document.querySelector('[data-viewer-video]'),
  document.querySelector('.viewer-picture')].map((picture) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 240 });
    const context = canvas.getContext('2d');
    context.drawImage(picture, 0, 0, 320, 240);
    const bits = Array.from({ length: 11 }, (_, bit) =>
      context.getImageData(12 + 24 * bit, 12, 1, 1).data[0] > 128 ? 1 << bit : 0);
    return bits.reduce((sum, bit) => sum + bit, 0);
  })"""


def maps_of(
    evaluation: Evaluation,
    *,
    rows: int,
    columns: int,
    scores: dict[int, float],
    tubelets: int = 1,
    spike: tuple[int, int, int] | None = None,
) -> None:
    """The same map in every frame: these patches have these scores, the others none.

    `spike` is the snippet, tubelet and patch of one single score of 1.
    """
    frames = store.load(evaluation)
    made = []
    for video in frames.videos():
        maps = np.zeros((len(video.scores), tubelets, rows * columns), dtype=np.float32)
        for patch, score in scores.items():
            maps[:, :, patch] = score
        if spike and spike[0] < len(maps):
            maps[spike] = 1
        made.append(
            VideoPatches(
                key=video.key,
                maps=maps,
                kept=np.ones(maps.shape, dtype=bool),
                stage1=video.scores,
                stage2=maps.max(axis=(1, 2)),
                frames=video.frames.astype(np.int64),
            )
        )
    sha = PatchScores.build(made, rows=rows, columns=columns).save(evaluation.patches_path)
    evaluation.patch = {"sha256": sha}
    evaluation.save()


def numbered_film(seeded: seeding.Seeded) -> None:
    """Each picture has its number in it: eleven white or black squares, the lowest bit first."""
    manifest = load_manifest(seeded.version.folder)
    video = next(v for v in manifest.videos if v.key == KEY)
    with av.open(str(Path(manifest.media_root) / video.path), "w") as file:
        stream = file.add_stream("libx264", rate=int(video.fps))
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "24", "g": "12"}
        for n in range(video.num_frames):
            picture = np.zeros((video.height, video.width, 3), dtype=np.uint8)
            for bit in range(11):
                picture[:24, 24 * bit : 24 * bit + 24] = 255 * (n >> bit & 1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


Opened = Callable[..., Page]


@pytest.fixture
def sign_in(live_server: Any, seeded: seeding.Seeded, context: Any) -> Opened:
    """A page of a fresh browser profile, signed in."""

    def make(width: int = 1440, height: int = 900, **options: Any) -> Page:
        size = {"width": width, "height": height}
        opened = context(base_url=live_server.url, viewport=size, **options).new_page()
        return entering.sign_in(opened, seeded.user.username)

    return make


@pytest.fixture
def two(seeded: seeding.Seeded) -> list[Evaluation]:
    """Two runs with maps on different grids, and the film of one video."""
    first, second = seeded.evaluations
    seeding.add_maps(seeded, first)
    seeding.add_maps(seeded, second, rows=6, columns=10, tubelets=1)
    seeding.add_footage(seeded, KEY)
    return [first, second]


def go(page: Page, runs: list[Evaluation], **more: Any) -> None:
    query = [
        *(f"run={e.pk}" for e in runs),
        *(f"{k}={v}" for k, v in {"video": KEY, **more}.items()),
    ]
    page.goto(f"/evaluations/viewer/?{'&'.join(query)}")
    page.wait_for_function(COMPLETE)
    frame_is(page, int(more.get("frame", 0)))


def frame_is(page: Page, number: int) -> None:
    page.wait_for_function(f"() => {DESK}.frame === {number}")
    expect(page.locator("[data-viewer-frame]")).to_have_text(f"{number:,}")


def close(found: list[int], wanted: tuple[int, ...], within: int = 4) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))


# --- what is painted ------------------------------------------------------------------------

ONE = (252, 255, 164, 178)  # inferno's end, 70 % opaque
HALF = (188, 55, 84, 79)  # its middle: of a score of 113 / 255, since its first tenth is cut


@pytest.fixture
def known(seeded: seeding.Seeded) -> list[Evaluation]:
    """A: 4 x 4 patches, row 2 column 3 is 1 and row 4 column 4 the middle; B: 2 x 8, one is 1."""
    first, second = seeded.evaluations
    maps_of(first, rows=4, columns=4, scores={6: 1.0, 15: 113 / 255})
    maps_of(second, rows=2, columns=8, scores={4: 1.0})
    seeding.add_footage(seeded, KEY)
    return [first, second]


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


# --- the state and the link -------------------------------------------------------------------


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


# --- errors ---------------------------------------------------------------------------------


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


# --- films, videos, phones ------------------------------------------------------------------


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
