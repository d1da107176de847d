"""Proxies: a small copy of every video of a version, in which each frame is found at once.

Index i of a proxy is frame i of its source, counted in decoding order as `vad.video.reader` counts.
They are made by `vad.video.proxy_build`. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vad.errors import VadError

VERSION = 1
INDEX = "proxies.json"
AGAIN = "Build the proxies of this data set again."


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """What became of one video. Without frames there is no file, and `problem` says why.

    The `clip_…` fields are of a second copy, at the very size of stage 2's clips; empty and 0 where
    none was asked for.
    """

    file: str = ""
    frames: int = 0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    size_bytes: int = 0
    sha256: str = ""
    source_frames: int = 0  # as the container or the manifest says, whichever is more
    source_width: int = 0
    source_height: int = 0
    problem: str = ""  # a sentence; with frames: those behind a damage are missing
    clip_file: str = ""
    clip_height: int = 0
    clip_width: int = 0
    clip_bytes: int = 0
    clip_sha256: str = ""


class ProxyStore:
    """The proxies of a version, as `build` left them.

    Attributes:
        folder: of the index and the files.
        fingerprint: of the settings and of all that the files hold.
        proxies: by video key, those without a file included.
    """

    def __init__(self, folder: Path, fingerprint: str, proxies: Mapping[str, Proxy]) -> None:
        self.folder, self.fingerprint, self.proxies = folder, fingerprint, proxies

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the index.

        Raises:
            VadError: `file-missing`, or `proxies-invalid` when the index is damaged.
        """
        path = folder / INDEX
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["version"] != VERSION:
                raise ValueError(f"it is of version {data['version']}, expected {VERSION}")
            found = {key: Proxy(**entry) for key, entry in data["videos"].items()}
            return cls(folder, str(data["fingerprint"]), found)
        except FileNotFoundError:
            raise VadError(
                "file-missing", f"{folder} holds no proxies ({INDEX} is missing).", AGAIN
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise VadError("proxies-invalid", f"{path} cannot be used: {exc}.", AGAIN) from exc

    def get(self, key: str) -> Proxy | None:
        """The proxy of a video; None where it has none."""
        found = self.proxies.get(key)
        return found if found and found.frames else None

    def path(self, key: str, clip_size: tuple[int, int] | None = None) -> Path:
        """The file of a video's proxy, or its copy at a size (H, W) where it has one.

        Raises KeyError where there is no proxy.
        """
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        copied = found.clip_file and (found.clip_height, found.clip_width) == clip_size
        return self.folder / (found.clip_file if copied else found.file)

    def lacks(self, clip_size: tuple[int, int]) -> bool:
        """Whether some videos have a proxy, but no copy at this size (H, W)."""
        return any(
            proxy.frames and (proxy.clip_height, proxy.clip_width) != clip_size
            for proxy in self.proxies.values()
        )
