"""Settings, people and invitations in a real browser: looks, keys, and what a link does."""

from __future__ import annotations

import re
from typing import Any

import entering
import pytest
import seeding
from looks import SIZES, in_all_looks, picture
from playwright.sync_api import Page, expect
from watching import Watch, faults

from webapp.accounts.models import Membership, User

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def sign_in(page: Page, name: str) -> None:
    entering.through_the_form(page, name)


@pytest.fixture
def admin(seeded: seeding.Seeded) -> User:
    return seeding.add_people(seeded)


@pytest.fixture
def desk(live_server: Any, context: Any, admin: User) -> Page:
    """The admin's browser."""
    opened = context(
        base_url=live_server.url, viewport={"width": 1440, "height": 900},
        permissions=["clipboard-read", "clipboard-write"],
    ).new_page()  # fmt: skip
    sign_in(opened, admin.username)
    return opened


@in_all_looks
def test_every_page_of_people_is_clean(
    live_server: Any, context: Any, seeded: seeding.Seeded, admin: User, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    page = context(
        base_url=live_server.url, viewport={"width": width, "height": height},
        color_scheme=scheme, has_touch=size == "narrow",
    ).new_page()  # fmt: skip
    sign_in(page, admin.username)
    watch, found = Watch(page), []
    here = f"/settings/projects/{seeded.project.slug}/"
    for name, address in {
        "settings": "/settings/",
        "tokens": "/settings/tokens/",
        "projects": "/settings/projects/",
        "people": here,
        "audit": f"{here}audit/",
        "audit-none": f"{here}audit/?q=nosuchword",
    }.items():
        page.goto(address)
        picture(page, f"{name}-{size}-{scheme}")
        found += faults(page, watch, name)
    page.goto("/settings/tokens/")
    page.fill("#id_name", "Evaluation on the cluster")
    page.click("text=Make token")
    picture(page, f"token-made-{size}-{scheme}")
    found += faults(page, watch, "token made")
    page.goto(here)
    page.fill("#id_note", "A guest")
    page.click("text=Make link")
    link = page.inner_text("#once")
    picture(page, f"link-made-{size}-{scheme}")
    found += faults(page, watch, "link made")
    page.goto(here)
    page.click(".rail-more > summary" if size == "narrow" else ".rail-projects > summary")
    page.wait_for_timeout(200)
    picture(page, f"switch-{size}-{scheme}")
    found += faults(page, watch, "switch")

    guest = context(
        base_url=live_server.url, viewport={"width": width, "height": height}, color_scheme=scheme
    ).new_page()
    watch = Watch(guest)
    guest.goto(link)
    picture(guest, f"join-{size}-{scheme}")
    found += faults(guest, watch, "join")
    guest.fill("#id_username", "guest")
    guest.fill("#id_password", "short")
    guest.fill("#id_again", "shorter")
    guest.click("main button")
    picture(guest, f"join-wrong-{size}-{scheme}")
    found += faults(guest, watch, "join, wrong")
    guest.goto("/join/gone/")
    picture(guest, f"join-gone-{size}-{scheme}")
    watch.found.clear()  # it is 410
    found += faults(guest, watch, "join, gone")
    empty = User.objects.create_user("newly", password=seeding.PASSWORD)
    sign_in(guest, empty.username)
    for name, address in {
        "projects-none": "/settings/projects/",
        "tokens-none": "/settings/tokens/",
    }.items():
        guest.goto(address)
        picture(guest, f"{name}-{size}-{scheme}")
        found += faults(guest, watch, name)

    assert not found, "\n".join(found)


def test_a_link_is_copied_and_brings_a_newcomer_in(
    desk: Page, seeded: seeding.Seeded, live_server: Any, context: Any
) -> None:
    desk.goto(f"/settings/projects/{seeded.project.slug}/")
    desk.select_option("#id_role", "viewer")
    desk.click("text=Make link")
    desk.click("text=Copy the link")
    copied = desk.evaluate("navigator.clipboard.readText()")

    guest = context(base_url=live_server.url).new_page()
    guest.goto(copied)
    guest.fill("#id_username", "newcomer")
    guest.fill("#id_password", "long-and-odd-19")
    guest.fill("#id_again", "long-and-odd-19")
    guest.click("text=Sign up and join")

    expect(guest).to_have_url(re.compile("/runs/$"))
    expect(guest.locator(".notice")).to_contain_text("Welcome to Campus safety")
    assert Membership.objects.get(user__username="newcomer").role == "viewer"


def test_the_project_is_switched_by_keyboard_and_the_page_says_so(desk: Page) -> None:
    desk.locator(".rail-projects > summary").focus()
    desk.keyboard.press("Enter")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Tab")
    expect(desk.locator(":focus")).to_contain_text("Night shift")
    desk.keyboard.press("Enter")

    expect(desk.locator(".rail-projects > summary")).to_contain_text("Night shift")


def test_a_role_is_changed_by_keyboard(desk: Page, seeded: seeding.Seeded) -> None:
    desk.goto(f"/settings/projects/{seeded.project.slug}/")
    desk.get_by_label("Role of jo", exact=True).focus()
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")

    expect(desk.locator(".notice")).to_contain_text("jo is a member now")
    assert Membership.objects.get(user__username="jo", project=seeded.project).role == "member"


def test_a_session_is_ended_from_another_browser(
    desk: Page, admin: User, live_server: Any, context: Any
) -> None:
    other = context(base_url=live_server.url).new_page()
    sign_in(other, admin.username)
    desk.goto("/settings/")
    desk.click("text=End all others")
    expect(desk.locator(".notice")).to_contain_text("1 session ended")

    other.goto("/runs/")

    expect(other).to_have_url(re.compile("/login/"))


def test_settings_are_reached_without_scripts(
    live_server: Any, context: Any, admin: User, seeded: seeding.Seeded
) -> None:
    page = context(base_url=live_server.url, java_script_enabled=False).new_page()
    sign_in(page, admin.username)
    page.click(".rail-projects > summary")
    page.click("text=People of Campus safety")
    page.click(f"text=Leave {seeded.project} >> nth=0")

    expect(page.locator("details.leave")).to_contain_text("You are its last admin")
