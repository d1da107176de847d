"""A run's metrics as pages and programs read them: every point, or no more than a screen shows.

Thinned series come from the levels above the points, see chunks.py; their extremes are among them.
Values that are not finite are kept, are no extremes, and are null in JSON.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Max, QuerySet

from vad.timeline import thin
from webapp.runs import packing
from webapp.runs.chunks import CHUNK_COLUMNS, SYSTEM, arrays
from webapp.runs.models import MetricChunk, MetricSummary, Run
from webapp.runs.packing import BUCKET, BUCKET_POINTS, STEPS, VALUES

# Below this many raw points per point that is wanted, buckets would be coarser than the screen.
_RAW_PER_POINT = BUCKET_POINTS // 2


@dataclass(frozen=True, eq=False)
class Series:
    """Points of one metric, by step.

    Args:
        steps: [n] int64, rising.
        values: [n] float64, NaN and infinities as they were sent.
        total: points that are stored in the range that was asked for; more than n if thinned.
    """

    steps: np.ndarray
    values: np.ndarray
    total: int

    @property
    def thinned(self) -> bool:
        return self.total > len(self.steps)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; values that JSON does not have become null."""
        values = self.values.tolist()
        if not np.isfinite(self.values).all():
            values = [v if math.isfinite(v) else None for v in values]
        return {
            "steps": self.steps.tolist(),
            "values": values,
            "total": self.total,
            "thinned": self.thinned,
        }


def keys(run: Run) -> list[str]:
    """The run's metrics, sorted."""
    found = MetricSummary.objects.filter(run=run).order_by("key")
    return list(found.values_list("key", flat=True))


def last_step(run: Run) -> int:
    """The last step of which the run's own metrics are stored; 0 without any."""
    own = MetricSummary.objects.filter(run=run).exclude(key__startswith=SYSTEM)
    return own.aggregate(last=Max("last_step"))["last"] or 0


def read(
    run: Run,
    key: str,
    *,
    max_points: int = 1000,
    from_step: int | None = None,
    to_step: int | None = None,
) -> Series:
    """At most `max_points` of a metric within [from_step, to_step], extremes among them."""
    found = read_many([run.pk], [key], max_points=max_points, from_step=from_step, to_step=to_step)
    return found.get((run.pk, key)) or _empty()


def read_raw(
    run: Run, key: str, *, from_step: int | None = None, to_step: int | None = None
) -> Series:
    """Every point of a metric within [from_step, to_step]."""
    chunks = _within([run.pk], [key], from_step, to_step).order_by("first_step")
    parts = [packing.cut(*arrays(c), from_step, to_step) for c in chunks]
    if not parts:
        return _empty()
    steps, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Series(steps, values, len(steps))


def read_many(
    run_ids: Sequence[uuid.UUID],
    metric_keys: Sequence[str],
    *,
    max_points: int = 1000,
    from_step: int | None = None,
    to_step: int | None = None,
) -> dict[tuple[uuid.UUID, str], Series]:
    """`read` for several runs and keys in at most three queries; what has no points is left out."""
    max_points = max(4, max_points)
    series: dict[tuple[uuid.UUID, str], list[dict[str, Any]]] = {}
    rows = _within(run_ids, metric_keys, from_step, to_step).order_by("first_step")
    for row in rows.values("pk", "run_id", "key", *CHUNK_COLUMNS):
        series.setdefault((row["run_id"], row["key"]), []).append(row)
    raw: list[int] = []
    bucketed: list[int] = []
    for chunks in series.values():
        cut = [c["pk"] for c in chunks if _straddles(c, from_step, to_step)]
        raw += cut
        whole = [c["pk"] for c in chunks if c["pk"] not in cut]
        if sum(c["count"] for c in chunks) <= _RAW_PER_POINT * max_points:
            raw += whole
        elif len(chunks) < max_points:
            bucketed += whole
    blobs = _blobs(raw, bucketed)
    return {
        name: found
        for name, chunks in series.items()
        if (found := _series(chunks, blobs, max_points, from_step, to_step)).total
    }


def _blobs(raw: Sequence[int], bucketed: Sequence[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """By chunk: its points, or those of its buckets."""
    found = {}
    for pk, steps, values in _in_bulk(raw, "steps", "values"):
        found[pk] = (np.frombuffer(steps, STEPS), np.frombuffer(values, VALUES))
    for pk, packed in _in_bulk(bucketed, "buckets"):
        found[pk] = packing.points(np.frombuffer(packed, BUCKET))
    return found


def _in_bulk(pks: Sequence[int], *names: str) -> Iterable[tuple[Any, ...]]:
    for i in range(0, len(pks), 900):  # SQLite's limit of parameters
        yield from MetricChunk.objects.filter(pk__in=pks[i : i + 900]).values_list("pk", *names)


def _series(
    chunks: Sequence[Mapping[str, Any]],
    blobs: Mapping[int, tuple[np.ndarray, np.ndarray]],
    max_points: int,
    from_step: int | None,
    to_step: int | None,
) -> Series:
    parts, total = [], 0
    for chunk in chunks:
        if chunk["pk"] not in blobs:
            parts.append(packing.points(packing.as_bucket(chunk)))
            total += chunk["count"]
        elif _straddles(chunk, from_step, to_step):
            parts.append(packing.cut(*blobs[chunk["pk"]], from_step, to_step))
            total += len(parts[-1][0])
        else:
            parts.append(blobs[chunk["pk"]])
            total += chunk["count"]
    steps, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Series(*thin(steps, values, max_points), total)


def _within(
    run_ids: Sequence[uuid.UUID],
    metric_keys: Sequence[str],
    from_step: int | None,
    to_step: int | None,
) -> QuerySet[MetricChunk]:
    chunks = MetricChunk.objects.filter(run_id__in=run_ids, key__in=metric_keys)
    if from_step is not None:
        chunks = chunks.filter(last_step__gte=from_step)
    if to_step is not None:
        chunks = chunks.filter(first_step__lte=to_step)
    return chunks


def _straddles(chunk: Mapping[str, Any], from_step: int | None, to_step: int | None) -> bool:
    """Whether only a part of the chunk was asked for: its levels then know too little."""
    before = from_step is not None and chunk["first_step"] < from_step
    return before or (to_step is not None and chunk["last_step"] > to_step)


def _empty() -> Series:
    return Series(np.zeros(0, STEPS), np.zeros(0, VALUES), 0)
