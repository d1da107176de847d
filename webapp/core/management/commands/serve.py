from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from webapp.core.launcher import Servers, free_port


class Command(BaseCommand):
    help = "Web and worker on this machine, in the foreground, until Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000, help="the next free one is taken")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        with Servers(host=host, port=free_port(port, host)) as servers:
            self.stdout.write(f"VADLab is at {servers.address}. Ctrl-C stops it.")
            servers.wait()
            self.stdout.write("Stopping; running runs write a checkpoint and go back to the queue.")
