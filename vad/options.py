"""The fields of a run's configuration as options of the command line."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar

from vad.configs import RunConfig
from vad.errors import ConfigError, VadError

C = TypeVar("C", bound=RunConfig)
_PREFIX = "config_"  # keeps fields apart from other options of the same name


def add(
    parser: argparse.ArgumentParser, config_type: type[RunConfig], *, leave_out: tuple[str, ...]
) -> None:
    """`--config FILE`, and an option for every field, with its help, group, unit and default."""
    parser.set_defaults(**{_PREFIX + name: None for name in leave_out})
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="fields as JSON; options override them"
    )
    groups: dict[str, Any] = {}
    for f in dataclasses.fields(config_type):
        if f.name in leave_out:
            continue
        title = f.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        default = " ".join(map(str, f.default)) if isinstance(f.default, tuple) else f.default
        choices = f.metadata["choices"]
        listed = f" One of: {', '.join(map(str, choices))}." if choices else ""
        form: dict[str, Any] = {}
        if isinstance(f.default, tuple):  # `--resize 128 128` as well as `--resize "128 128"`
            form = {"nargs": "+", "action": _Joined}
        elif isinstance(f.default, bool):  # `--compile` as well as `--compile yes`
            form = {"nargs": "?", "const": "yes"}
        groups[title].add_argument(
            *spellings(f.name),
            dest=_PREFIX + f.name,
            metavar=(f.metadata["unit"] or "VALUE").upper(),
            help=plain(f"{f.metadata['help']}{listed} [{default}]"),
            **form,
        )


def spellings(name: str) -> tuple[str, ...]:
    """An option with underscores, as configurations have it, and with hyphens."""
    return tuple(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


class _Joined(argparse.Action):
    """Several words as one text, which is what a field reads."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, " ".join(values))


def read(args: argparse.Namespace, config_type: type[C]) -> C:
    """The configuration of `--config`, with single options over it.

    Raises:
        ConfigError: all fields that are wrong.
        VadError: `file-missing`.
    """
    return config_type.from_dict(from_file(args), texts=given(args, config_type))


def given(args: argparse.Namespace, config_type: type[RunConfig]) -> dict[str, str]:
    """The fields that were given as options, as text."""
    names = [f.name for f in dataclasses.fields(config_type)]
    return {n: v for n in names if (v := getattr(args, _PREFIX + n)) is not None}


def plain(text: str) -> str:
    """Help text as argparse wants it, which reads a percent sign as a format."""
    return text.replace("%", "%%")


def from_file(args: argparse.Namespace) -> dict[str, Any]:
    """The fields in the file of `--config`; none without one.

    Raises:
        ConfigError, VadError: as `read`.
    """
    if args.config is None:
        return {}
    path: Path = args.config
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VadError(
            "file-missing", f"The configuration file {path} does not exist.", "Check its path."
        ) from None
    except (OSError, ValueError) as exc:
        raise ConfigError({"config": f"{path} cannot be read as JSON: {exc}"}) from exc
    if not isinstance(data, dict):
        raise ConfigError({"config": f"{path} must hold one JSON object of fields and values"})
    return data
