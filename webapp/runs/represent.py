"""Runs as the API writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from django.urls import reverse

from webapp.runs import accounting
from webapp.runs.grouping import Group
from webapp.runs.logsearch import Found
from webapp.runs.models import Checkpoint, Run, RunEvent, SavedView
from webapp.runs.outlook import Start
from webapp.storage import artifacts, retention


def run_json(run: Run, *, detail: bool = False) -> dict[str, Any]:
    """A run as a list shows it; with `detail` also its configuration, result and relations."""
    found: dict[str, Any] = {
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
    if detail:
        found |= {
            "gpu_hours": accounting.gpu_hours(run),
            "notes": run.notes,
            "config": run.config,
            "environment": run.environment,
            "result": run.result,
            "cloned_from": run.cloned_from_id,
            "parents": list(run.parents.values_list("pk", flat=True)),
            "children": list(run.children.values_list("pk", flat=True)),
        }
    return found


def start_json(start: Start | None) -> dict[str, Any] | None:
    """When a waiting run should start, and from how many finished runs that is known."""
    return {"at": start.at, "from_runs": start.runs} if start else None


def event_json(event: RunEvent) -> dict[str, Any]:
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
) -> dict[str, Any]:
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


def search_json(found: Found) -> dict[str, Any]:
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


def group_json(group: Group) -> dict[str, Any]:
    """A group of runs: how many, and mean, sample deviation and n of what they reach."""
    return {
        "key": group.key,
        "title": group.title,
        "runs": group.count,
        "active": group.active,
        "seeds": group.seeds or None,
        "auc": asdict(group.auc) if group.auc else None,
        "ap": asdict(group.ap) if group.ap else None,
        "filter": group.filter,
        "ids": group.ids[:200],
    }


def view_json(view: SavedView) -> dict[str, Any]:
    return {
        "id": view.pk,
        "name": view.name,
        "query": view.query,
        "created_by": view.created_by.username if view.created_by else None,
        "created_at": view.created_at,
    }
