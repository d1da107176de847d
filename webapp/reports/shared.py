"""The page behind a share link. It holds all that it shows, so it leads to no other address."""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from vad.errors import VadError
from webapp.accounts.guard import Locked
from webapp.core.errors import status_of
from webapp.reports import queries, sharing
from webapp.reports.models import ShareLink

OPEN_S = 12 * 3600  # how long a password that was typed holds
HEADERS = {
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Referrer-Policy": "no-referrer",  # the address is the secret
    "Cache-Control": "private, no-store",
}


# Without a referrer a browser sends `Origin: null`, which the check refuses. The form does nothing
# for anybody but who knows the password, and only to their own browser.
@csrf_exempt
@login_not_required
@sensitive_variables("secret")
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def shared(request: HttpRequest, secret: str) -> HttpResponse:
    """A report as whoever has the link reads it; a POST gives its password."""
    try:
        answer = _answer(request, secret)
    except Locked as exc:
        answer = _plain(request, exc)
        answer["Retry-After"] = str(exc.wait_s)
    except VadError as exc:
        answer = _plain(request, exc)
    for name, value in HEADERS.items():
        answer[name] = value
    return answer


def _answer(request: HttpRequest, secret: str) -> HttpResponse:
    link = sharing.find(secret)
    there = reverse("shared", args=[secret])
    if link.password and not _opened(request, link):
        if request.method != "POST":
            return render(request, "reports/shared_password.html", {"wrong": False})
        if not sharing.password_check(link=link, password=request.POST.get("password", "")):
            return render(request, "reports/shared_password.html", {"wrong": True}, status=422)
        answer = HttpResponse(status=303, headers={"Location": there})
        answer.set_signed_cookie(
            _cookie(link), _proof(link), salt="share", max_age=OPEN_S, path=there,
            secure=settings.TLS, httponly=True, samesite="Strict",
        )  # fmt: skip
        return answer
    if request.method == "POST":
        return HttpResponse(status=303, headers={"Location": there})
    revision = sharing.revision_of(link)
    answer = render(
        request,
        "reports/shared.html",
        {"revision": revision, "blocks": queries.shown(revision), "link": link, "public": True},
    )
    if request.method == "GET":
        sharing.view_count(link=link)
    return answer


def _plain(request: HttpRequest, error: VadError) -> HttpResponse:
    return render(request, "reports/shared_gone.html", {"error": error}, status=status_of(error))


def _opened(request: HttpRequest, link: ShareLink) -> bool:
    try:
        given = request.get_signed_cookie(_cookie(link), salt="share", max_age=OPEN_S)
    except (BadSignature, KeyError):
        return False
    return given == _proof(link)


def _cookie(link: ShareLink) -> str:
    return f"share-{link.pk}"


def _proof(link: ShareLink) -> str:
    """Of this link and this password: no other link's cookie opens it."""
    return hashlib.sha256(f"{link.digest}{link.password}".encode()).hexdigest()
