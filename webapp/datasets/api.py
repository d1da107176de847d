"""Data sets, their versions and features over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from rest_framework.exceptions import Throttled
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.configs import RegisterConfig
from vad.data.versions import compare
from webapp.core.api import Cursor, Request, invalid, json_object, member, project_of, texts
from webapp.core.conditional import require_match, revision, tagged
from webapp.core.openapi import Page, operation, text, uuid
from webapp.core.query import uuids
from webapp.datasets import scored, services, thumbnails, video_views, videos
from webapp.datasets.decoder import Busy
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet, Video
from webapp.datasets.shapes import (
    DatasetJson,
    Description,
    DifferencesJson,
    FeatureSetDetailJson,
    FeatureSetJson,
    NewDataset,
    RegisteringJson,
    VersionDetailJson,
    VersionJson,
    VideoJson,
)
from webapp.idempotency.services import idempotent
from webapp.runs.represent import run_detail_json

SPLIT = text("split", "videos of this split")
LABEL = text("label", "1 for anomalous videos, 0 for normal ones", choices=("0", "1"))
CLASS = text("class", "videos of this class")
NAME_HAS = text("q", "a text in the name")
TRUTH = text("truth", "with the anomalous frames", choices=("yes", "1", "true"))
RUN = uuid("run", "an evaluation of this version")
FIRST = uuid("first", "as `run`, of the page of videos")
TO_VERSION = uuid("to", "another version of the same data set", required=True)
OF_VERSION = uuid("version", "of this version")


class ByKey(Cursor):
    """Videos in the order of their names."""

    ordering = ("key",)
    page_size = 100
    max_page_size = 1000


class DatasetList(APIView):
    @operation("Data sets", returns=Page[DatasetJson], paging=Cursor)
    def get(self, request: Request) -> Response:
        """Newest first, with their versions."""
        rows = Dataset.objects.visible_to(request.user).select_related("project", "created_by")
        paginator = Cursor()
        page = paginator.paginate_queryset(rows.prefetch_related("versions"), request, self)
        return paginator.get_paginated_response([_dataset(d) for d in page or ()])

    @operation("Register a data set", body=NewDataset, returns=RegisteringJson, status=202)
    @idempotent
    def post(self, request: Request) -> Response:
        """Answers with the run that reads and checks it."""
        data = json_object(request, NewDataset)
        run = services.dataset_register(
            project=project_of(request, member(data, "project", str, "")),
            config=RegisterConfig.from_dict(member(data, "config", dict, {})),
            by=request.user,
            name=member(data, "run_name", str, ""),
            tags=texts(data, "tags"),
        )
        return Response({"run": run_detail_json(run)}, status=202)


class DatasetDetail(APIView):
    @operation("A data set with its versions", returns=DatasetJson)
    def get(self, request: Request, dataset_id: int) -> Response:
        found = _described(request, dataset_id)
        return tagged(Response(_dataset(found)), dataset_revision(found))

    @operation("Describe a data set", body=Description, returns=DatasetJson, if_match=True)
    @transaction.atomic
    def patch(self, request: Request, dataset_id: int) -> Response:
        found = _described(request, dataset_id)
        said = member(json_object(request, Description), "description", str, found.description)
        require_match(request, found, dataset_revision)
        found = services.dataset_describe(dataset=found, description=said, by=request.user)
        return tagged(Response(_dataset(found)), dataset_revision(found))


class VersionDetail(APIView):
    @operation("A version with its counts, notes and features", returns=VersionDetailJson)
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
    @operation(
        "Videos of a version",
        query=[SPLIT, LABEL, CLASS, NAME_HAS, TRUTH, RUN],
        returns=Page[VideoJson],
        paging=ByKey,
    )
    def get(self, request: Request, version_id: UUID) -> Response:
        """By name. With `run` also what that evaluation scores on each, null for a video that it
        has no scores of; with that or `truth` the anomalous frames.
        """
        version = _version(request, version_id)
        rows = videos.filtered(version, videos.Filters.of(request.GET))
        if request.GET.get("label") in ("0", "1"):
            rows = rows.filter(label=int(request.GET["label"]))
        run = None
        if request.GET.get("run"):
            evaluation = scored.chosen(
                request.GET["run"], scored.evaluations(version, request.user)
            )
            if evaluation is None:
                raise Http404
            run = scored.load(evaluation)
        paginator = ByKey()
        page = paginator.paginate_queryset(rows, request, self)
        found = [_video(v) for v in page or ()]
        if run or request.GET.get("truth"):
            for shown, video in zip(found, page or (), strict=True):
                shown |= _truth(version, video) | _scores(video, run)
        return paginator.get_paginated_response(found)


class VersionDifferences(APIView):
    @operation("What changed between two versions", query=[TO_VERSION], returns=DifferencesJson)
    def get(self, request: Request, version_id: UUID) -> Response:
        """From this version to another of the same data set."""
        version = _version(request, version_id)
        if not request.GET.get("to"):
            raise invalid({"to": "name a version of the same data set"})
        wanted = uuids([request.GET["to"]])
        to = get_object_or_404(version.dataset.versions, pk__in=wanted[:1])
        found = compare(version.folder, to.folder)
        return Response({"from": version.pk, "to": to.pk} | found.to_dict())


class VideoThumbnail(APIView):
    @operation("A picture of a video", query=[FIRST, RUN], returns="image/webp", refuses=(429,))
    def get(self, request: Request, version_id: UUID, video_id: int) -> HttpResponse:
        """A small WebP of its first frame, with `run` that of the evaluation's highest score. 429
        with `Retry-After` while others are made; 422 and the reason where there is no picture.
        """
        video = video_views.video_of(request, version_id, video_id)
        try:
            content = thumbnails.thumbnail(video, video_views.frame_of(request, video))
        except Busy:
            raise Throttled(wait=1, detail="Other pictures are being made.") from None
        return video_views.picture(request, content)


class FeatureSetList(APIView):
    @operation("Feature sets", query=[OF_VERSION], returns=Page[FeatureSetJson], paging=Cursor)
    def get(self, request: Request) -> Response:
        """Newest first."""
        rows = FeatureSet.objects.visible_to(request.user).select_related("version__dataset")
        if request.GET.get("version"):
            rows = rows.filter(version__in=uuids([request.GET["version"]]))
        paginator = Cursor()
        page = paginator.paginate_queryset(rows, request, self)
        return paginator.get_paginated_response([_features(f) for f in page or ()])


class FeatureSetDetail(APIView):
    @operation("A feature set", returns=FeatureSetDetailJson)
    def get(self, request: Request, feature_set_id: UUID) -> Response:
        rows = FeatureSet.objects.visible_to(request.user)
        found = get_object_or_404(rows, pk=feature_set_id)
        return Response(_features(found) | {"summary": found.summary})


def dataset_revision(dataset: Dataset) -> str:
    return revision(dataset, "description")


def _described(request: Request, dataset_id: int) -> Dataset:
    rows = Dataset.objects.visible_to(request.user).select_related("project")
    return get_object_or_404(rows.prefetch_related("versions"), pk=dataset_id)


def _version(request: Request, version_id: UUID) -> DatasetVersion:
    rows = DatasetVersion.objects.visible_to(request.user).select_related("dataset")
    return get_object_or_404(rows, pk=version_id)


def _dataset(dataset: Dataset) -> DatasetJson:
    versions = sorted(dataset.versions.all(), key=lambda v: v.number)
    return {
        "id": dataset.pk,
        "name": dataset.name,
        "description": dataset.description,
        "project": dataset.project.slug,
        "created_at": dataset.created_at,
        "versions": [_version_json(v) for v in versions],
    }


def _version_json(version: DatasetVersion) -> VersionJson:
    return {
        "id": version.pk,
        "number": version.number,
        "format": version.format,
        "fingerprint": version.fingerprint,
        "counts": version.counts,
        "created_at": version.created_at,
    }


def _video(video: Video) -> dict[str, Any]:
    names = ("id", "key", "split", "label", "classes", "num_frames", "fps", "width", "height")
    return {name: getattr(video, name) for name in names}


def _truth(version: DatasetVersion, video: Video) -> dict[str, Any]:
    """Anomalous frames [start, end); null where only the label of the video is known."""
    known = videos.truth_of(version, video.split).get(video.key)
    if known is None and video.label:
        return {"intervals": None}
    return {"intervals": [list(pair) for pair in known.intervals] if known else []}


def _scores(video: Video, run: scored.Scored | None) -> dict[str, Any]:
    if run is None:
        return {}
    numbers = run.numbers.get(video.key)
    return {"scores": numbers.to_dict() if numbers else None}


def _features(found: FeatureSet) -> FeatureSetJson:
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
