"""`manage.py first_admin`: the first person, with a generated password that is shown once."""

from __future__ import annotations

import secrets
import shlex
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from webapp.accounts import services
from webapp.accounts.models import User


class Command(BaseCommand):
    help = (
        "Create the first admin and the first project. Does nothing when there is an admin already."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="admin")
        parser.add_argument("--project", default="Lab", help="Name of the first project.")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="Read the password from standard input instead of making one.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            existing = User.objects.filter(is_superuser=True).first()
            if existing is not None:
                self.stdout.write(f"There is an admin already: {existing.username}.")
                self.stdout.write(
                    f"A lost password: manage.py password_link {shlex.quote(existing.username)}"
                )
                return
            password = secrets.token_urlsafe(12)
            if options["password_stdin"]:
                password = sys.stdin.readline().rstrip("\n")
                try:
                    validate_password(password, User(username=options["username"]))
                except ValidationError as exc:
                    raise CommandError(" ".join(exc.messages)) from None
            try:
                services.first_admin_create(
                    username=options["username"],
                    password=password,
                    project_name=options["project"],
                )
            except ValidationError as exc:
                raise CommandError(" ".join(exc.messages)) from None
        self.stdout.write(f"username: {options['username']}")
        if not options["password_stdin"]:
            self.stdout.write(f"password: {password}")
            self.stderr.write("The password is shown this once and stored nowhere in clear.")
