"""Runs of an MLflow store on the disk: its folders (`mlruns/`), or its SQLite database.

Only text, YAML (its safe subset) and SQL are read; a pickled model is a file like any other and is
never opened. Links that lead out of the store are left out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from vad.errors import VadError
from webapp.external.points import MOST_STEP, MOST_TIME_MS, Points
from webapp.interop.foreign import ForeignRun, Report
from webapp.interop.tracking.logging import NAME, NOTE
from webapp.interop.tracking.shapes import run_id_of
from webapp.runs.packing import STEPS, VALUES

CLIENT = "MLflow import"
MOST_RUNS = 50_000
META_BYTES, TEXT_BYTES, METRIC_BYTES = 64 << 10, 64 << 10, 1 << 30
_STATUS = {3: "finished", 4: "failed", 5: "killed"}  # RUNNING and SCHEDULED are none of these
_NAMES = {"FINISHED": 3, "FAILED": 4, "KILLED": 5}
_DEFAULT = "Default"


def read(path: Path, report: Report, *, files: bool = True) -> Iterator[ForeignRun]:
    """Runs that are not deleted, one after the other; what cannot be read is told.

    Raises:
        VadError: `import-invalid`: this is no store.
    """
    if path.is_dir():
        found = _folders(path.resolve(), report, files=files)
    else:
        found = _database(path, report, files=files)
    for count, run in enumerate(found):
        if count == MOST_RUNS:
            report.skip(str(path), f"only the first {MOST_RUNS:,} runs were read")
            return
        yield run


def _no_store(path: Path, why: str) -> VadError:
    return VadError(
        "import-invalid",
        f"{path} is no MLflow store: {why}.",
        "Name the folder that MLflow calls mlruns, or its SQLite file.",
    )


# --- folders --------------------------------------------------------------------------------


def _folders(root: Path, report: Report, *, files: bool) -> Iterator[ForeignRun]:
    metas = sorted(root.glob("*/meta.yaml"))
    if not metas:
        raise _no_store(root, "no folder in it has a meta.yaml")
    for meta in metas:
        experiment = _meta(meta, report)
        if experiment is None:
            continue
        name = str(experiment.get("name") or meta.parent.name)
        for run_meta in sorted(meta.parent.glob("*/meta.yaml")):
            known = _meta(run_meta, report)
            if known is None or "run_id" not in known:  # traces, models
                continue
            run = _run_of_folder(root, run_meta.parent, known, name, report, files=files)
            if run is not None:
                yield run


def _run_of_folder(
    root: Path, folder: Path, meta: Mapping[str, Any], experiment: str, report: Report, *,
    files: bool,
) -> ForeignRun | None:  # fmt: skip
    if meta.get("lifecycle_stage") == "deleted":
        report.skip(f"{experiment}/{folder.name}", "deleted in MLflow")
        return None
    params = {k: _text(p, report) for k, p in _named(folder / "params", root)}
    tags = {k: _text(p, report) for k, p in _named(folder / "tags", root)}
    metrics = {}
    for key, path in _named(folder / "metrics", root):
        found = _metric(path, f"{folder.name}/{key}", report)
        if found is not None:
            metrics[key] = found
    return _run(
        run_id=str(meta["run_id"]), name=str(meta.get("run_name") or ""), experiment=experiment,
        status=meta.get("status"), started=meta.get("start_time"), ended=meta.get("end_time"),
        params=params, tags=tags, metrics=metrics,
        files=list(_named(folder / "artifacts", root)) if files else [], report=report,
    )  # fmt: skip


def _named(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Files below a folder with their names; a metric `val/auc` is a file in a folder `val`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(root):
            yield path.relative_to(folder).as_posix(), path


def _meta(path: Path, report: Report) -> dict[str, Any] | None:
    import yaml  # needed here alone

    try:
        found = yaml.safe_load(_bounded(path, META_BYTES))
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as exc:
        report.skip(str(path), f"cannot be read ({str(exc).splitlines()[0]})")
        return None
    return found if isinstance(found, dict) else None


def _text(path: Path, report: Report) -> str:
    try:
        return _bounded(path, TEXT_BYTES)
    except (ValueError, OSError) as exc:
        report.skip(str(path), exc)
        return ""


def _bounded(path: Path, most: int) -> str:
    if path.stat().st_size > most:
        raise ValueError(f"more than {most:,} bytes")
    return path.read_text(encoding="utf-8")


def _metric(path: Path, what: str, report: Report) -> Points | None:
    """Lines of `time value step`; of older stores `time value`."""
    rows, wrong = [], 0
    try:
        lines = _bounded(path, METRIC_BYTES).splitlines()
    except (ValueError, OSError) as exc:
        report.skip(what, exc)
        return None
    for line in lines:
        part = line.split(" ")
        row = None
        if len(part) in (2, 3):
            row = _row(part[0], part[1], part[2] if len(part) == 3 else "0")
        if row is None:
            wrong += 1
        else:
            rows.append(row)
    if wrong:
        report.skip(what, f"{wrong} lines are no points")
    return _points(rows)


# --- the database ---------------------------------------------------------------------------


def _database(path: Path, report: Report, *, files: bool) -> Iterator[ForeignRun]:
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as exc:
        raise _no_store(path, str(exc)) from None
    with closing(connection) as store:
        try:
            runs = store.execute(
                "select r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time,"
                " r.artifact_uri from runs r join experiments e using (experiment_id)"
                " where r.lifecycle_stage = 'active' order by r.start_time, r.run_uuid"
            ).fetchall()
        except sqlite3.Error as exc:
            raise _no_store(path, str(exc)) from None
        for run_id, name, experiment, status, started, ended, uri in runs:
            metrics = _metrics_of(store, run_id, report)
            run = _run(
                run_id=str(run_id), name=name or "", experiment=experiment or "",
                status=_NAMES.get(status, 0), started=started, ended=ended,
                params=dict(store.execute(_PAIRS.format("params"), (run_id,))),
                tags=dict(store.execute(_PAIRS.format("tags"), (run_id,))), metrics=metrics,
                files=list(_local(path, uri)) if files else [], report=report,
            )  # fmt: skip
            if run is not None:
                yield run


_PAIRS = "select key, coalesce(value, '') from {} where run_uuid = ? order by key"


def _metrics_of(store: sqlite3.Connection, run_id: str, report: Report) -> dict[str, Points]:
    rows: dict[str, list[tuple[int, int, float]]] = {}
    wrong = 0
    for key, value, is_nan, time_ms, step in store.execute(
        "select key, value, is_nan, timestamp, step from metrics where run_uuid = ?"
        " order by key, timestamp, step",
        (run_id,),
    ):
        row = _row(time_ms, "nan" if is_nan else _unclamped(value), step)
        if row is None:
            wrong += 1
        else:
            rows.setdefault(key, []).append(row)
    if wrong:
        report.skip(run_id, f"{wrong} points have no usable time, value or step")
    return {key: _points(found) for key, found in rows.items()}


def _unclamped(value: float) -> float:
    """The database has no infinity; MLflow writes the largest number instead."""
    return np.inf * np.sign(value) if abs(value) >= 1.7976931348623157e308 else value


def _local(database: Path, uri: str | None) -> Iterator[tuple[str, Path]]:
    """Files of a run if they lie below the folder of the database."""
    folder = Path((uri or "").removeprefix("file://"))
    root = database.resolve().parent
    place = (root / folder).resolve()
    if uri and "://" not in str(folder) and place.is_relative_to(root) and place != root:
        yield from _named(place, root)


# --- both -----------------------------------------------------------------------------------


def _run(
    *,
    run_id: str,
    name: str,
    experiment: str,
    status: Any,
    started: Any,
    ended: Any,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Mapping[str, Points],
    files: list[tuple[str, Path]],
    report: Report,
) -> ForeignRun | None:
    found = run_id_of(run_id)
    if found is None:
        report.skip(run_id[:60], "its id is none that MLflow gives")
        return None
    name = name or tags.get(NAME, "") or run_id
    if status not in _STATUS:
        report.skip(name, "had not ended; it is ended here until an import finds its end")
    return ForeignRun(
        id=found,
        name=name,
        status=_STATUS.get(status, "killed"),
        started_ms=_time(started),
        ended_ms=_time(ended),
        client=CLIENT,
        experiment="" if experiment == _DEFAULT else experiment,
        params=params,
        labels={k: v for k, v in tags.items() if k not in (NAME, NOTE)},
        notes=tags.get(NOTE, ""),
        metrics=metrics,
        files=files,
    )


def _time(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TIME_MS else None


def _row(time_ms: Any, value: Any, step: Any) -> tuple[int, int, float] | None:
    try:
        row = int(step), int(time_ms), float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return row if abs(row[0]) <= MOST_STEP and 0 <= row[1] <= MOST_TIME_MS else None


def _points(rows: Iterable[tuple[int, int, float]]) -> Points:
    steps, times, values = zip(*rows, strict=True) if rows else ((), (), ())
    return Points(np.array(steps, STEPS), np.array(values, VALUES), np.array(times, STEPS))
