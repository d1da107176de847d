"""Labels against videos: splits, published counts, intervals, boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from vad.data.doctor.report import Finding
from vad.data.manifest import SPLITS, Manifest, Truth, Video, duplicate_keys
from vad.timeline import interval_mask

LISTED_TOLERANCE = 16  # frames; one snippet


def of_dataset(manifest: Manifest, truth: Mapping[str, Truth]) -> Iterator[Finding]:
    for key in duplicate_keys(manifest.videos):
        yield Finding(
            check="duplicate", severity="problem", video=key, text="occurs more than once."
        )
    folded = Counter(key.casefold() for key in {v.key for v in manifest.videos})
    for video in manifest.videos:
        if folded[video.key.casefold()] > 1:
            text = "differs from another video's name in upper and lower case only."
            yield Finding(check="duplicate", severity="note", video=video.key, text=text)
    known = {v.key for v in manifest.videos}
    for key in sorted(set(truth) - known):
        text = "has temporal truth, but is not among the videos."
        yield Finding(check="unknown-video", severity="problem", video=key, text=text)
    for split in SPLITS:
        for label, word in enumerate(("normal", "abnormal")):
            if not manifest.split(split, label):
                yield Finding(
                    check="one-label",
                    severity="note",
                    text=f"The {split} split has no {word} videos.",
                )


def of_reader(manifest: Manifest) -> Iterator[Finding]:
    """What the reader noted in the manifest's rules."""
    rules = manifest.rules
    for split, labels in dict(rules.get("published_counts", {})).items():
        for label, word in enumerate(("normal", "abnormal")):
            have, expected = len(manifest.split(split, label)), int(labels[word])
            if have != expected:
                text = f"The {split} split has {have:,} {word} videos, {expected:,} are published."
                diff = abs(have - expected)
                yield Finding(check="count", severity="note", text=text, amount=diff, unit="videos")
    for key in rules.get("test_videos_missing", ()):
        yield Finding(
            check="missing-video",
            severity="note",
            video=key,
            text="is listed for testing, but there is no file of it.",
            amount=1,
            unit="videos",
            rule="leave-out",
        )
    if missing := int(rules.get("training_videos_missing", 0)):
        text = f"{missing:,} listed training videos have no file and are left out."
        yield Finding(
            check="missing-video",
            severity="note",
            text=text,
            amount=missing,
            unit="videos",
            rule="leave-out",
        )
    if rules.get("test_protocol") == "violent videos only":
        text = (
            "The test split holds violent videos only: figures on it do not compare with the "
            "usual protocol of 800 videos (500 violent, 300 normal)."
        )
        yield Finding(check="protocol", severity="note", text=text)
    for key in rules.get("events_left_out", ()):
        text = "has an earlier event in the box file that the official truth leaves out; so it is."
        yield Finding(
            check="event", severity="note", video=key, text=text, unit="events", rule="leave-out"
        )
    for key in rules.get("events_outside", ()):
        text = (
            "is abnormal, but an event lies behind its listed frames, which are cut to whole "
            "snippets."
        )
        yield Finding(check="event", severity="note", video=key, text=text, unit="events")
    if clipped := int(rules.get("intervals_clipped", 0)):
        text = f"{clipped:,} intervals ended behind the last frame and were trimmed to it."
        yield Finding(
            check="interval-end",
            severity="note",
            text=text,
            amount=clipped,
            unit="intervals",
            rule="trim",
        )
    for kind, text in (
        ("boxes_clamped", "keyframes of boxes reached out of the frame and were trimmed to it."),
        ("boxes_shortened", "boxes ended behind the last frame and were trimmed to it."),
        ("boxes_outside", "boxes lay behind the last frame and were left out."),
    ):
        if count := int(rules.get(kind, 0)):
            yield Finding(
                check="boxes",
                severity="note",
                text=f"{count:,} {text}",
                amount=count,
                unit="boxes",
                rule="leave-out" if kind == "boxes_outside" else "trim",
            )


def of_video(video: Video, truth: Truth | None, manifest: Manifest) -> Iterator[Finding]:
    def finding(check: str, severity: str, text: str, **more: Any) -> Finding:
        return Finding(check=check, severity=severity, video=video.key, text=text, **more)

    listed = dict(manifest.rules.get("frames_listed", {})).get(video.key)
    if listed is not None:
        amount = abs(video.num_frames - listed)
        yield finding(
            "listed-frames",
            "note" if amount <= LISTED_TOLERANCE else "problem",
            f"has {video.num_frames:,} decoded frames, the label file says {listed:,}.",
            amount=amount,
        )
    masks = dict(manifest.rules.get("mask_frames", {})).get(video.key)
    if masks is not None:
        yield finding(
            "mask-frames",
            "note",
            f"has {video.num_frames:,} frames, its mask {masks:,}.",
            amount=abs(video.num_frames - masks),
            rule="repeat" if masks < video.num_frames else "trim",
        )
    intervals = truth.intervals if truth else ()
    if video.label == 0 and intervals:
        text = f"is normal, but has {len(intervals)} abnormal intervals."
        yield finding("label", "problem", text)
    if video.split == "test" and video.label == 1 and truth is None:
        yield finding("label", "problem", "is abnormal, but has no temporal truth.")
    outside = video.key in manifest.rules.get("events_outside", ())
    if video.split == "test" and video.label == 1 and truth and not intervals and not outside:
        text = "is abnormal, but has no abnormal interval: all its frames count as normal."
        yield finding("label", "problem", text)
    yield from _intervals(video, intervals)
    if truth:
        yield from _tracks(video, truth)


def _intervals(video: Video, intervals: tuple[tuple[int, int], ...]) -> Iterator[Finding]:
    frames, last = video.num_frames, 0
    for start, end in intervals:
        text = ""
        if not 0 <= start < end:
            text = "is reversed, empty or negative."
        elif frames and end > frames:
            text = f"leaves the video's {frames:,} frames."
        elif start < last:
            text = "is not in order, or overlaps the one before."
        if text:
            yield Finding(
                check="interval",
                severity="problem",
                video=video.key,
                text=f"The interval {start} to {end} {text}",
                amount=max(0, end - frames) if frames else 0,
            )
        last = max(last, end)


def _tracks(video: Video, truth: Truth) -> Iterator[Finding]:
    length = max([video.num_frames, *(end for _, end in truth.intervals)], default=0)
    inside = interval_mask(truth.intervals, length)
    outside = 0
    for number, track in enumerate(truth.tracks, start=1):
        ends = f"Box {number}, frames {track.start_frame} to {track.end_frame},"
        if not 0 <= track.start_frame < track.end_frame or not track.keyframes:
            yield Finding(
                check="track", severity="problem", video=video.key, text=f"{ends} is empty."
            )
        elif video.num_frames and track.end_frame > video.num_frames:
            yield Finding(
                check="track",
                severity="problem",
                video=video.key,
                text=f"{ends} leaves the video's {video.num_frames:,} frames.",
                amount=track.end_frame - video.num_frames,
            )
        else:
            outside += track.end_frame - track.start_frame
            outside -= int(inside[track.start_frame : track.end_frame].sum())
    if outside and truth.intervals:
        text = f"has boxes on {outside:,} frames outside its abnormal intervals."
        yield Finding(
            check="track-outside", severity="note", video=video.key, text=text, amount=outside
        )
