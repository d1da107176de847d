"""What the alignment doctor finds in a version, in short: for lists and the head of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from vad.data.versions import check
from vad.errors import VadError
from webapp.datasets.models import DatasetVersion, FeatureSet


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Counts by severity, and the sentences of problems and notes.

    Args:
        error: what could not be looked at; without the features the counts are of the rest, and 0
            where the version's own files are gone.
        features: the name of the feature set that was looked at; empty without one.
    """

    problems: int = 0
    notes: int = 0
    problem_texts: tuple[str, ...] = ()
    note_texts: tuple[str, ...] = ()
    error: VadError | None = None
    features: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        return self.problem_texts + self.note_texts

    @property
    def words(self) -> str:
        counted = ((self.problems, "problem"), (self.notes, "note"))
        return ", ".join(f"{n:,} {word}{'' if n == 1 else 's'}" for n, word in counted if n)


def of_versions(versions: Iterable[DatasetVersion]) -> Mapping[UUID, Findings]:
    """For each version, with its newest features. One query; looked at once and then kept."""
    found = list(versions)
    ready = FeatureSet.objects.filter(version__in=[v.pk for v in found], ready=True)
    newest = {features.version_id: features for features in ready.order_by("created_at")}
    return {version.pk: _of(version, newest.get(version.pk)) for version in found}


def _of(version: DatasetVersion, features: FeatureSet | None) -> Findings:
    try:
        if features:
            return _kept(version.folder, features.folder, features.name)
        return _kept(version.folder, None, "")
    except VadError as exc:
        # without the features that cannot be read, videos and labels may still be looked at
        rest = _of(version, None) if features else Findings()
        return replace(rest, error=exc)


@lru_cache(maxsize=256)
def _kept(folder: Path, features: Path | None, name: str) -> Findings:
    """A version never changes, and neither do features that are ready."""
    report = check(folder, features)
    return Findings(
        problems=len(report.of("problem")),
        notes=len(report.of("note")),
        problem_texts=tuple(report.notes("problem")),
        note_texts=tuple(report.notes("note")),
        features=name,
    )
