"""One form for features, stage 1, stage 2 and evaluation."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, QueryDict
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
from webapp.core import errors
from webapp.core.http import Request, go
from webapp.runs import choices, pipelines
from webapp.runs.pipelines import Pipeline

FIELDS = (
    "name", "inputs", "stages", "seeds", "evaluate", "tags", "priority", "gpus", "memory_mb",
    "time_limit",
)  # fmt: skip
STAGES = [
    ("both", "Stage 1, then stage 2 from it"),
    ("joint", "Both stages together, from nothing"),
    ("first", "Stage 1 alone"),
]
# prefix of the inputs, kind, title, fields that the pipeline sets itself
PARTS = (
    ("extract-", ExtractConfig.kind, "Features", ("device",)),
    ("stage1-", UrdmuConfig.kind, "Stage 1: UR-DMU", ("seed",)),
    ("stage2-", TwoStageConfig.kind, "Stage 2: STPVAD", ("seed", "pretrained_point")),
    ("evaluate-", EvaluateConfig.kind, "Evaluation", ("device",)),
)


def pipeline_new(request: Request) -> HttpResponse:
    """The form; with a POST, the runs. What is wrong stands beside its field, nothing is lost."""
    if not request.can_edit:
        raise PermissionDenied
    context: dict[str, Any] = {"inputs": choices.inputs(choices.versions(request.project))}
    context |= {"missing": None, "stages": STAGES, "errors": {}}
    if not context["inputs"]:
        context["missing"] = choices.missing_data(UrdmuConfig.kind)
    if request.method != "POST":
        values = {"stages": "both", "evaluate": "yes"}
        if request.GET.get("inputs"):
            values["inputs"] = request.GET["inputs"]
        context |= {"values": values, "parts": _parts({}, {})}
        return render(request, "sweeps/pipeline_form.html", context)
    try:
        made = _create(request, request.POST)
    except VadError as exc:
        values = {name: request.POST.get(name, "") for name in FIELDS}
        fields = {choices.shown_at(name): text for name, text in exc.fields.items()}
        context |= {"values": values, "errors": fields, "error": exc}
        context["parts"] = _parts(request.POST, fields)
        return render(request, "sweeps/pipeline_form.html", context, status=errors.status_of(exc))
    messages.success(request, f"{len(made.runs)} runs are queued, each after those it needs.")
    last = (made.evaluations or made.trainings)[0]
    return go(request, f"{reverse('runs:detail', args=[last.pk])}?tab=lineage")


def _create(request: Request, given: QueryDict) -> Pipeline:
    """Queue the runs that the form asks for.

    Raises:
        VadError: with the problems by the form's inputs.
    """
    problems: dict[str, str] = {}
    plain = {name: given.get(name, "") for name in FIELDS}
    if plain["stages"] not in dict(STAGES):
        problems["stages"] = f"{plain['stages'][:40]!r} is no choice"
    wanted = {"both": ("stage1-", "stage2-"), "joint": ("stage2-",)}.get(
        plain["stages"], ("stage1-",)
    )
    configs = {
        prefix: choices.read_config(kind, given, problems, prefix)
        for prefix, kind, _, _ in PARTS
        if prefix in wanted
        or (prefix == "extract-" and plain["inputs"].startswith("extract:"))
        or (prefix == "evaluate-" and plain["evaluate"])
    }
    seeds = choices.read_seeds(plain["seeds"], problems)
    priority = choices.read_number(plain, "priority", problems, least=-100, most=100)
    resources = choices.read_resources(plain, problems)
    if problems:
        raise ConfigError(problems, what="The form")
    extract = configs.get("extract-") or ExtractConfig()
    return pipelines.pipeline_create(
        project=request.project,
        by=request.user,
        train=configs[wanted[0]],  # type: ignore[arg-type]
        stage2=configs.get("stage2-") if plain["stages"] == "both" else None,  # type: ignore[arg-type]
        evaluate=configs.get("evaluate-"),  # type: ignore[arg-type]
        proxies=ProxiesConfig(),
        seeds=seeds,
        name=plain["name"],
        tags=plain["tags"].replace(",", " ").split(),
        priority=priority or 0,
        resources=resources,
        **choices.chosen_inputs(request.project, plain["inputs"], extract),  # type: ignore[arg-type]
    )


def _parts(given: QueryDict | dict[str, str], fields: dict[str, str]) -> list[dict[str, Any]]:
    """The configurations on the form, each folded away unless it has a problem."""
    found = []
    for prefix, kind, title, fixed in PARTS:
        schema = CONFIGS[kind].json_schema()
        names = {n: s for n, s in schema["properties"].items() if n not in fixed}
        own = {n: fields[prefix + n] for n in names if prefix + n in fields}
        found.append(
            {
                "prefix": prefix,
                "title": title,
                "schema": {**schema, "properties": names},
                "values": {n: given.get(prefix + n, "") for n in names},
                "errors": own,
            }
        )
    return found
