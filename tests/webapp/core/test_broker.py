"""Messages of the filesystem transport."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kombu import Connection

from webapp.core import broker


def connect(folder: Path) -> Connection:
    for name in ("messages", "control"):
        (folder / name).mkdir(parents=True)
    return Connection(
        "filesystem://",
        transport_options={
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "control_folder": str(folder / "control"),
        },
    )


@pytest.fixture
def connection(tmp_path: Path) -> Connection:
    Connection("filesystem://").transport_cls  # noqa: B018, kombu remembers what a name meant
    broker.install()
    return connect(tmp_path)


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


def test_a_queue_is_bound_in_every_folder_that_it_is_used_in(
    connection: Connection, tmp_path: Path
) -> None:
    connection.SimpleQueue("cpu").put({"ring": 1})

    connect(tmp_path / "second").SimpleQueue("cpu").put({"ring": 2})

    messages = (tmp_path / "second" / "messages").glob("*.msg")
    assert len(list(messages)) == 1
