"""Posting a message: to the address that was checked, without redirects, in bounded time."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import vad
from webapp.notify import addresses
from webapp.notify.addresses import Target

LIMIT_S = 10.0  # for all of it: connecting, TLS, sending, the answer's head; no body is read
MOST_ADDRESSES = 3  # of a name, to be tried in turn


class Failed(Exception):
    """A sentence on what went wrong; later it may go right."""


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post JSON; the status that the other side answered.

    Raises:
        addresses.Refused: the address is none that this server asks.
        Failed: there was no answer.
    """
    target = addresses.parse(url)
    try:
        found = addresses.resolve(target)
    except addresses.Unresolved as exc:
        raise Failed(str(exc)) from None
    connection = _Connection(target, found[:MOST_ADDRESSES])
    try:
        with _Deadline(connection, LIMIT_S) as deadline:
            connection.request(
                "POST", target.path, body=body,
                headers={
                    "Host": target.host_header,
                    "Content-Type": "application/json",
                    "User-Agent": f"VADLab/{vad.__version__}",
                    "Connection": "close",
                    **headers,
                },
            )  # fmt: skip
            return connection.getresponse().status
    except ssl.SSLError as exc:
        raise Failed(f"TLS failed: {exc.reason or 'no certificate that holds'}.") from None
    except (OSError, http.client.HTTPException) as exc:
        if deadline.passed:
            raise Failed(f"It did not answer within {LIMIT_S:g} s.") from None
        raise Failed(f"The connection failed: {_plain(exc)}.") from None
    finally:
        connection.close()


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """What a receiver computes anew to know that the message is ours: HMAC-SHA256 of `t.body`."""
    signed = f"{timestamp}.".encode() + body
    made = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={made}"


class _Connection(http.client.HTTPConnection):
    """To one of the given addresses, whatever the name would resolve to now."""

    def __init__(self, target: Target, found: Sequence[str]) -> None:
        super().__init__(target.host, target.port, timeout=LIMIT_S)
        self._target, self._addresses = target, found

    def connect(self) -> None:
        self.sock = self._first_that_answers()
        if self._target.scheme == "https":
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(
                self.sock, server_hostname=self._target.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()  # apart, so that the deadline knows the socket by now

    def _first_that_answers(self) -> socket.socket:
        *others, last = self._addresses
        each_s = LIMIT_S / (len(others) + 1)
        for address in others:
            with contextlib.suppress(OSError):
                return _open(address, self._target.port, each_s)
        return _open(last, self._target.port, each_s)


def _open(address: str, port: int, limit_s: float) -> socket.socket:
    opened = socket.create_connection((address, port), limit_s)
    opened.settimeout(LIMIT_S)
    return opened


class _Deadline:
    """Ends a connection after so many seconds, also one that sends a byte now and then."""

    def __init__(self, connection: _Connection, limit_s: float) -> None:
        self.passed = False
        self._connection = connection
        self._timer = threading.Timer(limit_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        held = self._connection.sock
        if held is not None:
            with contextlib.suppress(OSError):  # it has just ended by itself
                socket.socket.shutdown(held, socket.SHUT_RDWR)


def _plain(exc: Exception) -> str:
    """The system's words for it; of a protocol error its kind, as its text is the other side's."""
    if isinstance(exc, TimeoutError):
        return "it took too long"
    return (exc.strerror if isinstance(exc, OSError) else None) or type(exc).__name__
