"""The videos of a version: their page, their pictures, and the videos themselves."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from vad.data.manifest import NORMAL
from vad.errors import VadError
from webapp.charts.palette import style
from webapp.core import errors
from webapp.core.http import Request, respond
from webapp.core.query import uuids
from webapp.core.ranges import ranged
from webapp.datasets import listing, media, scored, thumbnails, videos
from webapp.datasets.decoder import Busy
from webapp.datasets.models import Video
from webapp.datasets.views import version_of
from webapp.evaluations.models import Evaluation

PAGE_SIZE = 60
# A frame of a version is always the same one; the browser of who may see it keeps it for a week.
KEPT = "private, max-age=604800, immutable"


@require_safe
def dataset_videos(request: Request, version_id: UUID) -> HttpResponse:
    """Every video with its picture, its truth, and the scores of a chosen run."""
    version = version_of(request, version_id)
    runs = scored.evaluations(version, request.user)
    asked = request.GET.get("run", "")
    chosen = scored.chosen(asked, runs)
    context: dict[str, Any] = {
        "version": version,
        "tab": "videos",
        "versions": listing.siblings(version),
        "runs": runs,
        "run": chosen,
        "run_color": style(chosen.of_run.color).color if chosen else "",
        "run_gone": bool(asked) and chosen is None,
        "normal": NORMAL,
    }
    found = None
    if chosen:
        try:
            found = scored.load(chosen)
        except VadError as exc:
            context["scores_error"] = exc
    filters = videos.Filters.of(request.GET).under(found)
    rows = videos.filtered(version, filters)
    page = Paginator(videos.ordered(rows, filters, found), PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    try:
        context["rows"] = videos.rows(version, page.object_list, found)
    except VadError as exc:
        context["truth_error"] = exc
        context["rows"] = videos.bare_rows(version, page.object_list)
    context |= {
        "filters": filters,
        "sort": filters.sort,
        "orders": videos.orders(found),
        "scored": found,
        "page": page,
        "total": version.videos.count(),
        "split_names": [row["split"] for row in listing.splits(version)],
        "class_names": listing.class_names(version),
    }
    return respond(request, "datasets/videos.html", "listing", context)


@require_safe
def video_thumbnail(request: Request, version_id: UUID, video_id: int) -> HttpResponse:
    """Its first frame, or with `?run=` the one that this evaluation scores highest.

    An image element cannot read why there is no picture, and a page with a damaged video is not an
    error: so the answer is then another picture that says it, never kept.
    """
    video = video_of(request, version_id, video_id)
    try:
        content = thumbnails.thumbnail(video, frame_of(request, video))
    except Busy:
        return _placeholder("waiting", "Its turn comes after that of other videos.")
    except VadError as exc:
        return _placeholder("problem", exc.message)
    return picture(request, content)


@require_safe
def video_media(request: Request, version_id: UUID, video_id: int) -> HttpResponseBase:
    """The video itself, whole or in ranges: its proxy, else its file where browsers play it."""
    video = video_of(request, version_id, video_id)
    try:
        found = media.media_of(video)
        return ranged(request, found.path, found.content_type)
    except VadError as exc:
        return errors.response(request, exc, 404)


def video_of(request: Any, version_id: UUID, video_id: int) -> Video:
    """A video that the person may see. Raises Http404."""
    found = Video.objects.visible_to(request.user).select_related("version__dataset")
    return get_object_or_404(found, pk=video_id, version=version_id)


def frame_of(request: Any, video: Video) -> int:
    """Of its picture: never a number of the client's, since each picture is kept.

    Raises:
        Http404: the evaluation of `?run=` is not on this version, or not for this person.
        VadError: its scores are gone or damaged.
    """
    if not request.GET.get("run"):
        return 0
    runs = Evaluation.objects.visible_to(request.user).filter(version=video.version_id)
    run = get_object_or_404(runs.select_related("run"), pk__in=uuids([request.GET["run"]])[:1])
    numbers = scored.load(run).numbers.get(video.key)
    return numbers.peak_frame if numbers else 0


def picture(request: Any, content: bytes) -> HttpResponse:
    """A thumbnail, or 304 for a browser that has it."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    answer = get_conditional_response(request, etag=etag) or HttpResponse(
        content, content_type=thumbnails.CONTENT_TYPE
    )
    answer["ETag"] = etag
    answer["Cache-Control"] = KEPT
    return answer


def _placeholder(state: str, text: str) -> HttpResponse:
    drawn = render_to_string("datasets/placeholder.svg", {"state": state, "text": text})
    answer = HttpResponse(drawn, content_type="image/svg+xml")
    answer["Cache-Control"] = "no-store"
    return answer
