"""HTTP with a token: JSON in and out, errors as `VadError`, what may be repeated is repeated."""

from __future__ import annotations

import http.client
import json
import math
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

from vad.errors import VadError

TRIES = 5
FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 20.0
TIMEOUT_S = 30.0
PASSING = (429, 502, 503, 504)  # statuses that say: later


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token belongs to the address that was named, and goes to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Transport:
    """Requests to one server as one person.

    Args:
        url: the server's address, as "https://vadlab.example.org".
        token: of a person, made under Settings.
        tries: of a request that may be repeated.
    """

    def __init__(self, url: str, token: str, *, tries: int = TRIES, timeout_s: float = TIMEOUT_S):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise VadError(
                "request-invalid",
                f"{url!r} is no address of a server.",
                "Write it as https://vadlab.example.org.",
            )
        self.url, self.tries, self.timeout_s = url.rstrip("/"), tries, timeout_s
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.send("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, again: bool = True) -> Any:
        """Send JSON.

        Args:
            again: whether it may be sent again when no answer came.
        """
        return self.send("POST", path, body=body or {}, again=again)

    def pages(self, path: str, query: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a list, page after page."""
        answer = self.get(path, query)
        yield from answer["results"]
        while answer.get("next"):
            parts = urlsplit(answer["next"])
            answer = self.send("GET", f"{parts.path}?{parts.query}")
            yield from answer["results"]

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
        again: bool = True,
        tries: int | None = None,
    ) -> Any:
        """One request; its answer as JSON, None without one.

        Raises:
            VadError: what the server said, or `server-unreachable`.
        """
        data, headers = None, dict(self._headers)
        if isinstance(body, bytes):
            data, headers["Content-Type"] = body, "application/octet-stream"
        elif body is not None:
            data, headers["Content-Type"] = json.dumps(body, allow_nan=False).encode(), _JSON
        if query:
            path = f"{path}?{urlencode({k: v for k, v in query.items() if v not in (None, '')})}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with self._open(request, again, tries or self.tries) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def stream(self, path: str, first: int) -> http.client.HTTPResponse:
        """A file from a byte on; the caller reads and closes it."""
        headers = {**self._headers, "Range": f"bytes={first}-", "Accept": "*/*"}
        request = urllib.request.Request(self.url + path, None, headers)
        return self._open(request, True, self.tries)

    def _open(self, request: urllib.request.Request, again: bool, tries: int) -> Any:
        for left in range(tries - 1, -1, -1):
            pause_s = pause(tries - 1 - left)
            try:
                return self._opener.open(request, timeout=self.timeout_s)
            except urllib.error.HTTPError as exc:
                with exc:
                    error = error_of(exc.code, exc.read(), exc.headers.get("Location", ""))
                if exc.code not in PASSING or not left or not (again or exc.code == 429):
                    raise error from None
                pause_s = _retry_after(exc.headers.get("Retry-After"), pause_s)
            except (OSError, http.client.HTTPException) as exc:
                refused = isinstance(getattr(exc, "reason", exc), ConnectionRefusedError)
                if not left or not (again or refused):
                    raise unreachable(self.url, exc) from exc
            time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")


_JSON = "application/json"


def pause(failures: int) -> float:
    """Seconds to wait after so many failures before: doubled each time, with chance in it."""
    return min(MOST_PAUSE_S, FIRST_PAUSE_S * 2**failures) * (0.5 + random.random() / 2)


def _retry_after(text: str | None, otherwise: float) -> float:
    try:
        seconds = float(text or "")
    except ValueError:
        return otherwise
    return min(max(0.0, seconds), 60.0) if math.isfinite(seconds) else otherwise


def error_of(status: int, body: bytes, location: str = "") -> VadError:
    """What the server said, as the error that it meant."""
    try:
        told = json.loads(body)
        if isinstance(told, dict) and told.get("code"):
            return VadError.from_dict(told)
    except (ValueError, UnicodeDecodeError, RecursionError):
        pass
    if location:
        return VadError(
            "request-invalid", f"The server sends on to {location}.", "Use that address."
        )
    return VadError(
        "server-unreachable",
        f"The server answered {status}, which is no answer of VADLab.",
        "Look at the address, and at what stands in front of the server.",
    )


def unreachable(url: str, exc: BaseException) -> VadError:
    cause = getattr(exc, "reason", None) or exc
    return VadError(
        "server-unreachable",
        f"{url} cannot be reached ({cause or type(cause).__name__}).",
        "Look whether the server runs and the address is right; then try again.",
    )


def read_block(answer: IO[bytes], size: int) -> bytes:
    """The next bytes of a file, empty where the line was cut: what came so far is kept."""
    try:
        return answer.read(size)
    except (OSError, http.client.HTTPException):
        return b""
