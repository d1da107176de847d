"""Sweeps of a server. See docs/sweeps.md for what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vad.client import asking
from vad.client.records import Sweep
from vad.client.transport import Transport
from vad.errors import VadError

PATH = "/api/v1/sweeps/"


class Sweeps:
    """As `client.sweeps`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, project: str = "") -> Iterator[Sweep]:
        """The newest first."""
        rows = self._transport.pages(PATH, {"project": project, "limit": 200})
        return map(Sweep.of, rows)

    def get(self, sweep_id: str) -> Sweep:
        """With its trials' numbers and its best settings."""
        return Sweep.of(self._transport.get(f"{PATH}{sweep_id}/"))

    def find(self, text: str) -> Sweep:
        """The sweep of this id, page address or name; of several of one name the newest.

        Raises:
            VadError: `not-found`.
        """
        if known := asking.id_in(text):
            return self.get(known)
        for sweep in self.list():
            if sweep.name == text:
                return self.get(sweep.id)
        raise VadError("not-found", f"There is no sweep {text!r}.", "Name it by its id.")

    def create(self, name: str, space: Mapping[str, Any] | None = None, **more: Any) -> Sweep:
        """Start a sweep. It is not asked for twice, even when no answer came.

        Args:
            space: what each setting may be: {"values": […]}, {"low": …, "high": …, "log": True},
                or a text as in the form, "1e-5 to 1e-2 log in 4".
            more: kind, config (what is not swept), strategy, settings, seeds, parallel, objective,
                direction, take, stop_rule, feature_set, …, as docs/api.md says.
        """
        body = {"name": name, "space": dict(space or {})}
        body |= {key: value for key, value in more.items() if value is not None}
        return Sweep.of(self._transport.post(PATH, body, again=False))

    def trials(self, sweep_id: str, *, sort: str = "") -> Iterator[Mapping[str, Any]]:
        """Its trials by number, or as `sort` says: number, objective, auc, state, - in front."""
        return self._transport.pages(f"{PATH}{sweep_id}/trials/", {"sort": sort, "limit": 200})

    def act(self, sweep_id: str, step: str) -> Sweep:
        """hold, release or stop, with all of its trials."""
        return Sweep.of(self._transport.post(f"{PATH}{sweep_id}/{step}/", again=False))

    def wait(
        self,
        sweep_id: str,
        *,
        timeout_s: float | None = None,
        every_s: float = 5.0,
        on_update: Callable[[Sweep], None] | None = None,
    ) -> Sweep:
        """Wait until a sweep has ended, or holds itself for a problem.

        Raises:
            TimeoutError: it has not.
        """
        return asking.wait(
            lambda: self.get(sweep_id), lambda sweep: sweep.has_ended or bool(sweep.problem),
            timeout_s=timeout_s, every_s=every_s, on_update=on_update,
        )  # fmt: skip
