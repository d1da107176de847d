"""Several runs side by side: what was measured, what differs, and whether it may be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from vad.configs import config_class
from vad.errors import VadError
from vad.evaluation.bootstrap import Difference, paired
from vad.evaluation.protocol import Protocol, differences
from vad.evaluation.scores import ScoreSet
from webapp.accounts.models import Project, User
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import HEADLINE, Number, numbers
from webapp.runs.models import MetricSummary, Run

MOST_RUNS = 20
CANDIDATES = 200
# Differences that a matrix of pairs gives at once (0.4 s for 290 videos), and those that need a
# walk over all scores for every sample (1 s each), which are left out beyond a few runs.
PAIRED = ("auc", "auc_abnormal", "video_auc", "far_normal")
PAIRED_SLOW = ("ap_step",)
SLOW_RUNS = 4
PAIRED_SAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Column:
    """One run of the comparison, with the evaluation that is shown of it."""

    run: Run
    evaluation: Evaluation | None
    without: str = ""  # the address of the comparison without this run


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A difference to the first run in words."""

    text: str
    sign: str  # better, worse, or empty when it is not certain
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    value: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False
    difference: Paired | None = None


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    title: str
    help: str
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class ConfigCell:
    value: Any
    changed: bool


@dataclass(frozen=True, kw_only=True)
class ConfigRow:
    name: str
    help: str
    cells: list[ConfigCell]


@dataclass(frozen=True, kw_only=True)
class Warning:
    """Two runs whose numbers must not be compared, and why."""

    first: str
    second: str
    differences: list[str]


def chosen(user: User, ids: Sequence[UUID]) -> list[Run]:
    """The runs of these ids that the person may see, in this order; at most `MOST_RUNS`.

    An evaluate run stands for the run that it evaluated.
    """
    runs = Run.objects.visible_to(user).select_related(
        "owner", "version__dataset", "feature_set", "of_run__version__dataset",
        "of_run__feature_set", "of_run__owner",
    )  # fmt: skip
    by_id = {run.pk: run for run in runs.filter(pk__in=ids)}
    found: dict[UUID, Run] = {}
    for pk in ids:
        run = by_id.get(pk)
        if run is not None:
            meant = run.of_run or run
            found.setdefault(meant.pk, meant)
    return list(found.values())[:MOST_RUNS]


def candidates(project: Project | None, runs: Sequence[Run]) -> list[Run]:
    """Training runs that could join the comparison, the newest first."""
    found = Run.objects.filter(project=project, kind__startswith="train")
    found = found.exclude(pk__in=[run.pk for run in runs]).select_related("version__dataset")
    return list(found.order_by("-created_at")[:CANDIDATES])


def evaluations(runs: Sequence[Run]) -> dict[UUID, Evaluation]:
    """The newest evaluation of each run that has one."""
    found = Evaluation.objects.filter(of_run__in=runs).select_related(
        "run", "of_run", "checkpoint", "version__dataset"
    )
    return {evaluation.of_run_id: evaluation for evaluation in found.order_by("created_at")}


def metric_keys(runs: Sequence[Run]) -> list[str]:
    """Metrics that any of the runs has, those that most have first."""
    keys = MetricSummary.objects.filter(run__in=runs).values_list("key", flat=True)
    counts: dict[str, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    return sorted(counts, key=lambda key: (-counts[key], key))


def not_comparable(columns: Sequence[Column]) -> list[Warning]:
    """Neighbours in the list of distinct protocols, and what differs between them."""
    first_of: dict[str, Evaluation] = {}
    for column in columns:
        if column.evaluation is not None:
            first_of.setdefault(column.evaluation.fingerprint, column.evaluation)
    return [
        Warning(
            first=a.of_run.name,
            second=b.of_run.name,
            differences=differences(Protocol.from_dict(a.protocol), Protocol.from_dict(b.protocol)),
        )
        for a, b in pairwise(first_of.values())
    ]


def metric_rows(
    columns: Sequence[Column], *, with_differences: bool
) -> tuple[list[MetricRow], list[VadError]]:
    """The headline metrics, and what kept pairs from being compared.

    Differences to the first run are paired over the same videos and shown only under one protocol.
    They take about a second a run the first time.
    """
    shown = [
        {n.name: n for n in numbers(c.evaluation, HEADLINE)} if c.evaluation else {}
        for c in columns
    ]
    first = next((c.evaluation for c in columns if c.evaluation is not None), None)
    found: dict[UUID, dict[str, Difference | None]] = {}
    problems: list[VadError] = []
    asked = (*PAIRED, *PAIRED_SLOW) if len(columns) <= SLOW_RUNS else PAIRED
    for column in columns if with_differences else ():
        evaluation = column.evaluation
        if first is None or evaluation is None or evaluation is first:
            continue
        if evaluation.fingerprint != first.fingerprint:
            continue
        try:
            found[column.run.pk] = _paired(
                first.scores_path,
                first.scores_sha256,
                evaluation.scores_path,
                evaluation.scores_sha256,
                asked,
            )
        except VadError as exc:
            problems.append(exc)
    comparable = len({c.evaluation.fingerprint for c in columns if c.evaluation}) == 1
    names = [name for name in HEADLINE if any(name in row for row in shown)]
    rows = []
    for name in names:
        column_numbers = [row.get(name) for row in shown]
        best = _best(column_numbers) if comparable else None
        rows.append(
            MetricRow(
                title=next(n.title for n in column_numbers if n),
                help=next(n.help for n in column_numbers if n),
                cells=[
                    _cell(n, best, found.get(c.run.pk, {}).get(name))
                    for n, c in zip(column_numbers, columns, strict=True)
                ],
            )
        )
    return rows, problems


def config_rows(columns: Sequence[Column]) -> list[ConfigRow]:
    """Settings and inputs in which the runs differ, against the first run."""
    if len(columns) < 2:
        return []
    inputs = [
        {
            "kind of run": c.run.get_kind_display(),
            "data set": str(c.run.version) if c.run.version else None,
            "features": c.run.feature_set.name if c.run.feature_set else None,
            **c.run.config,
        }
        for c in columns
    ]
    helps: dict[str, str] = {}
    for column in columns:
        properties = config_class(column.run.kind).json_schema()["properties"]
        helps |= {name: spec["description"] for name, spec in properties.items()}
    names = dict.fromkeys(name for given in inputs for name in given)
    return [
        ConfigRow(
            name=name,
            help=helps.get(name, ""),
            cells=[
                ConfigCell(value=given.get(name), changed=given.get(name) != inputs[0].get(name))
                for given in inputs
            ],
        )
        for name in names
        if any(given.get(name) != inputs[0].get(name) for given in inputs)
    ]


def _best(found: Sequence[Number | None]) -> float | None:
    """The best value among several, when there are several and better means something."""
    there = [n for n in found if n is not None and n.value is not None]
    if len(there) < 2 or there[0].higher_is_better is None:
        return None
    values = [n.value for n in there if n.value is not None]
    return max(values) if there[0].higher_is_better else min(values)


def _cell(number: Number | None, best: float | None, difference: Difference | None) -> Cell:
    if number is None:
        return Cell()
    return Cell(
        value=number.value,
        low=number.low,
        high=number.high,
        best=best is not None and number.value == best,
        difference=_words(difference, number) if difference else None,
    )


def _words(difference: Difference, number: Number) -> Paired:
    text = f"{difference.difference:+.4f}"
    if difference.low is not None and difference.high is not None:
        text += f"  [{difference.low:+.3f}, {difference.high:+.3f}]"
    sign = ""
    if difference.significant and number.higher_is_better is not None:
        gain = (difference.difference > 0) == number.higher_is_better
        sign = "better" if gain else "worse"
    return Paired(text=text, sign=sign, p=difference.p)


@lru_cache(maxsize=64)
def _paired(
    first: Path, _first_sha256: str, second: Path, _second_sha256: str, names: tuple[str, ...]
) -> dict[str, Difference | None]:
    return paired(ScoreSet.load(first), ScoreSet.load(second), samples=PAIRED_SAMPLES, names=names)
