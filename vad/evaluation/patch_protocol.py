"""How a patch-level number was made: what `protocol` says of frames, and what patches add to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from vad.data.manifest import Truth, Video
from vad.evaluation import protocol
from vad.evaluation.map_blur import NO_BLUR, Blur
from vad.evaluation.patch import REGION_THRESHOLDS, Limits
from vad.evaluation.patch_truth import PatchRule
from vad.evaluation.protocol import Protocol

PATCH_METRIC_VERSION = 1  # raised when a definition, not its speed, changes
MERGES = {"merged": "highest of the tubelets", "each": "each tubelet its own frames"}
GATE = "evaluated frame score"


def _part(default: Any, title: str) -> Any:
    return field(default=default, metadata={"title": title})


@dataclass(frozen=True, kw_only=True)
class PatchProtocol:
    """Two patch-level evaluations with equal protocols are comparable.

    Args:
        frame: of the frame scores, which gate the patches; its score is the gate's.
        num_videos: how many videos the patch metrics are over.
        videos: digest of their names.
        truth: digest of the boxes or masks of these videos.
        rows, columns, cell, grow, overlap: as in `PatchRule`.
        merge: how the tubelets of a snippet become maps, and how these were blurred.
        gate: what a patch score is multiplied with.
        fill: the score of a pruned patch.
        patch_limit, frame_limit: the thresholds of TIoU and patch IoU.
        region_thresholds: where maps are cut into regions for RBDC and TBDC.
        metric_version: of the code that computed the patch metrics.
    """

    frame: Protocol
    num_videos: int = _part(0, "number of videos with a place")
    videos: str = _part("", "videos with a place")
    truth: str = _part("", "truth of places")
    rows: int = _part(8, "number of patch rows")
    columns: int = _part(8, "number of patch columns")
    cell: int = _part(16, "size of a patch in pixels")
    grow: float = _part(5.0, "growth of true boxes in pixels")
    overlap: float = _part(0.25, "overlap that makes a patch abnormal")
    merge: str = _part(MERGES["merged"], "making of maps")
    gate: str = _part(GATE, "gate of patch scores")
    fill: float = _part(0.0, "score of a pruned patch")
    patch_limit: float = _part(Limits.patch, "patch threshold of TIoU")
    frame_limit: float = _part(Limits.frame, "frame threshold of TIoU")
    region_thresholds: tuple[float, ...] = _part(REGION_THRESHOLDS, "thresholds of regions")
    metric_version: int = _part(PATCH_METRIC_VERSION, "version of the patch metric code")

    @classmethod
    def of(
        cls,
        frame: Protocol,
        *,
        rule: PatchRule,
        truth: Mapping[str, Any],
        tubelets: int,
        merge: str = "merged",
        blur: Blur = NO_BLUR,
    ) -> Self:
        """Of an evaluation of the videos in `truth`.

        Args:
            truth: for each video what `spatial_content` found.
            tubelets: of a snippet; with one, how they are merged does not matter.
            merge: of `MERGES`.
            blur: of the maps of each tubelet, before they are merged.
        """
        return cls(
            frame=frame,
            num_videos=len(truth),
            videos=protocol.content_digest(sorted(truth)),
            truth=protocol.content_digest(dict(truth)),
            merge=MERGES["merged" if tubelets == 1 else merge] + (f", {blur}" if blur else ""),
            **rule.to_dict(),
        )

    @property
    def fingerprint(self) -> str:
        """Equal exactly for comparable patch-level numbers: 64 hexadecimal digits."""
        return protocol.content_digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a stored protocol; parts that this version does not know are left out."""
        known = {f.name for f in dataclasses.fields(cls)}
        found = {key: value for key, value in data.items() if key in known}
        found["frame"] = Protocol.from_dict(found["frame"])
        if "region_thresholds" in found:
            found["region_thresholds"] = tuple(found["region_thresholds"])
        return cls(**found)


def differences(first: PatchProtocol, second: PatchProtocol) -> list[str]:
    """Why two patch-level numbers are not comparable, a sentence each; empty when they are."""
    found = protocol.differences(first.frame, second.frame)
    for part in dataclasses.fields(PatchProtocol):
        a, b = getattr(first, part.name), getattr(second, part.name)
        if part.name == "frame" or a == b:
            continue
        title = part.metadata["title"]
        if part.name == "videos":
            if first.num_videos == second.num_videos:
                found.append(f"The {title} are not the same, though equally many.")
        elif part.name == "truth":
            found.append(f"The {title} is not the same ({a[:12]} and {b[:12]}).")
        else:
            found.append(f"The {title} differs: {a} and {b}.")
    return found


def spatial_content(video: Video, truth: Truth, masks: str = "") -> list[Any]:
    """What the places of a video are measured against, whatever the rule makes of it.

    Args:
        masks: digest of the masks that were read, if there are any.
    """
    return [video.width, video.height, _plain(truth.tracks), masks]


def _plain(tracks: Iterable[Any]) -> list[Any]:
    """Boxes without their names, which change nothing; the order does not count either."""
    return sorted([t.start_frame, t.end_frame, [list(k) for k in t.keyframes]] for t in tracks)
