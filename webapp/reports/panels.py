"""From a panel's block to its content, read from the project's own rows and files."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.utils.http import urlencode

from vad.errors import VadError
from vad.evaluation.frame import THRESHOLD
from webapp import charts
from webapp.accounts.models import Project
from webapp.compare import comparison
from webapp.compare import figures as compared
from webapp.compare.selection import Member, with_patch_metrics
from webapp.core.templatetags.vadlab import compact, duration
from webapp.evaluations import listing
from webapp.evaluations import scores as store
from webapp.evaluations.figures import class_values, class_videos, title_of
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import SELECTION
from webapp.reports import moment
from webapp.reports.blocks import KINDS
from webapp.reports.content import Content, column, facts, number
from webapp.runs import commandline, metrics, provenance, table
from webapp.runs import figures as run_figures
from webapp.runs.columns import Column
from webapp.runs.models import MetricSummary, Run
from webapp.runs.ordering import Ordered

MOST_ROWS = 50  # of a list of runs
MOST_ACROSS = 5  # runs beside each other in a table
MOST_VIDEOS = 5  # best ones, and as many worst
LIST_COLUMNS = "state,auc,ap,loss,dataset,kind,tag,owner,created"


def build(block: dict[str, Any], project: Project) -> Content:
    """What the panel shows now.

    Raises:
        VadError: what it shows is gone or cannot be computed.
    """
    return _BUILDERS[block["kind"]](block, project)


def evaluations_of(block: dict[str, Any], project: Project) -> list[Evaluation]:
    """The block's evaluations, in its order.

    Raises:
        VadError: `not-found`, one was deleted, or is none of the project's.
    """
    ids = block["evaluations"]
    found = with_patch_metrics(Evaluation.objects.filter(run__project=project, pk__in=ids))
    by_id = {str(e.pk): e for e in found.select_related("feature_set")}
    return [by_id[pk] for pk in _all_there(ids, by_id, "evaluation")]


def runs_of(block: dict[str, Any], project: Project) -> list[Run]:
    """The block's runs, in its order.

    Raises:
        VadError: `not-found`, as `evaluations_of`.
    """
    ids = block["runs"]
    found = Run.objects.filter(project=project, pk__in=ids).select_related(
        "project", "owner", "version__dataset", "feature_set", "of_run"
    )
    by_id = {str(run.pk): run for run in found}
    return [by_id[pk] for pk in _all_there(ids, by_id, "run")]


def _all_there(ids: list[str], known: dict[str, Any], what: str) -> list[str]:
    missing = [pk for pk in ids if pk not in known]
    if missing:
        raise VadError(
            "not-found",
            f"The {what} {missing[0]} was deleted" + (
                f", and {len(missing) - 1} more." if len(missing) > 1 else "."
            ),
            "Take it out of this panel, or remove the panel.",
        )  # fmt: skip
    return ids


def _scores(evaluations: list[Evaluation]) -> list[dict[str, str]]:
    """What is read: the score files by their digests."""
    return [
        {"what": "scores", "name": e.of_run.name, "id": str(e.pk), "sha256": e.scores_sha256}
        for e in evaluations
    ]


def _member(evaluation: Evaluation) -> Member:
    return Member(name=evaluation.of_run.name, runs=[evaluation.of_run], evaluations=[evaluation])


# --- numbers and curves ---------------------------------------------------------------------


def _numbers(block: dict[str, Any], project: Project) -> Content:
    evaluations = evaluations_of(block, project)
    members = [_member(e) for e in evaluations]
    found = comparison.metric_table(members, None)
    if len(members) <= MOST_ACROSS:  # a metric a row: it fits a page
        head = [column("Metric"), *(column(m.name, num=True) for m in members)]
        rows = [
            [one.title, *(_cell(row.cells[i]) for row in found.rows)]
            for i, one in enumerate(found.columns)
        ]
    else:
        head = [column("Run"), *(column(c.title, num=True, help=c.help) for c in found.columns)]
        rows = [[row.member.name, *(_cell(cell) for cell in row.cells)] for row in found.rows]
    note = "With the 95 % bootstrap interval over the test videos, where there is one."
    optimistic = [e.of_run.name for e in evaluations if e.selection == "test"]
    if optimistic:
        note += f" The checkpoint of {', '.join(optimistic)} was chosen by this very test split."
    for warning in comparison.not_comparable(members):
        note += f" Not comparable: {warning.first} and {warning.second}"
        note += f" ({'; '.join(warning.differences)})."
    return Content(
        title=title_of("Numbers", evaluations),
        note=note,
        tables=[{"title": "", "columns": head, "rows": rows}],
        sources=_scores(evaluations),
    )


def _roc(block: dict[str, Any], project: Project) -> Content:
    return _figure_of(compared.roc, block, project)


def _pr(block: dict[str, Any], project: Project) -> Content:
    return _figure_of(compared.pr, block, project)


def _figure_of(draw: Callable[..., Any], block: dict[str, Any], project: Project) -> Content:
    evaluations = evaluations_of(block, project)
    figure = draw([_member(e) for e in evaluations])
    return Content(
        title=title_of(KINDS[block["kind"]].title, evaluations),
        note=f"The ring is the threshold {THRESHOLD:g}.",
        figures=[figure],
        sources=_scores(evaluations),
    )


def _classes(block: dict[str, Any], project: Project) -> Content:
    evaluations = evaluations_of(block, project)
    members = [_member(e) for e in evaluations]
    rows = comparison.class_rows(members)
    if not rows:
        raise VadError(
            "evaluation-impossible",
            "No class of these evaluations has videos with both kinds of frames.",
            "Remove the panel.",
        )
    head = [column(m.name if len(members) > 1 else "AUC", num=True) for m in members]
    columns = [column("Class"), column("Videos", num=True), *head]
    lines = [
        [row.name, number(row.videos, digits=0), *(_cell(cell) for cell in row.cells)]
        for row in rows
    ]
    return Content(
        title=title_of("Frame-level AUC within the videos of each class", evaluations),
        note="With the 95 % bootstrap interval over the class's videos, where there is one.",
        figures=[_class_figure(evaluations)],
        tables=[{"title": "", "columns": columns, "rows": lines}],
        sources=_scores(evaluations),
    )


def _class_figure(evaluations: list[Evaluation]) -> Any:
    videos: dict[str, int] = {}
    for evaluation in evaluations:
        videos |= class_videos(evaluation)
    values = [class_values(evaluation) for evaluation in evaluations]
    return charts.per_class(values, title="AUC by class", videos=videos)


def _curves(block: dict[str, Any], project: Project) -> Content:
    runs, key = runs_of(block, project), block["key"]
    if not MetricSummary.objects.filter(run__in=runs, key=key).exists():
        raise VadError(
            "not-found", f"None of these runs has the metric {key}.",
            f"Known: {', '.join(comparison.metric_keys(runs)[:12]) or 'none'}.",
        )  # fmt: skip
    figure = run_figures.of_runs(runs, key)
    figure["live"] = False
    return Content(
        title=f"{key} over the training",
        figures=[figure],
        sources=[
            {"what": "metrics", "name": run.name, "id": str(run.pk), "sha256": _metric(run, key)}
            for run in runs
        ],
    )


def _metric(run: Run, key: str) -> str:
    """A digest of all its points, not only of those that are drawn."""
    points = metrics.read_raw(run, key)
    return hashlib.sha256(points.steps.tobytes() + points.values.tobytes()).hexdigest()


# --- videos ---------------------------------------------------------------------------------


def _videos(block: dict[str, Any], project: Project) -> Content:
    (evaluation,) = evaluations_of(block, project)
    rows = [r for r in listing.video_rows(evaluation) if r.contribution is not None]
    worst = [row for row in rows if (row.contribution or 0) < 0][:MOST_VIDEOS]
    best = [row for row in reversed(rows) if (row.contribution or 0) > 0][:MOST_VIDEOS]
    alarms = store.alarms(evaluation, THRESHOLD)
    columns = [
        column("Video"),
        column("Class"),
        column("AUC", num=True, help="Of the video's own frames"),
        column("Contribution", num=True, help="AUC of all videos minus the AUC without this one"),
        column("Peak score", num=True),
        column("False alarms", num=True, help=f"At the threshold {THRESHOLD:g}"),
        column("Misses", num=True, help=f"At the threshold {THRESHOLD:g}"),
    ]

    def line(row: listing.VideoRow) -> list[Any]:
        wrong = alarms[row.key]
        return [
            row.key,
            ", ".join(row.classes) or "normal",
            number(row.auc),
            number(row.contribution, digits=5),
            number(row.max_score, digits=3),
            number(len(wrong.false_alarms), digits=0),
            number(len(wrong.misses), digits=0),
        ]

    tables = [
        {"title": title, "columns": columns, "rows": [line(row) for row in found]}
        for title, found in (("Best", best), ("Worst", worst))
    ]
    return Content(
        title=f"Best and worst videos of {evaluation.version}",
        note="By what a video contributes to the AUC: that of all videos minus that without it.",
        tables=tables,
        sources=_scores([evaluation]),
    )


def _moment(block: dict[str, Any], project: Project) -> Content:
    (evaluation,) = evaluations_of(block, project)
    return moment.content(evaluation, block["video"], block["frame"])


# --- what things are made of ----------------------------------------------------------------


def _protocol(block: dict[str, Any], project: Project) -> Content:
    (evaluation,) = evaluations_of(block, project)
    step = f"step {evaluation.checkpoint.step:,}" if evaluation.checkpoint else "deleted"
    rows: list[list[Any]] = [
        ["Data set", str(evaluation.version)],
        ["Features", evaluation.feature_set.name],
        ["Checkpoint", step],
        ["Chosen by", SELECTION.get(evaluation.selection, evaluation.selection)],
        *([name, compact(value)] for name, value in listing.protocol_rows(evaluation)),
        ["Fingerprint of the protocol", evaluation.fingerprint],
    ]
    counted = [[name, number(value, digits=0)] for name, value in listing.count_rows(evaluation)]
    return Content(
        title="Protocol",
        note="Numbers with another fingerprint are not comparable with these.",
        tables=[
            facts(rows),
            facts(counted, "What was counted"),
        ],
        sources=_scores([evaluation]),
    )


def _settings(block: dict[str, Any], project: Project) -> Content:
    runs = runs_of(block, project)
    if len(runs) == 1:
        (run,) = runs
        rows = [[name, compact(value)] for name, value in sorted(run.config.items())]
        return Content(
            title=f"Configuration of {run.name}",
            tables=[facts(rows)],
            sources=[_of_run(run)],
        )
    found = comparison.settings([Member(name=run.name, runs=[run]) for run in runs])
    rows = [
        [setting.name, *(", ".join(compact(v) for v in values) for values, _ in setting.cells)]
        for setting in found
    ]
    return Content(
        title="What differs in the settings",
        note="" if rows else "Nothing: data set, features and all settings are equal.",
        tables=[
            {
                "title": "",
                "columns": [column("Field"), *(column(run.name) for run in runs)],
                "rows": rows,
            }
        ],
        sources=[_of_run(run) for run in runs],
    )


def _provenance(block: dict[str, Any], project: Project) -> Content:
    (run,) = runs_of(block, project)
    tables = []
    for section in provenance.sections(run):
        rows = [
            [fact.name, f"{fact.value}. {fact.warning}" if fact.warning else compact(fact.value)]
            for fact in section.facts
        ]
        tables.append(facts(rows or [["", section.empty]], section.title))
    return Content(title=f"What {run.name} was made of", tables=tables, sources=[_of_run(run)])


def _reproduce(block: dict[str, Any], project: Project) -> Content:
    runs = runs_of(block, project)
    commands = [
        {
            "title": f"{run.name}: {recipe.title.lower()}" if len(runs) > 1 else recipe.title,
            "text": _portable(recipe.problem or recipe.text),
            "command": _portable(recipe.command),
        }
        for run in runs
        for recipe in commandline.recipes(run)
    ]
    return Content(
        title="How to reproduce it", commands=commands, sources=[_of_run(run) for run in runs]
    )


def _portable(text: str) -> str:
    """Without this server's own folder, which is nobody's matter who reads a shared report."""
    folder = str(settings.DATA_DIR)
    return text.replace(folder, "$VADLAB_DATA_DIR") if shlex.quote(folder) == folder else text


def _of_run(run: Run) -> dict[str, str]:
    return {"what": "run", "name": run.name, "id": str(run.pk), "sha256": ""}


# --- a list of runs -------------------------------------------------------------------------


def _runs(block: dict[str, Any], project: Project) -> Content:
    given = {
        "q": block["q"], "sort": block["sort"], "cols": block["cols"] or LIST_COLUMNS
    }  # fmt: skip
    shown = table.Shown.of(QueryDict(urlencode(given)))
    scope = shown.scope([project.pk])  # a filter that cannot be read says where
    found = Ordered(scope, shown.sort)
    ids = list(found.page(None, MOST_ROWS).object_list)
    columns = [c for c in shown.columns if c.key not in ("curve", "progress")]
    rows = [
        [row.run.name, *(_run_cell(row, one) for one in columns)]
        for row in table.rows(ids, columns)
    ]
    left = found.count() - len(rows)
    note = f"Runs with {block['q']}." if block["q"] else "All runs of the project."
    if left:
        note += f" The first {len(rows)} of {found.count():,}."
    head = [column("Run"), *(column(c.title, num=c.num, help=c.help) for c in columns)]
    return Content(title="Runs", note=note, tables=[{"title": "", "columns": head, "rows": rows}])


def _run_cell(row: table.Row, one: Column) -> Any:
    value = table.value(row, one)
    if value is None or value == "":
        return None
    if one.cell == "time":
        return value.strftime("%Y-%m-%d %H:%M")
    if one.cell == "duration":
        return duration(value)
    if one.num and isinstance(value, int | float):
        return number(float(value), digits=one.decimals)
    return ", ".join(value) if one.cell == "tag" else compact(value)


def _cell(cell: comparison.Cell) -> dict[str, Any] | None:
    return number(
        cell.value, low=cell.low, high=cell.high, deviation=cell.deviation, n=cell.n, best=cell.best
    )


_BUILDERS: dict[str, Callable[[dict[str, Any], Project], Content]] = {
    "numbers": _numbers,
    "roc": _roc,
    "pr": _pr,
    "classes": _classes,
    "videos": _videos,
    "moment": _moment,
    "protocol": _protocol,
    "curves": _curves,
    "runs": _runs,
    "settings": _settings,
    "provenance": _provenance,
    "reproduce": _reproduce,
}
