"""Features against frames: the snippet rule, crops, lengths, tails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from vad.data.doctor.report import Finding
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Truth, Video
from vad.errors import ShapeError
from vad.timeline import SnippetRule, interval_mask, suggest_rule

CROP_COUNTS = (1, 5, 10)  # one, corners and centre, the same of the mirrored frame too


def of_store(manifest: Manifest, store: FeatureStore) -> Iterator[Finding]:
    """What concerns the features of all videos: the snippet rule, the crops, spare videos."""
    known, held = {v.key: v for v in manifest.videos}, store.keys()
    for key in held:
        if key not in known:
            text = "has features, but is not in the data set."
            yield Finding(check="extra-features", severity="note", video=key, text=text)
    shapes = {key: store.shape(key) for key in held if key in known}
    if not shapes:
        return
    yield from _crops(shapes)
    counted = [(known[k].num_frames, t) for k, (_, t, _) in shapes.items() if known[k].num_frames]
    frames = np.array([f for f, _ in counted], dtype=np.int64)
    snippets = np.array([t for _, t in counted], dtype=np.int64)
    equal = len({t for _, t, _ in shapes.values()}) == 1 and len(shapes) > 1
    better = suggest_rule(frames, snippets) if len(counted) > 1 else None
    if store.rule.rule == "hold" and equal and len(set(frames.tolist())) != 1:
        snippets_each = next(iter(shapes.values()))[1]
        yield Finding(
            check="snippet-rule",
            severity="problem" if len(counted) else "note",
            text=f"All videos have {snippets_each} snippets, whatever their length: such features "
            "were sampled evenly over the video and need the snippet rule 'stretch'.",
            rule="stretch",
        )
    elif store.rule.rule == "stretch" and better is not None and better.rule == "hold":
        yield Finding(
            check="snippet-rule",
            severity="note",
            text=f"The snippets follow the length of the videos, {better.snippet_len} frames each: "
            "the snippet rule 'hold' would place them exactly.",
        )
    elif store.rule.rule == "hold" and better is not None and better != store.rule:
        lengths = f"{better.snippet_len} frames a snippet"
        fits = [_fits(store.rule, t, f) for f, t in counted]
        if not all(fits):
            yield Finding(
                check="snippet-rule",
                severity="problem",
                text=f"{fits.count(False)} of {len(fits)} videos do not fit "
                f"{store.rule.snippet_len} frames a snippet; all would fit "
                + (f"{lengths}." if better.rule == "hold" else "the snippet rule 'stretch'."),
            )


def _fits(rule: SnippetRule, snippets: int, frames: int) -> bool:
    try:
        rule.bounds(snippets, frames)
    except ShapeError:
        return False
    return True


def _crops(shapes: Mapping[str, tuple[int, int, int]]) -> Iterator[Finding]:
    counts = Counter(crops for crops, _, _ in shapes.values())
    usual, _ = counts.most_common(1)[0]
    swapped = [k for k, (n, t, _) in shapes.items() if n not in CROP_COUNTS and t in CROP_COUNTS]
    if 2 * len(swapped) > len(shapes):
        text = (
            "Most videos have as many snippets as crops are usual, and the other way round: the "
            "axes of crops and snippets seem to be swapped."
        )
        yield Finding(check="crops", severity="problem", text=text, unit="crops")
    elif usual not in CROP_COUNTS:
        listed = ", ".join(map(str, CROP_COUNTS[:-1]))
        text = f"The videos have {usual} crops; usual are {listed} or {CROP_COUNTS[-1]}."
        yield Finding(check="crops", severity="note", text=text, amount=usual, unit="crops")
    for key, (crops, _, _) in shapes.items():
        if crops != usual:
            yield Finding(
                check="crops",
                severity="problem",
                video=key,
                text=f"has {crops} crops, {counts[usual]} videos have {usual}.",
                amount=abs(crops - usual),
                unit="crops",
            )


def of_video(video: Video, truth: Truth | None, store: FeatureStore) -> Iterator[Finding]:
    key, frames, rule = video.key, video.num_frames, store.rule
    if key not in store:
        yield Finding(
            check="no-features",
            severity="problem",
            video=key,
            text="has no features.",
            amount=1,
            unit="videos",
            rule="leave-out",
        )
        return
    rows = store.get(key)
    crops, snippets, _ = rows.shape
    if crops > 1 and (rows[1:, 0] == rows[0, 0]).all() and (rows[1:] == rows[0]).all():
        text = f"has {crops} crops that are all the same."
        yield Finding(
            check="crops", severity="note", video=key, text=text, amount=crops, unit="crops"
        )
    if padded := _zero_tail(rows[0]):
        yield Finding(
            check="padding",
            severity="note",
            video=key,
            text=f"ends in {padded} snippets of zeros.",
            amount=padded,
            unit="snippets",
        )
    if not frames:
        if video.split == "test":
            yield unknown_length(video, rule)
        return
    yield _length(video, snippets, rule)
    intervals = truth.intervals if truth else ()
    if rule.rule == "hold":
        covered = snippets * rule.snippet_len
        behind = int(interval_mask(intervals, frames)[covered:].sum())
        if behind and video.split == "test":
            yield Finding(
                check="truth-tail",
                severity="note",
                video=key,
                text=f"has {behind} abnormal frames behind its last whole snippet.",
                amount=behind,
                rule="repeat",
            )
    elif video.split == "test":
        shortest = min((end - start for start, end in intervals), default=frames)
        if shortest * snippets < frames:
            yield Finding(
                check="resolution",
                severity="note",
                video=key,
                text=f"has an event of {shortest} frames; one snippet covers "
                f"{frames / snippets:.0f}.",
                amount=shortest,
            )


def _length(video: Video, snippets: int, rule: SnippetRule) -> Finding:
    """Snippets against frames."""
    key, frames, size = video.key, video.num_frames, rule.snippet_len
    if rule.rule == "stretch":
        spare = snippets > frames
        return Finding(
            check="stretch-short" if spare else "stretch",
            severity="note" if spare else "ok",
            video=key,
            text=f"has {snippets} snippets over {frames:,} frames: one covers "
            f"{frames / snippets:.1f}.",
            amount=round(frames / snippets, 1),
            rule="stretch",
        )
    difference = snippets * size - frames
    text = f"has {snippets} snippets of {size} frames ({snippets * size:,}) for {frames:,} frames"
    low, high = max(1, frames // size), -(-frames // size)
    if snippets < low or snippets > high:
        missing = low - snippets if snippets < low else snippets - high
        settled = _fits(rule, snippets, frames)
        word = "missing" if snippets < low else "too many"
        return Finding(
            check="short" if snippets < low else "long",
            severity="note" if settled else "problem",
            video=key,
            text=f"{text}: {missing} snippets {word}."
            + ("" if settled else f" The snippet rule allows {rule.slack}."),
            amount=missing,
            unit="snippets",
            rule="repeat" if snippets < low else "trim",
        )
    if difference < 0:
        text += f": the last score is repeated for {-difference}."
        return Finding(
            check="tail-repeat",
            severity="ok",
            video=key,
            text=text,
            amount=-difference,
            rule="repeat",
        )
    if difference > 0:
        text += f": the last snippet is trimmed by {difference}."
        return Finding(
            check="tail-trim", severity="ok", video=key, text=text, amount=difference, rule="trim"
        )
    return Finding(check="exact", severity="ok", video=key, text=f"{text}.")


def unknown_length(video: Video, rule: SnippetRule | None) -> Finding:
    """A test video whose frames nobody counted."""
    if rule is not None and rule.rule == "stretch":
        text = "has no frame count, so its evenly spread snippets cannot be placed."
        return Finding(check="frames-unknown", severity="problem", video=video.key, text=text)
    return Finding(
        check="frames-unknown",
        severity="note",
        video=video.key,
        text="has no frame count.",
        rule="cut",
    )


def _zero_tail(rows: np.ndarray) -> int:
    """How many snippets at the end are all zero; 0 when all are, which is not padding."""
    for count, row in enumerate(rows[::-1]):
        if row.any():
            return count
    return 0
