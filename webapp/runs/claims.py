"""What passes between lifecycle/ and who runs the runs: a place, the right to it, an end."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from vad.errors import VadError


class ClaimLost(Exception):
    """The run was given to somebody else; whoever holds the old claim must stop."""


@dataclass(frozen=True)
class Slot:
    """A place on a worker where one run can run; several GPUs of one run are one place."""

    kind: str  # "gpu" or "cpu"
    index: int = 0
    more: tuple[int, ...] = ()

    @property
    def indices(self) -> tuple[int, ...]:
        return (self.index, *self.more)

    def __str__(self) -> str:
        return f"{self.kind}:{'+'.join(map(str, self.indices))}"


@dataclass(frozen=True)
class Claim:
    """The right to run one run, once."""

    id: uuid.UUID
    run_id: uuid.UUID
    attempt: int
    slot: Slot = field(default_factory=lambda: Slot("cpu"))  # what it may use


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the child process ended, as its supervisor saw it."""

    kind: str  # succeeded, failed, stopped, lost
    result: dict[str, Any] = field(default_factory=dict)
    error: VadError | None = None  # of a failure; of a loss whose cause is known
    reason: str = ""  # of a loss: signal, exit code, last words; of a stop that nobody asked for
