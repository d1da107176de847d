"""What the page needs to show the map over a video, and the numbers of two stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from vad.errors import VadError
from vad.evaluation.patch import PATCH_METRICS
from vad.evaluation.patch_protocol import PatchProtocol
from webapp.datasets.media import PROXIES, media_of
from webapp.datasets.models import Video
from webapp.evaluations import maps
from webapp.evaluations.models import Evaluation
from webapp.evaluations.numbers import Number

HEADLINE = ("patch_auc", "patch_ap_step", "tiou", "rbdc", "tbdc")
STAGES = {
    "stage1": ("Stage 1", "The score of the snippet, from its features"),
    "stage2": ("Stage 2", "The highest score of its patches"),
    "fused": ("Fused", "Both stages together"),
}


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """The map over one video.

    Args:
        problem: why there is no map, or no picture under it; the rest then works without.
        proxies_url: the form that builds small copies; for people who may queue runs.
        evaluated: what the evaluated score is called.
    """

    key: str
    maps_src: str = ""
    truth_src: str = ""
    media_src: str = ""
    problem: VadError | None = None
    proxies_url: str = ""
    frame: int = 0
    num_frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    evaluated: str = "Fused"


def viewer_of(
    evaluation: Evaluation, key: str, *, frame: str = "", can_edit: bool = False
) -> Viewer | None:
    """The viewer of a video; None for an evaluation of one stage, or a video without maps.

    Args:
        frame: of the address; where it opens.
    """
    if not evaluation.has_maps:
        return None
    try:
        patches = maps.load(evaluation)
    except VadError as exc:
        return Viewer(key=key, problem=exc)
    if key not in patches.index:
        return None
    at = patches.index[key]
    num_frames = int(patches.frames[patches.offsets[at] : patches.offsets[at + 1]].sum())
    query = f"?{urlencode({'video': key})}"
    form = reverse("runs:new")
    wanted = urlencode({"kind": PROXIES, "version": str(evaluation.version_id)})
    viewer = Viewer(
        key=key,
        maps_src=reverse("api:evaluation-maps", args=[evaluation.pk]) + query,
        truth_src=reverse("api:evaluation-truth", args=[evaluation.pk]) + query,
        proxies_url=f"{form}?{wanted}" if can_edit else "",
        frame=_frame(frame, num_frames),
        num_frames=num_frames,
        evaluated=_evaluated(evaluation),
    )
    video = Video.objects.filter(version=evaluation.version_id, key=key).first()
    if video is None:
        return viewer
    video.version = evaluation.version
    try:
        media = media_of(video)
    except VadError as exc:
        return dataclasses.replace(
            viewer, problem=exc, fps=video.fps, width=video.width, height=video.height
        )
    src = reverse("datasets:media", args=[evaluation.version_id, video.pk])
    return dataclasses.replace(
        viewer, media_src=src, fps=media.fps, width=media.width, height=media.height
    )


def _frame(text: str, num_frames: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return max(0, min(number, num_frames - 1))


def _evaluated(evaluation: Evaluation) -> str:
    score = str(evaluation.run.config.get("score", "fused"))
    return f"Evaluated ({STAGES[score][0].lower()})" if score in ("stage1", "stage2") else "Fused"


# --- numbers --------------------------------------------------------------------------------


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
