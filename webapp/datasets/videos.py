"""What the page of a version's videos shows: each with its picture, its truth, a run's scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from django.db.models import F, QuerySet

from vad.data.manifest import NORMAL, Truth, load_truth
from vad.errors import VadError
from webapp.core import query
from webapp.datasets import media, strips, thumbnails
from webapp.datasets.models import DatasetVersion, Video
from webapp.datasets.scored import Numbers, Scored
from webapp.evaluations.links import viewer_url

SORTS = {
    "key": "key",
    "split": "split",
    "label": "label",
    "frames": "num_frames",
}
SCORE_SORTS = {
    "error": "error",
    "score": "max_score",
    "auc": "auc",
}
VIEWS = ("gallery", "table")
ORDERS = {
    "-split": "Training first",
    "split": "Test first",
    "key": "Name",
    "-key": "Name, backwards",
    "-frames": "Longest first",
    "frames": "Shortest first",
    "-label": "Abnormal first",
    "label": "Normal first",
}
SCORE_ORDERS = {
    "-error": "Largest error first",
    "error": "Smallest error first",
    "-score": "Highest peak first",
    "score": "Lowest peak first",
    "auc": "Worst own AUC first",
    "-auc": "Best own AUC first",
}
LABEL_ONLY = "video-level label only"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The address of the page; what it cannot mean is left out."""

    q: str = ""
    split: str = ""
    class_name: str = ""
    sort: str = ""
    view: str = VIEWS[0]

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Filters:
        sort, view = given.get("sort", ""), given.get("view", "")
        known = sort.removeprefix("-") in (*SORTS, *SCORE_SORTS)
        return cls(
            q=given.get("q", "").strip(),
            split=given.get("split", ""),
            class_name=given.get("class", ""),
            sort=sort if known else "",
            view=view if view in VIEWS else VIEWS[0],
        )

    @property
    def active(self) -> bool:
        return bool(self.q or self.split or self.class_name)

    def under(self, run: Scored | None) -> Filters:
        """With the order that is used: what a run gets most wrong first, once one is chosen."""
        usable = run or self.sort.removeprefix("-") not in SCORE_SORTS
        return self if self.sort and usable else replace(self, sort=first_order(run))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One video of a page.

    Args:
        frame: which one its picture shows.
        problem: why it has no picture, if that is known.
        truth_text: what is known of when its anomaly is, where there is no strip to show it.
        unused: the truth is that of a training video, which no training sees.
        viewer_url: under the chosen run; empty for a video that it has no scores of.
        playable: whether a browser can probably play it.
    """

    video: Video
    frame: int = 0
    problem: VadError | None = None
    strip: strips.Strip | None = None
    truth_text: str = ""
    unused: bool = False
    numbers: Numbers | None = None
    viewer_url: str = ""
    playable: bool = False


def first_order(run: Scored | None) -> str:
    """How videos are ordered when the address does not say."""
    return "-error" if run else "-split"


def orders(run: Scored | None) -> list[tuple[str, str, str]]:
    """(value of the address, order, words); the value is empty for the order without one."""
    known = {**SCORE_ORDERS, **ORDERS} if run else ORDERS
    return [("" if k == first_order(run) else k, k, words) for k, words in known.items()]


def filtered(version: DatasetVersion, filters: Filters) -> QuerySet[Video]:
    """The version's videos, training ones first."""
    found: QuerySet[Video] = version.videos.all()
    for word in query.words(filters.q):
        found = found.filter(key__icontains=word)
    if filters.split:
        found = found.filter(split=filters.split)
    if filters.class_name == NORMAL:
        found = found.filter(label=0)
    elif filters.class_name:
        found = query.listing(found.filter(label=1), "classes", filters.class_name)
    return found.order_by("-split", "key")


def ordered(found: QuerySet[Video], filters: Filters, run: Scored | None) -> Sequence[int]:
    """The ids of the videos in the order of the filters, those without the value last."""
    name, down = filters.sort.removeprefix("-"), filters.sort.startswith("-")
    if name in SORTS:
        field = F(SORTS[name])
        order = field.desc() if down else field.asc()
        return list(found.order_by(order, "key").values_list("pk", flat=True))
    keys = list(found.values_list("pk", "key"))
    if run is None or name not in SCORE_SORTS:
        return [pk for pk, _ in keys]
    values = {
        pk: getattr(run.numbers[key], SCORE_SORTS[name]) for pk, key in keys if key in run.numbers
    }
    have = [pk for pk, _ in keys if values.get(pk) is not None]
    have.sort(key=lambda pk: values[pk], reverse=down)
    with_value = set(have)
    return have + [pk for pk, _ in keys if pk not in with_value]


def rows(version: DatasetVersion, ids: Iterable[int], run: Scored | None) -> list[Row]:
    """The rows of a page, in the order of the ids.

    Raises:
        VadError: the truth's files are gone or damaged.
    """
    by_id = version.videos.in_bulk(list(ids))
    videos = [by_id[pk] for pk in ids if pk in by_id]
    playable = media.playable(version.pk, videos)
    truths = {split: truth_of(version, split) for split in {v.split for v in videos}}
    return [
        _row(video, truths[video.split].get(video.key), run, video.pk in playable)
        for video in videos
    ]


def bare_rows(version: DatasetVersion, ids: Iterable[int]) -> list[Row]:
    """The same without truth, for a version whose files are gone."""
    by_id = version.videos.in_bulk(list(ids))
    return [
        Row(video=by_id[pk], problem=thumbnails.known_problem(by_id[pk]))
        for pk in ids
        if pk in by_id
    ]


def truth_of(version: DatasetVersion, split: str) -> Mapping[str, Truth]:
    """Raises VadError: `file-missing`, `manifest-invalid`."""
    return _truth(version.folder, split)


@lru_cache(maxsize=8)
def _truth(folder: Path, split: str) -> Mapping[str, Truth]:
    return load_truth(folder, split)  # a version never changes


def _row(video: Video, truth: Truth | None, run: Scored | None, playable: bool) -> Row:
    scores = run.of(video.key) if run else None
    numbers = run.numbers[video.key] if run and scores else None
    intervals = truth.intervals if truth and video.label else ()
    frame = numbers.peak_frame if numbers else 0
    return Row(
        video=video,
        frame=frame,
        problem=thumbnails.known_problem(video, frame),
        strip=strips.strip(video.num_frames, intervals, scores),
        truth_text=_truth_text(video, intervals),
        unused=bool(intervals) and video.split == "train",
        numbers=numbers,
        viewer_url=viewer_url([run.evaluation.pk], video.key, frame) if run and scores else "",
        playable=playable,
    )


def _truth_text(video: Video, intervals: Sequence[tuple[int, int]]) -> str:
    if intervals:
        return strips.spans(intervals)
    if not video.label:
        return "no anomaly"
    return LABEL_ONLY if video.split == "train" else "no temporal truth"
