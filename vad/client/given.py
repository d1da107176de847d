"""What is typed in a terminal as the server takes it, checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vad.configs import RunConfig
from vad.errors import VadError


def json_of(path: str | None) -> dict[str, Any]:
    """The object in a JSON file; empty without a path.

    Raises:
        VadError: `request-invalid`.
    """
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise VadError("request-invalid", f"{path} is no JSON file ({exc}).") from exc
    if not isinstance(found, dict):
        raise VadError("request-invalid", f"{path} holds no JSON object.")
    return found


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, by name.

    Raises:
        VadError: `request-invalid`.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise VadError("request-invalid", f"{text!r} is not NAME=VALUE.")
        found[name] = value
    return found


def config_of(
    config: type[RunConfig], given: Mapping[str, Any], texts: Sequence[str]
) -> dict[str, Any]:
    """The fields that were named, checked: those of `given`, over which go the texts.

    Raises:
        ConfigError: what is wrong, by field.
    """
    named = pairs(texts)
    checked = config.from_dict(dict(given), texts=named).to_dict()
    return {name: checked[name] for name in (*given, *named)}
