"""The videos to choose from in the viewer: found by name and class, in an order that helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vad.evaluation.frame import THRESHOLD
from webapp.core.query import words
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

ORDERS = {
    "errors": "most errors first",
    "cost": "largest cost first",
    "peak": "highest score first",
    "key": "by name",
}
NORMAL = "normal"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Of the address; the threshold is the viewer's."""

    q: str = ""
    class_name: str = ""
    order: str = "errors"
    threshold: float = THRESHOLD

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        order = query.get("order", "")
        return cls(
            q=query.get("q", "").strip(),
            class_name=query.get("class", ""),
            order=order if order in ORDERS else "errors",
            threshold=threshold_of(query.get("threshold", "")),
        )


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One video of the list, as the first run scored it; `cost` is minus its contribution."""

    key: str
    classes: tuple[str, ...]
    false_alarms: int
    misses: int
    wrong_frames: int
    cost: float | None
    peak: float

    @property
    def errors(self) -> int:
        return self.false_alarms + self.misses


@dataclass(frozen=True, kw_only=True)
class Picker:
    """The list, and where the shown video stands in it."""

    filters: Filters
    picks: list[Pick]
    classes: list[str]
    total: int
    place: int  # from 1; 0 where the filter leaves the shown video out
    before: str
    after: str


def threshold_of(text: str) -> float:
    """The threshold of an address; the usual one for anything that is none."""
    try:
        value = float(text)
    except ValueError:
        return THRESHOLD
    return value if 0 <= value <= 1 else THRESHOLD


def picks(evaluation: Evaluation, filters: Filters) -> tuple[list[Pick], list[str], int]:
    """The videos that fit, in order; all classes; how many videos there are.

    Raises:
        VadError: the scores are gone or damaged.
    """
    scores = store.load(evaluation)
    alarms = store.alarms(evaluation, filters.threshold)
    contributions = store.contributions(evaluation)
    classes = sorted({name for video in scores.videos() for name in video.classes})
    if any(not video.classes for video in scores.videos()):
        classes.append(NORMAL)
    found = []
    for video, peak in zip(scores.videos(), scores.max_scores.tolist(), strict=True):
        wrong, change = alarms[video.key], contributions.get(video.key)
        if all(word.lower() in video.key.lower() for word in words(filters.q)) and (
            filters.class_name in ("", *(video.classes or (NORMAL,)))
        ):
            found.append(
                Pick(
                    key=video.key,
                    classes=video.classes,
                    false_alarms=len(wrong.false_alarms),
                    misses=len(wrong.misses),
                    wrong_frames=wrong.wrong_frames,
                    cost=None if change is None else -change,
                    peak=peak,
                )
            )
    return sorted(found, key=_KEYS[filters.order]), classes, len(scores)


def picker(evaluation: Evaluation, filters: Filters, key: str) -> Picker:
    """The list around the shown video.

    Raises:
        VadError: as `picks`.
    """
    found, classes, total = picks(evaluation, filters)
    before, place, after = _around([pick.key for pick in found], key)
    return Picker(
        filters=filters,
        picks=found,
        classes=classes,
        total=total,
        place=place,
        before=before,
        after=after,
    )


def telling(evaluation: Evaluation, filters: Filters) -> str:
    """The first of the list, or of all where the filter leaves none.

    Raises:
        VadError: as `picks`.
    """
    found = picks(evaluation, filters)[0] or picks(evaluation, Filters())[0]
    return found[0].key if found else ""


def _around(keys: Sequence[str], key: str) -> tuple[str, int, str]:
    """The one before, the place from 1, the one after; the first comes after one not listed."""
    if key not in keys:
        return "", 0, keys[0] if keys else ""
    at = keys.index(key)
    return (keys[at - 1] if at else ""), at + 1, (keys[at + 1] if at + 1 < len(keys) else "")


_KEYS = {
    "errors": lambda p: (-p.errors, -p.wrong_frames, p.key),
    "cost": lambda p: (p.cost is None, -(p.cost or 0.0), p.key),
    "peak": lambda p: (-p.peak, p.key),
    "key": lambda p: p.key,
}
