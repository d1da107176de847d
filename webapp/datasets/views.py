"""Pages of data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_safe

from vad.configs import RegisterConfig
from vad.data.differences import FIELDS, KINDS
from vad.data.doctor import SEVERITIES
from vad.data.formats import FORMATS
from vad.data.versions import check, compare
from vad.errors import VadError
from webapp.core import errors
from webapp.core.http import Request, figure, go
from webapp.core.query import uuids
from webapp.datasets import changes as changes_of
from webapp.datasets import findings, listing, thumbnails, videos
from webapp.datasets.models import DatasetVersion
from webapp.datasets.paths import data_roots
from webapp.runs import services
from webapp.runs.models import Run

PAGE_SIZE = 25
VIDEOS_PAGE_SIZE = 50
PREVIEW = 8  # pictures on the page of a version


@require_safe
def dataset_list(request: Request) -> HttpResponse:
    q = request.GET.get("q", "").strip()
    page = Paginator(listing.datasets(request.project, q), PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    context = {
        "q": q,
        "page": page,
        "rows": listing.dataset_rows(list(page.object_list)),
        "registering": listing.registering(request.project),
    }
    return render(request, "datasets/dataset_list.html", context)


@require_safe
def dataset_detail(request: Request, version_id: UUID) -> HttpResponse:
    version = version_of(request, version_id)
    splits = listing.splits(version)
    feature_sets = listing.feature_sets(version)
    found = findings.of_versions([version])[version.pk]
    preview = list(version.videos.exclude(path="").order_by("split", "-label", "key")[:PREVIEW])
    context = {
        "version": version,
        "tab": "detail",
        "versions": listing.siblings(version),
        "splits": splits,
        "rules": listing.rules(version),
        "registered_by": listing.registered_by(version),
        "num_runs": version.runs.count(),
        "class_src": reverse("datasets:classes", args=[version.pk]) if splits else "",
        "class_height": _height(len(listing.class_names(version)) + 1),
        "feature_sets": [(features, listing.feature_facts(features)) for features in feature_sets],
        "findings": found,
        # the doctor's own words of that day are in them, too
        "reader_notes": [note for note in version.notes if note not in found.texts],
        "has_media": listing.has_media(version),
        "preview": [videos.Row(video=v, problem=thumbnails.known_problem(v)) for v in preview],
    }
    return render(request, "datasets/dataset_detail.html", context)


@require_GET
def dataset_classes(request: Request, version_id: UUID) -> HttpResponse:
    version = version_of(request, version_id)
    return figure(lambda: listing.class_figure(version))


@require_safe
def dataset_alignment(request: Request, version_id: UUID) -> HttpResponse:
    """What the alignment doctor finds, for every video; looked at anew with each request."""
    version = version_of(request, version_id)
    sets = [features for features in listing.feature_sets(version) if features.ready]
    asked = request.GET.get("features", "")
    chosen = next((f for f in sets if str(f.pk) == asked), sets[0] if sets else None)
    context: dict[str, Any] = {
        "version": version,
        "tab": "alignment",
        "versions": listing.siblings(version),
        "feature_sets": sets,
        "chosen": chosen,
    }
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
def dataset_differences(request: Request, version_id: UUID) -> HttpResponse:
    """What changed from this version to another of the same data set."""
    version = version_of(request, version_id)
    versions = listing.siblings(version)
    others = [other for other in versions if other.pk != version.pk]
    context: dict[str, Any] = {"version": version, "tab": "differences", "versions": versions}
    asked = request.GET.get("to", "")
    to = _named(asked, versions) if asked else next(iter(reversed(others)), None)
    context |= {"others": others, "to": to}
    if to is None:
        return render(request, "datasets/differences.html", context)
    kind, field = request.GET.get("kind", ""), request.GET.get("field", "")
    kind, field = kind if kind in KINDS else "", field if field in FIELDS else ""
    try:
        found = compare(version.folder, to.folder)
    except VadError as exc:
        # The page stands: another version can be chosen on it.
        return render(request, "datasets/differences.html", {**context, "error": exc})
    changes = found.of(kind, field)
    context |= {
        "differences": found,
        "kind": kind,
        "field": field,
        "rules": changes_of.rules(found),
        "fields": [(name, changes_of.FIELD_WORDS[name], n) for name, n in found.fields.items()],
        "page": Paginator(changes, VIDEOS_PAGE_SIZE).get_page(request.GET.get("page")),
    }
    context["rows"] = [(c, changes_of.lines(c)) for c in context["page"]]
    return render(request, "datasets/differences.html", context)


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


def _height(bars: int) -> int:
    """Of a chart with so many bars, in pixels; the same few everywhere."""
    return 240 if bars <= 6 else 360 if bars <= 12 else 480


def version_of(request: Request, version_id: UUID) -> DatasetVersion:
    """Raises Http404."""
    versions = DatasetVersion.objects.visible_to(request.user).select_related(
        "dataset", "created_by"
    )
    return get_object_or_404(versions, pk=version_id)


def _named(text: str, versions: Sequence[DatasetVersion]) -> DatasetVersion:
    """Raises Http404."""
    wanted = uuids([text])
    for version in versions:
        if version.pk in wanted:
            return version
    raise Http404
