"""Metric curves of one run, or of one metric of several runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from webapp import charts
from webapp.runs import metrics
from webapp.runs.models import Run

POINTS = 1200  # of a curve: as many as a wide screen can show; zooming in asks again


@dataclass(frozen=True, kw_only=True)
class Group:
    """Metrics that are drawn in one figure: those whose key begins with one of `prefixes`.

    Args:
        only: the whole keys that belong to it, when not all of its prefixes do.
        but: beginnings of keys that have a figure of their own.
        start: what its keys begin with, behind the prefix too.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    start: str = ""
    y_title: str
    y_unit: str = ""
    log_y: bool = False
    value: charts.metrics.Value = "last"

    def keys(self, known: Iterable[str]) -> list[str]:
        own = [key for key in known if key.partition("/")[0] in self.prefixes]
        own = [key for key in own if key.startswith(self.start) and not key.startswith(self.but)]
        return [key for key in own if not self.only or key in self.only]


GROUPS = (
    Group(
        name="score",
        title="AUC and AP while training",
        prefixes=("validation", "test"),
        y_title="AUC, AP",
        y_unit="0 to 1",
        value="max",
    ),
    Group(
        name="loss",
        title="Training loss",
        prefixes=("loss",),
        only=("loss/total", "loss/stage1", "loss/stage2"),
        y_title="Loss",
    ),
    Group(
        name="terms",
        title="Terms of the loss before weighting, log scale",
        prefixes=("loss",),
        but=("loss/total", "loss/stage"),
        y_title="Loss",
        log_y=True,  # they differ by powers of ten
    ),
    *(
        Group(
            name=f"terms-{number}",
            title=f"Terms of stage {number}'s loss before weighting, log scale",
            prefixes=("loss",),
            start=f"loss/stage{number}_",
            y_title="Loss",
            log_y=True,
        )
        for number in (1, 2)
    ),
    Group(name="time", title="Time per step", prefixes=("time",), y_title="Time", y_unit="s"),
)
BY_NAME = {group.name: group for group in GROUPS}


def shown_groups(known: Iterable[str]) -> list[Group]:
    """The groups that a run with these metrics has something to draw in; known metrics first."""
    known = list(known)
    prefixes = {p for group in GROUPS for p in group.prefixes}
    others = dict.fromkeys(k.partition("/")[0] for k in known)
    return [
        *(group for group in GROUPS if group.keys(known)),
        *(_own(prefix) for prefix in others if prefix not in prefixes),
    ]


def group(name: str) -> Group:
    """The group of this name; any other prefix of metric keys is a group of its own."""
    return BY_NAME.get(name) or _own(name)


def _own(prefix: str) -> Group:
    return Group(name=prefix, title=prefix.capitalize(), prefixes=(prefix,), y_title="Value")


def of_run(
    run: Run, wanted: Group, *, from_step: int | None = None, to_step: int | None = None
) -> charts.Figure:
    """All metrics of a group, one curve each."""
    keys = wanted.keys(metrics.keys(run))
    found = metrics.read_many(
        [run.pk], keys, max_points=POINTS, from_step=from_step, to_step=to_step
    )
    series = [
        charts.Series(
            name=key.partition("/")[2] if len(wanted.prefixes) == 1 else key.replace("/", " "),
            x=found[run.pk, key].steps.tolist(),
            y=found[run.pk, key].values.tolist(),
            index=keys.index(key),
            points=found[run.pk, key].total,
        )
        for key in keys
        if (run.pk, key) in found
    ]
    return charts.metric_curves(
        series,
        title=wanted.title,
        y_title=wanted.y_title,
        y_unit=wanted.y_unit,
        value=wanted.value,
        log_y=wanted.log_y,
        live=run.is_active,
    )


def of_runs(
    runs: Sequence[Run],
    key: str,
    *,
    from_step: int | None = None,
    to_step: int | None = None,
) -> charts.Figure:
    """One metric of several runs, each in its own colour."""
    wanted = group(key.partition("/")[0])
    found = metrics.read_many(
        [run.pk for run in runs], [key], max_points=POINTS, from_step=from_step, to_step=to_step
    )
    series = [
        charts.Series(
            name=run.name,
            x=found[run.pk, key].steps.tolist(),
            y=found[run.pk, key].values.tolist(),
            index=run.color,
            points=found[run.pk, key].total,
        )
        for run in runs
        if (run.pk, key) in found
    ]
    return charts.metric_curves(
        series,
        title=key,
        y_title=key,
        y_unit=wanted.y_unit,
        value=wanted.value,
        live=any(run.is_active for run in runs),
    )
