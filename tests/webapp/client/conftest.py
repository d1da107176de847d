"""A client of a running server, and `vadlab` as it is typed."""

from __future__ import annotations

from typing import Any

import pytest

from vad.client import Client, cli, recorder, settings, sweep_cli, transport
from webapp.accounts import tokens


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(transport, "MOST_PAUSE_S", 0.05)
    monkeypatch.setattr(recorder, "EVERY_S", 0.02)
    monkeypatch.setattr(cli, "EVERY_S", 0.02)
    monkeypatch.setattr(sweep_cli, "EVERY_S", 0.02)
    for name in (settings.URL, settings.TOKEN):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def token(user, transactional_db) -> str:
    return tokens.token_create(by=user, name="script", scope="write")[1]


@pytest.fixture
def client(live_server, token) -> Client:
    return Client(live_server.url, token)


@pytest.fixture
def vadlab(live_server, token, monkeypatch, capsys):
    monkeypatch.setenv(settings.URL, live_server.url)
    monkeypatch.setenv(settings.TOKEN, token)

    def call(*words: Any) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call
