"""Ready-made reports: of one evaluation, and of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vad.errors import VadError
from vad.evaluation.frame import THRESHOLD
from webapp.compare.selection import Member
from webapp.evaluations import listing
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION
from webapp.reports import blocks
from webapp.reports.blocks import panel, text_block

MOMENTS = 2  # best ones, and as many worst


def of_evaluation(evaluation: Evaluation) -> tuple[str, list[dict[str, Any]]]:
    """Title and blocks: protocol, numbers, curves, classes, videos, configuration, how to do it.

    Raises:
        VadError: the scores are gone or damaged.
    """
    one, run = [evaluation.pk], evaluation.of_run
    found = [
        text_block(_introduction(evaluation)),
        panel("numbers", evaluations=one),
        panel("roc", evaluations=one),
        panel("pr", evaluations=one),
    ]
    if any(row.get("auc") is not None for row in evaluation.per_class):
        found.append(panel("classes", evaluations=one))
    found += _videos(evaluation)
    found += [
        text_block("# How it was made"),
        panel("protocol", evaluations=one),
        panel("settings", runs=[run.pk]),
        panel("provenance", runs=[run.pk]),
        panel("reproduce", runs=[run.pk, evaluation.pk]),
    ]
    return f"Evaluation of {run.name}"[:120], found


def of_comparison(members: Sequence[Member]) -> tuple[str, list[dict[str, Any]]]:
    """Title and blocks of several runs side by side.

    Raises:
        VadError: `run-inputs-missing`, there is nothing to report.
    """
    runs = [run for member in members for run in member.runs][: blocks.MOST_IDS]
    evaluations = [e.pk for member in members for e in member.evaluations][: blocks.MOST_IDS]
    if not runs:
        raise VadError(
            "run-inputs-missing", "No run was named.", "Choose runs to compare, then make a report."
        )
    listed = "\n".join(f"- {run.name}" for run in runs)
    found = [text_block(f"What was compared:\n\n{listed}\n\nWhat was found: …")]
    if evaluations:
        kinds = ("numbers", "roc", "pr", "classes")
        found += [panel(kind, evaluations=evaluations) for kind in kinds]
    found.append(panel("settings", runs=[run.pk for run in runs]))
    title = f"{runs[0].name} and {len(runs) - 1} more" if len(runs) > 1 else runs[0].name
    return f"Comparison of {title}"[:120], found


def _introduction(evaluation: Evaluation) -> str:
    step = f"of step {evaluation.checkpoint.step:,} " if evaluation.checkpoint else ""
    rule = SELECTION.get(evaluation.selection, evaluation.selection)
    counts = evaluation.counts
    return (
        f"**{evaluation.of_run.name}** on the test split of **{evaluation.version}**, "
        f"{counts.get('videos', 0):,} videos, {counts.get('abnormal_videos', 0):,} of them with "
        f"anomalies. The checkpoint {step}was chosen by: {rule}.\n\n# Results"
    )


def _videos(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The table of best and worst, and a moment of the first few of each."""
    rows = [r for r in listing.video_rows(evaluation) if r.contribution]
    if not rows:
        return []
    found = [text_block("# Videos"), panel("videos", evaluations=[evaluation.pk])]
    best = [row for row in reversed(rows) if (row.contribution or 0) > 0 and row.positive_frames]
    worst = [row for row in rows if (row.contribution or 0) < 0]
    for word, chosen in (("Helps", best[:MOMENTS]), ("Costs", worst[:MOMENTS])):
        for row in chosen:
            frame, why = _telling(evaluation, row.key)
            found.append(
                panel(
                    "moment",
                    evaluations=[evaluation.pk],
                    video=row.key,
                    frame=frame,
                    caption=f"{word} the AUC: {row.contribution_text}. {why}",
                )
            )
    return found


def _telling(evaluation: Evaluation, key: str) -> tuple[int, str]:
    """A frame that shows what is right or wrong, and what it is."""
    wrong = store.alarms(evaluation, THRESHOLD)[key]
    video = store.load(evaluation).video(key)
    highest = int(video.start_frames[int(video.scores.argmax())])
    if wrong.misses:
        miss = wrong.misses[0]
        return (miss.start + miss.end) // 2, "A miss: no frame of this anomaly reaches 0.5."
    if wrong.false_alarms:
        alarm = max(wrong.false_alarms, key=lambda a: a.peak)
        if alarm.peak >= float(video.scores.max()):
            return (alarm.start + alarm.end) // 2, "The highest score is a false alarm."
    return highest, "The highest score of the video."
