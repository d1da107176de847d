"""Runs by MLflow's filter, in its order, a page at a time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q

from webapp.accounts.models import User
from webapp.interop.tracking import filters, shapes
from webapp.interop.tracking.errors import TrackingError
from webapp.interop.tracking.experiments import Group
from webapp.interop.tracking.filters import ATTRIBUTE, METRIC, PARAM, TAG, Clause, Order
from webapp.runs.models import Run

MOST_CANDIDATES = 100_000  # runs that a filter is asked of
PAGE = 1000
ACTIVE, DELETED, ALL = "ACTIVE_ONLY", "DELETED_ONLY", "ALL"
_DEFAULT_ORDER = Order(ATTRIBUTE, "start_time", falling=True)


@dataclass
class Candidate:
    """What the filter and the order ask of one run."""

    run: Run
    metrics: Mapping[str, shapes.Last]

    def value(self, entity: str, key: str) -> Any:
        if entity == METRIC:
            last = self.metrics.get(key)
            return None if last is None else last[1]
        if entity == PARAM:
            return shapes.params_of(self.run.config).get(key)
        if entity == TAG:
            return shapes.tags_of(self.run).get(key)
        return shapes.info_json(self.run).get(key)


def runs(user: User) -> Any:
    """Runs that the person may see, with what their JSON needs."""
    found = Run.objects.visible_to(user).select_related("owner", "external", "tracked__experiment")
    return found.defer("environment", "result", "claim", "slot")


def search(
    *, user: User, groups: Sequence[Group], text: str, view: str, orders: Sequence[str],
    offset: int, limit: int,
) -> tuple[list[dict[str, Any]], int | None]:  # fmt: skip
    """One page of runs, and where the next one begins; None at the end.

    Raises:
        TrackingError: the filter, an order or the view cannot be read, or too many runs are asked.
    """
    if view not in (ACTIVE, DELETED, ALL):
        raise TrackingError(f"run_view_type {view[:40]!r} is none of {ACTIVE}, {DELETED}, {ALL}.")
    clauses = filters.parse(text)
    given = filters.parse_orders(orders)
    asked = {c.key for c in clauses if c.entity == METRIC}
    asked |= {o.key for o in given if o.entity == METRIC}
    rows = _candidates(user, groups, view, asked, [*clauses, *given])
    rows = [row for row in rows if all(clause.holds(row) for clause in clauses)]
    for order in reversed([*given, _DEFAULT_ORDER]):
        order.sort(rows)
    page = rows[offset : offset + limit]
    following = offset + limit if offset + limit < len(rows) else None
    return _page_json(user, [row.run.pk for row in page]), following


def _candidates(
    user: User,
    groups: Sequence[Group],
    view: str,
    metrics: set[str],
    asked: Sequence[Clause | Order],
) -> list[Candidate]:
    """Runs of these experiments, with no more than what is asked of them."""
    wanted = Q(pk=None)
    for group in groups:
        wanted |= group.runs
    alive = Q(tracked__deleted_at=None, tracked__experiment__deleted_at=None)
    rows = runs(user).filter(wanted)
    if view != ALL:
        rows = rows.filter(alive if view == ACTIVE else ~alive)
    if not any(part.entity == PARAM for part in asked):
        rows = rows.defer("environment", "result", "claim", "slot", "config")
    found = list(rows.order_by("pk")[: MOST_CANDIDATES + 1])
    if len(found) > MOST_CANDIDATES:
        raise TrackingError(
            f"More than {MOST_CANDIDATES:,} runs are in these experiments; ask for fewer of them."
        )
    last: dict[UUID, dict[str, shapes.Last]] = {}
    for key in metrics:
        for run_id, values in shapes.last_values([run.pk for run in found], key).items():
            last.setdefault(run_id, {}).update(values)
    return [Candidate(run, last.get(run.pk, {})) for run in found]


def _page_json(user: User, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    found: dict[UUID, Run] = {}
    for part in (ids[i : i + 500] for i in range(0, len(ids), 500)):
        found |= {run.pk: run for run in runs(user).filter(pk__in=part)}
    last = shapes.last_values(found)
    return [
        shapes.run_json(
            found[pk], shapes.metrics_json(found[pk], last.get(pk, {}), times=False)
        )
        for pk in ids
        if pk in found
    ]  # fmt: skip


def page_token(offset: int | None) -> str:
    """Where the next page begins, opaque to the client; empty at the end."""
    return "" if offset is None else base64.urlsafe_b64encode(str(offset).encode()).decode()


def offset_of(token: str) -> int:
    """
    Raises:
        TrackingError: it is none of ours.
    """
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii", "replace")).decode("ascii")
        offset = int(text) if text.isdigit() and len(text) < 16 else -1
    except (binascii.Error, ValueError):
        offset = -1
    if offset < 0:
        raise TrackingError(f"page_token {token[:40]!r} is none of this server's.")
    return offset
