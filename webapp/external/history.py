"""Every point of a metric as it was sent, with its time: what runs/chunks.py forgets.

Charts need each step once, sorted; who logs with MLflow may send a step several times and reads
all of it back. So a batch that brings times is kept twice. Rows are merged like the digits of a
binary counter: a point is written anew log2(FULL) times at most, and a metric that is logged point
by point has no more than that many small rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from webapp.external.models import MetricHistory
from webapp.external.points import Points
from webapp.runs.models import Run

FULL = 4096  # records; a row that has so many is closed
RECORD = np.dtype([("step", "<i8"), ("time", "<i8"), ("value", "<f8")])


def append(run: Run, batch: Mapping[str, Points]) -> None:
    """Add points that have times. Call it in a transaction that has locked the run's row."""
    given = {key: _records(p) for key, p in batch.items() if p.times is not None and len(p)}
    if not given:
        return
    merged: list[int] = []
    sizes, parts = {k: len(r) for k, r in given.items()}, {k: [r] for k, r in given.items()}
    open_keys = set(given)
    loose = MetricHistory.objects.filter(run=run, key__in=list(given), count__lt=FULL)
    for row in loose.order_by("-id"):
        if row.key not in open_keys or not row.count <= sizes[row.key] < FULL:
            open_keys.discard(row.key)
            continue
        merged.append(row.pk)
        sizes[row.key] += row.count
        parts[row.key].append(np.frombuffer(row.records, RECORD))
    if merged:
        MetricHistory.objects.filter(pk__in=merged).delete()
    MetricHistory.objects.bulk_create(
        MetricHistory(
            run=run, key=key, count=sizes[key], records=np.concatenate(found[::-1]).tobytes()
        )
        for key, found in parts.items()
    )


def read(run: Run, key: str) -> np.ndarray:
    """[n] `RECORD`, in the order that they were sent; a point that was sent twice is there once."""
    rows = MetricHistory.objects.filter(run=run, key=key).order_by("id")
    parts = [np.frombuffer(row, RECORD) for row in rows.values_list("records", flat=True)]
    if not parts:
        return np.zeros(0, RECORD)
    found = np.concatenate(parts)
    as_bytes = found.view(f"V{RECORD.itemsize}")  # NaN is equal to itself here
    _, first = np.unique(as_bytes, return_index=True)
    return found[np.sort(first)]


def _records(points: Points) -> np.ndarray:
    assert points.times is not None
    out = np.zeros(len(points), RECORD)
    out["step"], out["time"], out["value"] = points.steps, points.times, points.values
    return out
