"""Pages of data sets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe

from vad.configs import RegisterConfig
from vad.data.doctor import SEVERITIES
from vad.data.formats import FORMATS
from vad.data.versions import check
from vad.errors import VadError
from webapp.core import errors
from webapp.core.http import Request, figure, go
from webapp.core.query import uuids
from webapp.core.ranges import ranged
from webapp.datasets import listing, media
from webapp.datasets.models import DatasetVersion, Video
from webapp.datasets.paths import data_roots
from webapp.runs import services
from webapp.runs.models import Run

PAGE_SIZE = 25
VIDEOS_PAGE_SIZE = 50


@require_safe
def dataset_list(request: Request) -> HttpResponse:
    versions = listing.versions(request.project)
    page = Paginator(versions, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "rows": listing.version_rows(list(page.object_list)),
        "registering": listing.registering(request.project),
    }
    return render(request, "datasets/dataset_list.html", context)


@require_safe
def dataset_detail(request: Request, version_id: UUID) -> HttpResponse:
    version = _version(request, version_id)
    filters = listing.VideoFilters.of(request.GET)
    videos = listing.videos(version, filters)
    splits = listing.splits(version)
    context = {
        "version": version,
        "versions": listing.siblings(version),
        "splits": splits,
        "split_names": [row["split"] for row in splits],
        "class_names": listing.class_names(version),
        "rules": listing.rules(version),
        "registered_by": listing.registered_by(version),
        "num_runs": version.runs.count(),
        "class_src": reverse("datasets:classes", args=[version.pk]) if splits else "",
        "feature_sets": listing.feature_sets(version),
        "has_media": listing.has_media(version),
        "filters": filters,
        "page": Paginator(videos, VIDEOS_PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "datasets/dataset_detail.html", context)


@require_GET
def dataset_classes(request: Request, version_id: UUID) -> HttpResponse:
    version = _version(request, version_id)
    return figure(lambda: listing.class_figure(version))


@require_safe
def dataset_alignment(request: Request, version_id: UUID) -> HttpResponse:
    """What the alignment doctor finds, for every video; looked at anew with each request."""
    version = _version(request, version_id)
    sets = [features for features in listing.feature_sets(version) if features.ready]
    asked = request.GET.get("features", "")
    chosen = next((f for f in sets if str(f.pk) == asked), sets[0] if sets else None)
    context: dict[str, Any] = {"version": version, "feature_sets": sets, "chosen": chosen}
    severity = request.GET.get("severity", "")
    try:
        report = check(version.folder, chosen.folder if chosen else None)
    except VadError as exc:
        # The page stands: other features can be chosen on it.
        return render(request, "datasets/alignment.html", {**context, "error": exc})
    known = severity in SEVERITIES
    found = report.of(severity) if known else [f for f in report.findings if f.severity != "ok"]
    context |= {
        "report": report,
        "severity": severity if known else "",
        "severities": [(name, len(report.of(name))) for name in SEVERITIES],
        "page": Paginator(found, VIDEOS_PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "datasets/alignment.html", context)


@require_safe
def video_media(request: Request, version_id: UUID, video_id: int) -> HttpResponseBase:
    """The video itself, whole or in ranges: its proxy, else its file where browsers play it."""
    videos = Video.objects.visible_to(request.user).select_related("version__dataset")
    video = get_object_or_404(videos, pk=video_id, version=version_id)
    try:
        found = media.media_of(video)
        return ranged(request, found.path, found.content_type)
    except VadError as exc:
        return errors.response(request, exc, 404)


def dataset_new(request: Request) -> HttpResponse:
    """The form of a register run; registering is a run, so that nothing is decoded here."""
    if not request.can_edit:
        raise PermissionDenied
    context: dict[str, Any] = {
        "schema": RegisterConfig.json_schema(),
        "roots": [str(root) for root in data_roots()],
        "formats": [(name, known.help) for name, known in FORMATS.items()],
        "values": _values_of(request),
        "errors": {},
    }
    if request.method != "POST":
        return render(request, "datasets/register.html", context)
    names = RegisterConfig.json_schema()["properties"]
    given = {name: request.POST.get(name, "") for name in names}
    try:
        config = RegisterConfig.from_strings(given)
        run = services.run_create(project=request.project, config=config, by=request.user)
    except VadError as exc:
        context |= {"values": given, "errors": exc.fields, "error": exc}
        return render(request, "datasets/register.html", context, status=errors.status_of(exc))
    return go(request, reverse("runs:detail", args=[run.pk]))


def _values_of(request: Request) -> dict[str, object]:
    """The fields of the register run that the person wants to clone, if any."""
    ids = uuids([request.GET.get("from", "")])
    run = Run.objects.visible_to(request.user).filter(pk__in=ids, kind="register").first()
    return dict(run.config) if run else {}


def _version(request: Request, version_id: UUID) -> DatasetVersion:
    versions = DatasetVersion.objects.visible_to(request.user).select_related(
        "dataset", "created_by"
    )
    return get_object_or_404(versions, pk=version_id)
