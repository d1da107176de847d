"""Reads what `vad.data.synthetic.make` wrote."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from vad.data.formats.common import (
    Dataset,
    Format,
    Problems,
    Progress,
    count_all,
    inside,
    own_file,
    read_lines,
    read_text,
)
from vad.data.manifest import SPLITS, Manifest, Track, Truth, Video
from vad.errors import VadError


def read(root: Path, *, on_progress: Progress | None = None) -> Dataset:
    """Read labels and truth, and count the frames of every clip by decoding it."""
    problems = Problems(root)
    labels, truth_file = own_file(root, "labels.csv"), own_file(root, "truth-test.json")
    try:
        rows = list(csv.DictReader(read_lines(labels)))
    except csv.Error as exc:
        problems.add(labels, f"no CSV: {exc}")
        rows = []
    paths = []
    for number, row in enumerate(rows, start=2):
        if row.get("split") not in SPLITS or row.get("label") not in ("0", "1"):
            problems.add(labels, "no split or no label", number)
            continue
        if not row.get("key") or not row.get("file") or "class" not in row:
            problems.add(labels, "no key, no file or no class", number)
            continue
        place = inside(root, row["file"])
        if place is None:
            problems.add(labels, f"{row['file']} leads out of the data set's folder", number)
        elif not os.path.isfile(place):  # noqa: PTH113 (Path raises where a name is too long)
            problems.add(labels, f"{row['file']} does not exist", number)
        else:
            paths.append((row["key"], root / row["file"]))
    problems.raise_if_any()
    infos = count_all(paths, problems, on_progress)
    problems.raise_if_any()
    videos = tuple(
        Video(
            key=row["key"],
            split=row["split"],
            label=int(row["label"]),
            classes=(row["class"],) if row["label"] == "1" else (),
            path=row["file"],
            num_frames=infos[row["key"]].num_frames,
            fps=infos[row["key"]].fps,
            width=infos[row["key"]].width,
            height=infos[row["key"]].height,
        )
        for row in rows
    )
    try:
        truth = {key: _truth(data) for key, data in json.loads(read_text(truth_file)).items()}
        about = json.loads(read_text(own_file(root, "synthetic.json")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError,
            RecursionError) as exc:  # fmt: skip
        raise VadError(
            "dataset-invalid",
            f"{truth_file} is damaged: {exc}.",
            "Delete the folder and make the data set again.",
        ) from exc
    for video in videos:
        if video.split == "test" and video.key not in truth:
            problems.add(truth_file, f"{video.key} is missing")
    problems.raise_if_any()
    rules = {"frames": "decoded", "intervals": "half-open", "generator": about}
    manifest = Manifest(
        name="Synthetic CCTV", format="synthetic", videos=videos, media_root=str(root), rules=rules
    )
    return manifest, truth


def _truth(data: dict) -> Truth:
    tracks = tuple(
        Track(
            start_frame=int(t["start_frame"]),
            end_frame=int(t["end_frame"]),
            keyframes=tuple((int(k[0]), *map(float, k[1:5])) for k in t["keyframes"]),  # type: ignore[misc]
            name=str(t["name"]),
        )
        for t in data["tracks"]
    )
    return Truth(intervals=tuple((int(a), int(b)) for a, b in data["intervals"]), tracks=tracks)


FORMAT = Format(
    name="synthetic",
    title="Synthetic CCTV",
    help="The made-up surveillance clips of `vad dataset synthesize`.",
    read=read,
)
