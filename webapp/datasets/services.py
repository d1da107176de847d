"""What changes data sets."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from vad.configs import RegisterConfig
from vad.errors import ConfigError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.datasets.models import Dataset
from webapp.runs.models import Run
from webapp.runs.services import run_create

DESCRIPTION_LENGTH = 4000


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
    return run_create(project=project, config=config, by=by, name=name, tags=tags)


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
