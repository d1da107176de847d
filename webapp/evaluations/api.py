"""Evaluations over HTTP: their numbers, curves and the scores of every video."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from rest_framework.response import Response
from rest_framework.views import APIView

from vad.evaluation.alarms import video_alarms
from vad.evaluation.curves import Curve, pr_curve, roc_curve
from vad.evaluation.frame import THRESHOLD
from webapp.core.api import Cursor, Request, invalid
from webapp.core.conditional import is_known, not_modified
from webapp.core.openapi import Page, Results, number, operation, text, uuid, whole
from webapp.core.query import uuids
from webapp.evaluations import maps
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation
from webapp.evaluations.shapes import (
    CurveJson,
    ErrorsJson,
    EvaluatedVideoJson,
    EvaluationDetailJson,
    EvaluationJson,
    TimelineJson,
    TruthJson,
)

SNIPPET_MAX = 10**8
OF_RUN = uuid("of_run", "of this training run")
OF_VERSION = uuid("version", "on this data set version")
MAX_POINTS = whole("max_points", "of the curve", least=4, most=20_000, default=600)
KEY = text("key", "the video's key", required=True)
VIDEO = text("video", "the video's key", required=True)
FROM_SNIPPET = whole("from", "the first snippet", least=0, most=SNIPPET_MAX, default=0)
TO_SNIPPET = whole("to", "the snippet after the last one", least=1, most=SNIPPET_MAX)
THRESHOLD_ = number("threshold", "flags what reaches it", least=0, most=1, default=THRESHOLD)
RULE = (
    "A false alarm is a maximal stretch of frames at or above the threshold outside the truth; a "
    "miss is an anomalous interval of which no frame reaches the threshold."
)
CURVES: dict[str, Callable[..., Curve]] = {"roc": roc_curve, "pr": pr_curve}


class Newest(Cursor):
    ordering = ("-created_at", "-run_id")


class EvaluationList(APIView):
    @operation(
        "Evaluations", query=[OF_RUN, OF_VERSION], returns=Page[EvaluationJson], paging=Newest
    )
    def get(self, request: Request) -> Response:
        """Newest first; the id is that of the evaluate run."""
        rows = Evaluation.objects.visible_to(request.user).select_related("of_run")
        rows = rows.defer("patch", "stages")
        if request.GET.get("of_run"):
            rows = rows.filter(of_run__in=uuids([request.GET["of_run"]]))
        if request.GET.get("version"):
            rows = rows.filter(version__in=uuids([request.GET["version"]]))
        paginator = Newest()
        page = paginator.paginate_queryset(rows, request, self)
        return paginator.get_paginated_response([evaluation_json(e) for e in page or ()])


class EvaluationDetail(APIView):
    @operation("An evaluation", returns=EvaluationDetailJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """All its numbers, under its protocol."""
        found = _evaluation(request, run_id)
        return Response(
            evaluation_json(found)
            | {
                "patch": {name: v for name, v in found.patch.items() if name != "draws"},
                "stages": found.stages,
                "protocol": found.protocol,
                "per_class": found.per_class,
                "counts": found.counts,
                "scores_sha256": found.scores_sha256,
            }
        )


class EvaluationCurve(APIView):
    @operation(
        "ROC or PR curve", path={"name": tuple(CURVES)}, query=[MAX_POINTS], returns=CurveJson
    )
    def get(self, request: Request, run_id: UUID, name: str) -> Response:
        """Every point is a real operating point."""
        if name not in CURVES:
            raise Http404
        most = MAX_POINTS.of(request)
        scores = store.load(_evaluation(request, run_id))
        return Response(CURVES[name](scores, most).to_dict())


class EvaluationTimeline(APIView):
    @operation("A video's score per snippet, and its truth", query=[KEY], returns=TimelineJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        evaluation = _evaluation(request, run_id)
        scores = store.load(evaluation)
        key = request.GET.get("key", "")
        if key not in scores.index:
            raise Http404
        video = scores.video(key)
        return Response(
            {
                "key": key,
                "label": video.label,
                "classes": video.classes,
                "num_frames": video.num_frames,
                "start_frames": video.start_frames.tolist(),
                "scores": video.scores.tolist(),
                "truth": store.truth_of(evaluation, key, scores),
            }
        )


class EvaluationMaps(APIView):
    @operation(
        "Maps of stage 2 as bytes",
        query=[VIDEO, FROM_SNIPPET, TO_SNIPPET],
        returns="application/octet-stream",
    )
    def get(self, request: Request, run_id: UUID) -> HttpResponse:
        """The scores of every patch of a video, or of its snippets [from, to); their layout is in
        docs/api.md.
        """
        evaluation = _evaluation(request, run_id)
        key = _mapped(evaluation, request)
        start, stop = FROM_SNIPPET.of(request) or 0, TO_SNIPPET.of(request)
        if stop is not None and stop <= start:
            raise invalid({"to": f"{stop} is not above from, {start}"})
        etag = maps.etag(evaluation, key, start, stop)
        answer = HttpResponse(content_type="application/octet-stream")
        answer["ETag"] = etag
        answer["Cache-Control"] = "private, no-cache"
        if is_known(request, etag):
            return not_modified(answer)
        answer.content = maps.encode(evaluation, key, start, stop)
        return answer


class EvaluationTruth(APIView):
    @operation("Where the anomalies are in the frame", query=[VIDEO], returns=TruthJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """As runs of frames with the same place."""
        evaluation = _evaluation(request, run_id)
        key = request.GET.get("video", "")
        known = maps.load(evaluation) if evaluation.has_maps else store.load(evaluation)
        if key not in known.index:
            raise Http404
        return Response(maps.truth(evaluation, key))


class EvaluationErrors(APIView):
    @operation("False alarms and misses of a video", query=[VIDEO, THRESHOLD_], returns=ErrorsJson)
    def get(self, request: Request, run_id: UUID) -> Response:
        """By the `rule` of the answer."""
        evaluation = _evaluation(request, run_id)
        threshold = _threshold(request)
        scores = store.load(evaluation)
        key = request.GET.get("video", "")
        if key not in scores.index:
            raise Http404
        video = scores.video(key)
        truth = store.truth_of(evaluation, key, scores)
        found = video_alarms(video.scores, video.frames, truth, threshold)
        return Response({"key": key, "threshold": threshold, "rule": RULE, **asdict(found)})


class EvaluationVideos(APIView):
    @operation("Evaluated videos", returns=Results[EvaluatedVideoJson])
    def get(self, request: Request, run_id: UUID) -> Response:
        """With their highest scores, in the order of the data set."""
        scores = store.load(_evaluation(request, run_id))
        highest = scores.max_scores.tolist()
        return Response(
            {
                "results": [
                    {"key": v.key, "label": v.label, "classes": v.classes, "max_score": most}
                    for v, most in zip(scores.videos(), highest, strict=True)
                ]
            }
        )


def evaluation_json(found: Evaluation) -> EvaluationJson:
    return {
        "id": found.pk,
        "of_run": found.of_run_id,
        "name": found.of_run.name,
        "version": found.version_id,
        "feature_set": found.feature_set_id,
        "selection": found.selection,
        "fingerprint": found.fingerprint,
        "metrics": found.metrics,
        "intervals": found.intervals,
        "created_at": found.created_at,
    }


def _threshold(request: Request) -> float:
    """Raises: VadError: `request-invalid`."""
    text = request.GET.get("threshold", "") or str(THRESHOLD)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise invalid({"threshold": f"{text[:40]!r} is not a number from 0 to 1"})
    return value


def _mapped(evaluation: Evaluation, request: Request) -> str:
    """The video of the query.

    Raises:
        Http404: there are no maps of it, or of no video.
        VadError: the file of the maps is gone or damaged.
    """
    key = request.GET.get("video", "")
    if not evaluation.has_maps or key not in maps.load(evaluation).index:
        raise Http404
    return key


def _evaluation(request: Request, run_id: UUID) -> Evaluation:
    rows = Evaluation.objects.visible_to(request.user).select_related("run", "of_run", "version")
    return get_object_or_404(rows, pk=run_id)
