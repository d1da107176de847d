"""What the runs table filters, sorts, groups and shows by: one name each, the same everywhere.

A plain field (`auc`, `created`), a setting (`config.lr`: a field of a configuration of ours, or of
a script that trains elsewhere), or the last, least or greatest value of a metric
(`last(loss/total)`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from vad.configs import CONFIGS

CONFIG = "config"
METRIC_VALUES = ("last", "min", "max")


class Type(StrEnum):
    """What the values of a field are; decides the operators and how a value is written."""

    NUMBER = "number"
    TIME = "time"
    DURATION = "duration"
    TEXT = "text"
    CHOICE = "choice"
    TAG = "tag"
    SETTING = "setting"  # of a script: a number in one run, a text in another
    LIST = "list"  # shown, but not compared


ORDER = ("=", "!=", "<", "<=", ">", ">=")
OPERATORS: Mapping[Type, tuple[str, ...]] = {
    Type.NUMBER: ORDER,
    Type.TIME: ORDER,
    Type.DURATION: ORDER,
    Type.TEXT: (":", "=", "!="),
    Type.CHOICE: (":", "=", "!="),
    Type.TAG: (":", "="),
    Type.SETTING: (":", *ORDER),
    Type.LIST: (),
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """A plain field.

    Args:
        best: path of the number in the run's best evaluation: its column, then keys of JSON.
    """

    type: Type
    title: str
    help: str
    best: tuple[str, ...] = ()
    decimals: int = 0


def _best(title: str, help: str, *path: str, decimals: int = 4) -> Field:
    text = f"{help} Of the run's best evaluation, the one with the highest frame AUC."
    return Field(type=Type.NUMBER, title=title, help=text, best=path, decimals=decimals)


FIELDS: Mapping[str, Field] = {
    "auc": _best("AUC", "Frame-level ROC AUC.", "frame_auc"),
    "ap": _best("AP", "Frame-level average precision in steps.", "frame_ap"),
    "pr_auc": _best("PR-AUC", "Frame-level PR-AUC by trapezoids.", "metrics", "ap_pr_auc"),
    "auc_abnormal": _best(
        "AUC abn.", "Frame AUC over the abnormal videos only.", "metrics", "auc_abnormal"
    ),
    "video_auc": _best("Video AUC", "AUC of whole videos.", "metrics", "video_auc"),
    "far_normal": _best(
        "FAR", "False-alarm rate on normal videos.", "metrics", "far_normal"
    ),
    "patch_auc": _best(
        "Patch AUC", "ROC AUC over patches, gated by the frame.", "patch", "metrics", "patch_auc"
    ),
    "patch_ap": _best(
        "Patch AP", "Average precision over patches.", "patch", "metrics", "patch_ap_step"
    ),
    "patch_pr_auc": _best(
        "Patch PR-AUC", "Patch PR-AUC by trapezoids.", "patch", "metrics", "patch_ap_pr_auc"
    ),
    "tiou": _best("TIoU", "Mean IoU of predicted and true box.", "patch", "metrics", "tiou"),
    "rbdc": _best("RBDC", "Region detection.", "patch", "metrics", "rbdc"),
    "tbdc": _best("TBDC", "Track detection.", "patch", "metrics", "tbdc"),
    "name": Field(type=Type.TEXT, title="Name", help="The run's name."),
    "state": Field(type=Type.CHOICE, title="State", help="Its state; active is all that go on."),
    "kind": Field(type=Type.CHOICE, title="Kind", help="What kind of run it is."),
    "tag": Field(type=Type.TAG, title="Tags", help="The run has this tag."),
    "owner": Field(type=Type.TEXT, title="Owner", help="Who queued it."),
    "dataset": Field(type=Type.TEXT, title="Data set", help="Name and version of its data set."),
    "sweep": Field(type=Type.TEXT, title="Sweep", help="Name or id of the sweep it is a trial of."),
    "notes": Field(type=Type.TEXT, title="Notes", help="What people wrote about it."),
    "created": Field(type=Type.TIME, title="Queued", help="When it was queued."),
    "started": Field(type=Type.TIME, title="Started", help="When it first started."),
    "ended": Field(type=Type.TIME, title="Ended", help="When it ended."),
    "took": Field(
        type=Type.DURATION, title="Took", help="From its start to its end, or to now."
    ),
    "steps": Field(type=Type.NUMBER, title="Steps", help="Steps, videos or files that are done."),
    "attempt": Field(type=Type.NUMBER, title="Attempt", help="How often it was started."),
    "priority": Field(type=Type.NUMBER, title="Priority", help="Its priority in the queue."),
}  # fmt: skip


@dataclass(frozen=True)
class Ref:
    """A name. `of` is empty for a plain field, `config`, or one of `METRIC_VALUES`."""

    name: str
    of: str = ""

    def __str__(self) -> str:
        if self.of == CONFIG:
            return f"config.{self.name}"
        if self.of:
            return f"{self.of}({quoted(self.name) if needs_quotes(self.name) else self.name})"
        return self.name

    @property
    def type(self) -> Type:
        if self.of == CONFIG:
            return config_field(self.name).type
        return Type.NUMBER if self.of else FIELDS[self.name].type

    @property
    def is_foreign(self) -> bool:
        """Whether it is a setting that no configuration of ours has."""
        return self.of == CONFIG and self.name not in config_fields()

    @property
    def title(self) -> str:
        if self.of == CONFIG:
            return self.name
        if self == LOSS:
            return "Loss"
        return f"{self.of} {self.name}" if self.of else FIELDS[self.name].title

    @property
    def help(self) -> str:
        if self.of == CONFIG:
            return config_field(self.name).help
        if self.of:
            word = {"last": "Last", "min": "Least", "max": "Greatest"}[self.of]
            return f"{word} value of the metric {self.name}."
        return FIELDS[self.name].help


LOSS = Ref("loss/total", "last")
ALIASES: Mapping[str, Ref] = {"loss": LOSS, "seed": Ref("seed", CONFIG)}
_WORD = re.compile(r'[^\s()"=<>!:]+')
_SETTING = re.compile(r'[^\s()"=<>!:,]{1,250}')
_METRIC = re.compile(r'(last|min|max)\((?:"((?:[^"\\]|\\.)*)"|([^\s()"]+))\)')


@dataclass(frozen=True, kw_only=True)
class ConfigField:
    """A field of any kind's configuration."""

    type: Type
    help: str
    choices: tuple[str, ...]


@cache
def config_fields() -> Mapping[str, ConfigField]:
    """All fields of all kinds of runs, by name."""
    found: dict[str, ConfigField] = {}
    for config in CONFIGS.values():
        for name, spec in config.json_schema()["properties"].items():
            choices = tuple(_text(choice) for choice in spec.get("enum", ()) if choice is not None)
            before = found.get(name)
            if before is not None:
                choices = tuple(dict.fromkeys((*before.choices, *choices)))
            type_ = _type(spec)
            if type_ == Type.TEXT and spec.get("type") == "boolean":
                choices = ("true", "false")
            found[name] = ConfigField(type=type_, help=spec.get("description", ""), choices=choices)
    return dict(sorted(found.items()))


FOREIGN = ConfigField(
    type=Type.SETTING, help="A setting of runs that are trained elsewhere.", choices=()
)


def config_field(name: str) -> ConfigField:
    """The field of this name; for what no configuration of ours has, `FOREIGN`."""
    return config_fields().get(name, FOREIGN)


def can_be_written(setting: str) -> bool:
    """Whether a script's setting has a name that stands after `config.` as one word."""
    return bool(_SETTING.fullmatch(setting))


def _type(spec: Mapping[str, Any]) -> Type:
    types = spec.get("type", "string")
    names = {types} if isinstance(types, str) else set(types)
    if "array" in names:
        return Type.LIST
    return Type.NUMBER if names & {"integer", "number"} else Type.TEXT


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def ref(text: str) -> Ref | None:
    """The name that this text is, as in `sort=` and `cols=`; None when it is none."""
    metric = _METRIC.fullmatch(text)
    if metric:
        return Ref(unquoted(metric[2]) if metric[2] is not None else metric[3], metric[1])
    if text in ALIASES:
        return ALIASES[text]
    of, dot, name = text.partition(".")
    if dot and of == CONFIG:
        own = config_fields()
        name = next((known for known in (name, name.lower()) if known in own), name)
        return Ref(name, CONFIG) if can_be_written(name) else None
    return Ref(text) if text in FIELDS else None


def spoken() -> Iterator[str]:
    """Every name that can be written before an operator, but for metrics."""
    yield from FIELDS
    yield from ALIASES
    yield from (f"{CONFIG}.{name}" for name in config_fields())


def needs_quotes(text: str) -> bool:
    """Whether a word must be quoted to be read as one word of text, or as one value."""
    return not _WORD.fullmatch(text) or text.lower() in ("and", "or", "not")


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unquoted(inner: str) -> str:
    """What stands between quotes, without the escapes."""
    return re.sub(r"\\(.)", r"\1", inner, flags=re.S)
