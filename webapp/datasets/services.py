"""What changes data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.db import transaction

from vad.configs import RegisterConfig
from vad.errors import ConfigError, VadError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.datasets.models import Dataset
from webapp.datasets.paths import inside_roots
from webapp.runs.models import Run

NAME_LENGTH = Dataset._meta.get_field("name").max_length or 80
DESCRIPTION_LENGTH = 4000

PATH_FIELDS = (
    "annotations", "boxes", "train_list", "test_list", "split_file", "masks", "features",
)  # fmt: skip


def dataset_register(
    *,
    project: Project,
    config: RegisterConfig,
    by: User,
    name: str = "",
    tags: Sequence[str] = (),
) -> Run:
    """Queue a run that reads, checks and packs a data set. What is quick to see is refused now.

    Args:
        name, tags: of the run; the data set's name is in the configuration.

    Raises:
        VadError: `path-outside-roots`, `file-missing`, `config-invalid`, `not-allowed`.
    """
    from webapp.runs import services  # it asks this module to check the configuration

    return services.run_create(project=project, config=config, by=by, name=name, tags=tags)


def checked(config: RegisterConfig) -> RegisterConfig:
    """The configuration with its paths resolved, so that what was checked is what is read."""
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


@transaction.atomic
def dataset_describe(*, dataset: Dataset, description: str, by: User) -> Dataset:
    """Say what a data set is.

    Raises:
        VadError: `not-allowed`; `config-invalid`, it is too long.
    """
    require_editor(by, dataset.project)
    if len(description) > DESCRIPTION_LENGTH:
        text = f"has {len(description)} characters, {DESCRIPTION_LENGTH} at most"
        raise ConfigError({"description": text}, what="The data set")
    dataset.description = description.strip()
    dataset.save(update_fields=["description"])
    return dataset


def _not_a_folder(text: str, what: str) -> VadError:
    return VadError(
        "file-missing",
        f"{text} is a file, not a folder.",
        "Name the folder that holds the files.",
        fields={what: "is a file, not a folder"},
    )
