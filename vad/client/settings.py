"""The server's address and the token: from the environment, or a file that only its owner reads."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from vad.errors import VadError

URL, TOKEN, FILE = "VADLAB_URL", "VADLAB_TOKEN", "VADLAB_CLIENT_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Found:
    url: str
    token: str


def path() -> Path:
    """Of the file: VADLAB_CLIENT_CONFIG names it, else it lies in the person's configuration."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get(FILE) or base / "vadlab" / "client.json")


def find(*, url: str = "", token: str = "") -> Found:
    """What is given, else the environment, else the file.

    Raises:
        VadError: `not-signed-in` when something is missing, `not-allowed` when others can read the
            file.
    """
    url, token = url or os.environ.get(URL, ""), token or os.environ.get(TOKEN, "")
    if not url or not token:
        kept = _read(path())
        url, token = url or kept.get("url", ""), token or kept.get("token", "")
    if not url or not token:
        raise VadError(
            "not-signed-in",
            f"No {'address of a server' if not url else 'token'} is known.",
            f"Type `vadlab login`, or set {URL} and {TOKEN}; a token is made under Settings.",
        )
    return Found(url=url, token=token)


def save(found: Found) -> Path:
    """Write the file, readable by its owner alone from the first byte on."""
    place = path()
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f"{place.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump({"url": found.url, "token": found.token}, file)
    beside.replace(place)
    return place


def _read(place: Path) -> dict[str, str]:
    try:
        with place.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            told = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise VadError(
            "request-invalid", f"{place} cannot be read ({exc}).", "Type `vadlab login` again."
        ) from exc
    if mode & 0o077:
        raise VadError(
            "not-allowed",
            f"{place} holds a token and can be read by others.",
            f"Type `chmod 600 {place}`; if others may have read it, revoke the token, too.",
        )
    return {name: str(told.get(name, "")) for name in ("url", "token")}
