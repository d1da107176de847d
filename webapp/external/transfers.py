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

BYTES = "application/octet-stream"
OFFSET = whole("offset", "the part's first byte", least=0, most=2**53, default=0)
PATH = text("path", "files of this path, or below this folder", most=uploads.PATH_LENGTH)


class RawParser(BaseParser):
    """Bytes as they come, still to be read."""

    media_type = BYTES

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class UploadList(APIView):
    @operation("Announce a file", body=NewUpload, returns=UploadJson, status=201, refuses=(507,))
    def post(self, request: Request, run_id: UUID) -> Response:
        """The answer's `offset` is where to begin. The same file announced again is the same
        upload, to go on with where it was cut: what an `Idempotency-Key` would answer is outdated.
        """
        data = json_object(request, NewUpload)
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

    @operation("How far an upload is", returns=UploadJson)
    def get(self, request: Request, upload_id: UUID) -> Response:
        rows = Upload.objects.visible_to(request.user).select_related("run")
        return Response(upload_json(get_object_or_404(rows, pk=upload_id)))

    @operation("Send the next part", query=[OFFSET], body=BYTES, returns=UploadJson, refuses=(507,))
    def put(self, request: Request, upload_id: UUID) -> Response:
        """`chunk_bytes` at most. At another place than the next one it is 409 `upload-offset`,
        whose `fields` name the right `offset`.
        """
        offset = OFFSET.of(request) or 0
        body = cast(IO[bytes], request._request)  # a request reads like a file
        upload = uploads.upload_append(
            upload_id=upload_id, offset=offset, data=body, by=request.user
        )
        return Response(upload_json(upload))

    @operation("Finish an upload", returns=UploadJson, refuses=(507,))
    def post(self, request: Request, upload_id: UUID) -> Response:
        """A file of another hash or shape is deleted, to be sent again. Twice is harmless."""
        return Response(upload_json(uploads.upload_finish(upload_id=upload_id, by=request.user)))

    @operation("Give an upload up")
    def delete(self, request: Request, upload_id: UUID) -> Response:
        """And what was received of it; one that is complete stays."""
        uploads.upload_abort(upload_id=upload_id, by=request.user)
        return Response(status=204)


class FileList(APIView):
    @operation("Files of an external run", query=[PATH], returns=Page[UploadJson], paging=Cursor)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Complete ones, checkpoints too, the newest first."""
        run = get_object_or_404(Run.objects.visible_to(request.user), pk=run_id, kind=EXTERNAL)
        found = Upload.objects.filter(run=run, finished_at__isnull=False).select_related("run")
        if request.GET.get("path"):
            folder = uploads.check_path(request.GET["path"].rstrip("/"))
            found = found.filter(path__startswith=f"{folder}/") | found.filter(path=folder)
        paginator = Cursor()
        page = paginator.paginate_queryset(found, request, self) or []
        return paginator.get_paginated_response([upload_json(upload) for upload in page])


class FileDetail(APIView):
    @operation("A file of an external run", returns=BYTES, also=(206,), refuses=(416,))
    def get(self, request: Request, run_id: UUID, file_id: UUID) -> HttpResponseBase:
        """Whole, or the one range of it that `Range` asks for."""
        return file_answer(request._request, request.user, run_id, file_id)


def upload_json(upload: Upload) -> UploadJson:
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
