"""Start the tubelet transformer from a published image transformer (ViT, DeiT).

The blocks are the same; what an image has once, a clip has once for every frame or tubelet. The
patch embedding is spread over the frames of a tubelet; the position of the class token goes, the
grid of the others is resized and repeated for every tubelet. Class token, last norm and classifier
have no counterpart and stay behind; what only the tubelet transformer has keeps its random start.

Source: the start from image weights in the published code of STPrivacy. As there, clips come
from 0 to 1, although the image networks were trained on standardised colours.

Shapes: C width, p side of a patch, f frames of a tubelet, t tubelets, G side of the image's grid.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from vad.errors import VadError
from vad.features.weights import find, read_state
from vad.fields import is_bare_name
from vad.models.grid import CHANNELS, ClipGrid
from vad.models.tubelet_vit import TubeletVit

Inflation = Literal["averaging", "central"]

_BEHIND = ("cls_token", "dist_token", "norm.", "fc_norm.", "pre_logits.", "head.", "head_dist.")
_KERNEL, _POSITION = "patch_embed.proj.weight", "pos_embed"
_SHOWN = 20


def start_from(
    encoder: TubeletVit, name: str, weights_dir: Path | None, inflation: Inflation = "averaging"
) -> str:
    """Load image weights into the encoder.

    Args:
        encoder: changed in place, only when all of the file fits.
        name: a path, or the bare name of a file in the weights folder.
        inflation: see `inflate`.

    Returns:
        The file's sha256.

    Raises:
        VadError: `weights-missing`; `checkpoint-invalid` when the file is torn, not the one that
            its name or .sha256 file promises, or of another network: all problems are listed.
    """
    path = Path(name)
    weights = find(weights_dir, name) if is_bare_name(name) else find(path.parent, path.name)
    given = {
        key: tensor
        for key, tensor in read_state(weights.path).items()
        if not key.startswith(_BEHIND)
    }
    # by the names of both: everything but what only clips have
    expected = {
        key: tuple(tensor.shape)
        for key, tensor in encoder.state_dict().items()
        if key.startswith(("patch_embed.", "blocks."))
    }
    dim, _, _, patch, _ = encoder.patch_embed.proj.weight.shape
    expected[_KERNEL] = (dim, CHANNELS, patch, patch)
    problems = _misfits(given, expected, dim)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise VadError(
            "checkpoint-invalid",
            f"{weights.path} does not fit the tubelet transformer: {count}, first {problems[0]}.",
            "Name an image transformer of the width (encoder_dim), depth (encoder_depth) and "
            "patch_size of this run, or change these.",
            problems=problems[:_SHOWN],
        )
    loaded = {key: tensor.float() for key, tensor in given.items()}
    loaded[_KERNEL] = inflate(loaded[_KERNEL], encoder.grid.tubelet_frames, inflation)
    loaded[_POSITION] = spread_position(loaded[_POSITION], encoder.grid)
    encoder.load_state_dict(loaded, strict=False)  # `_misfits` was strict
    return weights.sha256


def inflate(kernel: Tensor, frames: int, how: Inflation) -> Tensor:
    """The kernel of an image's patch [C, 3, p, p] as that of a tubelet [C, 3, f, p, p].

    `averaging` divides it equally among the frames, `central` puts it at frame f // 2 and nothing
    elsewhere. A clip that stands still is embedded as its image is, either way.
    """
    if how == "averaging":
        return repeat(kernel / frames, "c rgb y x -> c rgb f y x", f=frames).contiguous()
    inflated = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    inflated[:, :, frames // 2] = kernel
    return inflated


def spread_position(position: Tensor, grid: ClipGrid) -> Tensor:
    """An image's position embedding [1, extra + G*G, C] as that of a clip [1, N, C].

    The extra tokens, in front, are dropped; the grid is resized bicubically (corners not aligned).
    """
    side = math.isqrt(position.shape[1])
    patches = position[:, position.shape[1] - side**2 :]
    if side != grid.rows or side != grid.columns:
        image = rearrange(patches, "one (y x) c -> one c y x", y=side)
        size = (grid.rows, grid.columns)
        image = F.interpolate(image, size=size, mode="bicubic", align_corners=False)
        patches = rearrange(image, "one c y x -> one (y x) c")
    return repeat(patches, "one p c -> one (t p) c", t=grid.tubelets).contiguous()


def _misfits(given: dict[str, Tensor], expected: dict[str, tuple[int, ...]], dim: int) -> list[str]:
    problems = []
    for key, shape in expected.items():
        if key not in given:
            problems.append(f"{key}: missing")
        elif tuple(given[key].shape) != shape:
            problems.append(f"{key}: has shape {list(given[key].shape)}, expected {list(shape)}")
    problems += [f"{key}: unknown" for key in given if key not in expected and key != _POSITION]
    position = given.get(_POSITION)
    if position is None:
        problems.append(f"{_POSITION}: missing")
    elif not _fits_position(position, dim):
        problems.append(
            f"{_POSITION}: has shape {list(position.shape)}, expected [1, G * G + 1, {dim}], or "
            "+ 2 with a distillation token"
        )
    for key, tensor in given.items():
        if not tensor.is_floating_point():
            problems.append(f"{key}: holds {tensor.dtype}, expected floating point numbers")
        elif not torch.isfinite(tensor).all():
            problems.append(f"{key}: holds values that are infinite or not a number")
    return problems


def _fits_position(position: Tensor, dim: int) -> bool:
    """Whether one or two tokens stand in front of a square grid (or none, as in some ViTs)."""
    if position.ndim != 3 or position.shape[0] != 1 or position.shape[2] != dim:
        return False
    tokens = position.shape[1]
    return tokens > 0 and tokens - math.isqrt(tokens) ** 2 <= 2
