"""MLflow's REST API over HTTP: one view, given the call that it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe
from rest_framework.authentication import BaseAuthentication
from rest_framework.response import Response
from rest_framework.views import APIView

from webapp.accounts.tokens import SearchTokenAuth, TokenAuth
from webapp.core.api import Request
from webapp.core.ranges import ranged
from webapp.core.rest import SessionAuth
from webapp.external.uploads import artifact_store
from webapp.interop.tracking import artifacts, errors
from webapp.interop.tracking.errors import TrackingError
from webapp.interop.tracking.experiments import Scope
from webapp.interop.tracking.given import Given
from webapp.interop.tracking.logging import own_run

# The version of MLflow whose client the tests drive; clients ask what they may expect of a server.
VERSION = "3.17.2"


def _nothing(scope: Scope, given: Given) -> dict[str, Any]:
    return {}


class Endpoint(APIView):
    """What `as_view` is given: the call, that of PATCH, and whether POST only reads.

    What the address names is a member of what was given.
    """

    call: Callable[[Scope, Given], dict[str, Any]] = staticmethod(_nothing)
    change: Callable[[Scope, Given], dict[str, Any]] = staticmethod(_nothing)
    reads = False

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [SearchTokenAuth() if self.reads else TokenAuth(), SessionAuth()]

    def get_exception_handler(self) -> Any:
        return errors.handle

    def get(self, request: Request, **named: str) -> Response:
        query = request.GET
        members: dict[str, Any] = {name: query[name] for name in query}
        if "order_by" in query:
            members["order_by"] = query.getlist("order_by")
        return self._answer(request, self.call, members | named)

    def post(self, request: Request, **named: str) -> Response:
        return self._answer(request, self.call, self._body(request) | named)

    def patch(self, request: Request, **named: str) -> Response:
        return self._answer(request, self.change, self._body(request) | named)

    def _body(self, request: Request) -> dict[str, Any]:
        if not isinstance(request.data, dict):
            raise TrackingError("The body must be a JSON object.")
        return dict(request.data)

    def _answer(
        self, request: Request, call: Callable[..., dict[str, Any]], members: dict[str, Any]
    ) -> Response:
        return Response(call(Scope(request.user, request.project), Given(members)))


class ArtifactFile(APIView):
    """GET: a file of a run, whole or a range of it. PUT: keep the body as one."""

    def get_exception_handler(self) -> Any:
        return errors.handle

    def get(self, request: Request, artifact: str) -> HttpResponseBase:
        found = artifacts.find(*artifacts.of_path(request.user, artifact))
        answer = ranged(request._request, found.file, "application/octet-stream")
        answer["Content-Disposition"] = "attachment"
        return answer

    def put(self, request: Request, artifact: str) -> Response:
        run_id, _, path = artifact.partition("/")
        run = own_run(request.user, run_id)
        body = cast(IO[bytes], request._request)  # it can be read, and that is all that is done
        artifact_store(run_id=run.pk, path=path, data=body, by=request.user)
        return Response({})


_NOT_HERE = {
    "registered-models": "registry of models", "model-versions": "registry of models",
    "traces": "tracing", "prompts": "registry of prompts", "scorers": "evaluation of agents",
    "webhooks": "webhooks",
}  # fmt: skip


class Unknown(APIView):
    """Parts of MLflow that are not here: its registry of models, traces, prompts, scorers."""

    def get_exception_handler(self) -> Any:
        return errors.handle

    def get(self, request: Request, rest: str) -> Response:
        part = next((name for start, name in _NOT_HERE.items() if rest.startswith(start)), "")
        what = f"VADLab has no {request.path}"
        if part:
            what = f"MLflow's {part} is not supported by VADLab"
        message = f"{what}; docs/interop.md lists what it has of MLflow."
        raise TrackingError(message, "ENDPOINT_NOT_FOUND", 404)

    post = put = patch = delete = get


@require_safe
def version(request: HttpRequest) -> HttpResponse:
    return HttpResponse(VERSION, content_type="text/plain")


version.login_required = False  # type: ignore[attr-defined]  # says nothing of anybody's data
