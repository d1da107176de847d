"""The tables of an export: what each column holds, and where its rows come from.

A column is described once, here; the schema of the Parquet file and the README beside it are made
of that description. Rows come in batches, so a project of any size fits into memory.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from webapp.accounts.models import Project
from webapp.datasets.models import DatasetVersion, FeatureSet, Video
from webapp.evaluations.models import Evaluation
from webapp.external.models import ExternalRun
from webapp.interop.files import checkpoint_name, scores_name, upload_name, uploads
from webapp.runs.models import Checkpoint, MetricChunk, MetricSummary, Run
from webapp.runs.packing import STEPS, VALUES

BATCH_ROWS = 2_000
BATCH_POINTS = 200_000  # about 20 MB with the names of their runs

Batch = dict[str, Any]  # by column: a list, or an array


@dataclass(frozen=True)
class Column:
    """Args:
    type: `text`, `int`, `float`, `bool`, `time` (UTC), `texts` (a list) or `json` (a text).
    """

    name: str
    type: str
    means: str


@dataclass(frozen=True)
class Table:
    name: str
    about: str
    columns: Sequence[Column]
    batches: Callable[[Project], Iterator[Batch]]


def _rows(columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> Iterator[Batch]:
    """Batches of rows whose values stand in the order of the columns."""
    rest = iter(rows)
    while part := list(itertools.islice(rest, BATCH_ROWS)):
        values = zip(*part, strict=True)
        yield {
            c.name: [_json(v) for v in column] if c.type == "json" else list(column)
            for c, column in zip(columns, values, strict=True)
        }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _id(value: Any) -> str | None:
    return None if value is None else str(value)


def _runs(project: Project) -> Iterator[Batch]:
    rows = Run.objects.filter(project=project).select_related("owner").prefetch_related("parents")
    return _rows(
        RUNS,
        (
            (
                str(r.pk), r.name, r.kind, r.state, r.owner.username, r.created_at, r.queued_at,
                r.started_at, r.ended_at, r.took_s if r.ended_at else None, r.attempt, r.priority,
                list(r.tags), r.notes, _id(r.version_id), _id(r.feature_set_id), _id(r.of_run_id),
                _id(r.cloned_from_id), [str(p.pk) for p in r.parents.all()],
                (r.error or {}).get("code"), (r.error or {}).get("message"), r.environment,
                r.result,
            )
            for r in rows.order_by("created_at", "pk").iterator(BATCH_ROWS)
        ),
    )  # fmt: skip


def _params(project: Project) -> Iterator[Batch]:
    rows = Run.objects.filter(project=project).order_by("created_at", "pk")
    return _rows(
        PARAMS,
        (
            (str(pk), name, value)
            for pk, config in rows.values_list("pk", "config").iterator(BATCH_ROWS)
            for name, value in config.items()
        ),
    )


def _points(project: Project) -> Iterator[Batch]:
    """Every point as it is stored: several chunks a batch, since a row group should be large."""
    chunks = MetricChunk.objects.filter(run__project=project).order_by("run", "key", "first_step")
    rows = chunks.values_list("run_id", "key", "count", "steps", "values").iterator(50)
    held: list[tuple[Any, ...]] = []
    count = 0
    for row in rows:
        held.append(row)
        count += row[2]
        if count >= BATCH_POINTS:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(chunks: Sequence[tuple[Any, ...]]) -> Batch:
    return {
        "run_id": list(itertools.chain.from_iterable([str(c[0])] * c[2] for c in chunks)),
        "key": list(itertools.chain.from_iterable([c[1]] * c[2] for c in chunks)),
        "step": np.concatenate([np.frombuffer(c[3], STEPS) for c in chunks]),
        "value": np.concatenate([np.frombuffer(c[4], VALUES) for c in chunks]),
    }


def _summaries(project: Project) -> Iterator[Batch]:
    rows = MetricSummary.objects.filter(run__project=project).order_by("run", "key")
    names = [c.name for c in SUMMARIES[1:]]
    found = rows.values_list("run_id", *names).iterator(BATCH_ROWS)
    return _rows(SUMMARIES, ((str(pk), *rest) for pk, *rest in found))


def _checkpoints(project: Project) -> Iterator[Batch]:
    rows = Checkpoint.objects.filter(run__project=project).select_related("run")
    return _rows(
        CHECKPOINTS,
        (
            (str(c.run_id), c.step, c.best, c.created_at, c.size_bytes, c.sha256, c.metrics,
             checkpoint_name(c))
            for c in rows.order_by("run", "step").iterator(BATCH_ROWS)
        ),
    )  # fmt: skip


def _artifacts(project: Project) -> Iterator[Batch]:
    return _rows(
        ARTIFACTS,
        (
            (str(u.run_id), u.path, u.size_bytes, u.sha256, u.finished_at, upload_name(u))
            for u in uploads(project).iterator(BATCH_ROWS)
        ),
    )


def _labels(project: Project) -> Iterator[Batch]:
    rows = ExternalRun.objects.filter(run__project=project).order_by("run")
    return _rows(
        LABELS,
        (
            (str(pk), name, value)
            for pk, labels in rows.values_list("run_id", "labels").iterator(BATCH_ROWS)
            for name, value in labels.items()
        ),
    )


def _evaluations(project: Project) -> Iterator[Batch]:
    rows = Evaluation.objects.filter(run__project=project).select_related("checkpoint", "run")
    return _rows(
        EVALUATIONS,
        (
            (str(e.run_id), str(e.of_run_id), e.checkpoint.step if e.checkpoint else None,
             str(e.version_id), str(e.feature_set_id), e.fingerprint, e.selection, e.frame_auc,
             e.frame_ap, e.metrics, e.intervals, e.per_class, e.counts, e.protocol, e.patch,
             e.stages, e.scores_sha256, scores_name(e), e.created_at)
            for e in rows.order_by("created_at", "pk").iterator(BATCH_ROWS)
        ),
    )  # fmt: skip


def _datasets(project: Project) -> Iterator[Batch]:
    rows = DatasetVersion.objects.filter(dataset__project=project).select_related("dataset")
    return _rows(
        DATASETS,
        (
            (str(v.pk), v.dataset.name, v.number, v.format, v.fingerprint, v.counts, v.rules,
             v.created_at)
            for v in rows.order_by("created_at", "pk").iterator(BATCH_ROWS)
        ),
    )  # fmt: skip


def _videos(project: Project) -> Iterator[Batch]:
    rows = Video.objects.filter(version__dataset__project=project).order_by("version", "key")
    names = [c.name for c in VIDEOS[1:]]
    found = rows.values_list("version_id", *names).iterator(BATCH_ROWS)
    return _rows(VIDEOS, ((str(pk), *rest) for pk, *rest in found))


def _feature_sets(project: Project) -> Iterator[Batch]:
    rows = FeatureSet.objects.filter(version__dataset__project=project)
    return _rows(
        FEATURE_SETS,
        (
            (str(f.pk), str(f.version_id), f.name, _id(f.produced_by_id), f.ready, f.extractor,
             f.dim, f.video_count, f.size_bytes, f.fingerprint, f.created_at)
            for f in rows.order_by("created_at", "pk").iterator(BATCH_ROWS)
        ),
    )  # fmt: skip


def _columns(*described: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*column) for column in described)


_RUN = ("run_id", "text", "of the run, as in its address")

RUNS = _columns(
    _RUN,
    ("name", "text", "as people called it"),
    ("kind", "text", "of work: train-urdmu, evaluate, …"),
    ("state", "text", "waiting, queued, held, starting, running, succeeded, failed or cancelled"),
    ("owner", "text", "name of the person who queued it"),
    ("created_at", "time", ""),
    ("queued_at", "time", "null before it may start"),
    ("started_at", "time", "its first start; null before"),
    ("ended_at", "time", "null until then"),
    ("took_s", "float", "seconds from the first start to the end, pauses included"),
    ("attempt", "int", "how often it was started, from 1"),
    ("priority", "int", "higher goes first"),
    ("tags", "texts", ""),
    ("notes", "text", ""),
    ("version_id", "text", "the data set version it works on, in datasets"),
    ("feature_set_id", "text", "in feature_sets"),
    ("of_run_id", "text", "an evaluation: the training run that it evaluates"),
    ("cloned_from_id", "text", "the run it was cloned from"),
    ("parent_ids", "texts", "runs that had to succeed before it"),
    ("error_code", "text", "why it failed; null for others"),
    ("error_message", "text", "the same in words"),
    ("environment", "json", "code, libraries and machine that it ran with"),
    ("result", "json", "what the run said of itself at its end"),
)
PARAMS = _columns(
    _RUN,
    ("name", "text", "of a field of the configuration"),
    ("value", "json", "its value"),
)
POINTS = _columns(
    _RUN,
    ("key", "text", "of the metric, as loss/total; sys/… was measured by the worker"),
    ("step", "int", "training step; for keys of sys/, seconds since the first start"),
    ("value", "float", "as it was sent; NaN and infinities are kept"),
)
SUMMARIES = _columns(
    _RUN,
    ("key", "text", "of the metric"),
    ("count", "int", "points in metric_points"),
    ("last", "float", "value of the last step; null when it is not finite"),
    ("last_step", "int", ""),
    ("least", "float", "of the finite values; null without any"),
    ("least_step", "int", "its step"),
    ("greatest", "float", "of the finite values; null without any"),
    ("greatest_step", "int", "its step"),
)
CHECKPOINTS = _columns(
    _RUN,
    ("step", "int", "training step"),
    ("best", "bool", "the best of its run by the run's selection rule"),
    ("created_at", "time", ""),
    ("size_bytes", "int", ""),
    ("sha256", "text", "of the file"),
    ("metrics", "json", "what was measured when it was written"),
    ("file", "text", "below this folder; null when the server keeps it no more"),
)
ARTIFACTS = _columns(
    _RUN,
    ("path", "text", "as its sender called it"),
    ("size_bytes", "int", ""),
    ("sha256", "text", "of the file"),
    ("finished_at", "time", "when it was complete"),
    ("file", "text", "below this folder; null when it is gone"),
)
LABELS = _columns(
    _RUN,
    ("name", "text", "of the label, which MLflow calls a tag"),
    ("value", "text", ""),
)
EVALUATIONS = _columns(
    ("run_id", "text", "of the evaluation's own run"),
    ("of_run_id", "text", "the training run that was evaluated"),
    ("checkpoint_step", "int", "of the checkpoint; null when it is gone"),
    ("version_id", "text", "data set version, in datasets"),
    ("feature_set_id", "text", "in feature_sets"),
    ("fingerprint", "text", "of the protocol; two numbers compare only where it is the same"),
    ("selection", "text", "how the checkpoint was chosen"),
    ("frame_auc", "float", "area under the ROC over frames, 0 to 1"),
    ("frame_ap", "float", "average precision over frames, 0 to 1"),
    ("metrics", "json", "every frame-level and video-level number"),
    ("intervals", "json", "95 % bootstrap intervals over videos, [low, high] by metric"),
    ("per_class", "json", "the numbers of each class"),
    ("counts", "json", "videos and frames, normal and abnormal"),
    ("protocol", "json", "what the fingerprint is made of"),
    ("patch", "json", "two stages: the patch-level numbers"),
    ("stages", "json", "two stages: the frame-level numbers of each"),
    ("scores_sha256", "text", "of the score file"),
    ("scores_file", "text", "safetensors, below this folder; null when it is not there"),
    ("created_at", "time", ""),
)
DATASETS = _columns(
    ("version_id", "text", "of the data set version"),
    ("name", "text", "of the data set"),
    ("number", "int", "of the version, from 1"),
    ("format", "text", "layout that it was read from"),
    ("fingerprint", "text", "of the content"),
    ("counts", "json", "videos by split and label"),
    ("rules", "json", "how what does not line up was made to"),
    ("created_at", "time", ""),
)
VIDEOS = _columns(
    ("version_id", "text", "data set version, in datasets"),
    ("key", "text", "of the video in its version"),
    ("split", "text", "train, val or test"),
    ("label", "int", "0 normal, 1 abnormal"),
    ("classes", "texts", "of the anomaly"),
    ("num_frames", "int", "counted by decoding; 0 unknown"),
    ("fps", "float", "frames a second; 0 unknown"),
    ("width", "int", "pixels"),
    ("height", "int", "pixels"),
)
FEATURE_SETS = _columns(
    ("feature_set_id", "text", ""),
    ("version_id", "text", "data set version, in datasets"),
    ("name", "text", ""),
    ("produced_by_id", "text", "the run that extracted them; null for published ones"),
    ("ready", "bool", "complete"),
    ("extractor", "text", ""),
    ("dim", "int", "numbers a snippet"),
    ("video_count", "int", ""),
    ("size_bytes", "int", ""),
    ("fingerprint", "text", "of the content"),
    ("created_at", "time", ""),
)

TABLES = (
    Table("runs", "One row a run, in the order they were made.", RUNS, _runs),
    Table("params", "One row a field of a run's configuration.", PARAMS, _params),
    Table("metric_points", "Every point of every metric, by run, key and step.", POINTS, _points),
    Table("metric_summaries", "One row a run and metric.", SUMMARIES, _summaries),
    Table("checkpoints", "One row a checkpoint, also of those that are gone.", CHECKPOINTS,
          _checkpoints),
    Table("artifacts", "One row a file that was sent for an external run.", ARTIFACTS, _artifacts),
    Table("labels", "One row a label of an external run.", LABELS, _labels),
    Table("evaluations", "One row an evaluation.", EVALUATIONS, _evaluations),
    Table("datasets", "One row a version of a data set.", DATASETS, _datasets),
    Table("videos", "One row a video of a version, with its video-level label.", VIDEOS, _videos),
    Table("feature_sets", "One row a feature set.", FEATURE_SETS, _feature_sets),
)  # fmt: skip
