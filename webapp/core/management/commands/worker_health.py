"""manage.py worker_health: 0 while this host's worker says that it lives; for container checks."""

from __future__ import annotations

import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from webapp.fleet.models import Worker


class Command(BaseCommand):
    help = "Ends with 0 while the worker of this name (VADLAB_WORKER_NAME, or the host's) lives."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        name = settings.WORKER_NAME or socket.gethostname()
        worker = Worker.objects.filter(name=name).first()
        if worker is None:
            raise CommandError(f"No worker {name} has ever registered here.")
        condition = worker.condition(timezone.now())
        if condition not in ("alive", "drained"):
            raise CommandError(f"{name} is {condition}. {worker.refused}".strip())
        self.stdout.write(f"{name} is {condition}.")
