"""The alignment doctor: do videos, labels and features line up, and if not, by how much?

Published numbers fail to reproduce because features times 16, decoded frames and the label file
say different lengths. Every video is looked at; what does not line up is said with its amount and
with the rule that settles it. The rules (`Report.rules`) are those of the evaluation protocol.
numpy only: nothing is decoded, all that counts was counted when the data set was registered.

    report = examine(load_manifest(folder), {s: load_truth(folder, s) for s in SPLITS}, store)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vad.data.doctor import features, labels
from vad.data.doctor.report import SEVERITIES, Finding, Report
from vad.data.features import FeatureStore
from vad.data.manifest import SPLITS, Manifest, Truth, Video
from vad.timeline import interval_mask

__all__ = ["SEVERITIES", "Finding", "Report", "examine"]


def examine(
    manifest: Manifest,
    truth_by_split: Mapping[str, Mapping[str, Truth]],
    store: FeatureStore | None = None,
) -> Report:
    """Look at every video of a data set version.

    Args:
        manifest: the videos.
        truth_by_split: the truth of those splits that may be looked at.
        store: features of these videos, if they are to be checked.
    """
    truth = {key: t for part in truth_by_split.values() for key, t in part.items()}
    found = [*labels.of_dataset(manifest, truth), *labels.of_reader(manifest)]
    for video in manifest.videos:
        found += labels.of_video(video, truth.get(video.key), manifest)
    if store is not None:
        found += features.of_store(manifest, store)
        for video in manifest.videos:
            found += features.of_video(video, truth.get(video.key), store)
    elif any(not v.num_frames for v in manifest.split("test")):
        found += [
            features.unknown_length(v, None) for v in manifest.split("test") if not v.num_frames
        ]
    order = {severity: i for i, severity in enumerate(SEVERITIES)}
    found.sort(key=lambda f: (order[f.severity], f.check, f.video))
    return Report(
        videos=len(manifest.videos),
        findings=tuple(found),
        counts={
            split: _counts(manifest.split(split), truth_by_split.get(split, {}), store)
            for split in SPLITS
        },
        rules=_rules(found, store),
    )


def _counts(
    videos: Iterable[Video], truth: Mapping[str, Truth], store: FeatureStore | None
) -> dict[str, int]:
    """Lengths that ought to agree: frames, and frames that whole snippets cover (under hold)."""
    found = {"videos": 0, "frames": 0, "abnormal_frames": 0, "covered": 0, "abnormal_covered": 0}
    size = store.rule.snippet_len if store else 16
    for video in videos:
        frames = video.num_frames
        snippets = frames // size
        if store is not None and video.key in store:
            snippets = store.shape(video.key)[1]
        covered = frames if store and store.rule.rule == "stretch" else snippets * size
        intervals = truth[video.key].intervals if video.key in truth else ()
        mask = interval_mask(intervals, max(frames, covered))
        found["videos"] += 1
        found["frames"] += frames
        found["abnormal_frames"] += int(mask[:frames].sum())
        found["covered"] += covered
        found["abnormal_covered"] += int(mask[:covered].sum())
    return found


def _rules(findings: Iterable[Finding], store: FeatureStore | None) -> dict[str, Any]:
    settled: dict[str, dict[str, float]] = {}
    for f in findings:
        if f.rule and f.video and f.check in ("tail-repeat", "tail-trim", "short", "long"):
            entry = settled.setdefault(f.rule, {"videos": 0, "frames": 0})
            per_unit = store.rule.snippet_len if store and f.unit == "snippets" else 1
            entry["videos"] += 1
            entry["frames"] += f.amount * per_unit
    rules: dict[str, Any] = {"lengths": settled}
    if store is not None:
        rules["snippets"] = store.rule.to_dict()
        rules["crops"] = "averaged; their order does not change a score"
        if "crop_order" in store.settings:
            rules["crop_order"] = store.settings["crop_order"]
    return rules
