"""The forms of a channel and of a rule. What is allowed is decided by the services."""

from __future__ import annotations

from typing import Any

from django import forms

from webapp.accounts import access
from webapp.accounts.forms import StyledForm
from webapp.accounts.models import Project, User
from webapp.notify import queries
from webapp.notify.models import Event, Kind


class ChannelForm(StyledForm):
    kind = forms.ChoiceField(label="Kind", choices=Kind.choices)
    name = forms.CharField(label="Name", max_length=80)
    target = forms.CharField(
        label="Address",
        max_length=500,
        help_text="name@example.org, to which a code is sent; or https://… that takes JSON.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


class RuleForm(StyledForm):
    """A rule of one of the owner's channels; the runs of a project's channel are the project's."""

    channel = forms.ChoiceField(label="Tell")
    event = forms.ChoiceField(label="When", choices=Event.choices)
    of = forms.ChoiceField(label="Of")
    metric_key = forms.CharField(
        label="Metric", max_length=120, required=False, help_text="As the run's charts name it."
    )
    above = forms.ChoiceField(
        label="Goes", choices=[("yes", "above"), ("no", "below")], required=False
    )
    value = forms.FloatField(label="Value", required=False)
    minutes = forms.IntegerField(label="Longer than", min_value=1, required=False)

    def __init__(self, *args: Any, owner: User | Project, by: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.channels = {str(c.pk): c for c in queries.channels(owner, by)}
        self.projects: dict[str, Project | None] = {}
        if isinstance(owner, Project):
            self.projects[owner.slug] = owner
            named = [(owner.slug, f"All runs of {owner}")]
        else:
            mine = {p.slug: p for p in access.projects(by).order_by("name")}
            self.projects |= {"*": None, **mine}
            named = [("*", "My runs"), *((s, f"All runs of {p}") for s, p in mine.items())]
        self._choose("of", named)
        self._choose("channel", [(pk, str(c)) for pk, c in self.channels.items()])

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def rule(self) -> dict[str, Any]:
        """What `services.rule_create` takes."""
        given = self.cleaned_data
        return {
            "channel": self.channels[given["channel"]],
            "event": given["event"],
            "project": self.projects[given["of"]],
            "metric_key": given["metric_key"],
            "above": given["above"] != "no",
            "value": given["value"],
            "minutes": given["minutes"],
        }
