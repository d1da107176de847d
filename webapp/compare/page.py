"""What the comparison page is asked for: its state is its address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from vad.evaluation.frame import METRICS, THRESHOLD
from vad.evaluation.patch import PATCH_METRICS
from webapp.accounts.models import User
from webapp.compare import comparison, draws, selection, two
from webapp.compare.selection import Member
from webapp.core.query import uuids
from webapp.evaluations import scores as store
from webapp.runs.models import Run
from webapp.runs.names import short_names

CLASS_METRICS = {
    "auc": "within the videos of the class",
    "auc_with_normal": "the class against all normal videos",
}
MOST_PAIRED = 20  # members of the matrix of pairs


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The runs of an address in their groups, and how they are to be shown.

    Args:
        by: the grouping, see `selection`.
        key: the metric of the training curves.
        bands: `yes`, `no`, or empty to decide by how many there are.
        classes: the metric of the class matrix, of `CLASS_METRICS`.
        pairs: the metric of the matrix of pairs, of `draws.FAST` or `draws.PATCH`.
        first, second: keys of the two members that are looked at in detail.
        scatter: what the videos are placed by, of `two.BY`.
    """

    runs: list[Run]
    members: list[Member]
    by: str = ""
    key: str = ""
    bands: str = ""
    classes: str = "auc"
    pairs: str = "auc"
    first: str = ""
    second: str = ""
    scatter: str = "max_score"
    keys: list[str] = field(default_factory=list)

    @property
    def reference(self) -> Member | None:
        """The first that was evaluated under the protocol of another: differences are to it."""
        evaluated = self.evaluated
        others = {m.key: draws.under_one_protocol(evaluated, m) for m in evaluated}
        several = (member for member in evaluated if len(others[member.key]) > 1)
        return next(several, next(iter(evaluated), None))

    @property
    def with_bands(self) -> bool | None:
        return {"yes": True, "no": False}.get(self.bands)

    @property
    def evaluated(self) -> list[Member]:
        return [member for member in self.members if member.evaluations]

    @property
    def two(self) -> tuple[Member, Member] | None:
        return two.chosen_two(self.members, self.first, self.second)

    def query(self, **changes: Any) -> str:
        """The query of this comparison, with some of it changed; an empty value leaves out."""
        state = {
            "run": [str(run.pk) for run in self.runs],
            "group": self.by,
            "key": self.key if self.keys and self.key != preferred(self.keys) else "",
            "bands": self.bands,
            "classes": "" if self.classes == "auc" else self.classes,
            "pairs": "" if self.pairs == "auc" else self.pairs,
            "a": self.first,
            "b": self.second,
            "scatter": "" if self.scatter == "max_score" else self.scatter,
            **changes,
        }
        return urlencode({k: v for k, v in state.items() if v}, doseq=True)

    def hidden(self, *own: str) -> list[tuple[str, str]]:
        """Everything but a form's own fields, for its hidden inputs."""
        return [
            (name, value)
            for name, values in QueryDict(self.query()).lists()
            if name not in own
            for value in values
        ]

    def address(self, **changes: Any) -> str:
        return f"{reverse('compare:index')}?{self.query(**changes)}"


def asked(user: User, query: QueryDict) -> Asked:
    """Read an address that anybody may have written: what is unknown is as if it were not there."""
    runs = selection.chosen(user, uuids(query.getlist("run")))
    by = _of(query, "group", dict(selection.ways(runs)))
    keys = comparison.metric_keys(runs)
    found = Asked(
        runs=runs,
        members=selection.members(runs, selection.evaluations(runs), by),
        by=by,
        keys=keys,
        key=_of(query, "key", keys) or preferred(keys),
        bands=_of(query, "bands", ("yes", "no")),
        classes=_of(query, "classes", CLASS_METRICS) or "auc",
        pairs=_of(query, "pairs", (*draws.FAST, *draws.PATCH)) or "auc",
        first=query.get("a", "")[:40],
        second=query.get("b", "")[:40],
        scatter=_of(query, "scatter", two.BY) or "max_score",
    )
    short = short_names([member.name for member in found.members])
    members = [_with_addresses(found, member) for member in found.members]
    members = [replace(m, short=name) for m, name in zip(members, short, strict=True)]
    return replace(found, members=members)


def _with_addresses(asked: Asked, member: Member) -> Member:
    own = {run.pk for run in member.runs}
    left = [str(run.pk) for run in asked.runs if run.pk not in own]
    first = [*(str(pk) for pk in own), *left]
    return replace(member, without=asked.address(run=left), first_src=asked.address(run=first))


def preferred(keys: list[str]) -> str:
    """What one wants to see first: a validation score, then the loss, then anything."""
    first = ("validation/video_auc", "test/frame_auc", "loss/total")
    return next((key for key in first if key in keys), next(iter(keys), ""))


def operating_rows(members: list[Member]) -> list[tuple[Member, dict[str, float | None]]]:
    """Where each member stands at the fixed threshold; the mean over the runs of a group.

    Raises:
        VadError: `file-missing` or `scores-invalid`.
    """
    rows = []
    for member in members:
        points = [store.operating_point(e, THRESHOLD) for e in member.evaluations]
        means = {}
        for name in ("fpr", "tpr", "precision"):
            values = [point[name] for point in points]
            there = [value for value in values if value is not None]
            means[name] = sum(there) / len(there) if there and len(there) == len(values) else None
        rows.append((member, {"threshold": THRESHOLD, **means}))
    return rows


def pair_metrics(asked: Asked) -> dict[str, dict[str, str]]:
    """What the matrix of pairs can show, in groups: of patches what any of the members has."""
    there = {
        name
        for member in asked.evaluated
        for evaluation in member.evaluations
        for name, value in (evaluation.patch_metrics or {}).items()  # type: ignore[attr-defined]
        if value is not None
    }
    found = {
        "Frames": {name: METRICS[name].title for name in draws.FAST},
        "Patches": {name: PATCH_METRICS[name].title for name in draws.PATCH if name in there},
    }
    return {group: titles for group, titles in found.items() if titles}


def pair_cells(members: list[Member], metric: str) -> list[tuple[Member, list[Any]]]:
    """A row a member: its difference to each other one, None on the diagonal.

    A cell is the pair turned so that it reads row minus column; empty where either is undefined.
    """
    shown = members[:MOST_PAIRED]
    cells: dict[tuple[int, int], Any] = {}
    better = {**METRICS, **PATCH_METRICS}[metric].higher_is_better
    for pair in draws.all_pairs(shown, metric):
        for row, column, factor in ((pair.second, pair.first, 1), (pair.first, pair.second, -1)):
            ends = [pair.low, pair.high] if factor == 1 else [pair.high, pair.low]
            low, high = (None if end is None else factor * end for end in ends)
            value = factor * pair.difference
            sign = ""
            if pair.significant and better is not None:
                sign = "better" if (value > 0) == better else "worse"
            cells[row, column] = {
                "difference": value, "low": low, "high": high, "p": pair.p_holm, "sign": sign,
            }  # fmt: skip
    return [
        (
            member,
            [None if row == at else cells.get((row, at), {}) for at in range(len(shown))],
        )
        for row, member in enumerate(shown)
    ]


def _of(query: Mapping[str, str], name: str, known: Any) -> str:
    value = query.get(name, "")
    return value if value in known else ""
