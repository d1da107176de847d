"""The bag view of a training run: a video as the loss sees it, at chosen steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from vad import bags
from vad.bags import Bags
from vad.errors import VadError
from webapp import charts
from webapp.core.query import whole
from webapp.datasets.media import media_of
from webapp.datasets.models import Video
from webapp.runs.models import Run

SHOWN_STEPS = 4  # at first
MOST_STEPS = 8  # at once
FIGURES = ("scores", "carried", "history", "memory")


@dataclass(frozen=True, kw_only=True)
class SegmentRow:
    """A segment that the loss averages, or that carried much of it.

    Args:
        frames: [start, end) of the video, or None where its length is unknown.
        by: which of the numbers chose it, in words.
        href: the video at that moment, where a browser can play it.
    """

    segment: int
    frames: tuple[int, int] | None
    seconds: float | None
    score: float
    abnormal: float
    normal: float
    carried: float
    by: str
    href: str


@dataclass(frozen=True, kw_only=True)
class View:
    """What the page shows: a video at some steps.

    Args:
        steps: all that are kept; `chosen` are those that are shown, ascending.
        videos: key and classes in words, normal ones first.
        position: of the video in a step's arrays.
    """

    run: Run
    steps: list[int]
    chosen: list[int]
    shown: list[Bags]
    videos: list[tuple[str, str]]
    video: str
    position: int
    label: int

    def query(self, **changes: Any) -> str:
        return urlencode({"video": self.video, "step": self.chosen, **changes}, doseq=True)

    @property
    def last(self) -> Bags:
        return self.shown[-1]

    @property
    def before(self) -> str:
        """The address of the video before; empty at the first."""
        return self._beside(-1)

    @property
    def after(self) -> str:
        return self._beside(1)

    def _beside(self, by: int) -> str:
        keys = [key for key, _ in self.videos]
        at = keys.index(self.video) + by
        return f"?{self.query(video=keys[at])}" if 0 <= at < len(keys) else ""


def view_of(run: Run, query: QueryDict) -> View | None:
    """Read the address; None when the run has kept no bags.

    Raises:
        VadError: `bags-invalid`; `not-found`, the run watches no such video.
    """
    steps = bags.steps(run.folder)
    if not steps:
        return None
    asked = {whole(text) for text in query.getlist("step")}
    chosen = [step for step in steps if step in asked][-MOST_STEPS:] or _spread(steps)
    shown = [bags.load(run.folder, step) for step in chosen]
    keys = shown[-1].keys
    video = query.get("video", "") or keys[-1]  # an abnormal one: they come last
    if any(video not in one.keys for one in shown):
        raise VadError(
            "not-found",
            f"{run.name} does not watch a video {video}.",
            "Choose one of the list; `watched_bags` says how many a run watches.",
        )
    position = keys.index(video)
    return View(
        run=run,
        steps=steps,
        chosen=chosen,
        shown=shown,
        videos=_named(run, shown[-1]),
        video=video,
        position=position,
        label=shown[-1].labels[position],
    )


def why_none(run: Run) -> tuple[str, str]:
    """Why a run has no bags, and what to do, for the empty page."""
    if not run.kind.startswith("train"):
        return "Only training runs have bags", "Open the run that was trained."
    if run.config.get("watched_bags") == 0:
        return "This run watches no bags", "Set “Watched bags” above 0 in a clone of it."
    every = run.config.get("eval_every")
    if not run.has_ended:
        return "No bags yet", f"They are kept at every evaluation, each {every} steps."
    return "No bags were kept", "The run was made before there were any, or its disk was full."


def segment_rows(view: View) -> list[SegmentRow]:
    """At the last shown step: what the loss averages, then what else carried most of it."""
    last, at = view.last, view.position
    reasons: dict[int, list[str]] = {}
    memory = "abnormal" if view.label else "normal"
    for words, values in (("score", "scores"), (f"{memory} memory", memory), ("loss", "carried")):
        for segment in last.chosen(at, values):
            reasons.setdefault(int(segment), []).append(words)
    video = Video.objects.filter(version=view.run.version_id, key=view.video).first()
    media = _media_src(video)
    count = last.scores.shape[1]
    rows = []
    for segment, by in sorted(reasons.items()):
        frames = seconds = None
        if video is not None and video.num_frames:
            frames = (
                video.num_frames * segment // count,
                video.num_frames * (segment + 1) // count,
            )
            seconds = frames[0] / video.fps if video.fps else None
        rows.append(
            SegmentRow(
                segment=segment,
                frames=frames,
                seconds=seconds,
                score=float(last.scores[at, segment]),
                abnormal=float(last.abnormal[at, segment]),
                normal=float(last.normal[at, segment]),
                carried=float(last.carried[at, segment]),
                by=", ".join(by),
                href=f"{media}#t={seconds:.2f}" if media and seconds is not None else "",
            )
        )
    return rows


def figure_of(view: View, name: str) -> charts.Figure:
    """One of `FIGURES`."""
    at, index = view.position, view.run.color
    if name == "scores":
        return charts.bag_curves(
            _steps(view.shown, at, "scores"),
            title=f"Score of each segment, {view.video}",
            y_title="Anomaly score",
            y_unit="0 to 1",
            index=index,
            top=1.02,
        )
    if name == "carried":
        return charts.bag_curves(
            _steps(view.shown, at, "carried"),
            title=f"Which segments carried the loss, {view.video}",
            y_title="Share of loss",
            y_unit="sums to 1",
            index=index,
            top=None,
        )
    if name == "history":
        every = [bags.load(view.run.folder, step) for step in view.steps]
        there = [one for one in every if view.video in one.keys]
        return charts.bag_history(
            [_steps([one], one.keys.index(view.video), "scores")[0] for one in there],
            title=f"Score of each segment over training, {view.video}",
        )
    if name == "memory":
        last = view.last
        return charts.bag_memory(
            (last.abnormal_slots[at].T / 255).tolist(),
            (last.normal_slots[at].T / 255).tolist(),
            title=f"Attention over the memory units at step {last.step:,}, {view.video}",
        )
    raise VadError("not-found", f"There is no figure {name!r}.", f"Known: {', '.join(FIGURES)}.")


def to_json(view: View) -> dict[str, Any]:
    """The shown steps of the video as plain numbers."""
    at = view.position
    return {
        "video": view.video,
        "label": view.label,
        "steps": view.steps,
        "videos": [key for key, _ in view.videos],
        "bags": [
            {
                "step": one.step,
                "top": one.top,
                "chosen": one.chosen(at).tolist(),
                **{
                    name: getattr(one, name)[at].tolist()
                    for name in ("scores", "abnormal", "normal", "carried")
                },
            }
            for one in view.shown
        ],
    }


def _steps(shown: Sequence[Bags], position: int, values: str) -> list[charts.BagStep]:
    return [
        charts.BagStep(
            step=one.step,
            values=getattr(one, values)[position].tolist(),
            chosen=one.chosen(position).tolist(),
        )
        for one in shown
    ]


def _spread(steps: list[int]) -> list[int]:
    """A few of them, evenly, the first and the last among them."""
    count = min(SHOWN_STEPS, len(steps))
    places = {round(i * (len(steps) - 1) / max(1, count - 1)) for i in range(count)}
    return [steps[i] for i in sorted(places)]


def _named(run: Run, shown: Bags) -> list[tuple[str, str]]:
    rows = Video.objects.filter(version=run.version_id, key__in=shown.keys)
    classes = {video.key: ", ".join(video.classes) for video in rows}
    words = [
        classes.get(key) or ("abnormal" if label else "normal")
        for key, label in zip(shown.keys, shown.labels, strict=True)
    ]
    return list(zip(shown.keys, words, strict=True))


def _media_src(video: Video | None) -> str:
    if video is None:
        return ""
    try:
        media_of(video)
    except VadError:
        return ""
    return reverse("datasets:media", args=[video.version_id, video.pk])
