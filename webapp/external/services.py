"""What a script says of a run that it trains elsewhere. See docs/client.md.

Everything that writes locks the run's row first and, in the same query, asks whether the person
may: several processes may log one run at once. Nobody claims it: of two values for the same step
of a metric the one that came last is kept. What is logged after the end is kept, too; it changes
no state, but for a run that was failed because it was silent, which then goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.http import Http404
from django.utils import timezone

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.external import history, points
from webapp.external.models import ExternalRun
from webapp.external.points import Batch
from webapp.runs import chunks, packing, services, times
from webapp.runs.lifecycle import external
from webapp.runs.models import EXTERNAL, Run, State

MOST_PARAMS = 1000
PARAM_NAME, PARAM_TEXT = 250, 6000
MOST_LABELS = 500
LABEL_TEXT = 8000
MOST_LINES, LINE = 5000, 8000  # of a part of the log; characters of a line
MOST_LOG_BYTES = 256 << 20  # of a run
MOST_SESSIONS = 64
_PROGRESS = ("started_at", "beat_at", "done", "total")
ENDS = {
    "finished": State.SUCCEEDED,
    "failed": State.FAILED,
    "killed": State.CANCELLED,
}


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a script learns from logging: whether somebody ended its run meanwhile."""

    state: str

    @property
    def stop(self) -> bool:
        return self.state == State.CANCELLED


# --- from the beginning to the end ----------------------------------------------------------


@transaction.atomic
def run_start(
    *,
    project: Project,
    by: User,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    notes: str = "",
    started_at: datetime | None = None,
    environment: Mapping[str, Any] | None = None,
    client: str = "",
    run_id: UUID | None = None,
) -> Run:
    """Begin a run that is trained elsewhere; it runs at once.

    Args:
        params: settings by name; what is nested gets names with dots.
        environment: where it is trained: host, python, commit, …; texts and numbers by name.
        client: what logs it, as "vad.client 0.1".
        run_id: chosen by the client, so that asking twice makes one run.

    Raises:
        VadError: `not-allowed`, `log-invalid`, `config-invalid`.
    """
    require_editor(by, project)
    if run_id is not None:
        known = Run.objects.filter(pk=run_id).first()
        if known is not None and known.project_id == project.pk and known.kind == EXTERNAL:
            return known
        if known is not None:
            raise points.refused("The run's id is taken")
    now = timezone.now()
    started_at = started_at or now
    run = services.run_row(
        project=project, kind=EXTERNAL, config=flat(params or {}), by=by,
        name=name or f"External run of {started_at:%Y-%m-%d %H:%M}", tags=tags, notes=notes,
    )  # fmt: skip
    if run_id is not None:
        run.pk = run_id
    run.environment = flat(environment or {})
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError:  # the same request came a moment earlier
        return Run.objects.get(pk=run.pk, project=project, kind=EXTERNAL)
    ExternalRun.objects.create(
        run=run, client=" ".join(client.split())[:60], labels=_labels(labels or {})
    )
    external.enter(run, by=by, started_at=min(started_at, now))
    return run


def run_end(
    *,
    run_id: UUID,
    status: str,
    by: User,
    reason: str = "",
    ended_at: datetime | None = None,
) -> Run:
    """Say how a run ended; one that has ended stays as it ended.

    Args:
        status: "finished", "failed" or "killed".
        reason: of a failure, as its last words.

    Raises:
        VadError: `log-invalid`, `not-allowed`.
    """
    if status not in ENDS:
        raise points.refused(f"{status[:40]!r} is none of {', '.join(ENDS)}")
    error = None
    if status == "failed":
        said = " ".join(_text("reason", reason, PARAM_TEXT).split())[:400]
        error = VadError("unexpected", said or "Its script failed.", "Its log may say more.")
    with writing(run_id, by) as run:
        to, now = ENDS[status], timezone.now()
        external.end(run, to, by=by, ended_at=min(ended_at or now, now), error=error)
        run.refresh_from_db()
    return run


def run_resume(*, run_id: UUID, by: User) -> Run:
    """Let a run that has ended go on; one that runs stays as it is."""
    with writing(run_id, by) as run:
        external.resume(run, by=by)
        run.refresh_from_db()
    return run


# --- logging --------------------------------------------------------------------------------


def metrics_log(
    *, run_id: UUID, batch: Batch, by: User, done: int | None = None, total: int | None = None
) -> Heard:
    """Keep a batch of points, all of them or none. Logging the same again changes nothing.

    An empty batch says that the script lives.

    Args:
        batch: made by `points`. Points with times are also kept as they are (history.py).
        done, total: progress in steps; by default the highest step so far.

    Raises:
        VadError: `log-invalid`, `not-allowed`.
    """
    points.check(batch)
    with writing(run_id, by) as run:
        top = max((int(p.steps.max()) for p in batch.values() if len(p)), default=0)
        progress = {"done": max(run.done, top) if done is None else done}
        if total is not None:
            progress["total"] = total
        for name, value in progress.items():
            if not 0 <= value <= points.MOST_STEP:
                raise points.refused(f"{name}: {value} is not from 0 to {points.MOST_STEP}")
        columns = {key: _in_time(p) for key, p in batch.items() if len(p)}
        if columns:
            chunks.append(run, {**columns, **_clock(run, batch)}, most_keys=points.MOST_KEYS)
            history.append(run, batch)
        return _heard(run, **progress)


def log_append(
    *, run_id: UUID, lines: Iterable[str], by: User, session: str = "", part: int = 0
) -> Heard:
    """Add lines to the run's log.

    Args:
        session, part: who sends it, and the number of this part, rising; a part that is there
            already is not added again.

    Raises:
        VadError: `log-invalid` (also when the log is full), `not-allowed`.
    """
    text = _log_text(lines)
    with writing(run_id, by) as run:
        if session and not _is_new_part(run, session, part):
            return _heard(run)
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "log.txt").open("ab") as file:
            if file.tell() + len(text) > MOST_LOG_BYTES:
                raise points.refused(
                    f"The log has {MOST_LOG_BYTES >> 20} MB already, which is the most"
                )
            file.write(text)
        return _heard(run)


def params_log(*, run_id: UUID, params: Mapping[str, Any], by: User, replace: bool = True) -> Heard:
    """Add settings.

    Args:
        replace: False refuses another value for a setting that is known.

    Raises:
        VadError: `log-invalid`, `not-allowed`.
    """
    given = flat(params)
    with writing(run_id, by, "config") as run:
        other = [n for n, v in given.items() if n in run.config and run.config[n] != v]
        if other and not replace:
            name = other[0]
            raise points.refused(
                f"{name} is {str(run.config[name])[:60]!r} and cannot become "
                f"{str(given[name])[:60]!r}"
            )
        config = {**run.config, **given}
        if len(config) > MOST_PARAMS:
            raise points.refused(
                f"The run would have {len(config):,} settings, {MOST_PARAMS:,} at most"
            )
        Run.objects.filter(pk=run.pk).update(config=config)
        return _heard(run)


def tags_set(*, run_id: UUID, tags: Iterable[str], by: User) -> Heard:
    """Give the run these tags, as on its page, instead of those that it has."""
    with writing(run_id, by) as run:
        services.run_set_tags(run=run, tags=tags, by=by)
        return _heard(run)


def labels_set(
    *, run_id: UUID, labels: Mapping[str, str], by: User, remove: Iterable[str] = ()
) -> Heard:
    """Give the run labels: names with a text each. Known ones change, `remove` takes some off."""
    given = _labels(labels)
    with writing(run_id, by) as run:
        row = ExternalRun.objects.get(run=run)
        gone = set(remove)
        row.labels = {n: v for n, v in {**row.labels, **given}.items() if n not in gone}
        if len(row.labels) > MOST_LABELS:
            raise points.refused(
                f"The run would have {len(row.labels)} labels, {MOST_LABELS} at most"
            )
        row.save(update_fields=["labels"])
        return _heard(run)


# --- what they share ------------------------------------------------------------------------


@contextmanager
def writing(run_id: UUID, by: User, *more: str) -> Iterator[Run]:
    """One transaction with the run's row locked, of a person who may write it.

    Raises:
        Http404: there is no external run of this id, or not for this person.
        VadError: `not-allowed`.
    """
    with transaction.atomic():
        rows = Run.objects.editable_by(by).select_for_update(of=("self",))
        needed = ("project", "kind", "name", "state", "error", *_PROGRESS, *more)
        run = rows.filter(pk=run_id, kind=EXTERNAL).only(*needed).first()
        if run is None:
            seen = Run.objects.visible_to(by).filter(pk=run_id, kind=EXTERNAL)
            row = seen.select_related("project").first()
            if row is None:
                raise Http404
            require_editor(by, row.project)
            raise Http404
        if run.state == State.FAILED and (run.error or {}).get("code") == "external-silent":
            external.resume(run, by=None, why="heard of again")
            run.state = State.RUNNING
        yield run


def _heard(run: Run, **fields: Any) -> Heard:
    Run.objects.filter(pk=run.pk).update(beat_at=Now(), **fields)
    return Heard(state=run.state)


def _in_time(p: points.Points) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, earlier ones first, so that of equal steps the latest wins."""
    if p.times is None or (np.diff(p.times) >= 0).all():
        return p.steps, p.values
    order = np.argsort(p.times, kind="stable")
    return p.steps[order], p.values[order]


def _clock(run: Run, batch: Batch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """When which step was done, by `times.STEP`: what workers note of their runs."""
    begun_ms = (run.started_at or timezone.now()).timestamp() * 1000
    told = [p for p in batch.values() if p.times is not None and len(p)]
    if told:
        seconds = np.concatenate([p.times for p in told if p.times is not None]) - begun_ms
        seconds = np.maximum(seconds // 1000, 0).astype(packing.STEPS)
        steps = np.concatenate([p.steps for p in told])
    else:
        now_s = max(0, int(timezone.now().timestamp() - begun_ms / 1000))
        if run.beat_at and now_s == int(run.beat_at.timestamp() - begun_ms / 1000) and run.done:
            return {}  # this second has its note
        top = max((int(p.steps.max()) for p in batch.values() if len(p)), default=0)
        seconds, steps = np.array([now_s]), np.array([max(run.done, top)])
    order = np.lexsort((steps, seconds))
    return {times.STEP: (seconds[order], steps[order].astype(packing.VALUES))}


def flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as texts, finite numbers, yes and no, or nothing, by name; nested ones with dots.

    Raises:
        VadError: `log-invalid`.
    """
    found: dict[str, Any] = {}
    _flatten(given, "", found, 0)
    return found


def _flatten(given: Mapping[str, Any], before: str, found: dict[str, Any], depth: int) -> None:
    if depth > 8:
        raise points.refused(f"{before[:60]} is nested too deeply")
    for key, value in given.items():
        name = f"{before}{key}"
        _text("name of a setting", name, PARAM_NAME)
        if not name.strip():
            raise points.refused("A setting has no name")
        if isinstance(value, Mapping) and value:
            _flatten(value, f"{name}.", found, depth + 1)
            continue
        if isinstance(value, Mapping | list | tuple):
            value = _as_json(name, value)
        if isinstance(value, str):
            _text(name, value, PARAM_TEXT)
        elif isinstance(value, float) and not math.isfinite(value):
            raise points.refused(f"{name[:60]}: {value} is no finite number; write it as a text")
        elif type(value) is int and abs(value) > points.MOST_STEP:
            value = str(value)[:PARAM_TEXT]
        elif value is not None and not isinstance(value, bool | int | float):
            raise points.refused(f"{name[:60]}: {type(value).__name__} is no kind of setting")
        found[name] = value
        if len(found) > MOST_PARAMS:
            raise points.refused(f"There are more than {MOST_PARAMS:,} settings")


def _as_json(name: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise points.refused(f"{name[:60]} cannot be written as JSON") from None


def _labels(given: Mapping[str, str]) -> dict[str, str]:
    if len(given) > MOST_LABELS:
        raise points.refused(f"There are {len(given)} labels, {MOST_LABELS} at most")
    return {
        _text("name of a label", name, PARAM_NAME): _text(name, value, LABEL_TEXT)
        for name, value in given.items()
    }


def _text(what: str, text: Any, most: int) -> str:
    if not isinstance(text, str):
        raise points.refused(f"{what[:60]}: {str(text)[:40]!r} is no text")
    if len(text) > most:
        raise points.refused(f"{what[:60]} has {len(text):,} characters, {most:,} at most")
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise points.refused(f"{what[:60]} holds a character that cannot be stored")
    return text


def _log_text(lines: Iterable[str]) -> bytes:
    found = list(lines)
    if len(found) > MOST_LINES:
        raise points.refused(f"There are {len(found):,} lines, {MOST_LINES:,} at most")
    clean = (_text("line of the log", line, LINE).replace("\r", "\n") for line in found)
    return "".join(f"{line.rstrip()}\n" for line in clean).encode()


def _is_new_part(run: Run, session: str, part: int) -> bool:
    """Note the part of this session; False when it, or a later one, is noted already."""
    row = ExternalRun.objects.get(run=run)
    if part <= row.sessions.get(session, -1):
        return False
    known = {name: last for name, last in row.sessions.items() if name != session}
    kept = dict(list(known.items())[-(MOST_SESSIONS - 1) :])
    row.sessions = {**kept, session: part}  # the one that was heard last stands last
    row.save(update_fields=["sessions"])
    return True
