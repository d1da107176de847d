"""The filesystem transport with messages that appear whole.

kombu's own opens a message's file under its final name and then writes it. A worker that lists the
folder between the two takes an empty file, cannot parse it, and ends.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import TRANSPORT_ALIASES, _transport_cache, filesystem, virtual
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Write beside the name that readers look for, then rename."""
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        path = Path(self.data_folder_out) / name
        beside = path.with_name(f"{name}.part")
        try:
            beside.write_bytes(dumps(payload).encode())
            os.replace(beside, path)  # noqa: PTH105, so that a test can look in between
        except OSError as exc:
            beside.unlink(missing_ok=True)
            raise ChannelError(f"cannot write the message {path}") from exc


class Transport(filesystem.Transport):
    """One connection, that remembers its own bindings.

    kombu's remembers them once for the process, whatever the folder: a queue that was bound in one
    folder is never bound in a second, and messages to it are dropped there without a word.
    """

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = virtual.BrokerState()


def install() -> None:
    """Let `filesystem://` mean this transport, in this process, whatever was opened before."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
    _transport_cache.pop("filesystem", None)
