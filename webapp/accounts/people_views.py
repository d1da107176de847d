"""The pages about all people of the server, for those who administer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from webapp.accounts import passwords, people
from webapp.accounts.models import User
from webapp.accounts.permissions import require_server_admin
from webapp.core.http import Request

PAGE = 50
STATES = ("active", "deactivated")


@require_safe
def everybody(request: Request) -> HttpResponse:
    require_server_admin(request.user)
    q, state = request.GET.get("q", "").strip()[:150], request.GET.get("state", "")
    state = state if state in STATES else ""
    part = Paginator(people.users(q=q, state=state), PAGE).get_page(request.GET.get("page"))
    context = {
        "q": q, "state": state, "states": STATES, "page": part,
        "people": people.described(part.object_list),
    }  # fmt: skip
    return render(request, "accounts/people.html", context)


@never_cache
@require_safe
def person(request: Request, user_id: int) -> HttpResponse:
    require_server_admin(request.user)
    return _person(request, get_object_or_404(User, pk=user_id))


def _person(request: Request, user: User, **more: Any) -> HttpResponse:
    [found] = people.described([user])
    return render(request, "accounts/person.html", {"person": found, **more})


@never_cache
@require_POST
def person_act(request: Request, user_id: int, action: str) -> HttpResponse:
    """Do something about a person; a link to a new password is in this answer and nowhere else."""
    require_server_admin(request.user)
    user = get_object_or_404(User, pk=user_id)
    if action == "password-link":
        _, secret = passwords.link_create(user=user, by=request.user)
        link = request.build_absolute_uri(reverse("password", args=[secret]))
        return _person(request, user, link=link)
    if action not in STEPS:
        raise Http404
    messages.success(request, STEPS[action](user, request.user))
    if not User.objects.filter(pk=request.user.pk, is_superuser=True, is_active=True).exists():
        return HttpResponseRedirect(reverse("settings:account"))  # they have shut themselves out
    return HttpResponseRedirect(reverse("settings:person", args=[user.pk]))


def _deactivate(user: User, by: User) -> str:
    ended = people.person_deactivate(user=user, by=by)
    runs = f" {_count(ended.runs, 'unfinished run')} of theirs stay." if ended.runs else ""
    return (
        f"{user} is deactivated: {_count(ended.sessions, 'session')} ended, "
        f"{_count(ended.tokens, 'token')} revoked.{runs}"
    )


def _reactivate(user: User, by: User) -> str:
    people.person_reactivate(user=user, by=by)
    return f"{user} may sign in again."


def _make_admin(user: User, by: User) -> str:
    people.person_set_admin(user=user, admin=True, by=by)
    return f"{user} administers the server now."


def _end_admin(user: User, by: User) -> str:
    people.person_set_admin(user=user, admin=False, by=by)
    return f"{user} does not administer the server any more."


STEPS: dict[str, Callable[[User, User], str]] = {
    "deactivate": _deactivate, "reactivate": _reactivate,
    "make-admin": _make_admin, "end-admin": _end_admin,
}  # fmt: skip


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
