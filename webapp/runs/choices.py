"""What the forms that queue runs share: what can be chosen, and reading what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.urls import reverse

from vad.configs import CONFIGS, ExtractConfig, RunConfig
from vad.errors import ConfigError
from webapp.accounts.models import Project
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs.models import Run, State
from webapp.runs.resources import MOST_GPUS, MOST_MEMORY_MB, MOST_TIME_S, Resources

# --- reading --------------------------------------------------------------------------------


def read_config(
    kind: str, values: Mapping[str, str], problems: dict[str, str], prefix: str = ""
) -> RunConfig | None:
    """The configuration that a form was filled with; its problems are added by input."""
    fields = CONFIGS[kind].json_schema()["properties"]
    given = {name: values[prefix + name] for name in fields if prefix + name in values}
    try:
        return CONFIGS[kind].from_strings(given)
    except ConfigError as exc:
        problems |= {prefix + name: text for name, text in exc.fields.items()}
        return None


def read_number(
    values: Mapping[str, str], name: str, problems: dict[str, str], *, least: int, most: int
) -> int | None:
    text = values[name].strip()
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        problems[name] = f"expected a whole number, got {text!r}"
        return None
    if not least <= value <= most:
        problems[name] = f"{value} is not from {least} to {most}"
    return value


def read_seeds(text: str, problems: dict[str, str]) -> list[int]:
    try:
        seeds = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        problems["seeds"] = f"expected whole numbers, got {text!r}"
        return []
    if any(not 0 <= seed < 2**31 for seed in seeds):
        problems["seeds"] = f"must be from 0 to {2**31 - 1}"
    return seeds


def read_resources(values: Mapping[str, str], problems: dict[str, str]) -> Resources:
    minutes = read_number(values, "time_limit", problems, least=1, most=MOST_TIME_S // 60)
    return Resources(
        gpus=read_number(values, "gpus", problems, least=1, most=MOST_GPUS) or 1,
        memory_mb=read_number(values, "memory_mb", problems, least=1, most=MOST_MEMORY_MB),
        time_limit_s=minutes * 60 if minutes else None,
    )


def shown_at(name: str) -> str:
    """The form's input at which a problem of a service's argument is shown."""
    return {"feature_set": "inputs", "seed": "seeds", "time_limit_s": "time_limit"}.get(name, name)


# --- what can be chosen ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What one data set version can be trained on: (form value, words)."""

    version: DatasetVersion
    options: list[tuple[str, str]] = field(default_factory=list)


def versions(project: Project) -> list[DatasetVersion]:
    """The project's data set versions, newest first; `has_media` where there are videos."""
    found = DatasetVersion.objects.filter(dataset__project=project).select_related("dataset")
    rows = list(found.order_by("-created_at")[:200])
    with_media = set(
        DatasetVersion.objects.filter(pk__in=[v.pk for v in rows])
        .exclude(videos__path="")
        .filter(videos__isnull=False)
        .values_list("pk", flat=True)
    )
    for version in rows:
        version.has_media = version.pk in with_media  # type: ignore[attr-defined]
    return rows


def inputs(versions: list[DatasetVersion]) -> list[Inputs]:
    """For each version its feature sets, made or being made, and extraction if it has videos."""
    sets: dict[UUID, list[FeatureSet]] = {}
    found = FeatureSet.objects.filter(version__in=versions).select_related("produced_by")
    for features in found.order_by("-created_at"):
        made_by = features.produced_by
        if features.ready or (made_by and made_by.is_active):
            sets.setdefault(features.version_id, []).append(features)
    found_inputs = []
    for version in versions:
        options = [(f"features:{f.pk}", _words(f)) for f in sets.get(version.pk, [])]
        if version.has_media:  # type: ignore[attr-defined]
            options.append((f"extract:{version.pk}", "extract motion features first"))
        if options:
            found_inputs.append(Inputs(version=version, options=options))
    return found_inputs


def _words(features: FeatureSet) -> str:
    if not features.ready:
        return f"{features.name} (being made)"
    return f"{features.name}, {features.dim}-d, {features.video_count:,} videos"


def trained(project: Project) -> list[Run]:
    """Training runs that have a checkpoint, or will have one."""
    runs = Run.objects.filter(project=project, kind__startswith="train")
    runs = runs.exclude(state__in=(State.FAILED, State.CANCELLED)).select_related(
        "version__dataset"
    )
    return list(runs.order_by("-created_at")[:200])


def chosen_inputs(
    project: Project,
    text: str,
    extract: ExtractConfig = ExtractConfig(),  # noqa: B008, it is frozen
) -> dict[str, Any]:
    """Arguments of `pipeline_create` for what was chosen as data set and features."""
    what, _, pk = text.partition(":")
    if what == "extract":
        return {"extract": extract, "version": one(versions(project), pk, "inputs")}
    sets = list(FeatureSet.objects.filter(version__dataset__project=project))
    return {"feature_set": one(sets, pk, "inputs")}


def one(rows: list[Any], pk: str, name: str = "") -> Any:
    """The row of this id; None leaves it to the service to say what is missing."""
    found = next((row for row in rows if str(row.pk) == pk), None)
    if found is None and name:
        raise ConfigError({name: "is not there any more; choose another"}, what="The form")
    return found


def missing_data(kind: str) -> dict[str, str]:
    return {
        "icon": "datasets",
        "title": "No data set yet" if kind == "train-urdmu" else "No data set with videos yet",
        "text": "Register a data set first: a folder of videos, or of published features."
        if kind == "train-urdmu"
        else "Register a folder of videos first.",
        "url": reverse("datasets:new"),
        "label": "Register a data set",
    }
