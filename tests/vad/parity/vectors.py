"""What the parity tests share: the vectors, their rules for weights and inputs, their tolerances.

The folder is the one named by VADLAB_VECTORS, by default that of the reference data.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch

Module = TypeVar("Module", bound=torch.nn.Module)

SHARED = Path(os.environ.get("VADLAB_SHARED", Path(__file__).parents[4] / "shared"))
VECTORS = Path(os.environ.get("VADLAB_VECTORS", SHARED / "reference" / "vectors"))

FORWARD = {"rtol": 1e-4, "atol": 1e-5}
SCALAR = {"rtol": 1e-4, "atol": 0.0}
KL = {"rtol": 5e-4, "atol": 0.0}
GRADIENT = {"rtol": 2e-3, "atol": 1e-6}
LARGE = {"rtol": 1e-3, "atol": 1e-4}  # I3D at 224x224, outputs of the tubelet transformer

TERMS = {  # of the loss, ours: theirs
    "att_loss": "att_loss",
    "A_loss": "A_loss",
    "N_Aatt": "N_Aatt",
    "N_loss": "N_loss",
    "A_Nloss": "A_Nloss",
    "triplet": "triplet",
    "kl_loss": "kl_loss",
    "total": "total_loss",
}


def vector(name: str) -> dict[str, np.ndarray]:
    path = VECTORS / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set VADLAB_VECTORS to the folder of the vectors")
    with np.load(path) as file:
        return dict(file)


def cases(v: dict[str, np.ndarray], name: str) -> list[int]:
    found = sorted(
        int(k[len(name) :]) for k in v if k.startswith(name) and k[len(name) :].isdigit()
    )
    assert found
    return found


def rule(name: str, shape: tuple[int, ...], weight_seed: int) -> np.ndarray:
    """A weight of the vectors' own rule; see their README."""
    if not shape:
        return np.zeros((), np.float32)
    seed = (zlib.crc32(name.encode()) + 2654435761 * weight_seed) % 2**32
    z = np.random.default_rng(seed).standard_normal(shape)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        z = 1 + 0.1 * np.abs(z)
    elif last == "memory_block":
        z = 0.25 * z
    elif last == "pos_embed":
        z = 0.2 * z
    elif len(shape) == 1:
        z = 1 + 0.1 * z if last == "weight" else 0.05 * z
    elif len(shape) == 5:
        z = z * np.sqrt(2 / np.prod(shape[1:]))
    else:
        z = z / np.sqrt(np.prod(shape[1:]))
    return z.astype(np.float32)


def fill(module: Module) -> Module:
    seed = int(vector("weights_probe")["weight_seed"])
    state = {
        k: torch.from_numpy(rule(k, tuple(v.shape), seed)) for k, v in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def given(v: dict[str, np.ndarray], name: str, *, rule: str = "N") -> torch.Tensor:
    """An input by rule N (normal), U (0 to 1) or V (-1 to 1), checked by its first values."""
    shape = tuple(v[f"{name}_shape"].tolist())
    return drawn(v, name, shape, rule)


def drawn(v: dict[str, np.ndarray], name: str, shape: tuple[int, ...], rule: str) -> torch.Tensor:
    """The same where the vectors do not store the shape."""
    generator = np.random.default_rng(int(v[f"{name}_seed"]))
    if rule == "N":
        values = generator.standard_normal(shape).astype(np.float32)
    else:
        values = generator.random(shape).astype(np.float32)
    if rule == "V":
        values = 2 * values - 1
    np.testing.assert_array_equal(values.reshape(-1)[:8], v[f"{name}_head"])
    return torch.from_numpy(values)


def frame(v: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A frame by rule F: [H, W, 3] uint8, made of blocks of 8x8 pixels."""
    height, width = v[f"{name}_hw"].tolist()
    generator = np.random.default_rng(int(v[f"{name}_seed"]))
    pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)[::8, ::8]
    return pixels.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def close(got: torch.Tensor, expected: np.ndarray, tolerance: dict[str, float]) -> None:
    np.testing.assert_allclose(got.detach().numpy(), expected, **tolerance)
