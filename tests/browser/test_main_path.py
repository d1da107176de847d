"""The way of a morning: from the table to the comparison, from there to a video, and on by link."""

from __future__ import annotations

import re
from typing import Any

import entering
import pytest
import seeding
from playwright.sync_api import Page, expect
from watching import Watch

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def signed_in(context: Any, base_url: str, seeded: seeding.Seeded) -> Page:
    page = context(base_url=base_url, viewport={"width": 1440, "height": 900}).new_page()
    return entering.sign_in(page, seeded.user.username)


def test_from_the_table_over_the_comparison_to_a_video_and_on_by_link(
    live_server: Any, seeded: seeding.Seeded, context: Any
) -> None:
    seeding.add_maps(seeded, seeded.evaluations[0])
    page = signed_in(context, live_server.url, seeded)
    watch = Watch(page)
    names = [seeded.runs[name].name for name in ("first", "second")]

    page.goto("/runs/?q=tag:baseline or state:succeeded and kind:train-urdmu")
    for name in names:
        page.get_by_role("checkbox", name=f"Select {name}", exact=True).check()
    page.get_by_role("button", name=re.compile("^Compare")).click()
    page.wait_for_url(re.compile(r"/compare/\?run="))
    expect(page.locator("#metrics")).to_contain_text("500 resamples")
    page.locator("#two").scroll_into_view_if_needed()
    first = page.locator(".explained tbody tr").first.get_by_role("link")
    video = first.text_content() or ""
    first.click()

    page.wait_for_url(re.compile(r"/evaluations/viewer/"))
    for name in names:
        shown = page.get_by_label("Runs", exact=True).get_by_role("button", name=f"Show {name}")
        expect(shown).to_be_visible()
    expect(page.locator("h1")).to_contain_text(video)
    assert watch.found == []

    other = signed_in(context, live_server.url, seeded)
    other.goto(page.url)
    expect(other.locator("h1")).to_contain_text(video)
    assert other.locator("[data-viewer-run]").count() == 2
