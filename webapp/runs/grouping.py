"""The runs table by group: how many there are, and what they reach on average.

An evaluation counts once in a group, however many of its runs it belongs to: that of a training
and of its evaluate run is the same number.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from vad.configs import CONFIGS
from webapp.core.jsonvalues import JsonNumber, JsonText, JsonWithout
from webapp.core.numbers import short_exponent
from webapp.datasets.models import DatasetVersion
from webapp.runs.filtering.names import CONFIG, Ref, Type, config_fields, ref
from webapp.runs.filtering.tree import Condition, text_of
from webapp.runs.models import ENDED, Run, State
from webapp.runs.ordering import Sort
from webapp.runs.results import Best, best_of

SEEDS = "seeds"
NONE = "(none)"
PLAIN = {
    SEEDS: "seeds of a configuration",
    "tag": "tag",
    "dataset": "data set",
    "kind": "kind",
    "owner": "owner",
}
_SEED = re.compile(r",? ?\bseed \d+\b")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample deviation of n values; no deviation of one."""

    mean: float
    deviation: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        real = [value for value in values if value is not None]
        if not real:
            return None
        deviation = statistics.stdev(real) if len(real) > 1 else None
        return cls(mean=statistics.fmean(real), deviation=deviation, n=len(real))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that share a value.

    Args:
        key: names the group in `open=`.
        ids: its runs, in the order of the table.
        seeds: how many different seeds its runs have; of groups by seeds only.
        settings: its kind and configuration without the seed; of groups by seeds only.
        differs: the settings in which it differs from other groups of the page (`told_apart`).
        filter: a filter that finds just these runs; empty where the language has none.
    """

    key: str
    title: str
    ids: tuple[UUID, ...]
    active: int
    auc: Spread | None
    ap: Spread | None
    seeds: int = 0
    settings: tuple[str, str] = ("", "{}")
    differs: str = ""
    filter: str = ""

    @property
    def count(self) -> int:
        return len(self.ids)


def by(text: str) -> str:
    """What `group=` says, in its own spelling; empty for what cannot be grouped by."""
    if text in PLAIN:
        return text
    if text == "seed":
        return SEEDS
    found = ref(text)
    if found is None or found.of != CONFIG or found.type == Type.LIST:
        return ""
    return str(found)


def choices(current: str = "") -> list[tuple[str, list[tuple[str, str]]]]:
    """What the menu offers to group by, and its words: the settings of trainings, and `current`."""
    settings = [(f"{CONFIG}.{name}", name) for name in _settings()]
    if current and current not in dict(settings) and current not in PLAIN:
        settings.append((current, word(current)))
    return [("", list(PLAIN.items())), ("Setting", settings)]


@cache
def _settings() -> tuple[str, ...]:
    trained = [c for kind, c in CONFIGS.items() if kind.startswith("train")]
    names = {name for config in trained for name in config.json_schema()["properties"]}
    return tuple(n for n in sorted(names) if config_fields()[n].type != Type.LIST)


def word(group: str) -> str:
    return PLAIN.get(group) or group.removeprefix(f"{CONFIG}.")


@dataclass(frozen=True, kw_only=True)
class _Member:
    pk: UUID
    state: str
    keys: Sequence[Any]  # of its groups: one, or with tags several
    name: str = ""
    seed: Any = None


def groups(found: QuerySet[Run], group: str, sort: Sort) -> list[Group]:
    """All groups, those with the most runs first, or by the mean that `sort` names."""
    members: dict[Any, list[_Member]] = {}
    for member in _members(found.order_by("-created_at", "-pk"), group):
        for key in member.keys:
            members.setdefault(key, []).append(member)
    best = best_of(found.order_by().values("pk"), ("auc", "ap"))
    named = _names(group, list(members))
    made = [_filled(named(key, runs), runs, best) for key, runs in members.items()]
    return sorted(made, key=_order(sort))


def _filled(group: Group, runs: Sequence[_Member], best: Mapping[UUID, Best]) -> Group:
    idle = {*ENDED, State.HELD}
    once = {b.evaluation: b for run in runs if (b := best.get(run.pk)) is not None}
    return replace(
        group,
        ids=tuple(run.pk for run in runs),
        active=sum(run.state not in idle for run in runs),
        auc=Spread.of(b.values["auc"] for b in once.values()),
        ap=Spread.of(b.values["ap"] for b in once.values()),
    )


def _order(sort: Sort) -> Callable[[Group], Any]:
    if sort.key not in ("auc", "ap"):
        return lambda group: (-group.count, group.title, group.key)
    sign = -1 if sort.falling else 1

    def by_mean(group: Group) -> Any:
        spread: Spread | None = getattr(group, sort.key)
        return (spread is None, sign * spread.mean if spread else 0.0, -group.count, group.key)

    return by_mean


def _shown(value: Any) -> str:
    return short_exponent(f"{value:g}") if isinstance(value, float) else str(value)


def told_apart(page: Sequence[Group]) -> list[Group]:
    """The groups of a page, each with the settings in which groups of its kind differ."""
    settings = {group.key: json.loads(group.settings[1]) for group in page}
    values: dict[tuple[str, str], set[str]] = {}
    for group in page:
        for name, value in settings[group.key].items():
            values.setdefault((group.settings[0], name), set()).add(json.dumps(value))
    kinds = Counter(group.settings[0] for group in page)
    found = []
    for group in page:
        parts = [
            f"{name} {_shown(value)}"
            for name, value in settings[group.key].items()
            if kinds[group.settings[0]] > 1 and len(values[group.settings[0], name]) > 1
        ]
        found.append(replace(group, differs=", ".join(parts)))
    return found


# --- the key of a run's group ---------------------------------------------------------------


def _members(rows: QuerySet[Run], group: str) -> Iterable[_Member]:
    name = ref(group)
    if group == SEEDS:
        yield from _by_settings(rows)
    elif group == "tag":
        for pk, state, tags in rows.values_list("pk", "state", "tags"):
            yield _Member(pk=pk, state=state, keys=tags or [None])
    elif name is not None and name.of == CONFIG:
        annotated = rows.annotate(
            as_number=JsonNumber("config", name.name), as_text=JsonText("config", name.name)
        )
        for pk, state, number, text in annotated.values_list("pk", "state", "as_number", "as_text"):
            yield _Member(pk=pk, state=state, keys=[text if number is None else float(number)])
    else:
        column = {"dataset": "version_id", "kind": "kind", "owner": "owner__username"}[group]
        for pk, state, value in rows.values_list("pk", "state", column):
            yield _Member(pk=pk, state=state, keys=[value])


def _by_settings(rows: QuerySet[Run]) -> Iterable[_Member]:
    """One group a configuration but for its seed, on the same inputs.

    An evaluate run belongs to the group of the run that it evaluated.
    """
    annotated = rows.annotate(
        settings=JsonWithout("config", "seed"), seed=JsonNumber("config", "seed"),
        of_settings=JsonWithout("of_run__config", "seed"),
        of_seed=JsonNumber("of_run__config", "seed"),
    )  # fmt: skip
    own = ("kind", "version_id", "feature_set_id", "settings", "seed")
    of = ("of_run__kind", "of_run__version_id", "of_run__feature_set_id", "of_settings", "of_seed")
    for pk, state, name, of_id, *given in annotated.values_list(
        "pk", "state", "name", "of_run_id", *own, *of
    ):
        kind, version, features, settings, seed = given[len(own) :] if of_id else given[: len(own)]
        key = (kind, version, features, _canonical(settings))
        yield _Member(pk=pk, state=state, keys=[key], name="" if of_id else name, seed=seed)


@lru_cache(maxsize=20_000)
def _canonical(text: str) -> str:
    """The same text for the same object, whatever the order of its keys."""
    return json.dumps(json.loads(text), sort_keys=True)


# --- what a group is called -----------------------------------------------------------------


def _names(group: str, keys: Sequence[Any]) -> Callable[[Any, Sequence[_Member]], Group]:
    """Gives a key and its runs their group, still without numbers."""
    empty = Group(key=NONE, title=NONE, ids=(), active=0, auc=None, ap=None)
    if group == SEEDS:
        return _named_by_settings
    titles: dict[Any, str] = {}
    if group == "dataset":
        versions = DatasetVersion.objects.filter(pk__in=[key for key in keys if key])
        titles = {v.pk: str(v) for v in versions.select_related("dataset")}
    if group == "kind":
        titles = {kind: config.title for kind, config in CONFIGS.items()}
    field = ref(group) or Ref(group)

    def named(key: Any, _: Sequence[_Member]) -> Group:
        if key is None:
            return empty
        title = titles.get(key) or _shown(key)
        value: Any = title if group == "dataset" else key
        operator = ":" if field == Ref("tag") else "="
        wanted = text_of(Condition(field, operator, value))
        return replace(empty, key=str(value), title=title, filter=wanted)

    return named


def _named_by_settings(key: Any, runs: Sequence[_Member]) -> Group:
    """By the name of its newest run without the seed."""
    name = next((run.name for run in runs if run.name), "")
    kind, _, _, settings = key
    return Group(
        key=hashlib.blake2b(repr(key).encode(), digest_size=6).hexdigest(),
        title=_SEED.sub("", name) or CONFIGS[kind].title,
        ids=(), active=0, auc=None, ap=None,
        seeds=len({run.seed for run in runs if run.seed is not None}),
        settings=(kind, settings),
    )  # fmt: skip
