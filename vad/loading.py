"""The network of a checkpoint, and how that checkpoint was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vad.errors import ConfigError, VadError
from vad.models import two_stage
from vad.models.two_stage import Architecture, TwoStage
from vad.models.urdmu import UrDmu
from vad.training import checkpoints


def load_model(path: Path, device: torch.device) -> tuple[UrDmu | TwoStage, dict[str, Any]]:
    """The network of a checkpoint, in evaluation mode, and the checkpoint's metadata.

    Raises:
        VadError: `file-missing`, or `checkpoint-invalid`.
    """
    found = checkpoints.read(path)
    model = build_model(found.metadata.get("architecture"), path)
    checkpoints.load_weights(model, found.part(checkpoints.MODEL), path)
    return model.to(device).eval(), dict(found.metadata)


def build_model(architecture: Any, source: object) -> UrDmu | TwoStage:
    """An untrained network from a checkpoint's `architecture` entry.

    Raises:
        VadError: `checkpoint-invalid`, another architecture or a damaged entry.
    """
    try:
        if architecture["name"] == two_stage.NAME:
            return TwoStage(Architecture.from_dict(architecture))
        if architecture["name"] != "urdmu":
            name = architecture["name"]
            raise ValueError(
                f"its architecture is {name!r}, expected 'urdmu' or {two_stage.NAME!r}"
            )
        return UrDmu(
            int(architecture["feature_dim"]), memory_slots=int(architecture["memory_slots"])
        )
    except (TypeError, KeyError, ValueError, ConfigError) as exc:
        raise VadError(
            "checkpoint-invalid",
            f"The checkpoint {source} cannot be used: {exc}.",
            "Use a checkpoint of a training run, or import a published one.",
        ) from exc


def selection_of(metadata: Mapping[str, Any]) -> str:
    """How a checkpoint was chosen: `validation`, `test`, `last`, or `imported`.

    A checkpoint that is not its run's best by the rule is `last`, whatever the rule was.
    """
    rule = str(metadata.get("config", {}).get("selection", "imported"))
    best = metadata.get("best", {}).get("step")
    return rule if rule in ("imported", "last") or best == metadata["step"] else "last"
