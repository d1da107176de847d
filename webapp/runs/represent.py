"""Runs as the API writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.urls import reverse

from webapp.runs import accounting
from webapp.runs.grouping import Group, Spread
from webapp.runs.logsearch import Found
from webapp.runs.models import Checkpoint, Run, RunEvent, SavedView
from webapp.runs.outlook import Start
from webapp.runs.shapes import (
    CheckpointJson,
    GroupJson,
    RunDetailJson,
    RunEventJson,
    RunJson,
    SearchJson,
    SpreadJson,
    StartJson,
    ViewJson,
)
from webapp.storage import artifacts, retention


def run_json(run: Run) -> RunJson:
    """As a list shows it."""
    return {
        "id": run.pk,
        "name": run.name,
        "kind": run.kind,
        "state": run.state,
        "project": run.project.slug,
        "owner": run.owner.username,
        "tags": run.tags,
        "color": run.color,
        "dataset": str(run.version) if run.version else None,
        "version": run.version_id,
        "feature_set": run.feature_set_id,
        "of_run": run.of_run_id,
        "priority": run.priority,
        "device": run.device,
        "gpus": run.gpus,
        "memory_mb": run.memory_mb,
        "time_limit_s": run.time_limit_s,
        "spent_s": run.spent_s,
        "not_before": run.not_before,
        "attempt": run.attempt,
        "max_attempts": run.max_attempts,
        "worker": run.worker.name if run.worker else None,
        "slot": run.slot,
        "stop": run.stop,
        "done": run.done,
        "total": run.total,
        "unit": run.unit,
        "percent": run.percent,
        "rate": run.rate,
        "eta_s": run.eta_s,
        "note": run.progress_note,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "changed_at": run.changed_at,
        "error": run.error,
    }


def run_detail_json(run: Run) -> RunDetailJson:
    """With its configuration, result and relations."""
    return {
        **run_json(run),
        "gpu_hours": accounting.gpu_hours(run),
        "notes": run.notes,
        "config": run.config,
        "environment": run.environment,
        "result": run.result,
        "cloned_from": run.cloned_from_id,
        "parents": list(run.parents.values_list("pk", flat=True)),
        "children": list(run.children.values_list("pk", flat=True)),
    }


def start_json(start: Start | None) -> StartJson | None:
    """When a waiting run should start, and from how many finished runs that is known."""
    return {"at": start.at, "from_runs": start.runs} if start else None


def event_json(event: RunEvent) -> RunEventJson:
    return {
        "at": event.at,
        "kind": event.kind,
        "message": event.message,
        "by": event.by.username if event.by else None,
        "attempt": event.attempt,
    }


def checkpoint_json(
    checkpoint: Checkpoint,
    run: Run,
    stays: Mapping[int, list[str]] | None = None,
    stored: Collection[str] | None = None,
) -> CheckpointJson:
    """`file` is where it can be fetched; null when the rule let it go (`removed_at`), or it is
    missing. `why` says for what it stays."""
    if stored is None:
        stored = artifacts.stored_below(run.folder)
    kept = checkpoint.path in stored or (run.folder / checkpoint.path).is_file()
    if stays is None:
        stays = retention.holdings([run])[0].reasons()
    file = reverse("runs:checkpoint-file", args=[run.pk, checkpoint.step]) if kept else None
    return {
        "step": checkpoint.step,
        "path": checkpoint.path,
        "sha256": checkpoint.sha256,
        "size_bytes": checkpoint.size_bytes,
        "best": checkpoint.best,
        "metrics": checkpoint.metrics,
        "created_at": checkpoint.created_at,
        "removed_at": checkpoint.removed.at if hasattr(checkpoint, "removed") else None,
        "why": stays.get(checkpoint.step, []),
        "file": file,
    }


def search_json(found: Found) -> SearchJson:
    """A page of a log search; a line that is a hit has its number among them, others null."""
    return {
        "hits": found.hits,
        "more": found.more,
        "first": found.first,
        "last": found.last,
        "passages": [
            {
                "file": passage.file,
                "lines": [
                    {
                        "number": line.number,
                        "level": line.level,
                        "hit": line.hit or None,
                        "text": "".join(text for text, _ in line.parts),
                    }
                    for line in passage.lines
                ],
            }
            for passage in found.passages
        ],
    }


def group_json(group: Group) -> GroupJson:
    """A group of runs: how many, and mean, sample deviation and n of what they reach."""
    return {
        "key": group.key,
        "title": group.title,
        "runs": group.count,
        "active": group.active,
        "seeds": group.seeds or None,
        "auc": _spread(group.auc),
        "ap": _spread(group.ap),
        "filter": group.filter,
        "ids": list(group.ids[:200]),
    }


def _spread(found: Spread | None) -> SpreadJson | None:
    return {"mean": found.mean, "deviation": found.deviation, "n": found.n} if found else None


def view_json(view: SavedView) -> ViewJson:
    return {
        "id": view.pk,
        "name": view.name,
        "query": view.query,
        "created_by": view.created_by.username if view.created_by else None,
        "created_at": view.created_at,
    }
