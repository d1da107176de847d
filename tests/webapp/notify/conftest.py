"""Channels, and a receiver of webhooks on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone

from webapp.notify.models import Channel, Event, Kind, Rule


class Receiver:
    """What was posted to it; answers with `status`."""

    def __init__(self) -> None:
        self.status = 204
        self.answers: dict[str, str] = {}  # headers
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((self.path, headers, body))
                self.send_response(receiver.status)
                for name, value in receiver.answers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?key=k3y"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.got]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """Of a host inside that the settings allow."""
    found = Receiver()
    settings.WEBHOOK_ALLOW = [f"127.0.0.1:{found.port}"]
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def make_channel(user: Any) -> Callable[..., Channel]:
    def make(**fields: Any) -> Channel:
        values = {
            "kind": Kind.WEBHOOK, "name": "chat", "target": "https://hooks.example.org/s3cret",
            "confirmed_at": timezone.now(),
        }  # fmt: skip
        if "project" not in fields:
            values["user"] = user
        return Channel.objects.create(**{**values, **fields})

    return make


@pytest.fixture
def make_rule(make_channel: Callable[..., Channel]) -> Callable[..., Rule]:
    """A rule of a channel of its own unless one is given."""

    def make(event: str = Event.RUN_ENDED, **fields: Any) -> Rule:
        channel = fields.pop("channel", None) or make_channel()
        return Rule.objects.create(channel=channel, event=event, **fields)

    return make
