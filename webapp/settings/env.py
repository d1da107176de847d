"""Readers of the environment. A misspelt value stops the start with a sentence, not a traceback."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def env_str(name: str, default: str = "") -> str:
    """Text; `NAME_FILE` may name a file that holds it (container secrets)."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise ImproperlyConfigured(f"{name}_FILE={path} cannot be read: {exc}.") from exc
    return os.environ.get(name, default)


def env_bool(name: str, default: bool = False) -> bool:
    text = os.environ.get(name)
    if text is None:
        return default
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={text!r} is neither yes nor no. Use 1 or 0.")


def env_choice(name: str, default: str, allowed: Sequence[str]) -> str:
    text = env_str(name, default)
    if text not in allowed:
        raise ImproperlyConfigured(f"{name}={text!r} is none of {', '.join(allowed)}.")
    return text


def env_int(name: str, default: int, *, least: int = 0) -> int:
    text = os.environ.get(name, str(default))
    try:
        value = int(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={text!r} is not a whole number.") from None
    if value < least:
        raise ImproperlyConfigured(f"{name}={value} is below the least allowed, {least}.")
    return value


def env_float(name: str, default: float, *, above: float = 0.0) -> float:
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={text!r} is not a number.") from None
    if not value > above:
        raise ImproperlyConfigured(f"{name}={value} must be above {above:g}.")
    return value


def env_list(name: str, default: str = "", separator: str = ",") -> list[str]:
    return [part.strip() for part in env_str(name, default).split(separator) if part.strip()]


def secret_key(data_dir: Path) -> str:
    """`VADLAB_SECRET_KEY`, or one made once and kept, readable by us only, in the data folder."""
    given = env_str("VADLAB_SECRET_KEY")
    if given:
        return given
    path = data_dir / "secret_key"
    if not path.exists():
        # Whole under its name, and the first one stays: web and worker may start together.
        beside = data_dir / f".secret_key.{os.getpid()}-{secrets.token_hex(4)}"
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(get_random_secret_key())
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            beside.replace(path)
        beside.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")


# A worker that stops within a transaction, or whose host is gone, must not hold its rows for ever.
_POSTGRES_SESSION = (
    "-c idle_in_transaction_session_timeout=60s "
    "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)


def mail(url: str) -> dict[str, Any]:
    """Django's settings for `smtp://user:password@host:port`, `smtp+tls://…` or `smtps://…`."""
    parts = urlsplit(url)
    ports = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    if parts.scheme not in ports or not parts.hostname:
        raise ImproperlyConfigured(
            f"VADLAB_MAIL_URL starts with {parts.scheme!r}; use smtp://HOST, smtp+tls://HOST "
            "(STARTTLS) or smtps://HOST, with USER:PASSWORD@ before it if need be."
        )
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or ports[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
    }


def database(url: str) -> dict[str, Any]:
    """Django's settings for `sqlite:///FILE` or `postgres://user:password@host:port/name`."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # IMMEDIATE: a transaction that reads and then writes cannot fail half-way for a stale
        # snapshot; WAL: readers do not wait for the one writer.
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]) or ":memory:",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                "PRAGMA busy_timeout=20000; PRAGMA journal_size_limit=67108864;"
                "PRAGMA cache_size=-16000",
            },
        }
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path[1:]),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": parts.port or "",
            "OPTIONS": {"options": _POSTGRES_SESSION, **dict(parse_qsl(parts.query))},
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
        }
    raise ImproperlyConfigured(
        f"DATABASE_URL starts with {parts.scheme!r}; use sqlite:///FILE or postgres://…"
    )
