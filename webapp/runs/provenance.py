"""What a run was made of: code, machine, data and seeds, as far as it said so itself."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

from django.urls import reverse

from vad.errors import ConfigError
from webapp.runs import needs
from webapp.runs.models import Run

HASH_START = 12  # letters of a hash that are shown; a click copies all of it

ENVIRONMENT: dict[str, str] = {  # as vad.devices.environment names it
    "host": "Host",
    "device": "Device",
    "driver": "NVIDIA driver",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "processor": "Processor",
    "processors": "Processors",
    "threads": "Threads",
    "system": "System",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
}
_ELSEWHERE = {
    "vad", "pid", "commit", "dirty", "code_sha256", "features_sha256", "start_sha256",
    "encoder_start_sha256", "deterministic",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line.

    Args:
        kind: "hash" is shown shortened and copied whole.
        url: where it leads.
        warning: what is not as one expects; empty if nothing.
    """

    name: str
    value: Any
    kind: Literal["text", "hash"] = "text"
    url: str = ""
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    facts: list[Fact]
    empty: str = ""  # what to say when there are no facts


def sections(run: Run) -> list[Section]:
    """Code, machine, and data with its seeds."""
    waits = "" if run.environment else "The run says this when it starts."
    found = [
        Section(title="Code", facts=_code(run.environment), empty=waits),
        Section(title="Environment", facts=_environment(run.environment), empty=waits),
        Section(title="Data and seeds", facts=_data(run)),
    ]
    return [s for s in found if s.facts] if run.is_external else found


def _code(told: dict[str, Any]) -> list[Fact]:
    found = []
    if told.get("vad"):
        found.append(Fact(name="Version", value=told["vad"]))
    if told.get("commit"):
        warning = "Files were changed since this commit." if told.get("dirty") else ""
        found.append(Fact(name="Commit", value=told["commit"], kind="hash", warning=warning))
    if told.get("code_sha256"):
        found.append(Fact(name="Hash of its modules", value=told["code_sha256"], kind="hash"))
    return found


def _environment(told: dict[str, Any]) -> list[Fact]:
    found = [
        Fact(name=title, value=told[name])
        for name, title in ENVIRONMENT.items()
        if told.get(name) not in (None, "")
    ]
    others = (n for n in told if n not in ENVIRONMENT and n not in _ELSEWHERE)
    return found + [
        Fact(name=name.replace("_", " ").capitalize(), value=told[name])
        for name in others
        if told[name] not in (None, "")
    ]


def _data(run: Run) -> list[Fact]:
    found: list[Fact] = []
    told = run.environment
    if run.version is not None:
        url = reverse("datasets:detail", args=[run.version_id])
        found.append(Fact(name="Data set", value=str(run.version), url=url))
        found.append(_hash("Its fingerprint", run.version.fingerprint))
    features = run.feature_set
    if features is not None:
        made_by = features.produced_by_id
        url = reverse("runs:detail", args=[made_by]) if made_by and made_by != run.pk else ""
        found.append(Fact(name="Features", value=features.name, url=url))
        read, now = told.get("features_sha256", ""), features.fingerprint
        changed = "The run read other features than these are now." if read and read != now else ""
        found.append(_hash("Their fingerprint", read or now, changed))
        settings = features.summary.get("settings") or {}
        found.append(_hash("Weights of the extractor", settings.get("weights_sha256", "")))
    found += _checkpoint(run)
    for name, title in (("seed", "Seed"), ("precision", "Precision")):
        if name in run.config:
            found.append(Fact(name=title, value=run.config[name]))
    if "deterministic" in told:
        words = "deterministic ones only" if told["deterministic"] else "the fastest ones"
        found.append(Fact(name="Algorithms", value=words))
    return [fact for fact in found if fact.value not in (None, "")]


def _checkpoint(run: Run) -> list[Fact]:
    """Of an evaluation what it scored, of a training what it began with."""
    evaluation = getattr(run, "evaluation", None)
    if evaluation is not None:
        scored = evaluation.checkpoint
        return [
            _hash(f"Checkpoint, step {scored.step:,}", scored.sha256) if scored else _hash("", ""),
            _hash("Protocol", evaluation.fingerprint),
            _hash("Scores", evaluation.scores_sha256),
        ]
    return _pretrained(run) + _image_weights(run)


def _pretrained(run: Run) -> list[Fact]:
    """Weights of ours, or published ones of stage 1, that a training began with."""
    point = str(run.config.get("pretrained_point", ""))
    if not point:
        return []
    url = ""
    with contextlib.suppress(ConfigError):  # that run was deleted
        if (other := needs.start_run(point, run.project)) is not None:
            point, url = other.name, reverse("runs:detail", args=[other.pk])
    begun = _hash("Hash of those weights", run.environment.get("start_sha256", ""))
    return [Fact(name="Weights at the start", value=point, url=url), begun]


def _image_weights(run: Run) -> list[Fact]:
    """Weights of an image transformer that stage 2 began with."""
    point = str(run.config.get("encoder_point", ""))
    if not point:
        return []
    begun = run.environment.get("encoder_start_sha256", "")
    return [
        Fact(name="Image weights at the start", value=point),
        _hash("Hash of the image weights", begun),
    ]


def _hash(name: str, value: str, warning: str = "") -> Fact:
    return Fact(name=name, value=value, kind="hash", warning=warning)
