"""Data sets, their versions and features over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.configs import RegisterConfig
from webapp.core.api import Cursor, Request, json_object, member, project_of, texts
from webapp.core.query import uuids
from webapp.datasets import services
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet, Video
from webapp.runs.represent import run_json


class ByKey(Cursor):
    """Videos in the order of their names."""

    ordering = ("key",)
    page_size = 100
    max_page_size = 1000


class DatasetList(APIView):
    """GET: data sets, newest first. POST: register one; 202 with the run that reads and checks."""

    def get(self, request: Request) -> Response:
        rows = Dataset.objects.visible_to(request.user).select_related("project", "created_by")
        paginator = Cursor()
        page = paginator.paginate_queryset(rows.prefetch_related("versions"), request, self)
        return paginator.get_paginated_response([_dataset(d) for d in page or ()])

    def post(self, request: Request) -> Response:
        data = json_object(request, "config", "tags", "run_name", "project")
        run = services.dataset_register(
            project=project_of(request, member(data, "project", str, "")),
            config=RegisterConfig.from_dict(member(data, "config", dict, {})),
            by=request.user,
            name=member(data, "run_name", str, ""),
            tags=texts(data, "tags"),
        )
        return Response({"run": run_json(run, detail=True)}, status=202)


class DatasetDetail(APIView):
    """GET: a data set with its versions."""

    def get(self, request: Request, dataset_id: int) -> Response:
        rows = Dataset.objects.visible_to(request.user).prefetch_related("versions")
        return Response(_dataset(get_object_or_404(rows, pk=dataset_id)))


class VersionDetail(APIView):
    """GET: a version with its counts, notes and feature sets."""

    def get(self, request: Request, version_id: UUID) -> Response:
        version = _version(request, version_id)
        counted = version.videos.order_by().values_list("split", "label").annotate(n=Count("pk"))
        return Response(
            _version_json(version)
            | {
                "rules": version.rules,
                "notes": version.notes,
                "videos": [{"split": s, "label": label, "count": n} for s, label, n in counted],
                "feature_sets": [_features(f) for f in version.feature_sets.order_by("created_at")],
            }
        )


class VersionVideos(APIView):
    """GET: a version's videos by name, `?split=&label=&limit=&cursor=`."""

    def get(self, request: Request, version_id: UUID) -> Response:
        rows = _version(request, version_id).videos.all()
        if request.GET.get("split"):
            rows = rows.filter(split=request.GET["split"])
        if request.GET.get("label") in ("0", "1"):
            rows = rows.filter(label=int(request.GET["label"]))
        paginator = ByKey()
        page = paginator.paginate_queryset(rows, request, self)
        return paginator.get_paginated_response([_video(v) for v in page or ()])


class FeatureSetList(APIView):
    """GET: feature sets, newest first, `?version=`."""

    def get(self, request: Request) -> Response:
        rows = FeatureSet.objects.visible_to(request.user).select_related("version__dataset")
        if request.GET.get("version"):
            rows = rows.filter(version__in=uuids([request.GET["version"]]))
        paginator = Cursor()
        page = paginator.paginate_queryset(rows, request, self)
        return paginator.get_paginated_response([_features(f) for f in page or ()])


class FeatureSetDetail(APIView):
    """GET: a feature set with all that is known of it."""

    def get(self, request: Request, feature_set_id: UUID) -> Response:
        rows = FeatureSet.objects.visible_to(request.user)
        found = get_object_or_404(rows, pk=feature_set_id)
        return Response(_features(found) | {"summary": found.summary})


def _version(request: Request, version_id: UUID) -> DatasetVersion:
    rows = DatasetVersion.objects.visible_to(request.user).select_related("dataset")
    return get_object_or_404(rows, pk=version_id)


def _dataset(dataset: Dataset) -> dict[str, Any]:
    versions = sorted(dataset.versions.all(), key=lambda v: v.number)
    return {
        "id": dataset.pk,
        "name": dataset.name,
        "description": dataset.description,
        "project": dataset.project.slug,
        "created_at": dataset.created_at,
        "versions": [_version_json(v) for v in versions],
    }


def _version_json(version: DatasetVersion) -> dict[str, Any]:
    return {
        "id": version.pk,
        "number": version.number,
        "format": version.format,
        "fingerprint": version.fingerprint,
        "counts": version.counts,
        "created_at": version.created_at,
    }


def _video(video: Video) -> dict[str, Any]:
    names = ("key", "split", "label", "classes", "num_frames", "fps", "width", "height")
    return {name: getattr(video, name) for name in names}


def _features(found: FeatureSet) -> dict[str, Any]:
    return {
        "id": found.pk,
        "name": found.name,
        "version": found.version_id,
        "ready": found.ready,
        "extractor": found.extractor,
        "dim": found.dim,
        "video_count": found.video_count,
        "size_bytes": found.size_bytes,
        "fingerprint": found.fingerprint,
        "produced_by": found.produced_by_id,
        "created_at": found.created_at,
    }
