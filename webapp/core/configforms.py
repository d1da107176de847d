"""Form fields from the JSON schema of a run configuration (`RunConfig.json_schema()`).

One input a field, named as the field, so that `RunConfig.from_strings(request.POST)` reads it back.
An empty input means the default, which stands in the input as its placeholder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webapp.core.numbers import short_exponent

WORDS = {
    "lr": "Learning rate",
    "num_epochs": "Steps",
    "num_segments": "Segments",
    "eval_every": "Evaluate every",
    "checkpoint_every": "Checkpoint every",
    "kl_weight": "KL weight",
    "resize": "Frame size",
    "lr_schedule": "Learning-rate schedule",
    "pretrained_point": "Weights file to start from",
    "encoder_point": "Image weights to start from",
    "encoder_inflation": "Image weights over a tubelet",
    "stage1": "Stage 1",
    "num_tubelet": "Tubelets",
    "motion": "Motion score",
    "crf": "Quality (CRF)",
    "gop": "Key-frame distance",
    "videomae_variant": "VideoMAE variant",
    "ema_decay": "EMA decay",
}


@dataclass(frozen=True, kw_only=True)
class FormField:
    """What a template needs to draw one input."""

    name: str
    label: str
    help: str
    unit: str
    type: str
    default: str
    value: str
    error: str
    choices: tuple[str, ...]
    advanced: bool
    limits: str

    @property
    def is_number(self) -> bool:
        return self.type in ("integer", "number", "array")

    @property
    def is_wide(self) -> bool:
        """Names and paths take a line of their own."""
        return self.type == "string" and not self.choices


@dataclass(kw_only=True)
class FormGroup:
    """Fields that belong together; advanced ones are folded away unless they hold a problem."""

    name: str
    fields: list[FormField] = field(default_factory=list)

    @property
    def usual(self) -> list[FormField]:
        return [f for f in self.fields if not f.advanced]

    @property
    def advanced(self) -> list[FormField]:
        return [f for f in self.fields if f.advanced]

    @property
    def opened(self) -> bool:
        return any(f.error or (f.value and f.value != f.default) for f in self.advanced)


def form_groups(
    schema: Mapping[str, Any],
    values: Mapping[str, Any],
    errors: Mapping[str, str],
    *,
    prefix: str = "",
) -> list[FormGroup]:
    """Groups in the order in which the schema names them first."""
    groups: dict[str, FormGroup] = {}
    for name, spec in schema["properties"].items():
        if len(spec.get("enum", ())) == 1:
            continue  # nothing to choose
        title = spec.get("x-group") or "General"
        group = groups.setdefault(title, FormGroup(name=title))
        label = WORDS.get(name, name.replace("_", " ").capitalize())
        unit = spec.get("x-unit", "")
        group.fields.append(
            FormField(
                name=f"{prefix}{name}",
                label=label,
                help=spec.get("description", ""),
                unit="" if unit == label.lower() else unit,
                type=spec.get("type", "string"),
                default=as_text(spec.get("default")),
                value=as_text(values.get(name)),
                error=errors.get(name, ""),
                choices=tuple(as_text(choice) for choice in spec.get("enum", ())),
                advanced=bool(spec.get("x-advanced")),
                limits=_limits(spec),
            )
        )
    return list(groups.values())


def as_text(value: Any) -> str:
    """A value as `RunConfig.from_strings` reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(as_text(v) for v in value)
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e15
        return str(int(value)) if whole else short_exponent(repr(value))
    return str(value)


def _limits(spec: Mapping[str, Any]) -> str:
    """'1 to 4,096', 'above 0', or empty."""
    bounds = spec.get("items", spec) if spec.get("type") == "array" else spec
    low, high = bounds.get("minimum"), bounds.get("maximum")
    above = bounds.get("exclusiveMinimum")
    if low is None and above is not None:
        return f"Above {above:g}" + (f", at most {high:,g}" if high is not None else "")
    if low is not None and high is not None:
        return f"{_plain(low)} to {_plain(high)}"
    if low is not None:
        return f"At least {_plain(low)}"
    return f"At most {_plain(high)}" if high is not None else ""


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
