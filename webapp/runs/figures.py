"""Metric curves of one run, or of one metric of several runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import numpy as np
from django.db.models import Max
from django.utils.http import urlencode

from vad.timeline import thin
from webapp import charts
from webapp.runs import chunks, metrics, times
from webapp.runs.models import MetricSummary, Run
from webapp.runs.smoothing import smooth

POINTS = 1200  # of a curve: as many as a wide screen can show; zooming in asks again
ZOOMED_POINTS = 2 * POINTS  # of which half is beside what is looked at
SMOOTHED_POINTS = 300_000  # of a curve that is smoothed from every point of it
MOST_SMOOTHING = 0.99
METRIC_WORDS = {"auc": "AUC", "ap": "AP", "pr": "PR"}  # of keys, as people write them
SYSTEM_PREFIX = chunks.SYSTEM.rstrip("/")


@dataclass(frozen=True, kw_only=True)
class View:
    """How a person wants to see curves; it is in the page's address.

    Args:
        smoothing: weight of the exponential average, 0 to `MOST_SMOOTHING`.
        x: what the curves are drawn over; "log" is steps on a logarithmic axis.
        y: "" is what suits each chart.
    """

    smoothing: float = 0.0
    x: Literal["step", "log", "time"] = "step"
    y: Literal["", "linear", "log"] = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> View:
        """Of an address that anybody may have written: what makes no sense is left out."""
        try:
            smoothing = round(float(query.get("smooth", 0)), 3)
        except ValueError:
            smoothing = 0.0
        x, y = query.get("x", ""), query.get("y", "")
        return cls(
            smoothing=smoothing if 0 < smoothing <= MOST_SMOOTHING else 0.0,
            x="log" if x == "log" else "time" if x == "time" else "step",
            y="log" if y == "log" else "linear" if y == "linear" else "",
        )

    def query(self) -> str:
        """The address of this view: `?…`, or empty for the usual one."""
        found = {
            "smooth": f"{self.smoothing:g}" if self.smoothing else "",
            "x": "" if self.x == "step" else self.x,
            "y": self.y,
        }
        text = urlencode({name: value for name, value in found.items() if value})
        return f"?{text}" if text else ""


USUAL = View()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Metrics that are drawn in one figure: those whose key begins with one of `prefixes`.

    Args:
        only: the whole keys that belong to it, when not all of its prefixes do.
        but: beginnings of keys that have a figure of their own.
        start, ends: what its keys begin with, behind the prefix too, and end with.
        system: measured by the worker, over seconds since the run's first start.
        scale: of the values as they are stored, to those that are drawn.
    """

    name: str
    title: str
    prefixes: tuple[str, ...]
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    start: str = ""
    ends: tuple[str, ...] = field(default=("",))
    y_title: str
    y_unit: str = ""
    log_y: bool = False
    value: charts.metrics.Value = "last"
    system: bool = False
    scale: float = 1.0

    def keys(self, known: Iterable[str]) -> list[str]:
        own = [key for key in known if key.partition("/")[0] in self.prefixes]
        own = [key for key in own if key.startswith(self.start) and key.endswith(self.ends)]
        own = [key for key in own if not key.startswith(self.but)]
        return [key for key in own if not self.only or key in self.only]


def _system(
    name: str,
    title: str,
    ends: str,
    y_title: str,
    y_unit: str,
    *,
    start: str = "",
    scale: float = 1,
) -> Group:
    return Group(
        name=f"system-{name}",
        title=title,
        prefixes=(SYSTEM_PREFIX,),
        start=f"{chunks.SYSTEM}{start}",
        ends=tuple(ends.split()),
        y_title=y_title,
        y_unit=y_unit,
        system=True,
        scale=scale,
    )


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
    _system("gpu", "GPU in use", "_util_percent", "Time with work", "%", start="gpu"),
    _system("gpu-memory", "GPU memory", "_memory_mb", "In use", "GB", start="gpu", scale=1e-3),
    _system("gpu-power", "GPU power", "_power_w", "Power", "W", start="gpu"),
    _system("cpu", "CPU", "/cpu_percent", "CPU", "% of one core"),
    _system("memory", "Memory", "/memory_mb", "Resident", "GB", scale=1e-3),
    _system("storage", "Storage", "/read_mb_s /write_mb_s", "Moved", "MB/s"),
    _system("steps", "Done over time", "/step", "Done", ""),
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
    run: Run,
    wanted: Group,
    *,
    view: View = USUAL,
    low: float | None = None,
    high: float | None = None,
) -> charts.Figure:
    """All metrics of a group, one curve each.

    Args:
        low, high: the part of the x axis that is looked at: steps, or seconds on an axis of time.
    """
    axis = _axis(run, wanted, view)
    first, last = axis.steps_between(*_wider(low, high))
    keys = wanted.keys(metrics.keys(run))
    most = POINTS if first is None and last is None else ZOOMED_POINTS
    found = metrics.read_many([run.pk], keys, max_points=most, from_step=first, to_step=last)
    if not found and most == ZOOMED_POINTS:  # between two points: their line is what there is
        return of_run(run, wanted, view=view)
    series = [
        charts.Series(
            name=_short(key, wanted),
            **axis.curve(found[run.pk, key], wanted.scale),
            index=keys.index(key),
            points=found[run.pk, key].total,
            smoothed=_smoothed(run, key, wanted, view.smoothing, first, last, axis),
        )
        for key in keys
        if (run.pk, key) in found
    ]
    log_y = wanted.log_y if view.y == "" else view.y == "log"
    figure = charts.metric_curves(
        series,
        title=wanted.title,
        y_title=wanted.y_title,
        y_unit=wanted.y_unit if wanted.name != "system-steps" else run.unit,
        x_title=axis.title,
        x_unit=axis.unit,
        value=wanted.value,
        log_x=axis.log,
        log_y=log_y,
        smoothing=view.smoothing,
        live=run.is_active,
    )
    # A zoom holds as long as its axis does.
    figure["layout"]["xaxis"]["uirevision"] = f"{axis.title} {axis.unit} {axis.log}"
    figure["layout"]["yaxis"]["uirevision"] = f"log {log_y}"
    if axis.scale_s:
        figure["x_scale"] = axis.scale_s
    if wanted.system and not log_y:
        figure["layout"]["yaxis"]["rangemode"] = "tozero"
    if log_y and (hidden := _not_positive(series)):
        words = "1 value is" if hidden == 1 else f"{hidden:,} values are"
        notes = [figure.get("note", ""), f"{words} not above 0"]
        figure["note"] = ", ".join(filter(None, notes))
    return figure


def _wider(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """A part with its surroundings, so that its lines go on to the edge of the picture."""
    if low is None or high is None or high < low:
        return low, high
    half = (high - low) / 2
    return low - half, high + half


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """What curves are drawn over. `scale_s`: seconds in a unit of it, 0 on an axis of steps."""

    title: str = "Step"
    unit: str = ""
    scale_s: float = 0.0
    log: bool = False
    clock: times.Clock | None = None  # from steps to seconds; None where they are one or the other

    def steps_between(self, low: float | None, high: float | None) -> tuple[int | None, ...]:
        if self.clock is not None:
            return self.clock.steps_between(low, high)
        return tuple(None if end is None else round(end) for end in (low, high))

    def x(self, steps: np.ndarray) -> np.ndarray:
        if not self.scale_s:
            return steps
        seconds = self.clock.at(steps) if self.clock is not None else steps
        return np.round(seconds / self.scale_s, 4)

    def curve(self, found: metrics.Series, scale: float) -> dict[str, Any]:
        steps, values = found.steps, found.values * scale
        if self.scale_s and self.clock is None:
            steps, values = _with_gaps(steps, values)
        return {"x": self.x(steps).tolist(), "y": values.tolist()}


def _axis(run: Run, wanted: Group, view: View) -> _Axis:
    clock = times.clock(run) if view.x == "time" and not wanted.system else None
    if not wanted.system and clock is None:
        return _Axis(log=view.x == "log")
    word, scale = times.unit(_measured_s(run))
    return _Axis(title="Time since the start", unit=word, scale_s=scale, clock=clock)


def _measured_s(run: Run) -> float:
    """How long its worker measured the run; the same for all of its charts, so they fit."""
    own = MetricSummary.objects.filter(run=run, key__startswith=chunks.SYSTEM)
    return float(own.aggregate(last=Max("last_step"))["last"] or 0)


def _with_gaps(seconds: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A gap where nothing was measured for long: the run waited between two attempts."""
    apart = np.diff(seconds)
    if not len(apart):
        return seconds, values
    at = np.flatnonzero(apart > max(30.0, 8 * float(np.median(apart)))) + 1
    return np.insert(seconds, at, seconds[at - 1] + 1), np.insert(values, at, np.nan)


def _smoothed(
    run: Run,
    key: str,
    wanted: Group,
    weight: float,
    first: int | None,
    last: int | None,
    axis: _Axis,
) -> tuple[list[float], list[float]] | None:
    """The average over every point, thinned only after it; None where that would be too many.

    What comes before a part that is looked at weighs in, too: zooming in moves no curve.
    """
    if not weight:
        return None
    counted = MetricSummary.objects.filter(run=run, key=key).values_list("count", flat=True).first()
    if not counted or counted > SMOOTHED_POINTS:
        return None
    points = metrics.read_raw(run, key, to_step=last)
    values = smooth(points.values, weight)
    start = 0 if first is None else int(np.searchsorted(points.steps, first))
    steps, values = thin(points.steps[start:], values[start:], POINTS)
    found = axis.curve(metrics.Series(steps, values, len(steps)), wanted.scale)
    return found["x"], found["y"]


def _short(key: str, wanted: Group) -> str:
    """A key as the legend of its group names it."""
    if wanted.system:
        return _SYSTEM_NAMES.get(key, key.partition("/")[2].split("_")[0])
    if len(wanted.prefixes) == 1:
        return key.partition("/")[2]
    return " ".join(METRIC_WORDS.get(w, w) for w in key.replace("/", " ").replace("_", " ").split())


_SYSTEM_NAMES = {
    "sys/cpu_percent": "all processes",
    "sys/memory_mb": "all processes",
    "sys/read_mb_s": "read",
    "sys/write_mb_s": "written",
    "sys/step": "done",
}


def _not_positive(series: Iterable[charts.Series]) -> int:
    return sum(1 for one in series for y in one.y if y is not None and y <= 0)


def of_runs(
    runs: Sequence[Run],
    key: str,
    *,
    names: Mapping[UUID, str] | None = None,
    from_step: int | None = None,
    to_step: int | None = None,
) -> charts.Figure:
    """One metric of several runs, each in its own colour, and called as `names` says."""
    names = names or {}
    wanted = group(key.partition("/")[0])
    if wanted.name == SYSTEM_PREFIX:
        wanted = next((g for g in GROUPS if g.keys([key])), wanted)
    found = metrics.read_many(
        [run.pk for run in runs], [key], max_points=POINTS, from_step=from_step, to_step=to_step
    )
    series = [
        charts.Series(
            name=names.get(run.pk, run.name),
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
        y_unit=wanted.y_unit if wanted.scale == 1 else "MB",
        x_title="Time since the start" if wanted.system else "Step",
        x_unit="s" if wanted.system else "",
        value=wanted.value,
        live=any(run.is_active for run in runs),
    )
