"""Readers of data sets: one per layout that people have. No torch; a decoder only to count frames.

    manifest, truth = formats.read("ucf_crime", root, annotations=path)

Every reader gives the videos with their video-level labels, and the truth (intervals, boxes, masks)
apart, by video key. It lists all problems with file and line, and then gives nothing at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vad.data.formats import generic, synthetic, ucf_crime, ucsd_ped
from vad.data.formats.common import Format, Option, Progress
from vad.data.manifest import Manifest, Truth
from vad.errors import ConfigError, VadError

__all__ = ["FORMATS", "Format", "Option", "read"]

FORMATS: dict[str, Format] = {
    f.name: f for f in (ucf_crime.FORMAT, ucsd_ped.FORMAT, generic.FORMAT, synthetic.FORMAT)
}


def read(
    format: str, root: Path, *, on_progress: Progress | None = None, **options: Any
) -> tuple[Manifest, dict[str, Truth]]:
    """Read a data set.

    Args:
        format: a key of `FORMATS`.
        root: the data set's folder.
        on_progress: called with (videos counted, videos in total) while videos are decoded.
        options: those of the format; paths and flags may be given as text. None and empty text
            mean the default.

    Returns:
        The manifest, and the truth by video key: of every test video, and of training videos where
        the source has it.

    Raises:
        ConfigError: an unknown format or option, or a required option that is missing.
        VadError: `file-missing`; `dataset-invalid` with every problem.
    """
    if format not in FORMATS:
        raise ConfigError({"format": f"{format!r} is not one of {', '.join(FORMATS)}"})
    chosen = FORMATS[format]
    given = {name: value for name, value in options.items() if value not in (None, "")}
    known = {o.name: o for o in chosen.options}
    wrong = {
        name: f"no such option; {format} has: {', '.join(known) or 'none'}"
        for name in given
        if name not in known
    }
    values: dict[str, Any] = {}
    for option in chosen.options:
        try:
            values[option.name] = _value(option, given.get(option.name))
        except ValueError as exc:
            wrong[option.name] = str(exc)
    if wrong:
        raise ConfigError(wrong, what=f"Reading a data set as {chosen.title}")
    if not root.is_dir():
        raise VadError("file-missing", f"The folder {root} does not exist.", "Check the path.")
    return chosen.read(root.absolute(), on_progress=on_progress, **values)


def _value(option: Option, value: Any) -> Any:
    if value is None:
        if option.required:
            raise ValueError("required")
        return option.default
    if option.kind == "flag":
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return str(value).lower() in ("true", "yes", "on", "1")
        raise ValueError(f"expected yes or no, got {value!r}")
    if option.kind == "choice":
        if value not in option.choices:
            raise ValueError(f"{value!r} is not one of {', '.join(option.choices)}")
        return value
    path = Path(value).absolute()
    if not (path.is_file() if option.kind == "file" else path.is_dir()):
        raise ValueError(f"{value} is no {option.kind} that exists")
    return path
