"""Metric storage: columnar chunks with a small pyramid, so that a plot costs what a screen shows.

A chunk row holds up to `CHUNK_POINTS` points of one (run, key), sorted by step, each step once.
Chunks of a key never overlap. Above the points lie two levels: `buckets`, one record per
`BUCKET_POINTS` points, and the chunk's own columns. Each knows the least, greatest and last point
with their steps, so every point that is ever returned was really sent and no extreme is lost.

Here points are written; metrics.py reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from vad.errors import VadError
from webapp.runs import packing
from webapp.runs.models import MetricChunk, MetricSummary, Run
from webapp.runs.packing import STEPS, VALUES

CHUNK_POINTS = 4096
MERGE_EVERY = 8  # batches
KEY_LENGTH = 120
# What the worker measured of the machine. The "steps" of these keys are seconds since the run first
# started, over all of its attempts: a resume takes none of that time back.
SYSTEM = "sys/"
CHUNK_COLUMNS = (  # the top level
    "first_step", "last_step", "count", "least", "least_step", "greatest", "greatest_step", "last",
)  # fmt: skip

Columns = Mapping[str, tuple[np.ndarray, np.ndarray]]


def columns(rows: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, tuple[Any, Any]]:
    """Rows (step, {key: value}) as one pair of arrays per key, in the order that they came."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for step, values in rows:
        for key, value in values.items():
            steps, numbers = found.setdefault(key[:KEY_LENGTH], ([], []))
            steps.append(step)
            numbers.append(value)
    return {
        key: (np.array(steps, dtype=STEPS), np.array(numbers, dtype=VALUES))
        for key, (steps, numbers) in found.items()
    }


@transaction.atomic(savepoint=False)
def append(run: Run, points: Columns, *, most_keys: int | None = None) -> None:
    """Add points; a step that is there already gets the new value. Any order is right, rising fast.

    Two writers of one run must not do this at once: call it under `executing.guarded`.

    Args:
        points: by key, steps [n] and values [n].
        most_keys: of the run; None for any number.

    Raises:
        VadError: `log-invalid`, the run would have more metrics than that.
    """
    points = {key: packing.last_wins(*pair) for key, pair in points.items() if len(pair[0])}
    if not points:
        return
    summaries = {s.key: s for s in MetricSummary.objects.filter(run=run, key__in=list(points))}
    if most_keys is not None and len(summaries) < len(points):
        known = MetricSummary.objects.filter(run=run).count()
        _refuse_more(known + len(points) - len(summaries), most_keys)
    touched: dict[str, list[MetricChunk]] = {}
    falling_into = _touched(run, points, summaries)
    if falling_into is not None:
        for chunk in MetricChunk.objects.filter(falling_into, run=run):
            touched.setdefault(chunk.key, []).append(chunk)
    chunks: list[MetricChunk] = []
    obsolete: list[int] = []
    rising: list[MetricSummary] = []
    recount: list[str] = []
    for key, (steps, values) in points.items():
        old = touched.get(key, [])
        made = _merged(run, key, old, steps, values)
        chunks += made
        kept = {c.first_step for c in made}
        obsolete += [c.pk for c in old if c.first_step not in kept]
        before = summaries.get(key)
        if before is None:
            rising.append(_summary(run, key, [_columns_of(c) for c in made]))
        elif steps[0] > before.last_step:
            rising.append(_summary(run, key, [_as_chunk(before), packing.extremes(steps, values)]))
        else:
            recount.append(key)
    if obsolete:
        MetricChunk.objects.filter(pk__in=obsolete).delete()
    MetricChunk.objects.bulk_create(
        chunks,
        update_conflicts=True,
        unique_fields=["run", "key", "first_step"],
        update_fields=[*CHUNK_COLUMNS[1:], "steps", "values", "buckets"],
    )
    _save_summaries(rising)
    _recount(run, recount)


def _refuse_more(keys: int, most: int) -> None:
    if keys > most:
        raise VadError(
            "log-invalid",
            f"The run would have {keys:,} metrics, {most:,} at most.",
            "Give a metric one name, whatever its step: what changes is not part of the name.",
        )


@transaction.atomic
def append_first(points: Iterable[tuple[Run, Columns]]) -> None:
    """`append` for many runs that have no metrics yet, in a few statements."""
    chunks: list[MetricChunk] = []
    summaries: list[MetricSummary] = []
    for run, of_run in points:
        for key, pair in of_run.items():
            if len(pair[0]):
                made = _merged(run, key, [], *packing.last_wins(*pair))
                chunks += made
                summaries.append(_summary(run, key, [_columns_of(c) for c in made]))
    MetricChunk.objects.bulk_create(chunks, batch_size=500)
    MetricSummary.objects.bulk_create(summaries, batch_size=1000)


@transaction.atomic
def truncate_after(run: Run, step: int) -> None:
    """Forget what the run measured after `step`, as a resume from there needs it.

    What its worker measured meanwhile (`SYSTEM`) did happen, and stays.
    """
    later = MetricSummary.objects.filter(run=run, last_step__gt=step)
    later = later.exclude(key__startswith=SYSTEM)
    keys = list(later.values_list("key", flat=True))
    if not keys:
        return
    chunks = MetricChunk.objects.filter(run=run, last_step__gt=step, key__in=keys)
    chunks.filter(first_step__gt=step).delete()
    cut = []
    for chunk in chunks:
        steps, values = arrays(chunk)
        keep = int(np.searchsorted(steps, step, side="right"))
        cut.append(_chunk(run, chunk.key, steps[:keep], values[:keep]))
        cut[-1].pk = chunk.pk
    MetricChunk.objects.bulk_update(cut, [*CHUNK_COLUMNS, "steps", "values", "buckets"])
    _recount(run, keys)


def _touched(run: Run, points: Columns, summaries: Mapping[str, MetricSummary]) -> Q | None:
    """The chunks to write anew: those that points fall into, or the small ones that they follow.

    None when there are none, as for most of the batches that follow each other.
    """
    found = Q()
    rising: dict[str, int] = {}
    for key, (steps, _) in points.items():
        before = summaries.get(key)
        if before is None:
            continue
        if steps[0] > before.last_step:
            if _is_time_to_merge(before.count, len(steps)):
                rising[key] = len(steps)
        else:
            found |= Q(key=key, last_step__gte=int(steps[0]), first_step__lte=int(steps[-1]))
    if rising and (tails := _tails(run, rising)):
        found |= Q(pk__in=tails)
    return found or None


def _is_time_to_merge(before: int, new: int) -> bool:
    """Once in `MERGE_EVERY` batches of this size: the others only add a chunk."""
    span = MERGE_EVERY * new
    return before // span != (before + new) // span


def _tails(run: Run, rising: dict[str, int]) -> list[int]:
    """Chunks at the end of their key that are no larger than what follows them.

    Merged like the digits of a counter, a point is rewritten log2(CHUNK_POINTS) times at most, not
    once for every later batch, and a key has few small chunks more than that.
    """
    later = MetricChunk.objects.filter(
        run=run, key=OuterRef("key"), first_step__gt=OuterRef("first_step"), count=CHUNK_POINTS
    )
    loose = MetricChunk.objects.filter(
        ~Exists(later), run=run, key__in=rising, count__lt=CHUNK_POINTS
    )
    found, size, open_keys = [], dict(rising), set(rising)
    for key, pk, count in loose.order_by("-first_step").values_list("key", "pk", "count"):
        if key in open_keys and count <= size[key] < CHUNK_POINTS:
            found.append(pk)
            size[key] += count
        else:
            open_keys.discard(key)
    return found


def _merged(
    run: Run, key: str, old: Sequence[MetricChunk], steps: np.ndarray, values: np.ndarray
) -> list[MetricChunk]:
    """The chunks that take the place of `old` once the new points are among theirs."""
    if old:
        before = [arrays(c) for c in sorted(old, key=lambda c: c.first_step)]
        steps, values = packing.last_wins(
            np.concatenate([*(s for s, _ in before), steps]),
            np.concatenate([*(v for _, v in before), values]),
        )
    return [
        _chunk(run, key, steps[i : i + CHUNK_POINTS], values[i : i + CHUNK_POINTS])
        for i in range(0, len(steps), CHUNK_POINTS)
    ]


def _chunk(run: Run, key: str, steps: np.ndarray, values: np.ndarray) -> MetricChunk:
    return MetricChunk(
        run=run,
        key=key,
        **packing.extremes(steps, values),
        steps=np.ascontiguousarray(steps, dtype=STEPS).tobytes(),
        values=np.ascontiguousarray(values, dtype=VALUES).tobytes(),
        buckets=packing.buckets(steps, values).tobytes(),
    )


def arrays(chunk: MetricChunk) -> tuple[np.ndarray, np.ndarray]:
    """Its points: steps [n] and values [n]."""
    return np.frombuffer(chunk.steps, STEPS), np.frombuffer(chunk.values, VALUES)


# --- summaries ------------------------------------------------------------------------------


def _columns_of(chunk: MetricChunk) -> dict[str, Any]:
    return {name: getattr(chunk, name) for name in CHUNK_COLUMNS}


def _as_chunk(summary: MetricSummary) -> dict[str, Any]:
    names = [n for n in CHUNK_COLUMNS if n != "first_step"]
    return {name: getattr(summary, name) for name in names}


def _summary(run: Run, key: str, parts: Sequence[Mapping[str, Any]]) -> MetricSummary:
    """One row of all parts, which come in the order of their steps."""
    row = MetricSummary(
        run=run,
        key=key,
        count=sum(p["count"] for p in parts),
        last=parts[-1]["last"],
        last_step=parts[-1]["last_step"],
    )
    finite = [p for p in parts if p["least"] is not None]
    if finite:
        low = min(finite, key=lambda p: p["least"])
        high = max(finite, key=lambda p: p["greatest"])
        row.least, row.least_step = low["least"], low["least_step"]
        row.greatest, row.greatest_step = high["greatest"], high["greatest_step"]
    return row


def _save_summaries(rows: Sequence[MetricSummary]) -> None:
    MetricSummary.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["run", "key"],
        update_fields=[n for n in CHUNK_COLUMNS if n != "first_step"],
    )


def _recount(run: Run, keys: Sequence[str]) -> None:
    """Make the summaries of these keys again, from the chunks' columns alone."""
    if not keys:
        return
    parts: dict[str, list[dict[str, Any]]] = {}
    rows = MetricChunk.objects.filter(run=run, key__in=keys).order_by("first_step")
    for row in rows.values("key", *CHUNK_COLUMNS):
        parts.setdefault(row["key"], []).append(row)
    gone = [key for key in keys if key not in parts]
    MetricSummary.objects.filter(run=run, key__in=gone).delete()
    _save_summaries([_summary(run, key, found) for key, found in parts.items()])
