"""The runs table as people use it: filter by keyboard, sort, columns, groups, views, pins."""

from __future__ import annotations

import re
from typing import Any

import entering
import pytest
import seeding
from playwright.sync_api import Page, Route, expect
from watching import Watch

from webapp.accounts.models import Membership, Role, User
from webapp.runs.models import Run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def sign_in(context: Any, url: str, name: str) -> Page:
    opened = context(base_url=url, viewport={"width": 1440, "height": 900}).new_page()
    entering.sign_in(opened, name)
    opened.goto("/runs/")
    return opened


@pytest.fixture
def page(live_server: Any, seeded: seeding.Seeded, context: Any) -> Page:
    return sign_in(context, live_server.url, seeded.user.username)


def names(page: Page) -> list[str]:
    return page.locator("#runs tbody:not(.is-pinned) .row-link").all_text_contents()


def test_a_hand_faster_than_the_proposals_loses_nothing(page: Page) -> None:
    held: list[Route] = []
    holding = True
    page.route("**/complete/*", lambda route: held.append(route) if holding else route.continue_())
    box = page.locator("#q")
    box.focus()
    with page.expect_request("**/complete/*"):
        box.fill("tag")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    holding = False
    for route in held:
        route.continue_()

    expect(box).to_have_value("tag ")
    expect(box).to_be_focused()
    assert "q=" not in page.url


def test_from_a_typed_filter_to_a_view_that_a_colleague_opens(
    page: Page, seeded: seeding.Seeded, context: Any, live_server: Any
) -> None:
    watch = Watch(page)
    first, second = seeded.runs["first"], seeded.runs["second"]
    box, options = page.locator("#q"), page.locator("#q-options")

    # typed with completion, by keyboard alone
    box.focus()
    page.keyboard.type("tag")
    expect(options.locator('[data-text="tag"]')).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(box).to_have_attribute("aria-activedescendant", "q-option-0")
    page.keyboard.press("Enter")
    expect(options.locator('[data-text=":"]')).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(options.locator('[data-text="baseline"]')).to_be_visible()
    page.keyboard.type("base")
    expect(options.locator("li")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(box).to_have_value(re.compile(r"tag ?:baseline "))
    page.keyboard.type("confg.lr > 0")
    page.keyboard.press("Escape")
    expect(options).to_be_hidden()
    page.keyboard.press("Enter")

    # the mistake is shown at its place, and corrected there
    expect(page.locator(".filter-place mark")).to_have_text("confg.lr")
    expect(page.locator("#q-problem")).to_contain_text("Did you mean config.lr")
    expect(box).to_have_attribute("aria-invalid", "true")
    box.fill("tag:baseline config.lr > 0")
    box.press("Enter")
    expect(page.locator("#q-problem")).to_have_count(0)
    assert sorted(names(page)) == sorted([first.name, second.name])

    # sorted by a metric that was made a column
    page.click('a:text-is("Columns")')
    dialog = page.locator("#columns-dialog")
    dialog.get_by_label("Find a column").fill("video_auc")
    dialog.get_by_label("max validation/video_auc").check()
    dialog.get_by_label("Find a column").fill("config.lr")
    dialog.get_by_label("lr", exact=True).check()
    dialog.locator('button:text-is("Show these")').click()
    header = page.locator('th a:text-is("max validation/video_auc")')
    header.click()
    expect(page.locator('th[aria-sort="descending"]')).to_contain_text("max validation/video_auc")
    high_first = names(page)
    page.locator('th[aria-sort="descending"] a').click()
    expect(page.locator('th[aria-sort="ascending"]')).to_be_visible()
    assert names(page) == high_first[::-1]
    assert "sort=max" in page.url

    # grouped, opened, saved
    page.select_option('select[name="group"]', "seeds")
    expect(page.locator(".group-row")).to_have_count(2)
    page.locator(".group-toggle").first.click()
    expect(page.locator('.group-toggle[aria-expanded="true"]')).to_have_count(1)
    expect(page.locator("tbody.is-group .row-link")).to_have_count(1)
    page.click('summary:has-text("Views")')
    page.click('a:has-text("Save this view")')
    page.fill("#view-name", "Baselines by seed")
    page.click('button:text-is("Save view")')
    page.wait_for_url("**/runs/?*")
    expect(page.locator(".group-row")).to_have_count(2)
    rows = page.locator(".group-row").all_inner_texts()
    assert watch.found == []

    # the same for a colleague in a fresh browser
    colleague = User.objects.create_user("noor", password=seeding.PASSWORD)
    Membership.objects.create(project=seeded.project, user=colleague, role=Role.MEMBER)
    other = sign_in(context, live_server.url, "noor")
    other.click('summary:has-text("Views")')
    other.click('.views-menu a:text-is("Baselines by seed")')
    expect(other.locator(".group-row")).to_have_count(2)
    assert other.url.split("/runs/")[1] == page.url.split("/runs/")[1]
    assert other.locator(".group-row").all_inner_texts() == rows
    expect(other.locator("#q")).to_have_value("tag:baseline config.lr > 0")
    headers = [h.strip() for h in page.locator("#runs thead th").all_inner_texts()]
    assert "max validation/video_auc" in headers
    assert [h.strip() for h in other.locator("#runs thead th").all_inner_texts()] == headers


def test_a_run_is_pinned_in_place_and_stays_on_top(page: Page, seeded: seeding.Seeded) -> None:
    watch = Watch(page)
    first = seeded.runs["first"]
    page.check(f'input[value="{seeded.runs["held"].pk}"]')

    page.get_by_role("button", name=f"Pin {first.name}", exact=True).click()

    pinned = page.locator("tbody.is-pinned .row-link")
    expect(pinned).to_have_text([first.name])
    expect(page.locator("#bulk")).to_contain_text("1 selected")  # swapped in place
    page.goto("/runs/?q=state:held")
    expect(pinned).to_have_text([first.name])
    assert names(page) == [seeded.runs["held"].name]
    page.goto(f"/runs/{first.pk}/")
    page.get_by_role("button", name="Unpin the run").click()
    expect(page.get_by_role("button", name="Pin the run")).to_be_visible()
    assert watch.found == []


def test_live_cells_of_chosen_columns_change_and_the_selection_stays(
    page: Page, seeded: seeding.Seeded
) -> None:
    running = seeded.runs["running"]
    page.goto("/runs/?cols=steps,kind,state,min(loss/total)")
    page.check(f'input[value="{running.pk}"]')

    Run.objects.filter(pk=running.pk).update(done=2400)

    expect(page.locator(f"#steps-{running.pk}")).to_have_text("2,400", timeout=8000)
    expect(page.locator(f'input[value="{running.pk}"]')).to_be_checked()
    expect(page.locator("#bulk")).to_contain_text("1 selected")


def test_a_group_selects_its_runs(page: Page, seeded: seeding.Seeded) -> None:
    page.goto("/runs/?group=tag&q=kind:train")
    page.get_by_role("checkbox", name="Select the 2 runs of baseline").check()

    expect(page.locator("#bulk")).to_contain_text("2 selected")
    page.click('#bulk button[value="compare"]')
    expect(page.locator("h1")).to_have_text("Compare 2 runs")


def test_notes_are_written_in_the_header_of_a_run(page: Page, seeded: seeding.Seeded) -> None:
    watch = Watch(page)
    page.goto(f"/runs/{seeded.runs['second'].pk}/")
    page.click('summary:has-text("Notes")')
    page.fill("#run-notes", "The warm-up helps.")
    page.click('button:text-is("Save notes")')
    expect(page.locator('summary:has-text("Notes")')).to_contain_text("The warm-up helps.")

    page.goto("/runs/?cols=notes")

    expect(page.locator(".col-notes", has_text="The warm-up helps.")).to_be_visible()
    assert watch.found == []


def test_the_views_open_within_a_phone(page: Page, seeded: seeding.Seeded) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/runs/")

    page.locator("summary", has_text="Views").click()

    box = page.locator(".views-menu").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
