"""Files of external runs over HTTP: sent in parts, listed, fetched."""

from __future__ import annotations

from typing import IO, Any, cast
from uuid import UUID

from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from rest_framework.parsers import BaseParser
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.core.api import Cursor, Request, json_object, member
from webapp.core.openapi import Page, operation, text, whole
from webapp.core.rest import StrictParser
from webapp.external import uploads
from webapp.external.models import Upload
from webapp.external.shapes import NewUpload, UploadJson
from webapp.external.views import file_answer
from webapp.runs.models import EXTERNAL, Run

OFFSET = whole("offset", "where the part begins, in bytes", least=0, most=2**53, default=0)
BELOW = text("path", "files below this folder")


class RawParser(BaseParser):
    """Bytes as they come, still to be read."""

    media_type = "application/octet-stream"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class UploadList(APIView):
    @operation("Announce a file", body=NewUpload, returns=UploadJson, status=201)
    def post(self, request: Request, run_id: UUID) -> Response:
        """The answer's `offset` is where to begin: the same file announced again goes on where it
        was cut.
        """
        data = json_object(
            request, "kind", "path", "size_bytes", "sha256", "step", "best", "metrics"
        )
        upload = uploads.upload_create(
            run_id=run_id,
            kind=member(data, "kind", str, Upload.Kind.ARTIFACT),
            path=member(data, "path", str, ""),
            size_bytes=member(data, "size_bytes", int, -1),
            sha256=member(data, "sha256", str, ""),
            step=None if data.get("step") is None else member(data, "step", int, 0),
            best=member(data, "best", bool, False),
            metrics=member(data, "metrics", dict, {}),
            by=request.user,
        )
        return Response(upload_json(upload), status=201)


class UploadDetail(APIView):
    parser_classes = [RawParser, StrictParser]

    @operation("How far a file is", returns=UploadJson)
    def get(self, request: Request, upload_id: UUID) -> Response:
        rows = Upload.objects.visible_to(request.user).select_related("run")
        return Response(upload_json(get_object_or_404(rows, pk=upload_id)))

    @operation(
        "Send the next part of a file",
        query=[OFFSET],
        body="application/octet-stream",
        returns=UploadJson,
    )
    def put(self, request: Request, upload_id: UUID) -> Response:
        offset = OFFSET.of(request) or 0
        body = cast(IO[bytes], request._request)  # a request reads like a file
        upload = uploads.upload_append(
            upload_id=upload_id, offset=offset, data=body, by=request.user
        )
        return Response(upload_json(upload))

    @operation("Finish a file", returns=UploadJson)
    def post(self, request: Request, upload_id: UUID) -> Response:
        return Response(upload_json(uploads.upload_finish(upload_id=upload_id, by=request.user)))

    @operation("Give a file up")
    def delete(self, request: Request, upload_id: UUID) -> Response:
        uploads.upload_abort(upload_id=upload_id, by=request.user)
        return Response(status=204)


class FileList(APIView):
    @operation("Files of an external run", query=[BELOW], returns=Page[UploadJson], paging=Cursor)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Complete files, checkpoints too, the newest first."""
        run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id, kind=EXTERNAL)
        found = Upload.objects.filter(run=run, finished_at__isnull=False).select_related("run")
        if request.GET.get("path"):
            folder = uploads.check_path(request.GET["path"].rstrip("/"))
            found = found.filter(path__startswith=f"{folder}/") | found.filter(path=folder)
        paginator = Cursor()
        page = paginator.paginate_queryset(found, request, self) or []
        return paginator.get_paginated_response([upload_json(upload) for upload in page])


class FileDetail(APIView):
    @operation(
        "A file, whole or a range of it",
        returns="application/octet-stream",
        also=(206,),
        refuses=(416,),
    )
    def get(self, request: Request, run_id: UUID, file_id: UUID) -> HttpResponseBase:
        return file_answer(request._request, request.user, run_id, file_id)


def upload_json(upload: Upload) -> UploadJson:
    """`offset`: bytes received so far; `file`: where it can be fetched, null before it is whole."""
    done = upload.finished_at is not None
    return {
        "id": upload.pk,
        "run": upload.run_id,
        "kind": upload.kind,
        "path": upload.path,
        "step": upload.step,
        "size_bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "offset": upload.received_bytes,
        "chunk_bytes": uploads.CHUNK_BYTES,
        "finished_at": upload.finished_at,
        "file": reverse("api:file", args=[upload.run_id, upload.pk]) if done else None,
    }
