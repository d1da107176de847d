"""The page that queues runs: a form made from the configuration's schema."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from vad.configs import (
    CONFIGS,
    EvaluateConfig,
    ExtractConfig,
    ProxiesConfig,
    TwoStageConfig,
    UrdmuConfig,
)
from vad.errors import ConfigError, VadError
from webapp.accounts.models import Project
from webapp.core import errors
from webapp.core.configforms import as_text
from webapp.core.http import Request, go
from webapp.core.query import uuids
from webapp.runs import choices, needs, pipelines, services
from webapp.runs.models import Run

KINDS = [
    ("train-urdmu", "Train UR-DMU"),
    ("train-two-stage", "Train STPVAD"),
    ("extract", "Extract features"),
    ("proxies", "Build proxies"),
    ("evaluate", "Evaluate"),
]
OTHERS = (
    "name", "priority", "tags", "inputs", "seeds", "evaluate", "version", "of_run", "copies",
    "start", "gpus", "memory_mb", "time_limit",
)  # fmt: skip


def run_new(request: Request) -> HttpResponse:
    """The form; with a POST, the runs. What is wrong stands beside its field, nothing is lost."""
    if not request.can_edit:
        raise PermissionDenied
    given = request.POST if request.method == "POST" else request.GET
    source = _source(request, given.get("from", ""))
    kind = given.get("kind", "") or (source.kind if source else KINDS[0][0])
    kind = kind if kind in dict(KINDS) else KINDS[0][0]
    context = _context(request.project, kind)
    context["source"] = source if source and source.kind == kind else None
    context["base"] = _base(context["source"]) if context["source"] else {}
    if request.method != "POST":
        values = _prefilled(request, context["source"])
        return render(request, "runs/run_form.html", {**context, "values": values, "errors": {}})
    values = {name: request.POST.get(name, "") for name in (*context["names"], *OTHERS)}
    try:
        made = _create(request, kind, values, context["source"])
    except VadError as exc:
        fields = {choices.shown_at(name): text for name, text in exc.fields.items()}
        answer = {**context, "values": values, "errors": fields, "error": exc}
        return render(request, "runs/run_form.html", answer, status=errors.status_of(exc))
    messages.success(request, _queued(made))
    first = made[0].pk
    return go(request, reverse("runs:detail", args=[first]) if len(made) == 1 else _list(made))


def _context(project: Project, kind: str) -> dict[str, Any]:
    schema = CONFIGS[kind].json_schema()
    properties = dict(schema["properties"])
    properties["device"] = properties.pop("device")  # the last of the groups
    default_seed = ""
    trains = kind.startswith("train")
    if trains:  # the form asks for a list of them
        default_seed = as_text(properties.pop("seed")["default"])
    context: dict[str, Any] = {
        "kind": kind,
        "trains": kind.startswith("train"),
        "kinds": KINDS,
        "title": CONFIGS[kind].title,
        "schema": {**schema, "properties": properties},
        "names": list(properties),
        "default_seed": default_seed,
        "missing": None,
    }
    if kind == "evaluate":
        context["trained"] = choices.trained(project)
        if not context["trained"]:
            context["missing"] = _missing_training()
        return context
    context["versions"] = choices.versions(project)
    if kind != "train-urdmu":
        context["versions"] = [v for v in context["versions"] if v.has_media]
    if trains:
        context["inputs"] = choices.inputs(context["versions"])
        context["starts"] = [
            (f"{needs.FROM_RUN}{run.pk}", run)
            for run in choices.trained(project)
            if _may_start(run, kind)
        ]
    if not context["inputs" if trains else "versions"]:
        context["missing"] = choices.missing_data(kind)
    return context


def _may_start(run: Run, kind: str) -> bool:
    """Whether the weights of a training fit the start of one of this kind, as far as one sees."""
    return kind == TwoStageConfig.kind or run.kind == kind


def _create(request: Request, kind: str, values: dict[str, str], source: Run | None) -> list[Run]:
    """The runs that the form asks for.

    Raises:
        VadError: with the problems by the form's fields, where they belong to one.
    """
    problems: dict[str, str] = {}
    if values["start"]:
        if values.get("pretrained_point"):
            problems["pretrained_point"] = "either a run or a file, not both"
        values = {**values, "pretrained_point": values["start"]}
    config = choices.read_config(kind, values, problems)
    priority = choices.read_number(values, "priority", problems, least=-100, most=100)
    resources = choices.read_resources(values, problems)
    seeds = choices.read_seeds(values["seeds"], problems) if kind.startswith("train") else []
    if problems or config is None:
        raise ConfigError(problems, what="The form")
    common: dict[str, Any] = {
        "project": request.project,
        "by": request.user,
        "name": values["name"],
        "tags": values["tags"].replace(",", " ").split(),
        "priority": priority or 0,
        "resources": resources,
        "cloned_from": source,
    }
    if isinstance(config, UrdmuConfig):
        pipeline = pipelines.pipeline_create(
            train=config,
            seeds=seeds,
            evaluate=EvaluateConfig(device=config.device) if values["evaluate"] else None,
            proxies=ProxiesConfig() if values["copies"] else None,
            **choices.chosen_inputs(request.project, values["inputs"]),
            **common,
        )
        return pipeline.runs
    if isinstance(config, ExtractConfig | ProxiesConfig):
        version = choices.one(choices.versions(request.project), values["version"])
        return [services.run_create(config=config, version=version, **common)]
    of_run = choices.one(choices.trained(request.project), values["of_run"])
    return [services.run_create(config=config, of_run=of_run, **common)]


def _source(request: Request, text: str) -> Run | None:
    runs = Run.objects.visible_to(request.user).filter(pk__in=uuids([text]))
    return runs.filter(kind__in=dict(KINDS)).first()


def _prefilled(request: Request, source: Run | None) -> dict[str, Any]:
    """The fields of the run to clone, and what the address chooses."""
    values: dict[str, Any] = {"evaluate": "yes", "copies": "yes"}
    if source is not None:
        values |= {name: as_text(value) for name, value in source.config.items()}
        if str(values.get("pretrained_point", "")).startswith(needs.FROM_RUN):
            values["start"] = values.pop("pretrained_point")
        values |= {
            "seeds": as_text(source.config.get("seed")),
            "tags": " ".join(source.tags),
            "priority": str(source.priority) if source.priority else "",
            "gpus": str(source.gpus) if source.gpus > 1 else "",
            "memory_mb": str(source.memory_mb or ""),
            "time_limit": str(source.time_limit_s // 60) if source.time_limit_s else "",
            "version": str(source.version_id or ""),
            "inputs": f"features:{source.feature_set_id}",
            "of_run": str(source.of_run_id or ""),
        }
    if request.GET.get("of"):
        values["of_run"] = request.GET["of"]
        values["checkpoint"] = request.GET.get("checkpoint", values.get("checkpoint", ""))
    if request.GET.get("version"):
        values["version"] = request.GET["version"]
        values.setdefault("inputs", _first_of(request.project, request.GET["version"]))
    return values


def _base(source: Run) -> dict[str, str]:
    """The fields of the run to clone as the form writes them; a changed one is shown beside it."""
    values = {name: as_text(value) for name, value in source.config.items()}
    if "seed" in values:
        values["seeds"] = values.pop("seed")
    if values.get("pretrained_point", "").startswith(needs.FROM_RUN):
        values["start"] = values.pop("pretrained_point")
    return values


def _first_of(project: Project, version: str) -> str:
    """The first choice of inputs of this version."""
    for choice in choices.inputs(choices.versions(project)):
        if str(choice.version.pk) == version:
            return choice.options[0][0]
    return ""


def _missing_training() -> dict[str, str]:
    return {
        "icon": "runs",
        "title": "Nothing to evaluate yet",
        "text": "An evaluation scores the checkpoint of a training run.",
        "url": reverse("runs:new"),
        "label": "Train first",
    }


def _queued(runs: list[Run]) -> str:
    if len(runs) == 1:
        return f"{runs[0].name} is queued."
    if len(runs) == 2:
        return f"{runs[0].name} is queued, and {runs[1].name}."
    return f"{len(runs)} runs are queued."


def _list(runs: list[Run]) -> str:
    return reverse("runs:list")
