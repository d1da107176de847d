"""`manage.py password_link NAME`: a one-time link to a new password, also for the only admin."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from vad.errors import VadError
from webapp.accounts import passwords
from webapp.accounts.models import User


class Command(BaseCommand):
    help = "Make a link by which a person sets a new password, once, within 24 hours."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The person's name.")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            admins = User.objects.filter(is_superuser=True, is_active=True)
            names = ", ".join(admins.order_by("username").values_list("username", flat=True))
            raise CommandError(
                f"There is no person {options['name']!r}. Admins of the server: {names or 'none'}."
            )
        try:
            _, secret = passwords.link_create(user=user, by=None)
        except VadError as exc:
            raise CommandError(f"{exc.message} {exc.hint}") from None
        self.stdout.write(settings.PUBLIC_URL + reverse("password", args=[secret]))
        self.stderr.write(
            "Shown this once; open it with the server's address before it."
            if not settings.PUBLIC_URL
            else "Shown this once."
        )
