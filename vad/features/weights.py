"""Published weights: found by file name in one folder, hashed, and read without running any code.

The hashes of the published files are not built in. The hash that was found is recorded with every
feature store, and it is checked when a file `NAME.sha256` (as `sha256sum` writes it) lies beside.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vad.errors import VadError

M = TypeVar("M", bound=nn.Module)

_BLOCK_BYTES = 1 << 22
_LISTED_PROBLEMS = 20
_OPTIONAL = "num_batches_tracked"  # counts training steps; absent from files of torch 0.3


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file of weights that somebody publishes."""

    file: str
    what: str  # of which network
    source: str  # the project that publishes it
    sha256_begins: str = ""  # where its publisher says so in its name


I3D_PIERGIAJ = Published(
    file="rgb_imagenet.pt",
    what="I3D RGB, trained on ImageNet and Kinetics-400",
    source="the pytorch-i3d project of piergiaj, folder models",
)
I3D_HASSONY = Published(
    file="model_rgb.pth",
    what="I3D RGB, trained on ImageNet and Kinetics-400",
    source="the kinetics_i3d_pytorch project of hassony2, folder model; UR-DMU ships it too",
)
VIDEOMAE_GIANT = Published(
    file="vit_g_hybrid_pt_1200e_k710_ft.pth",
    what="VideoMAE V2 ViT-g, fine-tuned on Kinetics-710",
    source="the model zoo of the VideoMAEv2 project of OpenGVLab",
)
VIDEOMAE_BASE = Published(
    file="vit_b_k710_dl_from_giant.pth",
    what="VideoMAE V2 ViT-B, distilled from ViT-g on Kinetics-710",
    source="the model zoo of the VideoMAEv2 project of OpenGVLab",
)
VIDEOMAE_SMALL = Published(
    file="vit_s_k710_dl_from_giant.pth",
    what="VideoMAE V2 ViT-S, distilled from ViT-g on Kinetics-710",
    source="the model zoo of the VideoMAEv2 project of OpenGVLab",
)
_DEIT = "the DeiT project of facebookresearch, its model zoo"
DEIT = tuple(
    Published(
        file=f"deit_{size}_patch16_224-{begins}.pth",
        what=f"DeiT {size}, trained on ImageNet",
        source=_DEIT,
        sha256_begins=begins,
    )
    for size, begins in (("tiny", "a1311bcf"), ("small", "cd65a155"), ("base", "b5f2ef4d"))
)
PUBLISHED = {
    p.file: p
    for p in (I3D_PIERGIAJ, I3D_HASSONY, VIDEOMAE_GIANT, VIDEOMAE_BASE, VIDEOMAE_SMALL, *DEIT)
}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file of weights that is there."""

    path: Path
    sha256: str
    checked: bool  # against a .sha256 file beside it

    def __str__(self) -> str:
        known = "as its .sha256 file says" if self.checked else "no .sha256 file beside it"
        return f"{self.path.name}, SHA-256 {self.sha256} ({known})"


def named_folder() -> Path | None:
    """The folder that VADLAB_WEIGHTS_DIR names, which the server sets for its runs."""
    named = os.environ.get("VADLAB_WEIGHTS_DIR")
    return Path(named) if named else None


def find(folder: Path | None, file: str) -> Weights:
    """Look a file of weights up by its name.

    Args:
        folder: the weights folder; None when nobody named one.
        file: a bare file name.

    Raises:
        VadError: `weights-missing` says which file, who publishes it and where to put it;
            `checkpoint-invalid` when it is not the file that its .sha256 file describes, or that
            its publisher's name for it does.
    """
    path = locate(folder, file)
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as exc:
        raise VadError(
            "weights-missing", f"{path} cannot be read: {exc.strerror}.", "Check its rights."
        ) from exc
    found, expected = digest.hexdigest(), _expected(path)
    if expected and found != expected:
        raise VadError(
            "checkpoint-invalid",
            f"{path} has SHA-256 {found}, but {path.name}.sha256 beside it says {expected}.",
            "The file is damaged or another one: fetch it again, or correct the .sha256 file.",
        )
    known = PUBLISHED.get(file)
    if known and not found.startswith(known.sha256_begins):
        raise VadError(
            "checkpoint-invalid",
            f"{path} has SHA-256 {found}, but that of {known.what} begins {known.sha256_begins}.",
            "Fetch the file again, or give another file a name of its own.",
        )
    return Weights(path=path, sha256=found, checked=bool(expected))


def locate(folder: Path | None, file: str) -> Path:
    """The file's path, without reading it; `find` says what is raised."""
    if not file or file != Path(file).name:
        raise VadError(
            "weights-missing",
            f"{file!r} is no name of a file of weights.",
            "Give the bare name of a file in the weights folder.",
        )
    known = PUBLISHED.get(file)
    named = f"{file} ({known.what})" if known else file
    origin = f"Get it from {known.source}" if known else "Get it from those who made it"
    if folder is None:
        raise VadError(
            "weights-missing",
            f"The run needs {named}, but no weights folder was named.",
            f"{origin}, put it into a folder, and name that as the weights folder.",
        )
    path = folder / file
    if not path.is_file():
        raise VadError(
            "weights-missing",
            f"The run needs {named}, which is not in the weights folder {folder}.",
            f"{origin}, and put it there as {path}.",
        )
    return path


def build(
    make: Callable[[], M],
    weights: Weights,
    *,
    rename: Callable[[Mapping[str, Tensor]], Mapping[str, str]],
    what: str,
) -> M:
    """A network with the weights of a file, float32, in evaluation mode, on the CPU.

    Args:
        make: builds the network. It is called on the meta device, so that the weights are in
            memory once.
        weights: the file.
        rename: from the file's tensors to {name in the file: name in the network}.
        what: the network's name for messages.

    Raises:
        VadError: `checkpoint-invalid`, with all problems.
    """
    state = read_state(weights.path)
    names = rename(state)
    renamed: dict[str, Tensor] = {}
    problems: list[str] = []
    for theirs, ours in names.items():
        if ours in renamed:
            problems.append(f"{theirs}: a second tensor for {ours}")
        renamed[ours] = state[theirs]
    with torch.device("meta"):
        model = make()
    problems += _misfits(model.state_dict(), renamed)
    if problems:
        shown = problems[:_LISTED_PROBLEMS]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise VadError(
            "checkpoint-invalid",
            f"{weights.path} is no file of {what} weights: {count}, first {problems[0]}.",
            "Name the file that belongs to this network.",
            problems=shown,
        )
    fitted = {
        name: renamed[name].to(torch.float32)
        if expected.is_floating_point()
        else renamed.get(name, torch.zeros(expected.shape, dtype=expected.dtype))
        for name, expected in model.state_dict().items()
    }
    model.load_state_dict(fitted, strict=True, assign=True)
    return model.requires_grad_(False).eval()


def _misfits(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    problems = []
    for name, tensor in expected.items():
        if name not in given:
            if not name.endswith(_OPTIONAL):
                problems.append(f"{name}: missing")
        elif given[name].shape != tensor.shape:
            problems.append(
                f"{name}: has shape {list(given[name].shape)}, expected {list(tensor.shape)}"
            )
        elif not tensor.is_floating_point():
            continue
        elif not given[name].is_floating_point():
            problems.append(f"{name}: holds {given[name].dtype}, expected floating point numbers")
        elif not given[name].isfinite().all():
            problems.append(f"{name}: holds values that are infinite or not a number")
    problems += [f"{name}: unknown" for name in given if name not in expected]
    return problems


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a published file by their names there; nothing else is ever unpickled.

    The dictionary may lie under `model` or `module`.

    Raises:
        VadError: `checkpoint-invalid` when the file holds anything but tensors, or is damaged.
    """
    try:
        data: Any = _load(path)
    except Exception as exc:  # torch raises many kinds for what is no file of its own
        unsafe = re.search(r"GLOBAL ([\w.]+)", str(exc))
        reason = f"it would call {unsafe.group(1).strip('.')}" if unsafe else "it is damaged"
        raise VadError(
            "checkpoint-invalid",
            f"{path} cannot be read as a file of weights: {reason}.",
            "Fetch the file again. A file that holds more than tensors is refused, because "
            "reading it could run code: save its state dictionary alone.",
        ) from exc
    for wrapper in ("model", "module"):
        if isinstance(data, Mapping) and isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
            break
    if not isinstance(data, Mapping) or not data:
        raise VadError(
            "checkpoint-invalid",
            f"{path} holds no dictionary of tensors.",
            "Name a file that holds a state dictionary.",
        )
    others = [str(name) for name, value in data.items() if not isinstance(value, Tensor)]
    if others:
        raise VadError(
            "checkpoint-invalid",
            f"{path} holds things beside tensors: {', '.join(others[:5])}.",
            "Name a file that holds a state dictionary and nothing else.",
        )
    return {str(name): tensor.detach() for name, tensor in data.items()}


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    # a zipped file is mapped, so a gigabyte of weights is in memory once; older ones cannot be
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)


def _expected(path: Path) -> str:
    """The hash that a .sha256 file beside names, or nothing when there is none."""
    beside = path.with_name(f"{path.name}.sha256")
    try:
        text = beside.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        text = ""
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})(?:\s+\*?(.+))?", line.strip())
        if match and match.group(2) in (None, path.name):
            return match.group(1).lower()
    raise VadError(
        "checkpoint-invalid",
        f"{beside} names no SHA-256 of {path.name}.",
        f"Write it with: sha256sum {path.name} > {beside.name}",
    )
