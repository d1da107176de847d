"""The tables of a comparison: metrics, classes, settings, and whether it may be made at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from vad.configs import config_class
from vad.errors import VadError
from vad.evaluation import patch_protocol
from vad.evaluation.bootstrap import over_seeds
from vad.evaluation.frame import METRICS, MetricInfo
from vad.evaluation.members import Pair
from vad.evaluation.patch import PATCH_METRICS
from vad.evaluation.patch_protocol import PatchProtocol
from vad.evaluation.protocol import Protocol, differences
from webapp.compare import draws
from webapp.compare.selection import Member
from webapp.core.numbers import signed, signed_interval
from webapp.evaluations.models import Evaluation
from webapp.runs.models import MetricSummary, Run

FRAME = ("auc", "ap_step", "auc_abnormal", "auc_fpr_10", "auc_fpr_01", "video_auc", "far_normal")
FRAME_MORE = ("ap_pr_auc", "auc_macro")
PATCH = ("patch_auc", "patch_ap_step", "tiou", "rbdc", "tbdc")
PATCHES_ONLY = "Patch numbers only:"
SHADES = 5  # of the class matrix, within one row


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference to the reference in words.

    Args:
        sign: better, worse, or empty when it is not certain.
    """

    text: str
    sign: str
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number of one member.

    Args:
        low, high: its 95 % interval over the test videos; of single runs.
        deviation, n: over the seeds; of groups.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    n: int = 1
    best: bool = False
    difference: Difference | None = None
    shade: int = 0


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric of the table."""

    name: str
    title: str
    help: str
    higher_is_better: bool | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A member with its cells, in the order of the columns."""

    member: Member
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Table:
    columns: list[Column]
    rows: list[Row]
    problems: list[VadError] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """One class over all members."""

    name: str
    videos: int
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field in which the members differ.

    Args:
        cells: of each member its values, several where a group varies, and whether they differ
            from the first member's.
        partial: some kinds of the compared runs do not have it.
    """

    name: str
    help: str
    cells: list[tuple[list[Any], bool]]
    partial: bool = False


@dataclass(frozen=True, kw_only=True)
class Warning:
    """Two members whose numbers must not be compared, and why."""

    first: str
    second: str
    differences: list[str]

    @property
    def of_patches(self) -> bool:
        """Their frame numbers may be compared all the same."""
        return all(text.startswith(PATCHES_ONLY) for text in self.differences)


def metric_keys(runs: Sequence[Run]) -> list[str]:
    """Metrics that any of the runs has, those that most have first."""
    keys = MetricSummary.objects.filter(run__in=runs).values_list("key", flat=True)
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return sorted(counts, key=lambda key: (-counts[key], key))


def not_comparable(members: Sequence[Member]) -> list[Warning]:
    """Neighbours in the list of distinct protocols, and what differs between them."""
    first_of: dict[str, Evaluation] = {}
    for member in members:
        for evaluation in member.evaluations:
            first_of.setdefault(evaluation.fingerprint, evaluation)
    found = [
        Warning(
            first=a.of_run.name,
            second=b.of_run.name,
            differences=differences(Protocol.from_dict(a.protocol), Protocol.from_dict(b.protocol)),
        )
        for a, b in pairwise(first_of.values())
    ]
    return found + [w for frame in first_of for w in _patches_not_comparable(members, frame)]


def _patches_not_comparable(members: Sequence[Member], frame: str) -> list[Warning]:
    """The same of the patch numbers, among evaluations whose frame numbers are comparable."""
    first_of: dict[str, Evaluation] = {}
    for member in members:
        for evaluation in member.evaluations:
            patch = draws.fingerprint(evaluation, PATCH[0])
            if patch and evaluation.fingerprint == frame:
                first_of.setdefault(patch, evaluation)
    return [
        Warning(
            first=a.of_run.name,
            second=b.of_run.name,
            differences=[
                f"{PATCHES_ONLY} {text}"
                for text in patch_protocol.differences(_patch_protocol(a), _patch_protocol(b))
            ],
        )
        for a, b in pairwise(first_of.values())
    ]


def metric_table(
    members: Sequence[Member], reference: Member | None, *, with_differences: bool = False
) -> Table:
    """The headline metrics of every member, and its difference to the reference.

    Differences are paired over the same videos and made only under one protocol. A run takes about
    a second the first time; its draws are kept.
    """
    columns = _columns(members)
    comparable = draws.comparable([m for m in members if m.evaluations])
    found = [[_cell(member, column.name) for column in columns] for member in members]
    problems: dict[str, VadError] = {}  # what is wrong with the reference is said once
    if with_differences and reference is not None:
        tested = [c.name for c in columns if c.name in draws.metrics_for(members)]
        for member, cells in zip(members, found, strict=True):
            if member is reference or not member.evaluations:
                continue
            try:
                pairs = {name: draws.difference(reference, member, name) for name in tested}
            except VadError as exc:
                problems.setdefault(exc.message, exc)
                continue
            for i, column in enumerate(columns):
                pair = pairs.get(column.name)
                if pair is not None:
                    cells[i] = replace(cells[i], difference=_words(pair, column.higher_is_better))
    if comparable:
        prints = {draws.fingerprint(e, PATCH[0]) for m in members for e in m.evaluations}
        same_patches = len(prints - {""}) <= 1
        for i, column in enumerate(columns):
            if column.name in PATCH_METRICS and not same_patches:
                continue
            best = _best([cells[i].value for cells in found], column.higher_is_better)
            for cells in found:
                if best is not None and cells[i].value == best:
                    cells[i] = replace(cells[i], best=True)
    rows = [Row(member=m, cells=cells) for m, cells in zip(members, found, strict=True)]
    return Table(columns=columns, rows=rows, problems=list(problems.values()))


def class_rows(members: Sequence[Member], metric: str = "auc") -> list[ClassRow]:
    """AUC of each class and member, the classes with most videos first.

    Args:
        metric: `auc`, within the videos of the class, or `auc_with_normal`, with all normal videos.
    """
    shown = [m for m in members if m.evaluations]
    videos: dict[str, int] = {}
    for member in shown:
        for evaluation in member.evaluations:
            for row in evaluation.per_class:
                videos.setdefault(row["class"], row["videos"])
    found = []
    for name in sorted(videos, key=lambda c: (-videos[c], c)):
        cells = [_class_cell(member, name, metric) for member in shown]
        if any(cell.value is not None for cell in cells):
            found.append(ClassRow(name=name, videos=videos[name], cells=_shaded(cells)))
    return found


def settings(members: Sequence[Member]) -> list[Setting]:
    """Settings and inputs in which the members differ; a group that varies shows all its values."""
    if len(members) < 2:
        return []
    given = [[_inputs(run) for run in member.runs] for member in members]
    helps: dict[str, str] = {}
    for kind in {run.kind for member in members for run in member.runs}:
        properties = config_class(kind).json_schema()["properties"]
        helps |= {name: spec["description"] for name, spec in properties.items()}
    names = dict.fromkeys(name for runs in given for inputs in runs for name in inputs)
    found = []
    for name in names:
        values = [_values(inputs.get(name) for inputs in runs) for runs in given]
        if any(value != values[0] for value in values):
            cells = [(value, value != values[0]) for value in values]
            partial = any(name not in inputs for runs in given for inputs in runs)
            found.append(Setting(name=name, help=helps.get(name, ""), cells=cells, partial=partial))
    return found


def _columns(members: Sequence[Member]) -> list[Column]:
    """The metrics that any member has."""
    there = {
        name
        for member in members
        for evaluation in member.evaluations
        for name, value in (*evaluation.metrics.items(), *_patch(evaluation)[0].items())
        if value is not None
    }
    return [
        Column(
            name=name,
            title=info.title,
            help=info.help,
            higher_is_better=info.higher_is_better,
        )
        for name, info in _infos()
        if name in there
    ]


def _infos() -> Iterable[tuple[str, MetricInfo]]:
    yield from ((name, METRICS[name]) for name in (*FRAME, *FRAME_MORE))
    yield from ((name, PATCH_METRICS[name]) for name in PATCH)


def _patch(evaluation: Evaluation) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics and intervals of stage 2, annotated by `selection.evaluations`."""
    return (
        getattr(evaluation, "patch_metrics", None) or {},
        getattr(evaluation, "patch_intervals", None) or {},
    )


def _patch_protocol(evaluation: Evaluation) -> PatchProtocol:
    return PatchProtocol.from_dict(evaluation.patch_protocol)  # type: ignore[attr-defined]


def _cell(member: Member, name: str) -> Cell:
    values, intervals = [], []
    for evaluation in member.evaluations:
        patch, patch_intervals = _patch(evaluation)
        value = patch.get(name) if name in PATCH_METRICS else evaluation.metrics.get(name)
        if value is not None:
            values.append(float(value))
            held = patch_intervals if name in PATCH_METRICS else evaluation.intervals
            intervals.append(held.get(name))
    return _summary(member, values, intervals)


def _class_cell(member: Member, class_name: str, metric: str) -> Cell:
    values, intervals = [], []
    for evaluation in member.evaluations:
        rows = {row["class"]: row for row in evaluation.per_class}
        row: dict[str, Any] = rows.get(class_name, {})
        if row.get(metric) is not None:
            values.append(float(row[metric]))
            intervals.append((row.get("intervals") or {}).get(metric))
    return _summary(member, values, intervals)


def _summary(member: Member, values: list[float], intervals: list[Any]) -> Cell:
    """One run's number with its interval, or a group's mean with its deviation."""
    if not values:
        return Cell()
    if member.is_group:
        spread = over_seeds(values)
        return Cell(value=spread["mean"], deviation=spread["deviation"], n=len(values))
    low, high = intervals[0] or (None, None)
    return Cell(value=values[0], low=low, high=high)


def _best(values: Sequence[float | None], higher_is_better: bool | None) -> float | None:
    """The best value among several, when there are several and better means something."""
    there = [value for value in values if value is not None]
    if len(there) < 2 or higher_is_better is None:
        return None
    return max(there) if higher_is_better else min(there)


def _shaded(cells: Sequence[Cell]) -> list[Cell]:
    """With the best marked, and each cell's place between the worst and the best of the row."""
    there = [cell.value for cell in cells if cell.value is not None]
    low, high = min(there), max(there)
    best = _best([cell.value for cell in cells], True)
    found = []
    for cell in cells:
        if cell.value is None or high == low:
            found.append(cell)
            continue
        place = (cell.value - low) / (high - low)
        found.append(replace(cell, shade=round(place * (SHADES - 1)) + 1, best=cell.value == best))
    return found


def _words(pair: Pair, higher_is_better: bool | None) -> Difference:
    text = signed(pair.difference)
    sign = ""
    if pair.low is not None and pair.high is not None:
        text += f" {signed_interval(pair.low, pair.high)}"
        if not pair.low <= 0 <= pair.high and higher_is_better is not None:
            sign = "better" if (pair.difference > 0) == higher_is_better else "worse"
    return Difference(text=text, sign=sign, p=pair.p)


def _inputs(run: Run) -> dict[str, Any]:
    return {
        "kind of run": run.get_kind_display(),
        "data set": str(run.version) if run.version else None,
        "features": run.feature_set.name if run.feature_set else None,
        **run.config,
    }


def _values(values: Iterable[Any]) -> list[Any]:
    """The distinct ones, in order."""
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
