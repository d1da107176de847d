"""Messages of the filesystem transport."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kombu import Connection

from webapp.core import broker


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    Connection("filesystem://").transport_cls  # noqa: B018, kombu remembers what a name meant
    broker.install()
    for name in ("messages", "control"):
        (tmp_path / name).mkdir()
    return Connection(
        "filesystem://",
        transport_options={
            "data_folder_in": str(tmp_path / "messages"),
            "data_folder_out": str(tmp_path / "messages"),
            "control_folder": str(tmp_path / "control"),
        },
    )


def test_a_message_is_never_seen_before_it_is_whole(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "messages"
    seen: list[list[str]] = []
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        json.loads(Path(source).read_bytes())  # whole already
        seen.append([p.name for p in folder.glob("*.msg")])
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)

    queue = connection.SimpleQueue("cpu")
    queue.put({"ring": 1})

    assert seen == [[]]
    message = queue.get(timeout=1)
    message.ack()
    assert message.payload == {"ring": 1}
    assert list(folder.iterdir()) == []
