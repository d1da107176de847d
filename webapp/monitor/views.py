"""Health, readiness and metrics, for whoever watches the server."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from webapp.monitor import metrics as facts
from webapp.monitor import readiness


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process lives and answers; it looks at nothing else, so nothing else restarts it."""
    return JsonResponse({"status": "ok"})


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 while every part works, else 503 with which does not. Says nothing of why."""
    parts = readiness.parts()
    ready = all(word == readiness.OK for word in parts.values())
    return JsonResponse(
        {"status": "ready" if ready else "not ready", "parts": parts},
        status=200 if ready else 503,
    )


@login_not_required
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For Prometheus, with `Authorization: Bearer VADLAB_METRICS_KEY`; not there without a key."""
    if not settings.METRICS_KEY:
        raise Http404
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not constant_time_compare(key.strip(), settings.METRICS_KEY):
        return HttpResponse(
            "The key of the metrics is missing or wrong.\n",
            status=401,
            content_type="text/plain; charset=utf-8",
            headers={"WWW-Authenticate": 'Bearer realm="VADLab metrics"'},
        )
    return HttpResponse(facts.text(), content_type=CONTENT_TYPE_LATEST)
