"""The comparison in a real browser: operating point, parts, tables, its link opened elsewhere."""

from __future__ import annotations

import re
from typing import Any

import accessibility
import pytest
import seeding
from entering import Opened
from looks import SIZES, in_all_looks, picture
from playwright.sync_api import Page, expect
from watching import Watch

from vad.evaluation.curves import roc_curve
from vad.evaluation.scores import ScoreSet
from webapp.evaluations.models import Evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DRAWN = """n => [...document.querySelectorAll('.chart')].filter(
  c => c.vadlab?.plot?.data?.length).length >= n"""

TOO_WIDE = """page => page.scrollWidth <= page.clientWidth ? [] :
  [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth
    && !e.closest('.table-wrap, svg')).map(e => e.outerHTML.slice(0, 120))"""


def address(seeded: seeding.Seeded, more: str = "") -> str:
    return f"/compare/?run={seeded.runs['first'].pk}&run={seeded.runs['second'].pk}{more}"


def see_all(page: Page) -> None:
    """To the end and back: parts and charts come when they are near the window."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, 3 * height, 400):
        page.evaluate(f"window.scrollTo(0, {top})")
        page.wait_for_timeout(60)
    page.wait_for_function(DRAWN, arg=4)
    page.evaluate("window.scrollTo(0, 0)")


def test_the_operating_point_is_the_curve_s_and_stays_in_the_link(
    sign_in: Opened, seeded: seeding.Seeded
) -> None:
    page, key = sign_in(), str(seeded.runs["first"].pk)
    page.goto(address(seeded))
    row = page.locator(f'[data-operating-row="{key}"]')
    slider = page.locator("#fpr")
    expect(slider).to_be_visible()

    slider.focus()
    for _ in range(20):
        page.keyboard.press("PageUp")
    rate = (float(slider.input_value()) / 1000) ** 2

    curve = roc_curve(ScoreSet.load(seeded.evaluations[0].scores_path), 400)
    at = int((curve.fpr <= rate + 1e-9).nonzero()[0][-1])
    expect(row.locator('[data-operating-value="fpr"]')).to_have_text(f"{curve.fpr[at]:.3f}")
    expect(row.locator('[data-operating-value="tpr"]')).to_have_text(f"{curve.tpr[at]:.3f}")
    expect(row.locator('[data-operating-value="precision"]')).to_have_text(
        f"{curve.precision[at]:.3f}"
    )
    assert f"fpr={rate:.4f}" in page.url
    ring = """key => document.getElementById('roc').vadlab.plot.data
      .filter(t => t.meta?.ring === key).map(t => [t.x[0], t.y[0]])[0]"""
    assert page.evaluate(ring, key) == pytest.approx([curve.fpr[at], curve.tpr[at]], rel=1e-4)

    other = sign_in()  # the link opened elsewhere shows the same
    other.goto(page.url)
    expect(other.locator(f'[data-operating-row="{key}"]')).to_have_text(
        row.text_content() or "", use_inner_text=False
    )


def test_a_ring_can_be_dragged_and_the_zoom_keeps_still(
    sign_in: Opened, seeded: seeding.Seeded
) -> None:
    page = sign_in()
    page.goto(address(seeded))
    page.wait_for_function(DRAWN, arg=2)
    place = """() => { const p = document.getElementById('roc').vadlab.plot;
      const t = p.data.find(t => t.meta?.ring), f = p._fullLayout, b = p.getBoundingClientRect();
      return [b.left + f.xaxis._offset + f.xaxis.d2p(t.x[0]),
              b.top + f.yaxis._offset + f.yaxis.d2p(t.y[0])]; }"""
    x, y = page.evaluate(place)

    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 10, steps=6)
    page.mouse.up()

    moved, _ = page.evaluate(place)
    assert moved == pytest.approx(x + 60, abs=12)
    expect(page.locator("#fpr")).not_to_have_value("0")
    axis = page.evaluate("document.getElementById('roc').vadlab.plot._fullLayout.xaxis.range")
    assert axis == pytest.approx([-0.005, 1.005])


@in_all_looks
def test_the_whole_comparison_is_drawn_without_a_complaint(
    sign_in: Opened, seeded: seeding.Seeded, size: str, scheme: str
) -> None:
    page = sign_in(*SIZES[size], color_scheme=scheme)
    watch = Watch(page)
    page.goto(address(seeded))
    see_all(page)

    expect(page.locator("#metrics")).to_contain_text("500 resamples")
    expect(page.locator("#pairs")).to_contain_text("Holm")
    expect(page.locator("#two")).to_contain_text("Which videos explain the difference")
    page.wait_for_timeout(300)
    picture(page, f"compare-{size}-{scheme}")
    assert accessibility.findings(page) == []
    assert watch.found == []
    assert page.locator("html").evaluate(TOO_WIDE) == []


@in_all_looks
def test_pairs_of_patch_metrics_are_chosen_in_the_matrix(
    sign_in: Opened, seeded: seeding.Seeded, size: str, scheme: str
) -> None:
    for evaluation in seeded.evaluations:
        seeding.add_maps(seeded, evaluation)
    page = sign_in(*SIZES[size], color_scheme=scheme)
    watch = Watch(page)
    page.goto(address(seeded))
    see_all(page)
    pairs = page.locator("#pairs")

    pairs.get_by_label("Metric of the pairs").select_option(label="Patch AUC, ungated")

    page.wait_for_url(re.compile("pairs=patch_auc_ungated"))
    expect(pairs.locator("select")).to_have_value("patch_auc_ungated")
    expect(pairs.locator("td .difference")).to_have_count(2)
    expect(pairs.locator("td").last).not_to_contain_text("p ")
    expect(pairs).to_contain_text("p 0.")
    pairs.scroll_into_view_if_needed()
    picture(page, f"compare-patches-{size}-{scheme}")
    assert accessibility.findings(page) == []
    assert watch.found == []
    assert page.locator("html").evaluate(TOO_WIDE) == []


def test_patch_scores_of_two_grids_are_said_to_be_not_comparable(
    sign_in: Opened, seeded: seeding.Seeded, two: list[Evaluation]
) -> None:
    page = sign_in()

    page.goto(address(seeded, "&part=pairs&pairs=patch_auc#pairs"))

    expect(page.locator("#pairs")).to_contain_text("Not comparable: the patch scores")
    expect(page.locator(".notice")).to_contain_text("Patch numbers only")
    expect(page.locator("#pairs select")).to_have_value("patch_auc")


def test_a_point_of_the_scatter_opens_its_video(sign_in: Opened, seeded: seeding.Seeded) -> None:
    page = sign_in()
    page.goto(address(seeded, "&part=two#two"))
    scatter = page.locator("#scatter.chart")
    scatter.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('#scatter.chart')?.vadlab?.plot?.data?.length")
    where = """() => { const p = document.querySelector('#scatter.chart').vadlab.plot;
      const t = p.data.find(t => t.mode === 'markers'), f = p._fullLayout;
      const b = p.getBoundingClientRect();
      return [b.left + f.xaxis._offset + f.xaxis.d2p(t.x[0]),
              b.top + f.yaxis._offset + f.yaxis.d2p(t.y[0]), t.customdata[0]]; }"""
    page.wait_for_timeout(400)
    x, y, href = page.evaluate(where)

    page.mouse.move(x, y)
    page.wait_for_timeout(120)
    page.mouse.click(x, y)

    page.wait_for_url(re.compile(r"/evaluations/viewer/.*video="))
    assert page.url.endswith(href)


def test_a_table_is_copied_as_markdown(
    sign_in: Opened, seeded: seeding.Seeded, live_server: Any
) -> None:
    page = sign_in(permissions=["clipboard-read", "clipboard-write"])
    page.goto(address(seeded))
    expect(page.locator("#metrics")).to_contain_text("500 resamples")

    page.locator("#metrics summary").click()
    page.get_by_role("button", name="as Markdown").first.click()
    expect(page.locator("text=Copied.")).to_be_visible()

    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("| run |")
    assert seeded.runs["second"].name in text
