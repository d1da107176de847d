"""How large things on the disk are, and what a file belongs to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CHECKPOINTS, SCORES, PROXIES, REST = "checkpoints", "scores", "proxies", "rest"
PARTS = {  # what a run's folder holds, by the first name below it
    "checkpoints": CHECKPOINTS,
    "scores.safetensors": SCORES,
    "patches.safetensors": SCORES,
    "bags": SCORES,
    "proxies": PROXIES,
}


def files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below a folder, by its path relative to it; what vanishes meanwhile is left out.

    Links are counted as what they are, and never followed.
    """
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(folder / below) as found:
                for entry in found:
                    name = f"{below}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
                    else:
                        yield name, entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue


def of_folder(folder: Path) -> int:
    return sum(stat.st_size for _, stat in files(folder))


def of_run(folder: Path) -> Counter[str]:
    """Bytes of a run's files, by what they are."""
    found: Counter[str] = Counter()
    for name, stat in files(folder):
        found[PARTS.get(name.split("/", 1)[0], REST)] += stat.st_size
    return found
