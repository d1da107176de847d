"""Training videos as bags: what the network saw in their segments at one step. numpy only.

A run keeps a few videos of each label (`watched_bags`) and writes one file an evaluation, so that
a person can see which segments the loss chose, and how that changed. Nothing in it comes from
temporal truth: a training run has none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from vad.data.tensorfile import write_bytes
from vad.errors import VadError

FOLDER = "bags"
MOST_STEPS = 24  # files of a run: a long run keeps every second, every fourth, … of its steps
_HEADER = "vadlab"
_NAME = re.compile(r"step-(\d{6,})\.safetensors")
_ARRAYS = ("scores", "abnormal", "normal", "carried", "abnormal_slots", "normal_slots")


@dataclass(frozen=True, eq=False, kw_only=True)
class Bags:
    """V watched videos at one step; S segments, K slots of each memory unit.

    Args:
        step: training steps done.
        keys: V video keys.
        labels: V labels, 0 normal, 1 abnormal: all that training knows of them.
        top: how many segments of a bag the loss averages, floor(S / 16) + 1.
        scores: [V, S] float32, 0 to 1.
        abnormal, normal: [V, S] float32, 0 to 1, how well the segment fits each memory unit.
        carried: [V, S] float32, sums to 1 over a bag: the size of the loss's gradient with respect
            to the segment's feature; all zeros where the loss no longer depends on the bag.
        abnormal_slots, normal_slots: [V, S, K] uint8, the weights of the slots, 255 for 1.
    """

    step: int
    keys: tuple[str, ...]
    labels: tuple[int, ...]
    top: int
    scores: np.ndarray
    abnormal: np.ndarray
    normal: np.ndarray
    carried: np.ndarray
    abnormal_slots: np.ndarray
    normal_slots: np.ndarray

    def chosen(self, video: int, values: str = "scores") -> np.ndarray:
        """[top] segments with the largest values, the largest first."""
        return np.argsort(-getattr(self, values)[video], kind="stable")[: self.top]

    def save(self, output: Path) -> Path:
        """Write below a run's folder, and thin out older files. Returns the path."""
        header = {
            "step": self.step, "keys": self.keys, "labels": self.labels, "top": self.top,
        }  # fmt: skip
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        content = safetensors.numpy.save(arrays, metadata={_HEADER: json.dumps(header)})
        path = output / FOLDER / f"step-{self.step:06d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
        for old in thinned(steps(output), MOST_STEPS):
            path_of(output, old).unlink(missing_ok=True)
        return path


def load(output: Path, step: int) -> Bags:
    """The bags of a step.

    Raises:
        VadError: `file-missing`, or `bags-invalid` for anything that `save` did not write.
    """
    path = path_of(output, step)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})[_HEADER])
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        shape = arrays["scores"].shape
        if len(shape) != 2 or any(a.shape[:2] != shape for a in arrays.values()):
            raise ValueError("its arrays contradict each other")
        if len(header["keys"]) != shape[0] or len(header["labels"]) != shape[0]:
            raise ValueError("it does not name its videos")
        return Bags(
            step=int(header["step"]),
            keys=tuple(header["keys"]),
            labels=tuple(header["labels"]),
            top=int(header["top"]),
            **arrays,
        )
    except FileNotFoundError:
        raise VadError(
            "file-missing",
            f"{path} does not exist: the run kept no bags at step {step}.",
            "Choose one of the steps that are listed.",
        ) from None
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as exc:
        raise VadError(
            "bags-invalid",
            f"{path} is not a file of bags: {exc}.",
            "Train again to keep new ones; the run itself is unharmed.",
        ) from exc


def steps(output: Path) -> list[int]:
    """The steps whose bags a run has kept, ascending."""
    folder = output / FOLDER
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def path_of(output: Path, step: int) -> Path:
    return output / FOLDER / f"step-{step:06d}.safetensors"


def thinned(kept: list[int], most: int) -> list[int]:
    """Which of these steps to remove so that at most `most` are left: evenly, never the newest.

    Steps that are multiples of the first one by a power of two stay, so a run that is interrupted
    and resumed keeps the same ones.
    """
    if len(kept) <= most:
        return []
    every = kept[0]
    while sum(step % every == 0 for step in kept) >= most:
        every *= 2
    return [step for step in kept[:-1] if step % every]
