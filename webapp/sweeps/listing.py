"""What the pages of sweeps read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q

from webapp.accounts.models import Project
from webapp.runs.models import ENDED, Run
from webapp.sweeps import results
from webapp.sweeps.importance import LEAST_TRIALS, Importance, importances
from webapp.sweeps.models import Sweep, Trial
from webapp.sweeps.results import Row, Setting
from webapp.sweeps.trials import Status

PAGE_SIZE = 50
MOST_COMPARED = 10
SORTS = ("number", "objective", "auc", "state")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many trials stand how."""

    planned: int
    made: int
    active: int
    done: int
    pruned: int
    failed: int

    @property
    def ended(self) -> int:
        return self.made - self.active


@dataclass(frozen=True, kw_only=True)
class View:
    """Everything of one sweep."""

    sweep: Sweep
    rows: list[Row]
    settings: list[Setting]  # the best first
    counts: Counts

    @property
    def best(self) -> Setting | None:
        return self.settings[0] if self.settings else None

    @property
    def swept(self) -> list[str]:
        """Names of the swept settings, in the order of the space."""
        return [d.name for d in self.sweep.typed_space]

    @property
    def compared(self) -> list[Run]:
        """The runs of the best settings, for a comparison."""
        runs = [row.run for setting in self.settings for row in setting.rows if row.run]
        return runs[:MOST_COMPARED]


def sweeps(project: Project | None, page: str | None) -> Page[Any]:
    """The project's sweeps, the newest first, with how many of their trials were made and ended."""
    ended = Q(trials__run__state__in=ENDED) | Q(trials__run=None, trials__isnull=False)
    found = Sweep.objects.filter(project=project).select_related("owner", "feature_set__version")
    found = found.select_related("feature_set__version__dataset").annotate(
        made=Count("trials"), ended=Count("trials", filter=ended)
    )
    return Paginator(found.order_by("-created_at", "-id"), PAGE_SIZE).get_page(page)


def view(sweep: Sweep) -> View:
    rows = results.rows_of(sweep)
    count = {status: sum(row.status == status for row in rows) for status in Status}
    return View(
        sweep=sweep,
        rows=rows,
        settings=results.settings_of(sweep, rows),
        counts=Counts(
            planned=sweep.trials_planned, made=len(rows), active=count[Status.ACTIVE],
            done=count[Status.DONE], pruned=count[Status.PRUNED], failed=count[Status.FAILED],
        ),
    )  # fmt: skip


def ordered(view: View, sort: str) -> list[Row]:
    """The trials by `sort`, with a minus for falling; those without the value come last."""
    key, falling = sort.removeprefix("-"), sort.startswith("-")
    if key not in SORTS:
        return list(view.rows)
    values: dict[str, Any] = {
        "number": lambda row: row.trial.number, "objective": lambda row: row.value,
        "auc": lambda row: row.auc, "state": lambda row: row.state,
    }  # fmt: skip
    with_value = [row for row in view.rows if values[key](row) is not None]
    without = [row for row in view.rows if values[key](row) is None]
    return sorted(with_value, key=values[key], reverse=falling) + without


def importance(view: View) -> tuple[list[Importance], int]:
    """What each swept setting explains of the objective, and over how many trials."""
    rows, values = _measured(view)
    names = [*view.swept, *(["seed"] if len(view.sweep.seeds) > 1 else [])]
    params = [{**row.trial.params, "seed": row.trial.seed} for row in rows]
    varied = [name for name in names if len({repr(row[name]) for row in params}) > 1]
    return importances(varied, params, values), len(rows)


def importance_missing(view: View) -> str:
    """Why there is no importance yet; empty when there is."""
    rows, values = _measured(view)
    if len(rows) < LEAST_TRIALS:
        return f"It is shown from {LEAST_TRIALS} trials on; {len(rows)} have ended so far."
    return "All trials came to the same value." if len(set(values)) == 1 else ""


def _measured(view: View) -> tuple[list[Row], list[float]]:
    """Trials that ended, and their values.

    Those that were stopped early count: without them the settings that the rule found hopeless
    would be missing.
    """
    ended = (Status.DONE, Status.PRUNED)
    rows = [row for row in view.rows if row.status in ended and row.value is not None]
    return rows, [row.value for row in rows if row.value is not None]


def trial_of(run: Run) -> Trial | None:
    """The trial that a run is, or that it evaluates."""
    found = Trial.objects.filter(Q(run=run) | Q(evaluation=run))
    return found.select_related("sweep").first()
