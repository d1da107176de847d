"""What the alignment doctor says: single findings, and a sentence for each kind of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("problem", "note", "ok")
EXAMPLES = 3
# A group of equal findings in one sentence: {n} videos, {range} each, {total} together.
_GROUPS = {
    "exact": "As many snippets as the frames ask for: {n}.",
    "tail-repeat": "Frames behind the last whole snippet: {n}, {range} each, {total} together.",
    "tail-trim": "A last snippet that reaches behind the last frame: {n}, by {range} each, {total} "
    "together.",
    "short": "Fewer snippets than the frames ask for: {n}, {range} missing.",
    "long": "More snippets than the frames ask for: {n}, {range} too many.",
    "stretch": "Snippets spread over the whole length: {n}, one snippet covers {range}.",
    "stretch-short": "More snippets than frames, so that some cover none: {n}.",
    "resolution": "An event shorter than one snippet: {n}.",
    "truth-tail": "Abnormal frames behind the last whole snippet, which the tail rule 'cut' would "
    "not evaluate: {n}, {total} together.",
    "frames-unknown": "No frame count: {n}.",
    "listed-frames": "Another length than the label file says: {n}, by {range}. The decoded length "
    "counts.",
    "mask-frames": "A mask of another length than the video: {n}, by {range}.",
    "missing-video": "Listed, but there is no file: {n}.",
    "no-features": "No features: {n}.",
    "extra-features": "In the feature store, but not in the data set, and not used: {n}.",
    "track-outside": "Boxes outside the abnormal intervals: {n}, {total} together.",
    "padding": "Snippets of zeros at the end, padding and not video: {n}, {range} each.",
}
_ALWAYS_GROUPED = ("exact", "tail-repeat", "tail-trim", "stretch")
_SETTLED = {
    "repeat": " The last score is repeated.",
    "trim": " What is too much is trimmed.",
    "cut": " Evaluated over the frames that snippets cover (tail rule 'cut'), as the published "
    "code does.",
    "leave-out": " They are left out.",
}
_REFUSED = " The snippet rule does not allow it."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found. `amount` counts `unit`s; `rule` says how it is settled."""

    check: str
    severity: str
    text: str
    video: str = ""  # its key; empty: the data set as a whole
    amount: float = 0
    unit: str = "frames"
    rule: str = ""  # repeat, trim, stretch, cut, leave-out; empty: nothing is done about it

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the doctor found: worst first."""

    videos: int
    findings: tuple[Finding, ...]
    counts: Mapping[str, Any]  # per split: videos, frames, abnormal frames, frames with features
    rules: Mapping[str, Any]  # how snippets cover frames, and how many frames each rule settles

    @property
    def severity(self) -> str:
        """The worst of all findings; ok when there is none."""
        return next((s for s in SEVERITIES if any(f.severity == s for f in self.findings)), "ok")

    def of(self, severity: str) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == severity)

    def of_video(self, key: str) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.video == key)

    def notes(self, *severities: str) -> list[str]:
        """A sentence for each kind of finding (of these severities; all by default)."""
        groups: dict[tuple[int, str], list[Finding]] = {}
        for f in self.findings:
            if not severities or f.severity in severities:
                groups.setdefault((SEVERITIES.index(f.severity), f.check), []).append(f)
        return [
            text
            for (_, check), found in sorted(groups.items())
            for text in _sentences(check, found)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "severity": self.severity,
            "videos": self.videos,
            "summary": {s: len(self.of(s)) for s in SEVERITIES},
            "notes": {s: self.notes(s) for s in SEVERITIES},
            "counts": dict(self.counts),
            "rules": dict(self.rules),
            "findings": [f.to_dict() for f in self.findings],
        }

    def text(self) -> str:
        """For people at a terminal."""
        lines = [f"{self.videos:,} videos looked at."]
        for split, part in self.counts.items():
            share = f", {part['abnormal_frames']:,} of them abnormal" if part["frames"] else ""
            lines.append(f"  {split}: {part['videos']:,} videos, {part['frames']:,} frames{share}")
            if part["covered"] != part["frames"]:
                lines.append(
                    f"    whole snippets cover {part['covered']:,} frames, "
                    f"{part['abnormal_covered']:,} of them abnormal"
                )
        marks = {"problem": "PROBLEM  ", "note": "note     ", "ok": "ok       "}
        lines += [marks[s] + text for s in SEVERITIES for text in self.notes(s)]
        return "\n".join(lines)


def _sentences(check: str, found: list[Finding]) -> list[str]:
    """One sentence for a group of equal findings, with examples; or each on its own."""
    named = [f for f in found if f.video]
    texts = [f.text for f in found if not f.video]
    if not named:
        return texts
    rest = len(named) - EXAMPLES
    if check not in _GROUPS or (rest <= 0 and check not in _ALWAYS_GROUPED):
        texts += [f"{f.video}: {f.text}" for f in named[:EXAMPLES]]
        return [*texts, f"The same of {rest:,} more."] if rest > 0 else texts
    first, amounts = named[0], [f.amount for f in named]
    low, high = min(amounts), max(amounts)
    text = _GROUPS[check].format(
        n=f"{len(named):,} videos" if len(named) > 1 else "1 video",
        range=f"{_number(low)}{'' if low == high else f' to {_number(high)}'} {first.unit}",
        total=f"{_number(sum(amounts))} {first.unit}",
    )
    if first.check in ("short", "long") and first.severity == "problem":
        text += _REFUSED
    elif first.check != "truth-tail":
        text += _SETTLED.get(first.rule, "")
    if first.severity != "ok":
        more = ", …" if rest > 0 else ""
        text += f" ({', '.join(f.video for f in named[:EXAMPLES])}{more})"
    return [*texts, text]


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
