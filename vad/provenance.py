"""Which code a run was made by, and on which machine, as far as that can be told."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
GIT_TIMEOUT_S = 5.0
NVIDIA = Path("/proc/driver/nvidia/version")
PROCESSOR = Path("/proc/cpuinfo")


def code() -> dict[str, Any]:
    """The code that is running: its own hash, and its commit where it lies in a repository.

    Returns:
        `code_sha256`: of all modules of this package, names and bytes; `commit`: 40 digits, or None
        outside of a git repository; `dirty`: whether files that git knows were changed since.
    """
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "code_sha256": code_hash(PACKAGE),
        "commit": commit or None,
        "dirty": None if changed is None else bool(changed),
    }


def code_hash(package: Path) -> str:
    """SHA-256 over the Python files of a package, by relative name."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda p: p.relative_to(package).as_posix()):
        data = path.read_bytes()
        name = path.relative_to(package).as_posix()
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def machine() -> dict[str, Any]:
    """Host, processor, and the NVIDIA driver; None where it is not told."""
    processor = _line(PROCESSOR, r"model name\s*:\s*(.+)")
    return {
        "host": platform.node(),
        "processor": processor or platform.processor() or None,
        "driver": _line(NVIDIA, r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s"),
    }


def _git(*words: str) -> str | None:
    """What git says of the package's folder; None without git, or outside of a repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *words],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _line(path: Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, path.read_text(errors="replace"))
    except OSError:
        return None
    return found[1].strip() if found else None
