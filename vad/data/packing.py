"""Packing published .npy features of a data set version into a feature store. numpy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vad.data import npy
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest
from vad.errors import ShapeError, VadError
from vad.timeline import SnippetRule, suggest_rule

_LISTED_PROBLEMS = 1000


def pack_npy(
    source: Path,
    manifest: Manifest,
    output: Path,
    *,
    rule: SnippetRule,
    crop_axis: str = "none",
    dim: int | None = None,
    allow_missing: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Pack published .npy features of a data set version into one store.

    Args:
        source: folder with NAME.npy (or NAME_i3d.npy) files, searched with its subfolders; NAME
            is a video's key.
        manifest: whose videos to pack; files of other videos are left out.
        output: the store's folder; must not exist, or be empty.
        rule: how the snippets of these features cover frames.
        crop_axis: where the crops are: `none` [T, D], `first` [N, T, D], `second` [T, N, D], or
            `files`: NAME__0.npy, NAME__1.npy, … of [T, D] each. Never guessed from the shape.
        dim: the width that is expected; by default the width that most files have.
        allow_missing: leave out videos without a file instead of refusing.
        on_progress: called with (files done, files in total).

    Raises:
        VadError: `features-missing` or `features-invalid`, with every problem of every file; then
            nothing is left behind.
    """
    if crop_axis not in npy.CROP_AXES:
        raise ValueError(f"crop_axis {crop_axis!r} is not one of {', '.join(npy.CROP_AXES)}")
    if not source.is_dir():
        raise VadError(
            "file-missing", f"The feature folder {source} does not exist.", "Check its path."
        )
    present, problems = npy.find_files(source, crop_axis)
    files = npy.of_videos(present, [v.key for v in manifest.videos])
    if not allow_missing:
        problems += [f"{v.key}.npy: missing" for v in manifest.videos if v.key not in files]
    found = _read_headers(source, manifest, files, rule, crop_axis)
    problems += found.problems
    if not found.shapes:
        what = problems or ["there is no .npy file of any video"]
        raise _refused(source, what, found.advice(rule))
    width = dim or found.usual_width()
    problems += found.unequal(source, width)
    half = all(h.dtype.itemsize == 2 for heads in found.shapes.values() for h, _ in heads)
    dtype = np.dtype(np.float16 if half else np.float32)
    settings = {"source": "npy", "crop_axis": crop_axis}
    writer = StoreWriter(
        output, dim=width, dtype=dtype, rule=rule, extractor="published", settings=settings
    )
    with writer:
        for done, (key, heads) in enumerate(found.shapes.items()):
            try:
                crops = [rows for h, _ in heads for rows in npy.read_rows(h, crop_axis, dtype)]
            except ValueError as exc:
                problems.append(f"{key}.npy: {exc}")
                continue
            if not problems:  # with problems the rest is only checked
                writer.add_crops(key, crops)
            if on_progress:
                on_progress(done + 1, len(found.shapes))
        if problems:
            raise _refused(source, problems, found.advice(rule))
        return writer.close()


@dataclass
class _Headers:
    """What the heads of a folder's files promise."""

    # by video, of those files that can be read: each with its [N, T, D]
    shapes: dict[str, list[tuple[npy.NpyHeader, tuple[int, int, int]]]] = field(
        default_factory=dict
    )
    problems: list[str] = field(default_factory=list)
    lengths: list[tuple[int, int]] = field(default_factory=list)  # (frames, snippets) of every file
    some_misfit: bool = False  # their video's frames

    def usual_width(self) -> int:
        """D of most files."""
        widths = [d for files in self.shapes.values() for _, (_, _, d) in files]
        return max(sorted(set(widths)), key=widths.count)

    def unequal(self, source: Path, width: int) -> list[str]:
        """The files of another width, and the videos whose crops differ in length."""
        problems = []
        for key, files in self.shapes.items():
            problems += [
                f"{header.path.relative_to(source)}: has {d} numbers per snippet, expected {width}"
                for header, (_, _, d) in files
                if d != width
            ]
            lengths = {t for _, (_, t, _) in files}
            if len(lengths) > 1:
                problems.append(f"{key}: its crop files have {sorted(lengths)} snippets")
        return problems

    def advice(self, rule: SnippetRule) -> str:
        return _fitting(self.lengths, rule) if self.some_misfit else ""


def _read_headers(
    source: Path,
    manifest: Manifest,
    files: dict[str, list[Path]],
    rule: SnippetRule,
    crop_axis: str,
) -> _Headers:
    found = _Headers()
    for video in manifest.videos:
        for path in files.get(video.key, ()):
            try:
                header = npy.read_header(path)
                shape = npy.check_shape(header, crop_axis)
                if video.num_frames:
                    found.lengths.append((video.num_frames, shape[1]))
                    rule.bounds(shape[1], video.num_frames)
            except ShapeError:
                found.some_misfit = True
                found.problems.append(
                    f"{path.relative_to(source)}: has {shape[1]} snippets, which does not fit the "
                    f"video's {video.num_frames} frames at {rule.snippet_len} frames each"
                )
            except ValueError as exc:
                found.problems.append(f"{path.relative_to(source)}: {exc}")
            else:
                found.shapes.setdefault(video.key, []).append((header, shape))
    return found


def _fitting(lengths: list[tuple[int, int]], rule: SnippetRule) -> str:
    """What to choose so that features of these (frames, snippets) can be packed."""
    frames, snippets = np.array(lengths, dtype=np.int64).T
    other = suggest_rule(frames, snippets)
    if other is not None and other.rule == "stretch":
        return "All have the same number of snippets: choose the snippet rule 'stretch'. "
    if other is not None:
        return f"All lengths would fit {other.snippet_len} frames a snippet: choose that. "
    low = np.maximum(1, frames // rule.snippet_len) - snippets
    high = snippets - -(-frames // rule.snippet_len)
    slack = int(max(low.max(), high.max()))
    return f"With a slack of {slack} snippets all would be repeated or trimmed to fit. "


def _refused(source: Path, problems: list[str], hint: str) -> VadError:
    only_missing = all(p.endswith(": missing") for p in problems)
    noun = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return VadError(
        "features-missing" if only_missing else "features-invalid",
        f"The features in {source} have {noun}; nothing was packed. First: {problems[0]}.",
        f"{hint}Correct or remove the files that are listed, then pack the folder again.",
        problems=problems[:_LISTED_PROBLEMS],
    )
