"""The forms of signing in and of the settings. What is allowed is decided by the services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from vad.errors import VadError
from webapp.accounts import access, audit, guard
from webapp.accounts.invitations import MOST_DAYS, MOST_USES
from webapp.accounts.models import Role, Scope, User
from webapp.accounts.tokens import DAYS

_PASSWORD_HELP = "At least 12 characters; no common word, and not like your name."


class SignInForm(AuthenticationForm):
    """Name and password, behind the lock-out."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This name and password do not belong together. "
        "Capital letters count in both.",
    }
    wait_s = 0  # how long it is locked

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not name or not password:
            return self.cleaned_data
        try:
            tried = guard.begin(username=name, address=audit.address())
        except guard.Locked as exc:
            self.wait_s = exc.wait_s
            raise ValidationError(exc.message, code="locked") from None
        try:
            cleaned = super().clean()
        except ValidationError:
            known = User.objects.filter(username=name).first()  # a typed name is never kept
            subject = known.username if known else ""
            audit.record("sign-in-failed", by=known, subject=subject)
            if tried.locks:
                audit.record("sign-in-locked", by=known, subject=subject)
            raise
        guard.succeeded(tried)
        return cleaned


class StyledForm(forms.Form):
    """Inputs as the style sheet knows them; problems of a service beside their fields."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            css = "form-select" if isinstance(field.widget, forms.Select) else "form-control"
            field.widget.attrs["class"] = css

    def show(self, error: VadError) -> None:
        """Put what a service found wrong at its fields."""
        for name, text in error.fields.items():
            self.add_error(name if name in self.fields else None, text)
        if not error.fields:
            self.add_error(None, f"{error.message} {error.hint}")


def _secret(label: str, autocomplete: str, help_text: str = "") -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": autocomplete})
    return forms.CharField(label=label, widget=widget, strip=False, help_text=help_text)


class SignUpForm(StyledForm):
    username = forms.CharField(
        label="Name",
        max_length=150,
        help_text="Others see it beside your runs. Letters, digits and @ . + - _.",
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )
    password = _secret("Password", "new-password", _PASSWORD_HELP)
    again = _secret("Password again", "new-password")

    def clean(self) -> dict[str, Any]:
        return _same(self, "password")


class PasswordForm(StyledForm):
    old = _secret("Password now", "current-password")
    new = _secret("New password", "new-password", _PASSWORD_HELP)
    again = _secret("New password again", "new-password")

    def clean(self) -> dict[str, Any]:
        return _same(self, "new")


class NewPasswordForm(StyledForm):
    """Behind a link; the person is known by it."""

    new = _secret("New password", "new-password", _PASSWORD_HELP)
    again = _secret("New password again", "new-password")

    def clean(self) -> dict[str, Any]:
        return _same(self, "new")


class ForgottenForm(StyledForm):
    name = forms.CharField(
        label="Name or mail address",
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
    )


class RecoveryForm(StyledForm):
    """Which of the addresses that the person has confirmed; `known` are those."""

    NOWHERE = "-"
    address = forms.ChoiceField(label="Send it to")
    password = _secret("Password now", "current-password")

    def __init__(self, *args: Any, known: Sequence[str], now: str, **kwargs: Any) -> None:
        super().__init__(
            *args, initial={"address": now or self.NOWHERE}, prefix="recovery", **kwargs
        )
        field = self.fields["address"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(self.NOWHERE, "nowhere"), *((each, each) for each in known)]

    def clean_address(self) -> str:
        given = str(self.cleaned_data["address"])
        return "" if given == self.NOWHERE else given


def _same(form: forms.Form, name: str) -> dict[str, Any]:
    cleaned = form.cleaned_data
    if name in cleaned and "again" in cleaned and cleaned[name] != cleaned["again"]:
        form.add_error("again", "The two are not the same.")
    return cleaned


class ProjectForm(StyledForm):
    name = forms.CharField(label="Name", max_length=80)


class TokenForm(StyledForm):
    name = forms.CharField(label="Name", max_length=80, help_text="Where it will be used.")
    scope = forms.ChoiceField(
        label="May", choices=Scope.choices, help_text="Never more than your own role allows."
    )
    project = forms.ChoiceField(label="Reaches")
    days = forms.TypedChoiceField(
        label="Expires",
        coerce=int,
        choices=[(7, "in 7 days"), (30, "in 30 days"), (90, "in 90 days"), (365, "in a year")],
        initial=DAYS,
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mine = access.memberships(user).select_related("project").order_by("project__name")
        self.projects = {m.project.slug: m.project for m in mine}
        named = [(slug, f"{project.name} only") for slug, project in self.projects.items()]
        field = self.fields["project"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("*", "All your projects"), *named]


class InvitationForm(StyledForm):
    note = forms.CharField(label="For", max_length=80, required=False)
    role = forms.ChoiceField(label="Role", choices=Role.choices, initial=Role.MEMBER)
    days = forms.IntegerField(label="Valid for", min_value=1, max_value=MOST_DAYS, initial=7)
    max_uses = forms.IntegerField(label="People", min_value=1, max_value=MOST_USES, initial=1)
