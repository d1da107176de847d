"""People of the server, a forgotten password and deleting a project in a real browser."""

from __future__ import annotations

from typing import Any

import entering
import pytest
import seeding
from django.utils import timezone
from looks import SIZES, in_all_looks, picture
from playwright.sync_api import Page
from watching import Watch, faults

from webapp.accounts import people
from webapp.accounts.models import Project, User
from webapp.notify.models import Channel
from webapp.runs.models import CLAIMED, Run, State

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def chief(seeded: seeding.Seeded) -> User:
    """An admin of the server and of the project, where somebody was deactivated."""
    admin = seeding.add_people(seeded)
    User.objects.filter(pk=admin.pk).update(is_superuser=True)
    admin.refresh_from_db()
    people.person_deactivate(user=User.objects.get(username="jo"), by=admin)
    Channel.objects.create(
        user=admin, kind="mail", name="mine", target="ada@example.org", confirmed_at=timezone.now()
    )
    return admin


def _look(page: Page, watch: Watch, name: str, look: str) -> list[str]:
    picture(page, f"{name}-{look}")
    return faults(page, watch, name)


@in_all_looks
def test_the_pages_of_an_admin_of_the_server_are_clean(
    live_server: Any, context: Any, seeded: seeding.Seeded, chief: User, settings: Any, size: str,
    scheme: str,
) -> None:  # fmt: skip
    settings.MAIL_FROM, settings.PUBLIC_URL = "lab@example.org", live_server.url
    width, height = SIZES[size]
    options = {
        "base_url": live_server.url, "viewport": {"width": width, "height": height},
        "color_scheme": scheme,
    }  # fmt: skip
    page = context(**options).new_page()
    entering.sign_in(page, chief.username)
    watch, found, look = Watch(page), [], f"{size}-{scheme}"
    person = f"/settings/people/{seeded.user.pk}/"
    delete = f"/settings/projects/{seeded.project.slug}/delete/"
    jo = User.objects.get(username="jo")
    for name, address in {
        "server-people": "/settings/people/",
        "server-people-none": "/settings/people/?q=nosuchword",
        "person": person,
        "person-off": f"/settings/people/{jo.pk}/",
        "delete-blocked": delete,
        "account-mail": "/settings/",
        "project-settings": f"/settings/projects/{seeded.project.slug}/",
    }.items():
        page.goto(address)
        found += _look(page, watch, name, look)
    page.goto(person)
    page.click("text=Make link")
    link = page.inner_text("#once")
    found += _look(page, watch, "person-link", look)
    Run.objects.filter(state__in=CLAIMED).update(state=State.FAILED, claim=None)
    page.goto(delete)
    found += _look(page, watch, "delete", look)
    page.fill("#id_slug", "something-else")
    page.click("main .btn-danger")
    found += _look(page, watch, "delete-wrong", look)
    page.fill("#id_slug", seeded.project.slug)
    page.click("main .btn-danger")
    found += _look(page, watch, "deleted", look)

    guest = context(**options).new_page()
    watch = Watch(guest)
    guest.goto("/login/")
    found += _look(guest, watch, "login", look)
    guest.click("text=Forgot your password?")
    found += _look(guest, watch, "forgotten", look)
    guest.fill("#id_name", "somebody")
    guest.click("main button")
    found += _look(guest, watch, "forgotten-asked", look)
    settings.MAIL_FROM = ""
    guest.goto("/login/forgotten/")
    found += _look(guest, watch, "forgotten-no-mail", look)
    guest.goto(link)
    found += _look(guest, watch, "password", look)
    guest.fill("#id_new", "short")
    guest.fill("#id_again", "short")
    guest.click("main button")
    found += _look(guest, watch, "password-wrong", look)
    guest.fill("#id_new", "long-and-odd-19")
    guest.fill("#id_again", "long-and-odd-19")
    guest.click("main button")
    found += _look(guest, watch, "password-set", look)
    guest.goto(link)
    picture(guest, f"password-gone-{look}")

    assert not found, "\n".join(found)
    assert not Project.objects.filter(slug=seeded.project.slug).exists()
