"""What the run page shows beside the run itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import Q, QuerySet

from vad.configs import config_class
from webapp.core.query import words
from webapp.datasets.models import DatasetVersion
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION
from webapp.runs import metrics
from webapp.runs.models import Checkpoint, Run, RunEvent
from webapp.storage import artifacts, retention

TABS = ("overview", "system", "log", "checkpoints", "files", "config", "events", "lineage")

NAMED = 5  # videos in a sentence
EVENTS = 500  # on a page
WORKER = "the worker"  # who did what no person did


@dataclass(frozen=True, kw_only=True)
class ConfigRow:
    """One field of a configuration, beside the value it is compared with."""

    name: str
    value: Any
    base: Any
    help: str
    unit: str

    @property
    def changed(self) -> bool:
        return self.value != self.base


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A configuration beside another: its fields, those that differ first.

    Args:
        base: "parent" (the run that it was cloned from) or "defaults".
        bases: what it can be compared with.
        hidden: fields that are the same and are not listed.
    """

    rows: list[ConfigRow]
    base: str
    bases: list[str]
    changes: int
    hidden: int


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """One checkpoint.

    Args:
        kept: its file is there.
        stored: in the object storage.
        removed_at: when the rule let it go; else a file that is not there is missing.
        why: the reasons for which it stays.
    """

    checkpoint: Checkpoint
    values: list[float | None]
    last: bool
    kept: bool
    stored: bool
    removed_at: datetime | None
    why: list[str]

    @property
    def pinned(self) -> bool:
        return "pinned" in self.why

    @property
    def step_text(self) -> str:
        return f"{self.checkpoint.step:,}"


@dataclass(frozen=True, kw_only=True)
class Happened:
    """Events of a run, the newest first, and by what they can be filtered."""

    events: list[RunEvent]
    kinds: list[str]
    people: list[str]
    total: int


@dataclass(frozen=True, kw_only=True)
class Results:
    """Evaluations of a run, and evaluate runs that have none yet."""

    evaluations: list[Evaluation]
    pending: list[Run]

    @property
    def live(self) -> bool:
        return any(run.is_active for run in self.pending)


def tabs(run: Run) -> list[tuple[str, str, int]]:
    """Name, word and count of each part of the page."""
    found = [
        ("overview", "Overview", 0),
        ("system", "System", 0),
        ("log", "Log", 0),
        ("checkpoints", "Checkpoints", run.checkpoints.count()),
        ("config", "Configuration", 0),
        ("events", "Events", run.events.count()),
        ("lineage", "Lineage", 0),
    ]
    if run.is_external:
        files = run.uploads.filter(kind="artifact", finished_at__isnull=False).count()
        found.insert(4, ("files", "Files", files))
        return [tab for tab in found if tab[0] != "system"]  # no worker measures it
    trains = run.kind.startswith("train")
    return [tab for tab in found if trains or tab[0] != "checkpoints"]


def results(run: Run) -> Results:
    """What is known of a run's quality; of an evaluate run its own evaluation."""
    found = Evaluation.objects.select_related(
        "run", "of_run", "checkpoint", "version__dataset", "feature_set"
    )
    if run.kind == "evaluate":
        return Results(evaluations=list(found.filter(run=run)), pending=[])
    evaluations = list(found.filter(of_run=run).order_by("-created_at"))
    pending = run.evaluated_by.filter(evaluation=None).order_by("created_at")
    return Results(evaluations=evaluations, pending=list(pending))


def result_facts(run: Run) -> list[tuple[str, str]]:
    """What a person should know of how the run went: which videos it did without."""
    found = []
    for key, title in (
        ("left_out", "Left out"),
        ("damaged", "Damaged"),
        ("problems", "Not copied, or in part"),
    ):
        videos = run.result.get(key)
        if isinstance(videos, dict) and videos:
            count = "1 video" if len(videos) == 1 else f"{len(videos):,} videos"
            named = ", ".join(list(videos)[:NAMED]) + (", …" if len(videos) > NAMED else "")
            first = next(iter(videos.values()))
            found.append((title, f"{count}: {named}. {first}"))
    return found


def lineage(run: Run) -> dict[str, Any]:
    """What the run comes from and what came of it."""
    children = list(run.children.order_by("created_at"))
    known = {child.pk for child in children}
    children += [r for r in run.evaluated_by.order_by("created_at") if r.pk not in known]
    parents = list(run.parents.order_by("created_at"))
    if run.of_run is not None and run.of_run not in parents:
        parents.append(run.of_run)
    versions: list[DatasetVersion] = []
    if run.kind == "register" and run.version_id:
        versions = list(DatasetVersion.objects.filter(pk=run.version_id).select_related("dataset"))
    return {"parents": parents, "children": children, "versions": versions}


def compared(run: Run, *, base: str = "", everything: bool = False) -> Compared:
    """The configuration beside its parent's, or beside the defaults.

    Args:
        base: "parent" or "defaults"; what a run does not have means what it has.
        everything: with the fields that are the same; without any difference they are listed, too.
    """
    bases = ["parent", "defaults"] if run.cloned_from is not None else ["defaults"]
    base = base if base in bases else bases[0]
    rows = _config_rows(run, base)
    changed = [row for row in rows if row.changed]
    same = [row for row in rows if not row.changed]
    shown = everything or not changed
    return Compared(
        rows=[*changed, *(same if shown else [])],
        base=base,
        bases=bases,
        changes=len(changed),
        hidden=0 if shown else len(same),
    )


def _config_rows(run: Run, base: str) -> list[ConfigRow]:
    properties = config_class(run.kind).json_schema()["properties"]
    values: Mapping[str, Any] = {name: spec["default"] for name, spec in properties.items()}
    if base == "parent" and run.cloned_from is not None:
        values = {**values, **run.cloned_from.config}
    names = [*properties, *(name for name in run.config if name not in properties)]
    return [
        ConfigRow(
            name=name,
            value=run.config.get(name),
            base=values.get(name),
            help=properties.get(name, {}).get("description", ""),
            unit=properties.get(name, {}).get("x-unit", ""),
        )
        for name in names
    ]


def checkpoint_rows(run: Run, sort: str = "") -> tuple[list[str], list[CheckpointRow]]:
    """The metrics that were measured at checkpoints, and one row a checkpoint.

    Args:
        sort: "step", "size", "written" or a metric's key, with "-" before it from the greatest;
            else the newest first. Rows without the value come last either way.
    """
    checkpoints = list(run.checkpoints.select_related("removed").order_by("-step"))
    stored = artifacts.stored_below(run.folder)
    stays = retention.holdings([run])[0].reasons()
    keys = sorted({key for c in checkpoints for key in c.metrics})
    rows = [
        CheckpointRow(
            checkpoint=c,
            values=[c.metrics.get(k) for k in keys],
            last=i == 0,
            kept=c.path in stored or (run.folder / c.path).is_file(),
            stored=c.path in stored,
            removed_at=c.removed.at if hasattr(c, "removed") else None,
            why=stays.get(c.step, []),
        )
        for i, c in enumerate(checkpoints)
    ]
    name = sort.removeprefix("-")
    columns: dict[str, Callable[[Checkpoint], float | None]] = {
        "step": lambda c: c.step,
        "size": lambda c: c.size_bytes,
        "written": lambda c: c.created_at.timestamp(),
    } | {key: partial(_measured, key) for key in keys}
    if name in columns:
        of = columns[name]
        known = [row for row in rows if of(row.checkpoint) is not None]
        known.sort(key=lambda row: of(row.checkpoint) or 0.0, reverse=sort.startswith("-"))
        rows = known + [row for row in rows if of(row.checkpoint) is None]
    return keys, rows


def _measured(key: str, checkpoint: Checkpoint) -> float | None:
    value = checkpoint.metrics.get(key)
    return float(value) if isinstance(value, int | float) else None


def selection_rule(run: Run) -> str:
    """How the best checkpoint is chosen, in a sentence; empty for runs that choose none."""
    chosen = run.config.get("selection")
    return f"Best means: {SELECTION[chosen]}." if chosen in SELECTION else ""


def events_of(run: Run, *, kind: str = "", by: str = "", text: str = "") -> QuerySet[RunEvent]:
    """What happened to a run; the arguments as of `happened`."""
    rows = RunEvent.objects.filter(run=run).select_related("by")
    if kind:
        rows = rows.filter(kind=kind)
    if by:
        rows = rows.filter(by=None) if by == WORKER else rows.filter(by__username=by)
    for word in words(text):
        rows = rows.filter(Q(message__icontains=word) | Q(kind__icontains=word))
    return rows


def happened(run: Run, *, kind: str = "", by: str = "", text: str = "") -> Happened:
    """What happened to a run, and who did it: at most `EVENTS` of it.

    Args:
        kind, by: of these alone; `by` is a person's name, or `WORKER` for what nobody did.
        text: words in what was said.
    """
    kinds = sorted(set(run.events.order_by().values_list("kind", flat=True)))
    named = run.events.order_by().values_list("by__username", flat=True).distinct()
    people = sorted(name or WORKER for name in named)
    rows = events_of(
        run, kind=kind if kind in kinds else "", by=by if by in people else "", text=text
    ).order_by("-at", "-id")
    return Happened(events=list(rows[:EVENTS]), kinds=kinds, people=people, total=rows.count())


def metric_keys(run: Run) -> list[str]:
    return metrics.keys(run)
