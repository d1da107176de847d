"""The form of a new sweep: made from the configuration's schema, read back with its problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from vad.configs import CONFIGS, TwoStageConfig, UrdmuConfig
from vad.errors import ConfigError, VadError
from webapp.accounts.models import Project, User
from webapp.core.configforms import WORDS, as_text
from webapp.runs import choices
from webapp.runs.models import Run
from webapp.sweeps import objectives, services, space
from webapp.sweeps.models import StopRule, Strategy, Sweep, Take

KINDS = [(UrdmuConfig.kind, "UR-DMU"), (TwoStageConfig.kind, "STPVAD (both stages)")]
FIELDS = (
    "name", "inputs", "strategy", "settings", "seeds", "parallel", "entropy", "objective",
    "direction", "take", "stop_rule", "stop_after", "stop_least", "evaluate", "tags", "priority",
    "gpus", "memory_mb", "time_limit",
)  # fmt: skip
USUAL = {
    "strategy": Strategy.GRID, "settings": "20", "parallel": "4",
    "objective": "validation/video_auc", "take": Take.BEST, "stop_after": "500",
    "stop_least": "4", "evaluate": "yes",
}  # fmt: skip
ROWS = 4  # of swept settings at first


@dataclass(frozen=True, kw_only=True)
class SweptRow:
    """One swept setting on the form."""

    index: int
    name: str
    values: str
    error: str


def rows_of(given: QueryDict | Mapping[str, str], errors: Mapping[str, str]) -> list[SweptRow]:
    """The rows that were sent, and as many more as there are at first or were asked for."""
    count = ROWS
    while count < space.MOST_SETTINGS and given.get(f"swept-{count}") is not None:
        count += 1
    if given.get("more"):
        count = min(count + 2, space.MOST_SETTINGS)
    rows = []
    for index in range(count):
        name = given.get(f"swept-{index}", "") or ""
        rows.append(
            SweptRow(
                index=index, name=name, values=given.get(f"values-{index}", "") or "",
                error=errors.get(f"swept:{name}", "") if name else "",
            )
        )  # fmt: skip
    return rows


def context_of(project: Project, kind: str) -> dict[str, Any]:
    """What the form offers."""
    schema = CONFIGS[kind].json_schema()
    properties = dict(schema["properties"])
    properties["device"] = properties.pop("device")  # the last of the groups
    default_seed = as_text(properties.pop("seed")["default"])
    versions = choices.versions(project)
    if kind != UrdmuConfig.kind:
        versions = [v for v in versions if v.has_media]  # type: ignore[attr-defined]
    inputs = choices.inputs(versions)
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, spec in space.sweepable(kind).items():
        word = WORDS.get(name, name.replace("_", " ").capitalize())
        groups.setdefault(spec.get("x-group") or "General", []).append((name, word))
    return {
        "kind": kind,
        "kinds": KINDS,
        "schema": {**schema, "properties": properties},
        "names": list(properties),
        "default_seed": default_seed,
        "inputs": inputs,
        "missing": None if inputs else choices.missing_data(kind),
        "sweepable": list(groups.items()),
        "strategies": Strategy.choices,
        "takes": Take.choices,
        "stop_rules": StopRule.choices,
        "objectives": objectives.offered(kind),
    }


def prefilled(source: Run | None) -> dict[str, str]:
    """The form at first: from a run, if there is one to start from."""
    values = dict(USUAL)
    if source is not None:
        values |= {name: as_text(value) for name, value in source.config.items()}
        values["seeds"] = values.pop("seed", "")
        values["inputs"] = f"features:{source.feature_set_id}"
        values["tags"] = " ".join(source.tags)
    return values


def create(*, project: Project, by: User, kind: str, given: Mapping[str, str]) -> Sweep:
    """The sweep that the form asks for.

    Raises:
        VadError: with the problems by the form's inputs; those of a swept setting as `swept:NAME`.
    """
    problems: dict[str, str] = {}
    config = choices.read_config(kind, given, problems)
    swept = _space(kind, given, problems)
    numbers = {
        name: choices.read_number(given, name, problems, least=least, most=most)
        for name, least, most in (
            ("settings", 1, services.MOST_TRIALS), ("parallel", 1, services.MOST_PARALLEL),
            ("entropy", 0, 2**31 - 1), ("stop_after", 1, 1_000_000), ("stop_least", 1, 100),
            ("priority", -100, 100),
        )
    }  # fmt: skip
    resources = choices.read_resources(given, problems)
    seeds = choices.read_seeds(given["seeds"], problems)
    if problems or not isinstance(config, UrdmuConfig) or swept is None:
        raise _refusal(problems)
    strategy = given["strategy"]
    drawn = strategy in (Strategy.RANDOM, Strategy.TPE)
    try:
        return services.sweep_create(
            project=project, by=by, name=given["name"], config=config, space=swept,
            strategy=strategy, settings=numbers["settings"] or 0 if drawn else 0,
            seeds=seeds, parallel=numbers["parallel"] or 4, entropy=numbers["entropy"] or 0,
            objective=given["objective"].strip(), direction=given["direction"],
            take=given["take"], stop_rule=given["stop_rule"],
            stop_after=numbers["stop_after"] or 0, stop_least=numbers["stop_least"] or 4,
            evaluate=bool(given["evaluate"]), tags=given["tags"].replace(",", " ").split(),
            priority=numbers["priority"] or 0, resources=resources,
            **choices.chosen_inputs(project, given["inputs"]),
        )  # fmt: skip
    except ConfigError as exc:
        swept_names = {d.name for d in swept}
        fields = {
            f"swept:{n}" if n in swept_names else choices.shown_at(n): t
            for n, t in exc.fields.items()
        }
        raise _refusal(fields) from None


def _refusal(fields: dict[str, str]) -> VadError:
    """The problems by input, in words that name the setting."""
    said = ConfigError({n.removeprefix("swept:"): t for n, t in fields.items()}, what="The sweep")
    return VadError(said.code, said.message, said.hint, fields=fields)


def _space(kind: str, given: Mapping[str, str], problems: dict[str, str]) -> space.Space | None:
    texts: dict[str, str] = {}
    for row in rows_of(given, {}):
        if row.name in texts:
            problems[f"swept:{row.name}"] = "is chosen twice"
        elif row.name:
            texts[row.name] = row.values
        elif row.values.strip():
            problems["space"] = f"choose the setting that {row.values.strip()[:40]!r} belongs to"
    try:
        return space.from_texts(kind, texts)
    except ConfigError as exc:
        problems |= {n if n == "space" else f"swept:{n}": t for n, t in exc.fields.items()}
        return None
