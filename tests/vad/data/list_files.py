"""Small files of the kinds that published data sets come with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vad.data.formats.common import Problems
from vad.data.formats.lists import read_list
from vad.errors import VadError

VIOLENT = "v=a__#1_label_B2-G-0"
NORMAL = "The.Film.2013__#01-55-12_label_A"


def features(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((2, 4), np.float32))
    return folder


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def box_file(path: Path, *clips: tuple[str, int, int], box: dict | None = None) -> Path:
    corners = [[10, 20], [410, 20], [410, 300], [10, 300]]
    entries = [
        {
            "id": f"{name}_{start}_{end}",
            "file_name": f"{name}.mp4",
            "start_frame": start,
            "end_frame": end,
            "bounding_boxes": [
                {"start_frame": start, "end_frame": end, "keyframes": {str(start): corners}}
                | (box or {})
            ],
        }
        for name, start, end in clips
    ]
    path.write_text(json.dumps(entries, indent=2))
    return path


def problems_of(call) -> tuple[str, ...]:
    with pytest.raises(VadError) as caught:
        call()
    assert caught.value.code == "dataset-invalid"
    return caught.value.problems


def stand_in(folder: Path, *lists: Path) -> Path:
    """A folder with an empty feature file for every listed video: only names count here."""
    folder.mkdir()
    for path in lists:
        for name in read_list(path, Problems(folder)):
            (folder / f"{name}.npy").touch()
    return folder
