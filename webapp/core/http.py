"""From a view to an answer: the part for htmx, the page for everybody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.charts import Figure
from webapp.core import errors
from webapp.core.rest import finite


class Request(HttpRequest):
    """What a page's view is given: signed in, with the project of the middleware."""

    user: User
    project: Project  # None for a person in no project; queries then find nothing
    projects: tuple[Project, ...]  # all that the person may choose from
    can_edit: bool
    can_admin: bool
    htmx: HtmxDetails


def respond(
    request: Request,
    template: str,
    partial: str,
    context: dict[str, Any],
    *,
    to: str = "",
    status: int = 200,
) -> HttpResponse:
    """The named partial for htmx; otherwise the page, or after a POST a redirect to it.

    Args:
        to: the page's address, needed for a POST without htmx.
    """
    if request.htmx:
        return render(request, f"{template}#{partial}", context, status=status)
    if request.method == "POST" and to:
        return HttpResponseRedirect(to)
    return render(request, template, context, status=status)


def go(request: Request, to: str) -> HttpResponse:
    """Another page: a redirect that htmx follows with the whole window, too."""
    if request.htmx:
        return HttpResponseClientRedirect(to)
    return HttpResponseRedirect(to)


def back(request: Request, default: str) -> str:
    """Where the person came from, if it is a page of ours."""
    to = request.POST.get("next", "") or request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(to, allowed_hosts={request.get_host()}):
        return to
    return default


def figure(draw: Callable[[], Figure]) -> JsonResponse:
    """A figure's JSON, or the error in the API's shape, which the chart shows in its place."""
    try:
        drawn = draw()
    except VadError as exc:
        return JsonResponse(exc.to_dict(), status=errors.status_of(exc))
    return JsonResponse(finite(drawn))
