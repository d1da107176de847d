"""Signing in and out, a forgotten password, entering by an invitation: what strangers may open."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from vad.errors import VadError
from webapp.accounts import audit, guard, invitations, passwords, sessions
from webapp.accounts.forms import ForgottenForm, NewPasswordForm, SignInForm, SignUpForm
from webapp.accounts.models import Invitation, Membership, User
from webapp.core.middleware import SESSION_KEY


class SignIn(LoginView):
    form_class = SignInForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        answer = super().form_valid(form)
        begin_session(self.request, form.get_user())
        return answer

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        answer = super().form_invalid(form)
        if isinstance(form, SignInForm) and form.wait_s:
            answer.status_code = 429
            answer["Retry-After"] = str(form.wait_s)
        return answer


def begin_session(request: HttpRequest, user: User) -> None:
    """Note from where a session that has just begun is."""
    sessions.describe(request, audit.address())
    audit.record("sign-in", by=user, subject=sessions.device(request.session[sessions.AGENT]))


class SignOut(LogoutView):
    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if request.user.is_authenticated:
            audit.record("sign-out", by=request.user)
        return super().post(request, *args, **kwargs)


@login_not_required
@never_cache
@sensitive_variables("secret")
@sensitive_post_parameters("password", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, secret: str) -> HttpResponse:
    """The page behind an invitation's link: sign up, or join as who is signed in."""
    invitation = invitations.find(secret)
    if request.user.is_authenticated and invitation is not None:
        mine = Membership.objects.filter(project=invitation.project, user=request.user)
        if mine.exists():
            return _into(request, invitation, f"You are in {invitation.project} already.")
    if invitation is None or invitation.problem:
        return _gone(request, invitations.unusable(invitation.problem if invitation else ""))
    try:
        if request.user.is_authenticated:
            return _join(request, invitation)
        return _sign_up(request, invitation, secret)
    except VadError as exc:
        return _gone(request, exc)


def _join(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    if request.method == "POST":
        assert isinstance(request.user, User)
        invitations.invitation_join(invitation=invitation, by=request.user)
        return _into(request, invitation, f"You have joined {invitation.project}.")
    return render(request, "accounts/join.html", {"invitation": invitation})


def _sign_up(request: HttpRequest, invitation: Invitation, secret: str) -> HttpResponse:
    form = SignUpForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            user = invitations.invitation_sign_up(
                invitation=invitation,
                username=form.cleaned_data["username"],
                password=form.cleaned_data["password"],
            )
        except VadError as exc:
            if exc.code == "invitation-unusable":
                raise
            form.show(exc)
        else:
            login(request, user)
            begin_session(request, user)
            return _into(request, invitation, f"Welcome to {invitation.project}.")
    there = reverse("join", args=[secret])
    context = {"invitation": invitation, "form": form, "there": there}
    return render(request, "accounts/join.html", context)


def _into(request: HttpRequest, invitation: Invitation, said: str) -> HttpResponse:
    request.session[SESSION_KEY] = invitation.project_id
    messages.success(request, said)
    return HttpResponseRedirect(reverse("runs:list"))


def _gone(request: HttpRequest, error: VadError) -> HttpResponse:
    return render(request, "accounts/join_gone.html", {"error": error}, status=410)


# --- a forgotten password -------------------------------------------------------------------


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Ask for a link to a new password; the answer is the same whether or not the name exists."""
    can_mail = passwords.by_mail()
    form = ForgottenForm(request.POST if request.method == "POST" else None)
    context = {"form": form, "can_mail": can_mail, "asked": False}
    if form.is_bound and form.is_valid() and can_mail:
        try:
            passwords.mail_ask(name=form.cleaned_data["name"], address=audit.address())
        except guard.Locked as exc:
            form.show(exc)
            answer = render(request, "accounts/forgotten.html", context, status=429)
            answer["Retry-After"] = str(exc.wait_s)
            return answer
        context["asked"] = True
    return render(request, "accounts/forgotten.html", context)


@login_not_required
@never_cache
@sensitive_variables("secret")
@sensitive_post_parameters("new", "again")
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest, secret: str) -> HttpResponse:
    """The page behind a link to a new password. Looking at it uses nothing up."""
    link = passwords.find(secret)
    if link is None or link.problem:
        return _gone(request, passwords.unusable(link.problem if link else ""))
    form = NewPasswordForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            user = passwords.password_set(link=link, new=form.cleaned_data["new"])
        except VadError as exc:
            if exc.code == "password-link-unusable":
                return _gone(request, exc)
            form.show(exc)
        else:
            return render(request, "accounts/password_set.html", {"person": user})
    return render(request, "accounts/password.html", {"form": form, "person": link.user})
