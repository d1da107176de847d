"""Frozen panels made once more from what is stored: identical, drifted, or no longer possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vad.data.tensorfile import file_sha256
from vad.errors import VadError
from vad.evaluation import frame
from vad.evaluation.scores import ScoreSet
from webapp.evaluations.models import Evaluation
from webapp.reports import panels, queries
from webapp.reports.content import Content, differences, digest
from webapp.reports.models import Revision, Snapshot

TOLERANCE = 1e-9  # of a metric that is computed again on another machine
State = Literal["identical", "drifted", "gone"]
_WORDS: dict[State, str] = {
    "identical": "identical", "drifted": "drifted", "gone": "cannot be made again"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one frozen panel.

    Args:
        differences: in words, one a line.
    """

    block: dict[str, Any]
    title: str
    state: State
    sha256: str
    now_sha256: str = ""
    differences: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        return _WORDS[self.state]


def recheck(revision: Revision) -> list[Finding]:
    """Every frozen panel of a revision, in its order. Reads the score files anew from the disk."""
    project = revision.report.project
    frozen = queries.snapshots(revision.report, revision.blocks)
    kept = [(b, frozen[b["frozen"]]) for b in revision.blocks if b.get("frozen") in frozen]
    ids = {pk for block, _ in kept for pk in block.get("evaluations", ())}
    scored = Evaluation.objects.filter(run__project=project, pk__in=ids).select_related(
        "run", "of_run"
    )
    files = {str(e.pk): _file_problems(e) for e in scored}
    return [_finding(block, snapshot, files, revision) for block, snapshot in kept]


def summary(findings: Sequence[Finding]) -> dict[State, int]:
    return {state: sum(f.state == state for f in findings) for state in _WORDS}


def _finding(
    block: dict[str, Any],
    snapshot: Snapshot,
    files: dict[str, list[str]],
    revision: Revision,
) -> Finding:
    before = Content.from_dict(snapshot.content)
    common: dict[str, Any] = {"block": block, "title": before.title, "sha256": snapshot.sha256}
    told = [line for pk in block.get("evaluations", ()) for line in files.get(pk, ())]
    if digest(before, snapshot.spec) != snapshot.sha256:
        told.append("what was frozen was changed in the database: it does not fit its digest")
    try:
        now = panels.build(block, revision.report.project)
    except VadError as exc:
        return Finding(**common, state="gone", differences=[*told, exc.message])
    told += differences(before, now)
    state: State = "drifted" if told else "identical"
    return Finding(**common, state=state, now_sha256=digest(now, snapshot.spec), differences=told)


def _file_problems(evaluation: Evaluation) -> list[str]:
    """What is no longer as it was evaluated: the score file, and the metrics made from it."""
    name = evaluation.of_run.name
    try:
        sha = file_sha256(evaluation.scores_path)
        told = []
        if sha != evaluation.scores_sha256:
            told.append(
                f"scores of {name}: the file is {sha[:12]}…, "
                f"evaluated was {evaluation.scores_sha256[:12]}…"
            )
        told += _metric_problems(evaluation)
    except OSError:
        return [f"scores of {name}: the file is no longer there"]
    except VadError as exc:
        return [f"scores of {name}: {exc.message}"]
    if evaluation.patch.get("sha256"):
        try:
            sha = file_sha256(evaluation.patches_path)
        except OSError:
            return [*told, f"maps of {name}: the file is no longer there"]
        if sha != evaluation.patch["sha256"]:
            told.append(f"maps of {name}: the file is {sha[:12]}…, not the evaluated one")
    return told


def _metric_problems(evaluation: Evaluation) -> list[str]:
    """Metrics that the stored scores give otherwise than they were noted."""
    again = frame.metrics(ScoreSet.load(evaluation.scores_path))
    told = []
    for name, value in again.items():
        noted = evaluation.metrics.get(name)
        if noted is None and value is None:
            continue
        if noted is None or value is None or abs(noted - value) > TOLERANCE:
            told.append(
                f"{name} of {evaluation.of_run.name}: noted {noted}, computed again {value}"
            )
    return told
