"""How a number was made, so that two numbers are compared only when they may be.

A protocol is everything that would change a number although the model is the same. What describes
the model (its weights, features, seed) is not part of it: that is what one wants to compare.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from vad.data.manifest import Truth, Video
from vad.evaluation.frame import METRIC_VERSION
from vad.timeline import SnippetRule


def _part(default: Any, title: str) -> Any:
    return field(default=default, metadata={"title": title})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Two evaluations with equal protocols are comparable.

    Args:
        dataset: fingerprint of the data set version.
        split: the evaluated split.
        num_videos: how many videos were evaluated.
        videos: digest of their names.
        truth: digest of labels, frame counts and intervals of these videos.
        snippet_rule, snippet_len, snippet_slack: how snippets cover frames.
        tail: frames after the last whole snippet, see `ScoreSet.build`.
        crops: how the crops of a video become one score.
        smoothing: moving average in snippets; 1 is off.
        score: which score was evaluated: of stage 1, of stage 2, or how they were fused.
        metric_version: of the code that computed the metrics.
    """

    dataset: str = _part("", "data set version")
    split: str = _part("test", "split")
    num_videos: int = _part(0, "number of videos")
    videos: str = _part("", "evaluated videos")
    truth: str = _part("", "ground truth")
    snippet_rule: str = _part("hold", "snippet-to-frame rule")
    snippet_len: int = _part(16, "frames per snippet")
    snippet_slack: int = _part(0, "snippets that may be missing or too many")
    tail: str = _part("hold", "tail rule")
    crops: str = _part("mean", "crop averaging")
    smoothing: int = _part(1, "smoothing over snippets")
    score: str = _part("stage1", "evaluated score")
    metric_version: int = _part(METRIC_VERSION, "version of the metric code")

    @classmethod
    def of(
        cls,
        *,
        dataset: str,
        videos: Sequence[Video],
        truth: Mapping[str, Truth],
        rule: SnippetRule,
        split: str = "test",
        tail: str = "hold",
        smoothing: int = 1,
        crops: str = "mean",
        score: str = "stage1",
    ) -> Self:
        """The protocol of an evaluation of `videos`; what does not matter is left out.

        Under the rule `stretch` snippets have no fixed length and no tail, so neither makes two
        evaluations differ.
        """
        stretched = rule.rule == "stretch"
        return cls(
            dataset=dataset,
            split=split,
            num_videos=len(videos),
            videos=content_digest(sorted(v.key for v in videos)),
            truth=truth_digest(videos, truth),
            snippet_rule=rule.rule,
            snippet_len=0 if stretched else rule.snippet_len,
            snippet_slack=0 if stretched else rule.slack,
            tail="hold" if stretched else tail,
            crops=crops,
            smoothing=smoothing,
            score=score,
        )

    @property
    def fingerprint(self) -> str:
        """Equal exactly for comparable evaluations: 64 hexadecimal digits."""
        return content_digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a stored protocol; parts that this version does not know are left out."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


def differences(first: Protocol, second: Protocol) -> list[str]:
    """Why two numbers are not comparable, a sentence each; empty when they are."""
    found = []
    for part in dataclasses.fields(Protocol):
        a, b = getattr(first, part.name), getattr(second, part.name)
        if a == b:
            continue
        title = part.metadata["title"]
        if part.name == "videos":
            if first.num_videos == second.num_videos:  # otherwise the number says it already
                found.append(f"The {title} are not the same, though equally many.")
        elif part.name in ("dataset", "truth"):
            found.append(f"The {title} is not the same ({_short(a)} and {_short(b)}).")
        else:
            found.append(f"The {title} differs: {a} and {b}.")
    return found


def truth_digest(videos: Sequence[Video], truth: Mapping[str, Truth]) -> str:
    """What the frames of these videos are measured against; their order does not count."""
    return content_digest(
        sorted(
            [
                video.key,
                video.label,
                video.num_frames,
                [list(i) for i in truth[video.key].intervals] if video.key in truth else [],
            ]
            for video in videos
        )
    )


def content_digest(content: Any) -> str:
    """Equal for equal content, of plain JSON types: 64 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _short(digest: str) -> str:
    return digest[:12] or "unknown"
