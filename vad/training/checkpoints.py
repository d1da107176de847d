"""Checkpoints: one safetensors file each, complete or absent, never half-written.

A file holds weights (`model.<published key>`), optimiser state (`adam.<moment>.<key>`) and, as one
JSON text in the header, everything else (step, configuration, architecture, metrics). Where weights
are averaged over steps, `model.` is the average and `trained.` what the optimiser goes on from. It
is written to a temporary name, synced, hashed and renamed, so neither a kill nor a full disk harms
an earlier one. The header also holds a digest of all tensors, which every load checks.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from vad.data.tensorfile import file_sha256, write_bytes
from vad.errors import VadError
from vad.training.adam import Adam

FORMAT_VERSION = 1
FOLDER = "checkpoints"
MODEL, TRAINED, ADAM = "model.", "trained.", "adam."
_HEADER = "vadlab"
_NAME = re.compile(r"step-(\d{6,})\.safetensors")


@dataclass(frozen=True)
class Written:
    """A checkpoint on disk; `path` is relative to the run's output folder."""

    step: int
    path: str
    sha256: str
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"step": self.step, "path": self.path, "sha256": self.sha256}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory, read and checked."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]

    @property
    def step(self) -> int:
        return int(self.metadata.get("step", 0))

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below a prefix, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def name_of(step: int) -> str:
    return f"{FOLDER}/step-{step:06d}.safetensors"


def save(
    output: Path, step: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> Written:
    """Write the checkpoint of a step below `output`; an existing one of that step is replaced.

    Raises:
        VadError: `disk-full`; earlier checkpoints are unharmed.
    """
    return write(output / name_of(step), step, tensors, metadata, relative_to=output)


def write(
    path: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    *,
    relative_to: Path,
) -> Written:
    """Write a checkpoint to any place. See `save`."""
    held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    header = {**metadata, "version": FORMAT_VERSION, "step": step, "digest": digest(held)}
    # One entry: the order of several would follow a hash map, and equal runs give equal files.
    content = safetensors.torch.save(held, {_HEADER: json.dumps(header, sort_keys=True)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except OSError as exc:
        if is_full(exc):
            raise disk_full(path) from exc
        raise
    name = path.relative_to(relative_to).as_posix()
    return Written(step, name, hashlib.sha256(content).hexdigest(), len(content))


def is_full(exc: OSError) -> bool:
    """The disk, or the quota on it, has no room."""
    return exc.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full(path: Path) -> VadError:
    return VadError(
        "disk-full",
        f"The disk has no room for {path}. What was written before is unharmed.",
        "Free some space and start the run again; it goes on from its last checkpoint.",
    )


def read(path: Path) -> Checkpoint:
    """Read a checkpoint and check it against its own digest.

    Raises:
        VadError: `file-missing`, or `checkpoint-invalid` for anything that `save` did not write.
    """
    metadata = read_metadata(path)
    try:
        # Copies: tensors in the file's memory map lie unaligned, and sums would differ in the last
        # bit from those of the run that was interrupted.
        tensors = {k: v.clone() for k, v in safetensors.torch.load_file(path).items()}
    except (safetensors.SafetensorError, OSError, ValueError) as exc:
        raise _damaged(path, str(exc)) from exc
    if digest(tensors) != metadata["digest"]:
        raise _damaged(path, "its numbers do not fit its digest")
    return Checkpoint(path, tensors, metadata)


def read_metadata(path: Path) -> dict[str, Any]:
    """The header of a checkpoint, without its tensors. Raises as `read` does."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
        if header["version"] != FORMAT_VERSION or "digest" not in header:
            raise ValueError(f"its version is {header['version']}, expected {FORMAT_VERSION}")
    except FileNotFoundError:
        raise VadError(
            "file-missing", f"The checkpoint {path} does not exist.", "Check the name."
        ) from None
    except KeyError:
        raise _damaged(path, "it has no header of this program") from None
    except (safetensors.SafetensorError, ValueError, TypeError, OSError) as exc:
        raise _damaged(path, str(exc)) from exc
    return header


def newest(output: Path, log: Callable[[str, str], None]) -> Checkpoint | None:
    """The newest checkpoint that can be read; damaged ones are named in the log and passed over."""
    for path in sorted(_paths(output), key=_step_of, reverse=True):
        try:
            return read(path)
        except VadError as exc:
            log(f"{exc.message} The one before it is used.", "warning")
    return None


def chosen(output: Path) -> Path:
    """The file of the best checkpoint by the run's rule, of the newest without a rule.

    Raises:
        VadError: `file-missing`, there is none.
    """
    paths = sorted(_paths(output), key=_step_of)
    if not paths:
        raise VadError("file-missing", f"{output} holds no checkpoint.", "Train first.")
    best = read_metadata(paths[-1])["best"]["step"]
    return next((p for p in paths if _step_of(p) == best), paths[-1])


def steps_of(output: Path) -> list[int]:
    """The steps whose checkpoints are on disk, rising."""
    return sorted(map(_step_of, _paths(output)))


def prune(output: Path, keep: Iterable[str]) -> None:
    """Remove all checkpoints but those named (relative to `output`), and torn temporary files."""
    kept = {(output / name).name for name in keep}
    for path in _paths(output):
        if path.name not in kept:
            path.unlink(missing_ok=True)
    for path in (output / FOLDER).glob(".*.part"):
        path.unlink(missing_ok=True)


def file_record(output: Path, step: int) -> Written | None:
    """Describe a checkpoint that is on disk already; None if it is not."""
    path = output / name_of(step)
    try:
        return Written(step, name_of(step), file_sha256(path), path.stat().st_size)
    except FileNotFoundError:
        return None


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Content hash over names, dtypes, shapes and numbers of tensors on the CPU."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: object) -> None:
    """Load weights after comparing every name and shape.

    Raises:
        VadError: `checkpoint-invalid`, listing all that is missing, unknown, of another shape, or
            not finite.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is unknown to this architecture" for name in weights if name not in own]
    for name in own.keys() & weights.keys():
        expected, got = tuple(own[name].shape), tuple(weights[name].shape)
        if expected != got:
            problems.append(f"{name} has shape {list(got)}, expected {list(expected)}")
        elif not torch.isfinite(weights[name]).all():
            problems.append(f"{name} holds numbers that are not finite")
    if problems:
        first = sorted(problems)[0]
        more = f" ({len(problems)} differences in all)" if len(problems) > 1 else ""
        raise VadError(
            "checkpoint-invalid",
            f"{source} does not fit this architecture: {first}{more}.",
            "Use a checkpoint of the same model and feature size.",
            problems=sorted(problems),
        )
    model.load_state_dict(dict(weights))


def load_adam(optimizer: Adam, checkpoint: Checkpoint) -> None:
    """Bring Adam's moments back.

    Raises:
        VadError: `checkpoint-invalid` when moments are missing.
    """
    held = checkpoint.part(ADAM)
    if checkpoint.step == 0 and not held:  # of before the first step, by an older version
        return
    try:
        optimizer.load(held)
    except KeyError as exc:
        raise _damaged(checkpoint.path, f"the optimiser's {exc.args[0]} is missing") from exc


def _paths(output: Path) -> list[Path]:
    folder = output / FOLDER
    return [p for p in folder.iterdir() if _NAME.fullmatch(p.name)] if folder.is_dir() else []


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def _damaged(path: Path, why: str) -> VadError:
    return VadError(
        "checkpoint-invalid",
        f"The checkpoint {path} cannot be used: {why}.",
        "Use another checkpoint, or train again.",
    )
