"""What the run page shows beside the run itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.db.models import Q

from vad.configs import config_class
from webapp.core.query import words
from webapp.datasets.models import DatasetVersion
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION
from webapp.runs import metrics
from webapp.runs.models import CLAIMED, Checkpoint, Run, RunEvent

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
    """`kept`: its file is still there; training keeps the last ones and the best."""

    checkpoint: Checkpoint
    values: list[float | None]
    last: bool
    kept: bool

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
    checkpoints = list(run.checkpoints.order_by("-step"))
    keys = sorted({key for c in checkpoints for key in c.metrics})
    rows = [
        CheckpointRow(
            checkpoint=c,
            values=[c.metrics.get(k) for k in keys],
            last=i == 0,
            kept=(run.folder / c.path).is_file(),
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


def happened(run: Run, *, kind: str = "", by: str = "", text: str = "") -> Happened:
    """What happened to a run, and who did it: at most `EVENTS` of it.

    Args:
        kind, by: of these alone; `by` is a person's name, or `WORKER` for what nobody did.
        text: words in what was said.
    """
    rows = run.events.select_related("by").order_by("-at", "-id")
    kinds = sorted(set(run.events.order_by().values_list("kind", flat=True)))
    named = run.events.order_by().values_list("by__username", flat=True).distinct()
    people = sorted(name or WORKER for name in named)
    if kind in kinds:
        rows = rows.filter(kind=kind)
    if by == WORKER:
        rows = rows.filter(by=None)
    elif by in people:
        rows = rows.filter(by__username=by)
    for word in words(text):
        rows = rows.filter(Q(message__icontains=word) | Q(kind__icontains=word))
    return Happened(events=list(rows[:EVENTS]), kinds=kinds, people=people, total=rows.count())


def metric_keys(run: Run) -> list[str]:
    return metrics.keys(run)


def deletion(runs: Sequence[Run]) -> dict[str, Any]:
    """What would go with these runs, and what keeps them from going."""
    ids = [run.pk for run in runs]
    also = list(Run.objects.filter(of_run__in=ids).exclude(pk__in=ids))
    gone = [*runs, *also]
    return {
        "runs": runs,
        "also": also,
        "size_bytes": sum(_size_bytes(run.folder) for run in gone),
        "evaluations": Evaluation.objects.filter(run__in=gone).count(),
        "blocking": [run for run in gone if run.state in CLAIMED],
    }


def _size_bytes(folder: Path) -> int:
    """Of all files below a folder; files that vanish meanwhile count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total
