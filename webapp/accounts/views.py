"""The settings: oneself, one's tokens and projects, and the people of a project."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from vad.errors import VadError
from webapp.accounts import access, invitations, passwords, queries, services
from webapp.accounts.forms import (
    InvitationForm,
    PasswordForm,
    ProjectForm,
    RecoveryForm,
    TokenForm,
)
from webapp.accounts.models import ApiToken, Invitation, Project, Role, User
from webapp.accounts.tokens import token_create, token_revoke
from webapp.core.http import Request
from webapp.core.middleware import SESSION_KEY

# --- oneself --------------------------------------------------------------------------------


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: Request) -> HttpResponse:
    """Password and sessions; a POST changes the password."""
    return _account(request, PasswordForm(request.POST if request.method == "POST" else None))


def _account(
    request: Request, form: PasswordForm, recovery: RecoveryForm | None = None
) -> HttpResponse:
    if form.is_bound and form.is_valid():
        try:
            services.password_change(
                user=request.user,
                old=form.cleaned_data["old"],
                new=form.cleaned_data["new"],
                keep=request.session.session_key,
            )
        except VadError as exc:
            form.show(exc)
        else:
            update_session_auth_hash(request, request.user)
            messages.success(request, "Password changed. All other sessions have ended.")
            return HttpResponseRedirect(reverse("settings:account"))
    known = queries.confirmed_addresses(request.user)
    context = {
        "form": form,
        "sessions": queries.session_rows(request.user, request.session.session_key),
        "can_mail": passwords.by_mail(),
        "known": known,
        "recovery": recovery or RecoveryForm(known=known, now=request.user.email),
    }
    return render(request, "accounts/account.html", context)


@sensitive_post_parameters()
@require_POST
def recovery_mail(request: Request) -> HttpResponse:
    """Where a link to a new password goes."""
    known = queries.confirmed_addresses(request.user)
    form = RecoveryForm(request.POST, known=known, now=request.user.email)
    if not form.is_valid():
        return _account(request, PasswordForm(), form)
    address = form.cleaned_data["address"]
    try:
        services.recovery_mail_set(
            user=request.user, address=address, password=form.cleaned_data["password"], known=known
        )
    except VadError as exc:
        form.show(exc)
        return _account(request, PasswordForm(), form)
    said = f"A forgotten password is helped at {address}." if address else "No mail any more."
    messages.success(request, said)
    return HttpResponseRedirect(reverse("settings:account"))


@require_POST
def sessions_end(request: Request) -> HttpResponse:
    """End one session by its handle, or all but this one."""
    this, handle = request.session.session_key, request.POST.get("session", "")
    ended = services.sessions_end(
        user=request.user,
        which=lambda row: row.session_key != this and handle in ("others", row.handle),
    )
    messages.success(request, f"{ended} session{'' if ended == 1 else 's'} ended.")
    return HttpResponseRedirect(reverse("settings:account"))


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: Request) -> HttpResponse:
    """Tokens; a POST makes one, and its answer is the only page that ever shows it."""
    form = TokenForm(request.POST if request.method == "POST" else None, user=request.user)
    made, secret = None, ""
    if form.is_bound and form.is_valid():
        given = form.cleaned_data
        try:
            made, secret = token_create(
                by=request.user,
                name=given["name"],
                scope=given["scope"],
                project=form.projects.get(given["project"]),
                days=given["days"],
            )
        except VadError as exc:
            form.show(exc)
        else:
            form = TokenForm(user=request.user)
    context = {"form": form, "made": made, "secret": secret, "tokens": queries.tokens(request.user)}
    return render(request, "accounts/tokens.html", context)


@require_POST
def token_end(request: Request, token_id: int) -> HttpResponse:
    token = get_object_or_404(ApiToken, pk=token_id, user=request.user)
    token_revoke(token=token, by=request.user)
    messages.success(request, f"{token.name} is revoked.")
    return HttpResponseRedirect(reverse("settings:tokens"))


# --- projects -------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def projects(request: Request) -> HttpResponse:
    """All one's projects; a POST creates one and goes there."""
    form = ProjectForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            made = services.project_create(name=form.cleaned_data["name"], by=request.user)
        except VadError as exc:
            form.show(exc)
        else:
            request.session[SESSION_KEY] = made.pk
            messages.success(request, f"{made} is created, and you work in it now.")
            return _to(made)
    context = {"form": form, "rows": queries.project_rows(request.user)}
    return render(request, "accounts/projects.html", context)


@require_POST
def project_switch(request: Request) -> HttpResponse:
    """Work in another project, and go on where one was if that page is not of the old one."""
    slug = request.POST.get("project", "")
    project = get_object_or_404(access.projects(request.user), slug=slug)
    request.session[SESSION_KEY] = project.pk
    to = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(to, {request.get_host()}, request.is_secure()):
        to = reverse("runs:list")
    return HttpResponseRedirect(to)


@never_cache
@require_safe
def project(request: Request, slug: str) -> HttpResponse:
    """People of a project, and for its admins the links into it."""
    return _project_page(request, queries.project_of(request.user, slug))


def _project_page(request: Request, found: Project, **more: Any) -> HttpResponse:
    can_admin = access.administered(request.user).filter(pk=found.pk).exists()
    members = list(queries.members(found))
    context: dict[str, Any] = {
        "shown": found,
        "can_admin_shown": can_admin,
        "members": members,
        "mine": next((m for m in members if m.user_id == request.user.pk), None),
        "admins": sum(m.role == Role.ADMIN and m.user.is_active for m in members),
        "roles": Role.choices,
    }
    if can_admin:
        context |= {
            "invitations": queries.invitations(found),
            "form": InvitationForm(),
            "rename": ProjectForm(initial={"name": found.name}, prefix="project"),
        }
    return render(request, "accounts/project.html", context | more)


@require_POST
def project_rename(request: Request, slug: str) -> HttpResponse:
    found = queries.administered(request.user, slug)
    form = ProjectForm(request.POST, prefix="project")
    if form.is_valid():
        try:
            services.project_rename(project=found, name=form.cleaned_data["name"], by=request.user)
        except VadError as exc:
            form.show(exc)
            found.refresh_from_db()
        else:
            messages.success(request, f"The project is called {found} now.")
            return _to(found)
    return _project_page(request, found, rename=form)


@require_POST
def project_leave(request: Request, slug: str) -> HttpResponse:
    found = queries.project_of(request.user, slug)
    services.project_leave(project=found, by=request.user)
    messages.success(request, f"You have left {found}.")
    return HttpResponseRedirect(reverse("settings:projects"))


@require_POST
def member(request: Request, slug: str, user_id: int) -> HttpResponse:
    """Change a member's role, or remove them."""
    found = queries.administered(request.user, slug)
    person = get_object_or_404(User, pk=user_id, membership__project=found)
    if request.POST.get("action") == "remove":
        services.member_remove(project=found, user=person, by=request.user)
        messages.success(request, f"{person} is no member of {found} any more.")
        if person == request.user:
            return HttpResponseRedirect(reverse("settings:projects"))
    else:
        role = request.POST.get("role", "")
        services.member_set_role(project=found, user=person, role=role, by=request.user)
        article = "an" if role == Role.ADMIN else "a"
        messages.success(request, f"{person} is {article} {role} now.")
    return _to(found)


@never_cache
@require_POST
def invitation_new(request: Request, slug: str) -> HttpResponse:
    """Make a link; this answer is the only page that ever shows it."""
    found = queries.administered(request.user, slug)
    form = InvitationForm(request.POST)
    if form.is_valid():
        try:
            made, secret = invitations.invitation_create(
                project=found, by=request.user, **form.cleaned_data
            )
        except VadError as exc:
            form.show(exc)
        else:
            link = request.build_absolute_uri(reverse("join", args=[secret]))
            return _project_page(request, found, made=made, link=link)
    return _project_page(request, found, form=form)


@require_POST
def invitation_end(request: Request, slug: str, invitation_id: int) -> HttpResponse:
    found = queries.administered(request.user, slug)
    invitation = get_object_or_404(Invitation, pk=invitation_id, project=found)
    invitations.invitation_revoke(invitation=invitation, by=request.user)
    messages.success(request, "The invitation is revoked.")
    return _to(found)


@require_safe
def audit(request: Request, slug: str) -> HttpResponse:
    """The project's audit log, for its admins."""
    found = queries.administered(request.user, slug)
    filters = queries.AuditFilters.of(request.GET)
    events = queries.audit_events(found, filters, by=request.user)
    part = Paginator(events, queries.AUDIT_PAGE).get_page(request.GET.get("page"))
    context = {
        "shown": found,
        "can_admin_shown": True,
        "filters": filters,
        "page": part,
        "kinds": queries.audit_kinds(),
    }
    return render(request, "accounts/audit.html", context)


def _to(found: Project) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("settings:project", args=[found.slug]))
