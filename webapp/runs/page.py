"""What the run page shows beside the run itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vad.configs import config_class
from webapp.datasets.models import DatasetVersion
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION
from webapp.runs import metrics
from webapp.runs.models import CLAIMED, Checkpoint, Run, RunEvent

TABS = ("overview", "log", "checkpoints", "config", "events")

NAMED = 5  # videos in a sentence


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
class CheckpointRow:
    checkpoint: Checkpoint
    values: list[float | None]


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
        ("log", "Log", 0),
        ("checkpoints", "Checkpoints", run.checkpoints.count()),
        ("config", "Configuration", 0),
        ("events", "Events", run.events.count()),
    ]
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


def config_rows(run: Run) -> list[ConfigRow]:
    """Every field, compared with the run that this one was cloned from, else with the defaults."""
    properties = config_class(run.kind).json_schema()["properties"]
    base: Mapping[str, Any] = {name: spec["default"] for name, spec in properties.items()}
    if run.cloned_from is not None:
        base = {**base, **run.cloned_from.config}
    names = [*properties, *(name for name in run.config if name not in properties)]
    return [
        ConfigRow(
            name=name,
            value=run.config.get(name),
            base=base.get(name),
            help=properties.get(name, {}).get("description", ""),
            unit=properties.get(name, {}).get("x-unit", ""),
        )
        for name in names
    ]


def checkpoint_rows(run: Run) -> tuple[list[str], list[CheckpointRow]]:
    """The metrics that were measured at checkpoints, and one row a checkpoint, newest first."""
    checkpoints = list(run.checkpoints.order_by("-step"))
    keys = sorted({key for c in checkpoints for key in c.metrics})
    rows = [
        CheckpointRow(checkpoint=c, values=[c.metrics.get(k) for k in keys]) for c in checkpoints
    ]
    return keys, rows


def selection_rule(run: Run) -> str:
    """How the best checkpoint is chosen, in a sentence; empty for runs that choose none."""
    chosen = run.config.get("selection")
    return f"Best means: {SELECTION[chosen]}." if chosen in SELECTION else ""


def events(run: Run) -> list[RunEvent]:
    return list(run.events.select_related("by").order_by("-at", "-id")[:500])


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
