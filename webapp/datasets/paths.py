"""Folders that a person names: inside the configured data roots, or refused."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from vad.errors import VadError

FOOTAGE = "footage"  # of the data folder: what people put there to be registered


def data_roots() -> list[Path]:
    """Where data sets may lie: `footage` in the data folder, and the folders of the settings.

    The rest of the data folder is the server's own: its secret key, its database, the runs of all
    projects. A reader quotes lines that it does not understand, so none of it may be read as one.
    """
    own = settings.DATA_DIR.resolve()
    named = [root.resolve() for root in settings.DATA_ROOTS]
    return list(dict.fromkeys([(own / FOOTAGE).resolve(), *(r for r in named if r != own)]))


def inside_roots(text: str, what: str) -> Path:
    """The path with every link followed, once it is known to lie in a data root.

    Outside the roots nothing is said of what exists. A relative path is looked for in each root.

    Args:
        text: as the person gave it.
        what: the field, for the error.

    Raises:
        VadError: `path-outside-roots`, `file-missing`.
    """
    roots = data_roots()
    if "\0" in text:
        raise _missing(text.replace("\0", "?"), what)
    candidates = [(root / text).resolve() for root in roots]  # an absolute path stays as it is
    allowed = [p for p in candidates if _is_open(p, roots)]
    if not allowed:
        raise VadError(
            "path-outside-roots",
            f"{text} lies outside the folders that this server may read.",
            f"Put it below one of: {', '.join(map(str, roots))}; or ask for its folder to be added "
            "to VADLAB_DATA_ROOTS.",
            fields={what: "lies outside the data folders of this server"},
        )
    for path in allowed:
        try:
            if path.exists():
                return path
        except OSError:  # too long a name, no right to look
            continue
    raise _missing(text, what)


def _is_open(path: Path, roots: list[Path]) -> bool:
    """Below a root; a root above the data folder does not open the data folder."""
    own = settings.DATA_DIR.resolve()
    if path.is_relative_to(own):
        roots = [root for root in roots if root.is_relative_to(own)]
    return any(path.is_relative_to(root) for root in roots)


def _missing(text: str, what: str) -> VadError:
    return VadError(
        "file-missing",
        f"{text} does not exist.",
        "Check the spelling; the path is one on the server, not on your own machine.",
        fields={what: "does not exist on the server"},
    )
