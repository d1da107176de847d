"""What a run comes from and what came of it: data, features, runs, checkpoints, evaluations and
the reports that show them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from django.urls import reverse
from django.utils.http import urlencode

from vad.errors import ConfigError
from webapp.accounts.models import User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.reports import naming
from webapp.reports.models import Report
from webapp.runs import needs
from webapp.runs.models import Checkpoint, Run

MOST = 8  # of one sort behind a node; the rest is one node that leads to the table
KIND_ICONS = {
    "dataset": "datasets", "features": "features", "checkpoint": "checkpoint",
    "evaluation": "evaluations", "report": "reports", "more": "list",
}  # fmt: skip
EdgeKind = Literal["makes", "clone"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """One thing.

    Args:
        id: `run-…`, `dataset-…`, …; each once in a graph.
        kind: dataset, features, run, checkpoint, evaluation, report, more.
        word: what it is, for people.
        numbers: what one wants to know of it at a glance.
        state: of a run; empty for what has none.
        here: it is what the page is about.
    """

    id: str
    kind: str
    word: str
    title: str
    numbers: str = ""
    state: str = ""
    url: str = ""
    here: bool = False

    @property
    def icon(self) -> str:
        return KIND_ICONS.get(self.kind, "runs")


@dataclass(frozen=True)
class Edge:
    start: str
    end: str
    kind: EdgeKind = "makes"


@dataclass(kw_only=True)
class Graph:
    """Edges lead from what was first to what was made of it; never in a circle."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict)
    clones: int = 0  # that there are, shown or not

    def to_json(self) -> dict[str, Any]:
        return {
            "nodes": [
                {
                    "id": n.id, "kind": n.kind, "word": n.word, "title": n.title,
                    "numbers": n.numbers, "state": n.state or None, "url": n.url, "here": n.here,
                }
                for n in self.nodes.values()
            ],
            "edges": [
                {"from": e.start, "to": e.end, "kind": e.kind} for e in self.edges.values()
            ],
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Item:
    """A node in the outline. `again`: what follows it was said where it stood first."""

    node: Node
    items: list[Item]
    again: bool = False


def of_run(run: Run, user: User, *, clones: bool = False) -> Graph:
    """The lineage of a run, as far as the person may see it.

    Args:
        clones: with the runs that were cloned from it.
    """
    build = _Builder(run, user)
    build.everything()
    if clones:
        build.clones()
    return build.graph


def outline(graph: Graph) -> list[Item]:
    """The graph as a nested list, from what was first."""
    after: dict[str, list[str]] = {key: [] for key in graph.nodes}
    sources = set(graph.nodes)
    for start, end in graph.edges:
        after[start].append(end)
        sources.discard(end)
    said: set[str] = set()

    def item(key: str) -> Item:
        again = key in said and bool(after[key])
        said.add(key)
        below = [] if again else [item(end) for end in after[key]]
        return Item(node=graph.nodes[key], items=below, again=again)

    return [item(key) for key in graph.nodes if key in sources]


class _Builder:
    def __init__(self, run: Run, user: User) -> None:
        self.run, self.user = run, user
        self.graph = Graph()
        self._visible = Run.objects.visible_to(user)

    def everything(self) -> None:
        run = self.run
        if run.kind == "evaluate":
            self._evaluated(run)
            self._reports()
            return
        here = self._run(run)
        for source in self._visible.filter(clones=run).distinct():
            self._edge(self._run(source), here, "clone")
        if run.kind == "register":
            if run.version is not None:
                made = self._version(run.version)
                self._edge(here, made)
                sets = FeatureSet.objects.filter(version=run.version).order_by("created_at")
                self._many(made, sets, self._features)
        elif run.kind in ("extract", "proxies"):
            if run.version is not None:
                self._edge(self._version(run.version), here)
            self._made_by(run, here)
        else:
            self._inputs_of(run, here)
            self._came_of(run, here)
        self._reports()
        self.graph.clones = self._visible.filter(cloned_from=run).distinct().count()

    def clones(self) -> None:
        here = f"run-{self.run.pk}"
        if here in self.graph.nodes:
            found = self._visible.filter(cloned_from=self.run).distinct().order_by("created_at")
            self._many(here, found, self._run, kind="clone")

    # --- what a run comes from

    def _evaluated(self, run: Run) -> None:
        evaluation = Evaluation.objects.filter(run=run).select_related("run", "checkpoint").first()
        here = self._evaluation(evaluation) if evaluation else self._run(run)
        trained = run.of_run
        if trained is None:
            return
        training = self._run(trained)
        self._inputs_of(trained, training)
        if evaluation is not None and evaluation.checkpoint is not None:
            self._edge(self._checkpoint(evaluation.checkpoint, trained), here)
        else:
            self._edge(training, here)
        if run.feature_set is not None and run.feature_set_id != trained.feature_set_id:
            self._edge(self._features(run.feature_set), here)
        self._proxies(run, here)

    def _inputs_of(self, run: Run, key: str) -> None:
        """Data, features, small copies and starting weights of a training."""
        if run.feature_set is not None:
            self._edge(self._features(run.feature_set), key)
        elif run.version is not None:
            self._edge(self._version(run.version), key)
        self._proxies(run, key)
        try:
            start = needs.start_run(str(run.config.get("pretrained_point", "")), run.project)
        except ConfigError:  # it was deleted
            start = None
        if start is not None:
            began, best = self._run(start), start.checkpoints.filter(best=True).last()
            best = best or start.checkpoints.order_by("step").last()
            self._edge(self._checkpoint(best, start) if best else began, key)

    def _proxies(self, run: Run, key: str) -> None:
        for other in run.parents.filter(kind="proxies").order_by("-created_at")[:1]:
            if other.version is not None:
                self._edge(self._version(other.version), self._run(other))
            self._edge(self._run(other), key)

    # --- what came of it

    def _came_of(self, run: Run, key: str) -> None:
        """Checkpoints, what was measured of them, and trainings that start from them."""
        rows = {c.pk: c for c in run.checkpoints.order_by("step")}
        best = next((c for c in rows.values() if c.best), None)
        last = next(reversed(rows.values()), None)
        for chosen in dict.fromkeys(filter(None, (best, last))):
            self._checkpoint(chosen, run)
        found = run.evaluations.select_related("run").order_by("created_at")
        for evaluation in found[:MOST]:
            row = rows.get(evaluation.checkpoint_id) if evaluation.checkpoint_id else None
            self._edge(self._checkpoint(row, run) if row else key, self._evaluation(evaluation))
        self._rest(key, "evaluations", found.count() - MOST)
        for other in run.evaluated_by.filter(evaluation=None).order_by("created_at")[:MOST]:
            self._edge(key, self._run(other))
        point = f"{needs.FROM_RUN}{run.pk}"
        starts = Run.objects.filter(project=run.project, config__pretrained_point=point)
        source = best or last
        self._many(
            self._checkpoint(source, run) if source else key, starts.order_by("created_at"),
            self._run,
        )  # fmt: skip

    def _reports(self) -> None:
        """Reports behind what they show: an evaluation, or the run itself."""
        ids = {UUID(key.partition("-")[2]): key for key in self.graph.nodes if "evaluation-" in key}
        ids |= {self.run.pk: f"run-{self.run.pk}"} if self.run.pk not in ids else {}
        rows = naming.showing(self.run.project, ids)
        for report, of in rows[:MOST]:
            evaluations = sorted(ids[pk] for pk in of if pk != self.run.pk)
            for key in evaluations or [ids[self.run.pk]]:
                self._edge(key, self._report(report))
        if rows:
            last = sorted(ids[pk] for pk in rows[-1][1])[0]
            self._rest(last, "reports", len(rows) - MOST)

    def _made_by(self, run: Run, key: str) -> None:
        if run.kind == "proxies":
            self._many(key, run.children.order_by("created_at"), self._run)
            return
        for features in FeatureSet.objects.filter(produced_by=run):
            made = self._features(features)
            trained = Run.objects.filter(feature_set=features, kind__startswith="train")
            self._many(made, trained.order_by("created_at"), self._run)

    # --- nodes

    def _run(self, run: Run) -> str:
        of = "" if run.done == run.total else f" of {run.total:,}"
        done = f"{run.done:,}{of} {run.unit}" if run.total else ""
        return self._node(
            Node(
                id=f"run-{run.pk}",
                kind="run",
                word=run.get_kind_display(),
                title=run.name,
                numbers=done,
                state=run.state,
                url=reverse("runs:detail", args=[run.pk]),
                here=run.pk == self.run.pk,
            )
        )

    def _version(self, version: DatasetVersion) -> str:
        return self._node(
            Node(
                id=f"dataset-{version.pk}",
                kind="dataset",
                word="Data set",
                title=str(version),
                numbers=f"{version.videos.count():,} videos",
                url=reverse("datasets:detail", args=[version.pk]),
            )
        )

    def _features(self, features: FeatureSet) -> str:
        """Features behind their data. The run that makes them stands between while it matters:
        until they are ready, or when the page is about it."""
        key = f"features-{features.pk}"
        if key in self.graph.nodes:
            return key
        version, made_by = self._version(features.version), features.produced_by
        url = reverse("datasets:detail", args=[features.version_id])
        if made_by is not None:
            url = reverse("runs:detail", args=[made_by.pk])
        if (
            made_by is not None
            and made_by.kind == "extract"
            and (not features.ready or made_by.pk == self.run.pk)
        ):
            self._edge(version, self._run(made_by))
            self._edge(self._run(made_by), key)
        else:
            self._edge(version, key)
        ready = f"{features.dim:,}-d, {features.video_count:,} videos"
        return self._node(
            Node(
                id=key,
                kind="features",
                word="Features",
                title=features.name,
                numbers=ready if features.ready else "not ready",
                url=url,
            )
        )

    def _checkpoint(self, checkpoint: Checkpoint, run: Run) -> str:
        """A checkpoint behind its run."""
        numbers = ["best"] if checkpoint.best else []
        for name, value in list(checkpoint.metrics.items())[:1]:
            numbers.append(f"{_short(name)} {value:.4f}")
        key = self._node(
            Node(
                id=f"checkpoint-{checkpoint.pk}",
                kind="checkpoint",
                word="Checkpoint",
                title=f"step {checkpoint.step:,}",
                numbers=", ".join(numbers),
                url=f"{reverse('runs:detail', args=[run.pk])}?tab=checkpoints",
            )
        )
        self._edge(self._run(run), key)
        return key

    def _evaluation(self, evaluation: Evaluation) -> str:
        found = (("AUC", evaluation.frame_auc), ("AP", evaluation.frame_ap))
        return self._node(
            Node(
                id=f"evaluation-{evaluation.pk}",
                kind="evaluation",
                word="Evaluation",
                title=evaluation.run.name,
                numbers=", ".join(f"{name} {v:.4f}" for name, v in found if v is not None),
                state=evaluation.run.state,
                url=reverse("evaluations:detail", args=[evaluation.pk]),
                here=evaluation.pk == self.run.pk,
            )
        )

    def _report(self, report: Report) -> str:
        return self._node(
            Node(
                id=f"report-{report.pk}",
                kind="report",
                word="Report",
                title=report.title,
                url=reverse("reports:detail", args=[report.pk]),
            )
        )

    def _many(self, key: str, rows: Any, add: Any, kind: EdgeKind = "makes") -> None:
        for row in _first(rows, MOST):
            self._edge(key, add(row), kind)
        self._rest(key, "runs", rows.count() - MOST)

    def _rest(self, key: str, what: str, count: int) -> None:
        if count <= 0:
            return
        lists = {"evaluations": "evaluations:list", "reports": "reports:list"}
        table = reverse(lists.get(what, "runs:list"))
        more = self._node(
            Node(
                id=f"more-{uuid.uuid5(uuid.NAMESPACE_OID, key + what)}",
                kind="more",
                word="And",
                title=f"{count:,} more {what}",
                url=table if what == "reports" else f"{table}?{urlencode({'q': self.run.name})}",
            )
        )
        self._edge(key, more)

    def _node(self, node: Node) -> str:
        self.graph.nodes.setdefault(node.id, node)
        return node.id

    def _edge(self, start: str, end: str, kind: EdgeKind = "makes") -> None:
        if start != end and (end, start) not in self.graph.edges:
            self.graph.edges.setdefault((start, end), Edge(start, end, kind))


def _first(rows: Iterable[Any], count: int) -> Iterator[Any]:
    yield from rows[:count]  # type: ignore[index]


def _short(name: str) -> str:
    """A metric's key for a narrow place."""
    return name.partition("/")[2].replace("_", " ").replace("auc", "AUC") or name
