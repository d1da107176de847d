"""What a configuration that registers a data set may name, checked before a run is queued."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vad.configs import RegisterConfig
from vad.errors import ConfigError, VadError
from webapp.datasets.models import Dataset
from webapp.datasets.paths import inside_roots

NAME_LENGTH = Dataset._meta.get_field("name").max_length or 80

PATH_FIELDS = (
    "annotations", "boxes", "train_list", "test_list", "split_file", "masks", "features",
)  # fmt: skip


def checked(config: RegisterConfig) -> RegisterConfig:
    """The configuration with its paths resolved, so that what was checked is what is read.

    Raises:
        VadError: `path-outside-roots`, `file-missing`, `config-invalid`.
    """
    name = config.name.strip()
    if len(name) > NAME_LENGTH:
        raise ConfigError({"name": f"has {len(name)} characters, {NAME_LENGTH} at most"})
    root = inside_roots(config.root, "root")
    if not root.is_dir():
        raise _not_a_folder(config.root, "root")
    found: dict[str, Any] = {"root": str(root)}
    for field in PATH_FIELDS:
        text = getattr(config, field)
        path = inside_roots(text, field) if text.strip() else None
        if path and field in ("masks", "features") and not path.is_dir():
            raise _not_a_folder(text, field)
        found[field] = str(path) if path else ""
    return replace(config, name=name, **found)


def _not_a_folder(text: str, what: str) -> VadError:
    return VadError(
        "file-missing",
        f"{text} is a file, not a folder.",
        "Name the folder that holds the files.",
        fields={what: "is a file, not a folder"},
    )
