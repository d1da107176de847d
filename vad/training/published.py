"""Published checkpoints, brought into our format once; and what a checkpoint of ours holds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vad.data.tensorfile import file_sha256
from vad.errors import VadError
from vad.features.weights import locate
from vad.fields import is_bare_name
from vad.models.two_stage import STAGE1, TwoStage
from vad.models.urdmu import UrDmu
from vad.training import checkpoints


def import_weights(
    source: Path, output: Path, *, expected_sha256: str | None = None
) -> dict[str, Any]:
    """Convert a published UR-DMU state dict (`torch.save(model.state_dict())`).

    The file is read by `torch.load(weights_only=True)` and by nothing else; there is no second try.

    Args:
        source: .pkl, .pth or .pt.
        output: the safetensors file to write.
        expected_sha256: of the source, to refuse another file.

    Returns:
        Hashes, architecture and number of parameters. Plain JSON types.

    Raises:
        VadError: `file-missing`, `checkpoint-invalid`, `disk-full`.
    """
    try:
        sha256 = file_sha256(source)
    except FileNotFoundError:
        raise VadError("file-missing", f"{source} does not exist.", "Check the path.") from None
    if expected_sha256 is not None and sha256 != expected_sha256.lower():
        raise _refused(source, f"its sha256 is {sha256}, expected {expected_sha256}")
    weights = _load(source)
    missing = [k for k in ("embedding.conv_1.0.weight", "Amemory.memory_block") if k not in weights]
    if missing:
        raise _refused(source, f"{missing[0]} is missing, so it is not of UR-DMU")
    embedding, memory = weights["embedding.conv_1.0.weight"], weights["Amemory.memory_block"]
    if embedding.ndim != 3 or memory.ndim != 2:
        raise _refused(source, f"embedding.conv_1.0.weight has shape {list(embedding.shape)}")
    architecture = {
        "name": "urdmu",
        "feature_dim": int(embedding.shape[1]),
        "memory_slots": int(memory.shape[0]),
    }
    model = UrDmu(embedding.shape[1], memory_slots=memory.shape[0])
    checkpoints.load_weights(model, weights, source)
    written = checkpoints.write(
        output,
        0,
        {checkpoints.MODEL + k: v for k, v in model.state_dict().items()},
        {
            "kind": "imported",
            "architecture": architecture,
            "source": {"name": source.name, "sha256": sha256},
        },
        relative_to=output.parent,
    )
    return {
        "source_sha256": sha256,
        "sha256": written.sha256,
        "architecture": architecture,
        "parameters": sum(v.numel() for v in weights.values()),
    }


def start_from(model: UrDmu | TwoStage, name: str, weights_dir: Path | None) -> str:
    """Load the weights that a run starts from: a checkpoint of ours or a published one.

    Args:
        model: with both stages, weights of stage 1 alone are loaded into that, those of a run of
            both stages into both; a model of stage 1 takes that part of either.
        name: a path, or the bare name of a file in the weights folder.

    Returns:
        The file's sha256.

    Raises:
        VadError: `weights-missing`, or `checkpoint-invalid` (torn, or another architecture).
    """
    path = locate(weights_dir, name) if is_bare_name(name) else Path(name)
    try:
        sha256 = file_sha256(path)
    except OSError as exc:
        raise VadError(
            "weights-missing",
            f"The weights to start from, {path}, cannot be read: {exc.strerror}.",
            "Check the path in pretrained_point, or leave it empty to start from nothing.",
        ) from exc
    ours = path.suffix == ".safetensors"
    weights = checkpoints.read(path).part(checkpoints.MODEL) if ours else _load(path)
    both = any(name.startswith(STAGE1) for name in weights)
    target: nn.Module = model
    if isinstance(model, TwoStage) and not both:
        target = model.stage1
    elif both and not isinstance(model, TwoStage):
        weights = {k.removeprefix(STAGE1): v for k, v in weights.items() if k.startswith(STAGE1)}
    checkpoints.load_weights(target, weights, path)
    return sha256


def describe(path: Path) -> dict[str, Any]:
    """What a checkpoint of ours holds, after checking its digest. Plain JSON types."""
    found = checkpoints.read(path)
    sha256 = file_sha256(path)
    weights = found.part(checkpoints.MODEL)
    known = {k: v for k, v in found.metadata.items() if k != "recent"}
    return {
        **known,
        "sha256": sha256,
        "size_bytes": path.stat().st_size,
        "parameters": sum(v.numel() for v in weights.values()),
        "tensors": len(found.tensors),
    }


def _load(source: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as exc:  # a hostile or torn file may raise anything
        # torch's own message is not shown: it recommends loading the file without the safeguard
        why = "it is torn, or holds more than weights, such as code that loading it would run"
        raise _refused(source, why) from exc
    if not isinstance(found, dict) or not found:
        raise _refused(source, "it holds no dictionary of weights")
    odd = [str(k) for k, v in found.items() if not isinstance(k, str) or not isinstance(v, Tensor)]
    if odd:
        raise _refused(source, f"its entry {odd[0]} is no tensor")
    return {k: v.float() for k, v in found.items()}


def _refused(source: Path, why: str) -> VadError:
    return VadError(
        "checkpoint-invalid",
        f"{source} cannot be imported: {why}.",
        "Import a state dict of UR-DMU as its authors publish it.",
    )
