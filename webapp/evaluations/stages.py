"""The numbers of two stages on an evaluation's page: those of the patches, and each stage's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from vad.evaluation.patch import PATCH_METRICS
from vad.evaluation.patch_protocol import PatchProtocol
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import Number

HEADLINE = ("patch_auc", "patch_ap_step", "tiou", "rbdc", "tbdc")
STAGES = {
    "stage1": ("Stage 1", "The score of the snippet, from its features"),
    "stage2": ("Stage 2", "The highest score of its patches"),
    "fused": ("Fused", "Both stages together"),
}


def patch_numbers(evaluation: Evaluation) -> tuple[list[Number], list[Number]]:
    """The patch metrics: the few that are quoted, and all others."""
    rest = [name for name in PATCH_METRICS if name not in HEADLINE]
    return _numbers(evaluation, HEADLINE), _numbers(evaluation, rest)


def _numbers(evaluation: Evaluation, names: Iterable[str]) -> list[Number]:
    values = evaluation.patch.get("metrics") or {}
    intervals = evaluation.patch.get("intervals") or {}
    found = []
    for name in names:
        if name in values:
            info = PATCH_METRICS[name]
            low, high = intervals.get(name) or (None, None)
            found.append(
                Number(
                    name=name,
                    title=info.title,
                    help=info.help,
                    value=values[name],
                    low=low,
                    high=high,
                    higher_is_better=info.higher_is_better,
                    oracle=info.oracle,
                )
            )
    return found


def stage_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Each stage's own frame metrics, with their intervals; the evaluated one is marked."""
    chosen = str(evaluation.run.config.get("score", "auto"))
    chosen = "fused" if chosen == "auto" else chosen
    rows = []
    for name, (title, text) in STAGES.items():
        numbers = evaluation.stages.get(name)
        if numbers:
            intervals = numbers.get("intervals") or {}
            rows.append(
                {
                    "title": title,
                    "help": numbers.get("score") or text,
                    "evaluated": name == chosen,
                    "auc": numbers.get("auc"),
                    "auc_interval": intervals.get("auc"),
                    "ap": numbers.get("ap_step"),
                    "ap_interval": intervals.get("ap_step"),
                }
            )
    return rows


def patch_facts(evaluation: Evaluation) -> dict[str, Any]:
    """What the patch metrics are over; empty for an evaluation of one stage."""
    patch = evaluation.patch
    if not patch:
        return {}
    rows, columns = patch.get("grid") or (None, None)
    return {
        "rows": rows,
        "columns": columns,
        "tubelets": patch.get("tubelets"),
        "videos": patch.get("videos"),
        "frames": patch.get("frames"),
        "why": patch.get("why", ""),
        "has_intervals": any((patch.get("intervals") or {}).values()),
        "left_out": patch.get("unlocated") or 0,
        "left_out_keys": patch.get("unlocated_videos") or [],
        "fingerprint": patch.get("fingerprint", ""),
        "protocol": _protocol_rows(patch.get("protocol") or {}),
    }


def _protocol_rows(protocol: dict[str, Any]) -> list[tuple[str, Any]]:
    """The parts that patches add, by their titles; digests shortened."""
    rows = []
    for part in dataclasses.fields(PatchProtocol):
        value, title = protocol.get(part.name), part.metadata.get("title")
        if title is None or value in (None, "") or part.name in ("num_videos", "rows", "columns"):
            continue
        if isinstance(value, str) and len(value) == 64:
            value = f"{value[:12]}…"
        elif isinstance(value, list | tuple):
            value = ", ".join(str(v) for v in value)
        rows.append((title.capitalize(), value))
    return rows
