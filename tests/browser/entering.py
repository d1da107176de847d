"""Signing in, as every test of a page does first."""

from __future__ import annotations

import seeding
from playwright.sync_api import Page


def sign_in(page: Page, username: str, *, at: str = "") -> Page:
    """Through the form; `at` is the server's address for a page without a base URL."""
    page.goto(f"{at}/login/")
    page.fill("#id_username", username)
    page.fill("#id_password", seeding.PASSWORD)
    page.click("main button")
    page.wait_for_url("**/runs/")
    return page
