"""Readers of data sets: one per layout that people have. No torch; a decoder only to count frames.

    manifest, truth = formats.read("ucf_crime", root, annotations=path)

Every reader gives the videos with their video-level labels, and the truth (intervals, boxes, masks)
apart, by video key. It lists all problems with file and line, and then gives nothing at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vad.configs import RegisterConfig
from vad.data.formats import (
    generic,
    msad,
    shanghaitech,
    synthetic,
    ucf_crime,
    ucsd_ped,
    xd_violence,
)
from vad.data.formats.common import Format, Option, Progress
from vad.data.manifest import Manifest, Truth
from vad.errors import ConfigError, VadError

__all__ = ["FORMATS", "Format", "Option", "read", "read_config"]

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        ucf_crime.FORMAT,
        xd_violence.FORMAT,
        msad.FORMAT,
        shanghaitech.FORMAT,
        ucsd_ped.FORMAT,
        generic.FORMAT,
        synthetic.FORMAT,
    )
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


def read_config(
    config: RegisterConfig,
    *,
    on_progress: Progress | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Manifest, dict[str, Truth]]:
    """Read the data set that a register run names, with those of its fields that are options.

    Args:
        options: more options of the format; they go before the fields.

    Raises:
        ConfigError: also for a field that is filled in, but that the format does not know.
        VadError: as `read`.
    """
    known = {o.name for f in FORMATS.values() for o in f.options}
    given = {
        f.name: getattr(config, f.name)
        for f in dataclasses.fields(config)
        if f.name in known and getattr(config, f.name) != f.default
    }
    if config.interval_end != "published":
        if all(o.name != "end_inclusive" for o in FORMATS[config.format].options):
            raise ConfigError(
                {"interval_end": f"{FORMATS[config.format].title} has no list of intervals"}
            )
        given["end_inclusive"] = config.interval_end == "inclusive"
    given |= options or {}
    return read(config.format, Path(config.root), on_progress=on_progress, **given)


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
