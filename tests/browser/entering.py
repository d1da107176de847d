"""Signing in, as every test of a page does first."""

from __future__ import annotations

from collections.abc import Callable

import seeding
from django.conf import settings
from django.test import Client
from playwright.sync_api import Page

from webapp.accounts.models import User

Opened = Callable[..., Page]  # the fixture `sign_in`: makes a page, signed in


def sign_in(page: Page, username: str) -> Page:
    """Without the form, which has tests of its own: two pages less to load for each test."""
    client = Client()
    client.force_login(User.objects.get(username=username))
    name = settings.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": client.cookies[name].value, "domain": "localhost", "path": "/"}
    page.context.add_cookies([cookie])  # type: ignore[list-item]
    return page


def through_the_form(page: Page, username: str) -> Page:
    """As a person does; then the runs are open."""
    page.goto("/login/")
    page.fill("#id_username", username)
    page.fill("#id_password", seeding.PASSWORD)
    page.click("main button")
    page.wait_for_url("**/runs/")
    return page
