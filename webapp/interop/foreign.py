"""Taking over runs of other tools: once, however often it is asked.

A reader (mlflow_store.py, tensorboard.py) says what a run holds; this module compares that with
what is here and adds what is missing. What cannot be kept is left out and told, never half-kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import numpy as np
from django.db import transaction

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import require_editor
from webapp.external import history, points, services, uploads
from webapp.external.models import ExternalRun, Upload
from webapp.external.points import Points
from webapp.interop.models import Experiment, TrackedRun
from webapp.interop.tracking.logging import experiment_tags, moment, shortened
from webapp.runs.models import EXTERNAL, Run

MOST_TOLD = 200


@dataclass
class ForeignRun:
    """Args:
    id: the same whenever the same run is read.
    status: "finished", "failed" or "killed".
    metrics: points with times, by key, as they were written.
    files: what each is called, and where it is now.
    """

    id: UUID
    name: str
    status: str
    started_ms: int | None
    ended_ms: int | None
    client: str
    experiment: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    metrics: Mapping[str, Points] = field(default_factory=dict)
    files: Sequence[tuple[str, Path]] = ()


@dataclass
class Report:
    """What an import did."""

    made: int = 0
    extended: int = 0  # known runs that got something more
    unchanged: int = 0
    points: int = 0
    files: int = 0
    skipped: list[str] = field(default_factory=list)

    def skip(self, what: str, why: object) -> None:
        said = why.message if isinstance(why, VadError) else str(why)
        self.skipped.append(f"{what}: {said}")

    def lines(self) -> Iterable[str]:
        yield (
            f"{self.made} runs made, {self.extended} extended, {self.unchanged} unchanged; "
            f"{self.points:,} points and {self.files} files added."
        )
        if self.skipped:
            yield f"{len(self.skipped)} things were left out:"
        yield from (f"  {line}" for line in self.skipped[:MOST_TOLD])
        if len(self.skipped) > MOST_TOLD:
            yield f"  … and {len(self.skipped) - MOST_TOLD} more"


def run_import(*, project: Project, by: User, foreign: ForeignRun, report: Report) -> None:
    """Bring a run here, or what is new in it. A run that cannot be taken over is told of.

    Raises:
        VadError: `not-allowed`.
    """
    require_editor(by, project)
    try:
        changed = _Taking(project, by, foreign, report).all()
    except VadError as exc:
        report.skip(foreign.name, exc)
        return
    if changed == "made":
        report.made += 1
    elif changed:
        report.extended += 1
    else:
        report.unchanged += 1


@dataclass
class _Taking:
    project: Project
    by: User
    foreign: ForeignRun
    report: Report

    def all(self) -> str:
        """What became of it: "made", "extended", or nothing."""
        known = Run.objects.filter(pk=self.foreign.id).first()
        if known is not None and (known.project_id != self.project.pk or known.kind != EXTERNAL):
            raise points.refused("Its id is that of a run of another project, or of VADLab's own")
        with transaction.atomic():
            run = known or self._start()
            changed = [self._params(run), self._labels(run), self._metrics(run)]
        changed.append(self._files(run))  # may take long: no transaction waits for it
        changed.append(self._end(run))
        return "made" if known is None else "extended" if any(changed) else ""

    def _start(self) -> Run:
        experiment = None
        if self.foreign.experiment:
            experiment, _ = Experiment.objects.get_or_create(
                project=self.project, name=self.foreign.experiment[:250]
            )
        run = services.run_start(
            project=self.project,
            by=self.by,
            name=shortened(self.foreign.name),
            tags=experiment_tags(experiment),
            notes=self.foreign.notes,
            started_at=moment(self.foreign.started_ms),
            client=self.foreign.client,
            run_id=self.foreign.id,
        )
        TrackedRun.objects.create(run=run, experiment=experiment)
        return run

    def _params(self, run: Run) -> bool:
        new = {k: v for k, v in self.foreign.params.items() if run.config.get(k) != v}
        return self._each(
            new,
            "parameter",
            lambda part: services.params_log(
                run_id=run.pk, params=part, by=self.by, replace=False
            ),
        )  # fmt: skip

    def _labels(self, run: Run) -> bool:
        known = ExternalRun.objects.get(run=run).labels
        new = {k: v for k, v in self.foreign.labels.items() if known.get(k) != v}
        return self._each(
            new,
            "tag",
            lambda part: services.labels_set(run_id=run.pk, labels=part, by=self.by),
        )

    def _each(self, new: Mapping[str, str], what: str, keep: object) -> bool:
        """Keep them together; where one is refused, one by one, so that only it is left out."""
        if not new:
            return False
        try:
            with transaction.atomic():
                keep(new)  # type: ignore[operator]
            return True
        except VadError as exc:
            if len(new) == 1:
                self.report.skip(f"{self.foreign.name}, {what} {next(iter(new))}", exc)
                return False
        kept = [self._each({name: value}, what, keep) for name, value in new.items()]
        return any(kept)

    def _metrics(self, run: Run) -> bool:
        changed = False
        for key, given in self.foreign.metrics.items():
            try:
                points.check_key(key)
                new = _unknown(run, key, given)
                for start in range(0, len(new), points.MOST_POINTS):
                    part = slice(start, start + points.MOST_POINTS)
                    times = None if new.times is None else new.times[part]
                    batch = {key: Points(new.steps[part], new.values[part], times)}
                    services.metrics_log(run_id=run.pk, batch=batch, by=self.by)
            except VadError as exc:
                self.report.skip(f"{self.foreign.name}, metric {key[:60]}", exc)
                continue
            self.report.points += len(new)
            changed |= len(new) > 0
        return changed

    def _files(self, run: Run) -> bool:
        changed = False
        for name, path in self.foreign.files:
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    same = Upload.objects.filter(
                        run=run, path=name, sha256=digest, finished_at__isnull=False
                    )
                    if same.exists():
                        continue
                    file.seek(0)
                    uploads.artifact_store(run_id=run.pk, path=name, data=file, by=self.by)
            except (VadError, OSError) as exc:
                self.report.skip(f"{self.foreign.name}, file {name}", exc)
                continue
            self.report.files += 1
            changed = True
        return changed

    def _end(self, run: Run) -> bool:
        run.refresh_from_db()
        if run.state == services.ENDS[self.foreign.status]:
            return False
        if run.has_ended:  # it was read while it went on
            services.run_resume(run_id=run.pk, by=self.by)
        services.run_end(
            run_id=run.pk,
            status=self.foreign.status,
            by=self.by,
            ended_at=moment(self.foreign.ended_ms),
        )
        return True


def _unknown(run: Run, key: str, given: Points) -> Points:
    """Points that are not here yet, bit by bit: NaN is equal to itself."""
    records = np.zeros(len(given), history.RECORD)
    records["step"], records["time"], records["value"] = given.steps, given.times, given.values
    known = history.read(run, key)
    if len(known):
        as_bytes = f"V{history.RECORD.itemsize}"
        records = records[~np.isin(records.view(as_bytes), known.view(as_bytes))]
    return Points(records["step"].copy(), records["value"].copy(), records["time"].copy())
