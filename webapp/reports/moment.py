"""A moment of a test video: the frame with its anomaly map drawn on it, and the score around it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vad.errors import VadError
from webapp.charts.bags import INFERNO
from webapp.datasets.decoder import Busy
from webapp.datasets.models import Video
from webapp.datasets.thumbnails import thumbnail
from webapp.evaluations import figures, maps
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.reports.content import Content, facts, number

WIDTH = 640  # of the picture: twice what is decoded, so that a patch has sharp borders
WAIT_S = 10.0  # for the decoder's turn; a report has several pictures
STRONGEST = 0.72  # opacity of a patch with the score 1; a calm frame stays a picture
_GREY = (118, 122, 126)  # where there is no video file
_RAMP = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in INFERNO], dtype=np.float64)


def content(evaluation: Evaluation, key: str, frame: int) -> Content:
    """The panel of a moment.

    Raises:
        VadError: `not-found`, it was not evaluated; the scores are gone or damaged.
    """
    scores = store.load(evaluation)
    if key not in scores.index:
        raise VadError(
            "not-found", f"{evaluation} has no video {key}.", "Choose one of its test videos."
        )
    video = scores.video(key)
    frame = min(frame, video.num_frames - 1)
    at = int(np.searchsorted(video.start_frames, frame, side="right")) - 1
    grid = _map_at(evaluation, key, frame)
    boxes = _boxes_at(evaluation, key, frame)
    truth = store.truth_of(evaluation, key, scores)
    anomalous = any(start <= frame < end for start, end in truth)
    picture, problem = _picture(evaluation, key, frame, grid, boxes)
    known = Video.objects.filter(version=evaluation.version_id, key=key).first()
    time_s = f", {frame / known.fps:.1f} s" if known is not None and known.fps else ""
    title = f"{key}, frame {frame:,}{time_s}"
    sources = [
        {
            "what": "scores",
            "name": evaluation.of_run.name,
            "id": str(evaluation.pk),
            "sha256": evaluation.scores_sha256,
        }
    ]
    if grid is not None:
        sources.append({**sources[0], "what": "maps", "sha256": evaluation.patch.get("sha256", "")})
    rows: list[list[Any]] = [
        ["Score of the snippet", number(float(video.scores[at]), digits=3)],
        ["Highest score of the video", number(float(video.scores.max()), digits=3)],
        ["Truth at this frame", "anomalous" if anomalous else "normal"],
        ["Class of the video", ", ".join(video.classes) or "normal"],
    ]
    if grid is not None:
        rows.insert(1, ["Highest patch at this frame", number(max(grid["scores"]), digits=3)])
    alt = f"{title} of {evaluation.of_run.name}. {_words(grid)}"
    return Content(
        title=title,
        note=_note(grid, boxes),
        figures=[_timeline(evaluation, key, frame)],
        tables=[facts(rows)],
        picture={**picture, "problem": problem, "alt": alt},
        map=grid,
        sources=sources,
    )  # fmt: skip


def _boxes_at(evaluation: Evaluation, key: str, frame: int) -> list[list[float]]:
    """Where the anomaly is in the frame; nothing where the truth's file is gone."""
    try:
        found = maps.truth(evaluation, key)["boxes"]
    except VadError:
        return []
    return [row[2:] for row in found if row[0] <= frame < row[1]]


def _note(grid: dict[str, Any] | None, boxes: list[Any]) -> str:
    parts = []
    if grid is not None:
        parts.append(
            f"Coloured by the score of each patch ({grid['rows']} × {grid['columns']}), 0 to 1."  # noqa: RUF001
        )
    if boxes:
        parts.append("Outlined: the anomaly by its truth.")
    return " ".join(parts)


def _words(grid: dict[str, Any] | None) -> str:
    if grid is None:
        return "No map: only the snippets were scored."
    at = int(np.argmax(grid["scores"]))
    row, col = divmod(at, grid["columns"])
    return f"The highest patch is {grid['scores'][at]:.2f}, in row {row + 1} and column {col + 1}."


def _timeline(evaluation: Evaluation, key: str, frame: int) -> Any:
    """The score over the video, with a line at the moment."""
    figure = figures.timeline([evaluation], key)
    mark = {
        "type": "line", "x0": frame, "x1": frame, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": "var(--chart-line)", "width": 1.5},
    }  # fmt: skip
    figure["layout"]["shapes"] = [*figure["layout"].get("shapes", ()), mark]
    return figure


def _map_at(evaluation: Evaluation, key: str, frame: int) -> dict[str, Any] | None:
    """The patches' scores at a frame; None where stage 2 scored nothing of the video."""
    if not evaluation.has_maps:
        return None
    patches = maps.load(evaluation)
    if key not in patches.index:
        return None
    v = patches.index[key]
    frames = patches.frames[patches.offsets[v] : patches.offsets[v + 1]]
    starts = np.cumsum(frames) - frames
    at = int(np.clip(np.searchsorted(starts, frame, side="right") - 1, 0, len(frames) - 1))
    # of a snippet's n frames, tubelet k of t holds those whose share of it is at least k / t
    inside = min(max(0, frame - int(starts[at])), int(frames[at]) - 1)
    tubelet = inside * patches.tubelets // int(frames[at])
    found = patches.video(key, at, at + 1).maps[0, tubelet]
    return {
        "rows": patches.rows,
        "columns": patches.columns,
        "scores": [round(float(score), 6) for score in found],
    }


# --- the picture ----------------------------------------------------------------------------


def _picture(
    evaluation: Evaluation,
    key: str,
    frame: int,
    grid: dict[str, Any] | None,
    boxes: list[Any],
) -> tuple[dict[str, Any], str]:
    """The frame with its map and truth as a data address, and why there is no frame."""
    image, problem = _frame(evaluation, key, frame)
    if grid is not None:
        image = _painted(image, grid)
    for box in boxes:
        _outline(image, box)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=84, method=4)
    src = f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
    return {"src": src, "width": image.width, "height": image.height}, problem


def _frame(evaluation: Evaluation, key: str, frame: int) -> tuple[Image.Image, str]:
    row = Video.objects.filter(version=evaluation.version_id, key=key)
    video = row.select_related("version__dataset").first()
    width, height = (video.width, video.height) if video else (0, 0)
    problem = ""
    if video is not None:
        try:
            found = Image.open(io.BytesIO(thumbnail(video, frame, wait_s=WAIT_S))).convert("RGB")
            size = (WIDTH, max(1, round(WIDTH * found.height / found.width)))
            return found.resize(size, Image.Resampling.BICUBIC), ""
        except Busy:
            problem = "The frame could not be decoded in time; reload the page."
        except VadError as exc:
            problem = f"Without the frame: {exc.message}"
    ratio = height / width if width and height else 0.75
    return Image.new("RGB", (WIDTH, max(1, round(WIDTH * min(ratio, 2)))), _GREY), problem


def _painted(image: Image.Image, grid: dict[str, Any]) -> Image.Image:
    """Each patch in the colour of its score, the more opaque the higher."""
    scores = np.clip(np.array(grid["scores"]).reshape(grid["rows"], grid["columns"]), 0, 1)
    places = scores * (len(_RAMP) - 1)
    low = np.minimum(places.astype(int), len(_RAMP) - 2)
    part = (places - low)[..., None]
    colours = (1 - part) * _RAMP[low] + part * _RAMP[low + 1]
    alpha = 255 * STRONGEST * scores**0.8
    rgba = np.concatenate([colours, alpha[..., None]], axis=-1).round().astype(np.uint8)
    layer = Image.fromarray(rgba, "RGBA").resize(image.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _outline(image: Image.Image, box: list[float]) -> None:
    """White with a dark halo, seen on any map."""
    x0, y0, x1, y1 = (
        round(end * size) for end, size in zip(box, (image.width, image.height) * 2, strict=True)
    )
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    draw = ImageDraw.Draw(image)
    draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=(0, 0, 0), width=4)
    draw.rectangle((x0, y0, x1, y1), outline=(255, 255, 255), width=2)
