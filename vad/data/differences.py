"""What changed from one version of a data set to another: videos, labels, truth, rules. Pure.

What is compared is what the fingerprint covers, so two versions differ here exactly when their
fingerprints do.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vad.data.manifest import Manifest, Truth, Video

KINDS = ("added", "removed", "changed")
# Of a video, in the order in which they matter; the names of `Change.fields`.
FIELDS = (
    "split", "label", "classes", "num_frames", "intervals", "boxes", "masks", "fps", "size", "path",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Change:
    """A video that is in one version only, or in both and not the same.

    Args:
        kind: one of `KINDS`.
        split, label, classes: as it is now, or was where it was removed.
        fields: of a changed one, name to (before, after); lists of intervals, boxes as tracks.
    """

    key: str
    kind: str
    split: str
    label: int
    classes: tuple[str, ...]
    fields: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """From one version to another.

    Args:
        changes: by kind and key.
        unchanged: videos that are the same in both.
        rules: name to (before, after); None where it is not there. `format` is one of them.
    """

    changes: tuple[Change, ...]
    unchanged: int
    rules: Mapping[str, tuple[Any, Any]]

    @property
    def kinds(self) -> dict[str, int]:
        """Videos by kind, in the order of `KINDS`."""
        found = Counter(change.kind for change in self.changes)
        return {kind: found[kind] for kind in KINDS}

    @property
    def fields(self) -> dict[str, int]:
        """In how many videos a field changed; only those that did, in the order of `FIELDS`."""
        found = Counter(name for change in self.changes for name in change.fields)
        return {name: found[name] for name in FIELDS if found[name]}

    def of(self, kind: str = "", field: str = "") -> tuple[Change, ...]:
        """The changes of a kind, and those in which a field changed."""
        return tuple(
            change
            for change in self.changes
            if (not kind or change.kind == kind) and (not field or field in change.fields)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "videos": {**self.kinds, "unchanged": self.unchanged},
            "fields": self.fields,
            "rules": {name: list(pair) for name, pair in self.rules.items()},
            "changes": [
                {
                    "key": change.key,
                    "kind": change.kind,
                    "split": change.split,
                    "label": change.label,
                    "classes": list(change.classes),
                    "fields": {name: list(pair) for name, pair in change.fields.items()},
                }
                for change in self.changes
            ],
        }


def differences(
    before: Manifest,
    after: Manifest,
    truth_before: Mapping[str, Truth],
    truth_after: Mapping[str, Truth],
) -> Differences:
    """Compare two versions of a data set.

    Args:
        truth_before, truth_after: of both splits, by video key.
    """
    old, new = ({video.key: video for video in m.videos} for m in (before, after))
    changes = [_whole(video, "added") for key, video in new.items() if key not in old]
    changes += [_whole(video, "removed") for key, video in old.items() if key not in new]
    shared = old.keys() & new.keys()
    for key in shared:
        was = _content(old[key], truth_before.get(key))
        now = _content(new[key], truth_after.get(key))
        fields = {name: (was[name], now[name]) for name in FIELDS if was[name] != now[name]}
        if fields:
            changes.append(dataclasses.replace(_whole(new[key], "changed"), fields=fields))
    changes.sort(key=lambda change: (KINDS.index(change.kind), change.key))
    return Differences(
        changes=tuple(changes),
        unchanged=len(shared) - sum(change.kind == "changed" for change in changes),
        rules=_pairs(
            {"format": before.format, **before.rules}, {"format": after.format, **after.rules}
        ),
    )


def _whole(video: Video, kind: str) -> Change:
    return Change(
        key=video.key, kind=kind, split=video.split, label=video.label, classes=video.classes
    )


def _content(video: Video, truth: Truth | None) -> dict[str, Any]:
    """All of a video and its truth under the names of `FIELDS`."""
    known = truth or Truth()
    return {
        "split": video.split,
        "label": video.label,
        "classes": list(video.classes),
        "num_frames": video.num_frames,
        # that no truth was given is not the same as that there is no anomaly
        "intervals": None if truth is None else [list(pair) for pair in known.intervals],
        "boxes": [dataclasses.asdict(track) for track in known.tracks],
        "masks": known.masks,
        "fps": video.fps,
        "size": [video.width, video.height],
        "path": video.path,
    }


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names: Iterable[str] = dict.fromkeys([*before, *after])
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }
