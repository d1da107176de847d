"""What a run asks of the machine it runs on, beside the kind of device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from vad.configs import RunConfig, TwoStageConfig
from vad.errors import ConfigError
from webapp.accounts.models import User
from webapp.accounts.permissions import require_editor
from webapp.runs.lifecycle import events, external, moves
from webapp.runs.models import CLAIMED, Run, State
from webapp.runs.recovery import words

MOST_GPUS = 16
MOST_MEMORY_MB = 1_000_000
LEAST_TIME_S, MOST_TIME_S = 60, 60 * 86_400


@dataclass(frozen=True)
class Resources:
    """Number of GPUs, MB that the run takes on each, and seconds that it may run in all.

    None: not known, and no limit.
    """

    gpus: int = 1
    memory_mb: int | None = None
    time_limit_s: int | None = None

    def check(self, config: RunConfig) -> None:
        """Refuse what a run of this configuration cannot use.

        Raises:
            ConfigError: by field.
        """
        wrong: dict[str, str] = {}
        if not 1 <= self.gpus <= MOST_GPUS:
            wrong["gpus"] = f"{self.gpus} is not from 1 to {MOST_GPUS}"
        elif self.gpus > 1 and not isinstance(config, TwoStageConfig):
            wrong["gpus"] = "only training of both stages uses more than one"
        elif self.gpus > 1 and config.device == "cpu":
            wrong["gpus"] = "the run is to use the CPU"
        elif isinstance(config, TwoStageConfig) and config.batch_size % self.gpus:
            wrong["gpus"] = (
                f"batch_size {config.batch_size} cannot be shared equally by {self.gpus}"
            )
        if self.memory_mb is not None and not 1 <= self.memory_mb <= MOST_MEMORY_MB:
            wrong["memory_mb"] = f"{self.memory_mb} is not from 1 to {MOST_MEMORY_MB}"
        limit_s = self.time_limit_s
        if limit_s is not None and not LEAST_TIME_S <= limit_s <= MOST_TIME_S:
            wrong["time_limit_s"] = f"{limit_s} is not from {LEAST_TIME_S} to {MOST_TIME_S} seconds"
        if wrong:
            raise ConfigError(wrong, what="The run")


def of(run: Run) -> Resources:
    return Resources(run.gpus, run.memory_mb, run.time_limit_s)


@transaction.atomic
def run_set_resources(*, run: Run, changes: Mapping[str, Any], by: User) -> Run:
    """Change what a run asks for. The time limit also while it runs; the rest before it starts.

    Raises:
        VadError: `not-allowed`, `config-invalid`, `run-not-movable`.
    """
    require_editor(by, run.project)
    row = Run.objects.select_for_update().filter(pk=run.pk).first()
    if row is None or row.state == State.SUCCEEDED:
        raise moves.not_movable(run, "given other resources")
    if row.is_external:
        raise external.refused(run, "given other resources")
    before = of(row)
    wanted = Resources(**{**before.__dict__, **changes})
    wanted.check(row.typed_config)
    if row.state in CLAIMED and (wanted.gpus, wanted.memory_mb) != (before.gpus, before.memory_mb):
        raise moves.not_movable(run, "given other resources")
    if wanted == before:
        return row
    Run.objects.filter(pk=run.pk).update(**wanted.__dict__, changed_at=Now())
    events.note(run.pk, "resources", _said(wanted), by=by)
    row.refresh_from_db()
    return row


def _said(wanted: Resources) -> str:
    parts = ["1 GPU" if wanted.gpus == 1 else f"{wanted.gpus} GPUs"]
    if wanted.memory_mb is not None:
        parts.append(f"{wanted.memory_mb:,} MB each")
    if wanted.time_limit_s is not None:
        parts.append(f"{words(wanted.time_limit_s)} at most")
    return ", ".join(parts)
