"""The pages of notifications: one's own, and a project's for its admins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from vad.errors import VadError
from webapp.accounts.models import Project, User
from webapp.accounts.queries import administered
from webapp.core.http import Request
from webapp.notify import queries, services
from webapp.notify.forms import ChannelForm, RuleForm
from webapp.notify.models import Channel, Delivery, Kind, Rule, Status

TEMPLATE = "notify/notifications.html"
PAGE = 25


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def mine(request: Request) -> HttpResponse:
    """One's own channels, rules and log; a POST makes a channel or a rule."""
    return _page(request, request.user)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def of_project(request: Request, slug: str) -> HttpResponse:
    return _page(request, administered(request.user, slug))


def _page(request: Request, owner: User | Project) -> HttpResponse:
    what = request.POST.get("what", "")
    channel_form = ChannelForm(request.POST if what == "channel" else None)
    rule_form = RuleForm(request.POST if what == "rule" else None, owner=owner, by=request.user)
    forms = {"channel_form": channel_form, "rule_form": rule_form}
    if channel_form.is_bound and channel_form.is_valid():
        try:
            made = services.channel_create(
                owner=owner, by=request.user, **channel_form.cleaned_data
            )
        except VadError as exc:
            channel_form.show(exc)
        else:
            if made.kind == Kind.WEBHOOK:  # this answer is the only page that ever shows it
                return _render(request, owner, made=made, secret=made.secret)
            messages.success(request, f"A code is on its way to {made.target}. Enter it below.")
            return _to(owner)
    if rule_form.is_bound and rule_form.is_valid():
        try:
            services.rule_create(by=request.user, **rule_form.rule())
        except VadError as exc:
            rule_form.show(exc)
        else:
            messages.success(request, "The rule speaks from now on.")
            return _to(owner)
    return _render(request, owner, **forms)


def _render(request: Request, owner: User | Project, **more: Any) -> HttpResponse:
    by, project = request.user, owner if isinstance(owner, Project) else None
    status = request.GET.get("status", "")
    pages = Paginator(queries.deliveries(owner, by, status=status), PAGE)
    context = {
        "shown": project,
        "can_admin_shown": project is not None,
        "here": _address(owner),
        "channels": queries.channels(owner, by),
        "rules": queries.rules(owner, by),
        "page": pages.get_page(request.GET.get("page")),
        "status": status,
        "statuses": Status.choices,
        "under_way": queries.under_way(owner, by),
    }
    if request.htmx:  # the poll of the log
        return render(request, f"{TEMPLATE}#log", context)
    more.setdefault("channel_form", ChannelForm())
    more.setdefault("rule_form", RuleForm(owner=owner, by=by))
    return render(request, TEMPLATE, context | more)


@never_cache
@require_POST
def channel(request: Request, channel_id: int, action: str) -> HttpResponse:
    """Test, pause, resume, confirm, delete; or a new secret, shown in this answer alone."""
    found = get_object_or_404(Channel.objects.manageable_by(request.user), pk=channel_id)
    owner = found.project or request.user
    if action == "secret":
        secret = services.secret_renew(channel=found, by=request.user)
        return _render(request, owner, made=found, secret=secret)
    said = CHANNEL_STEPS.get(action)
    if said is None:
        raise Http404
    messages.success(request, said(request, found))
    return _to(owner)


@require_POST
def rule(request: Request, rule_id: int, action: str) -> HttpResponse:
    found = get_object_or_404(
        Rule.objects.manageable_by(request.user).select_related("channel"), pk=rule_id
    )
    if action == "delete":
        services.rule_delete(rule=found, by=request.user)
    elif action in ("pause", "resume"):
        services.rule_pause(rule=found, paused=action == "pause", by=request.user)
    else:
        raise Http404
    said = {"delete": "is deleted", "pause": "is paused", "resume": "speaks again"}[action]
    messages.success(request, f"The rule {said}.")
    return _to(found.channel.project or request.user)


@require_POST
def delivery_again(request: Request, delivery_id: str) -> HttpResponse:
    found = get_object_or_404(
        Delivery.objects.manageable_by(request.user).select_related("channel"), pk=delivery_id
    )
    services.delivery_retry(delivery=found, by=request.user)
    messages.success(request, "It is sent once more.")
    return _to(found.channel.project or request.user)


# --- what is done to a channel --------------------------------------------------------------


def _test(request: Request, found: Channel) -> str:
    services.channel_test(channel=found, by=request.user)
    return f"A test is on its way to {found}. The log below says what becomes of it."


def _pause(request: Request, found: Channel) -> str:
    services.channel_pause(channel=found, paused=True, by=request.user)
    return f"Nothing is sent to {found} until you resume it."


def _resume(request: Request, found: Channel) -> str:
    services.channel_pause(channel=found, paused=False, by=request.user)
    return f"{found} is told again."


def _confirm(request: Request, found: Channel) -> str:
    services.channel_confirm(channel=found, code=request.POST.get("code", "")[:40], by=request.user)
    return f"{found} is confirmed."


def _delete(request: Request, found: Channel) -> str:
    services.channel_delete(channel=found, by=request.user)
    return f"{found} is deleted, with its rules and its log."


CHANNEL_STEPS: dict[str, Callable[[Request, Channel], str]] = {
    "test": _test, "pause": _pause, "resume": _resume, "confirm": _confirm, "delete": _delete,
}  # fmt: skip


def _address(owner: User | Project) -> str:
    if isinstance(owner, Project):
        return reverse("notify:project", args=[owner.slug])
    return reverse("notify:mine")


def _to(owner: User | Project) -> HttpResponse:
    return HttpResponseRedirect(_address(owner))
