"""The blocks of a report: text, and panels that name what they show. Checked before they are kept.

    {"id": "3f9a01c2", "kind": "text", "text": "…"}
    {"id": "…", "kind": "roc", "evaluations": ["…"], "caption": "…", "frozen": "sha256 or empty"}

Every kind of panel takes the fields that `KINDS` says, and no others.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from vad.errors import ConfigError
from webapp.accounts.models import Project
from webapp.core.api import storable
from webapp.evaluations.models import Evaluation
from webapp.runs.models import Run

MOST_BLOCKS = 100
MOST_TEXT = 50_000
MOST_CAPTION = 400
MOST_IDS = 30  # runs or evaluations of one panel
MOST_FRAME = 10**9
TEXT = "text"
NOW = "now"  # of `frozen`: to be frozen by this save
_ID = re.compile(r"[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of panel.

    Args:
        fields: what it is told, beside its caption; `needs` may not be empty.
    """

    title: str
    help: str
    fields: tuple[str, ...]
    needs: tuple[str, ...] = ()
    most: int = MOST_IDS


KINDS: dict[str, Kind] = {
    "numbers": Kind(
        title="Numbers with intervals",
        help="The metrics of evaluations, one a row, with their 95 % intervals.",
        fields=("evaluations",),
        needs=("evaluations",),
    ),
    "roc": Kind(
        title="ROC curves",
        help="Frame-level ROC curves with their bands.",
        fields=("evaluations",),
        needs=("evaluations",),
    ),
    "pr": Kind(
        title="Precision-recall curves",
        help="Frame-level precision and recall with their bands.",
        fields=("evaluations",),
        needs=("evaluations",),
    ),
    "classes": Kind(
        title="By class",
        help="AUC within the videos of each class, as a chart and a table.",
        fields=("evaluations",),
        needs=("evaluations",),
    ),
    "videos": Kind(
        title="Best and worst videos",
        help="The test videos that help and cost the AUC most.",
        fields=("evaluations",),
        needs=("evaluations",),
        most=1,
    ),
    "moment": Kind(
        title="Moment of a video",
        help="A frame with its anomaly map, and the score over the whole video.",
        fields=("evaluations", "video", "frame"),
        needs=("evaluations", "video"),
        most=1,
    ),
    "protocol": Kind(
        title="Protocol",
        help="How the numbers of an evaluation were made: data, truth, rules, what was counted.",
        fields=("evaluations",),
        needs=("evaluations",),
        most=1,
    ),
    "curves": Kind(
        title="Training curves",
        help="One metric of runs over their steps.",
        fields=("runs", "key"),
        needs=("runs", "key"),
    ),
    "runs": Kind(
        title="List of runs",
        help="The runs that a filter finds, as in the runs table.",
        fields=("q", "sort", "cols"),
    ),
    "settings": Kind(
        title="Configuration",
        help="All settings of one run, or what differs between several.",
        fields=("runs",),
        needs=("runs",),
    ),
    "provenance": Kind(
        title="Versions of data and code",
        help="What a run was made of: data, features, seeds, code, machine.",
        fields=("runs",),
        needs=("runs",),
        most=1,
    ),
    "reproduce": Kind(
        title="How to reproduce it",
        help="The commands that do runs again.",
        fields=("runs",),
        needs=("runs",),
        most=4,
    ),
}


def new_id() -> str:
    return secrets.token_hex(4)


def text_block(text: str) -> dict[str, Any]:
    return {"id": new_id(), "kind": TEXT, "text": text}


def panel(kind: str, *, caption: str = "", **fields: Any) -> dict[str, Any]:
    """A live panel."""
    given = {name: _plain(value) for name, value in fields.items()}
    return {"id": new_id(), "kind": kind, "caption": caption, "frozen": "", **given}


def is_panel(block: dict[str, Any]) -> bool:
    return block["kind"] != TEXT


def spec_of(block: dict[str, Any]) -> dict[str, Any]:
    """What decides on a panel's content."""
    return {name: block.get(name, _EMPTY[name]) for name in ("kind", *KINDS[block["kind"]].fields)}


def checked(given: Any) -> list[dict[str, Any]]:
    """The blocks in their one spelling; whose ids they name is for `require_own` to say.

    Raises:
        ConfigError: every field that is wrong, as `3.caption`: the third block's caption.
    """
    if not isinstance(given, list) or not all(isinstance(block, dict) for block in given):
        raise ConfigError({"blocks": "expected a list of objects"}, what="The report")
    if len(given) > MOST_BLOCKS:
        raise ConfigError({"blocks": f"{len(given)} of {MOST_BLOCKS} at most"}, what="The report")
    wrong: dict[str, str] = {}
    found = []
    for place, block in enumerate(given, start=1):
        clean, problems = _checked(block)
        wrong |= {f"{place}.{name}": text for name, text in problems.items()}
        found.append(clean)
    wrong |= _doubled(found)
    if wrong:
        raise ConfigError(wrong, what="The report")
    return found


def require_own(
    found: Sequence[dict[str, Any]], project: Project, known: Collection[str] = ()
) -> None:
    """Refuse ids that are none of the project's. Those of a frozen panel may be gone by now.

    Args:
        known: ids that were the project's, and may be gone, too.

    Raises:
        ConfigError: as `checked`.
    """
    live = [b for b in found if is_panel(b) and b["frozen"] in ("", NOW)]
    runs = Run.objects.filter(project=project, pk__in=_all(live, "runs"))
    evaluations = Evaluation.objects.filter(run__project=project, pk__in=_all(live, "evaluations"))
    there = {
        "runs": {str(pk) for pk in runs.values_list("pk", flat=True)},
        "evaluations": {str(pk) for pk in evaluations.values_list("pk", flat=True)},
    }
    wrong = {}
    for place, block in enumerate(found, start=1):
        for name, own in there.items() if block in live else ():
            missing = [pk for pk in block.get(name, ()) if pk not in own and pk not in known]
            if missing:
                wrong[f"{place}.{name}"] = f"{missing[0]} is none of this project's {name}"
    if wrong:
        raise ConfigError(wrong, what="The report")


_EMPTY: dict[str, Any] = {
    "kind": "", "evaluations": [], "runs": [], "video": "", "frame": 0, "key": "", "q": "",
    "sort": "", "cols": "",
}  # fmt: skip
LENGTHS = {"video": 300, "key": 120, "q": 2000, "sort": 200, "cols": 2000}


def _checked(block: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    wrong: dict[str, str] = {}
    kind = block.get("kind")
    if not isinstance(kind, str) or kind not in (TEXT, *KINDS):
        return {}, {"kind": f"{str(kind)[:40]!r} is none of {', '.join((TEXT, *KINDS))}"}
    id_ = block.get("id") or new_id()
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        wrong["id"] = "expected 8 letters of 0-9 and a-f, or none"
    fields = ("text",) if kind == TEXT else (*KINDS[kind].fields, "caption", "frozen")
    for name in block:
        if name not in ("id", "kind", *fields):
            wrong[name[:40]] = f"no such field; known: {', '.join(fields)}"
    found: dict[str, Any] = {"id": id_, "kind": kind}
    if kind == TEXT:
        found["text"] = _text(block, "text", MOST_TEXT, wrong)
        return found, wrong
    known = KINDS[kind]
    for name in known.fields:
        if name in ("runs", "evaluations"):
            found[name] = _ids(block, name, known.most, wrong)
        elif name == "frame":
            found[name] = _frame(block, wrong)
        else:
            found[name] = _text(block, name, LENGTHS[name], wrong).strip()
    for name in known.needs:
        if name not in wrong and not found[name]:
            wrong[name] = "is needed"
    found["caption"] = _text(block, "caption", MOST_CAPTION, wrong).strip()
    frozen = _text(block, "frozen", 64, wrong)
    if frozen not in ("", NOW) and not _SHA256.fullmatch(frozen):
        wrong["frozen"] = f"expected the SHA-256 of a frozen panel, {NOW!r}, or nothing"
    found["frozen"] = frozen
    return found, wrong


def _text(block: dict[str, Any], name: str, most: int, wrong: dict[str, str]) -> str:
    value = block.get(name) or ""
    if not isinstance(value, str) or not storable(value):
        wrong[name] = "expected a text"
        return ""
    if len(value) > most:
        wrong[name] = f"has {len(value):,} characters, {most:,} at most"
    return value


def _ids(block: dict[str, Any], name: str, most: int, wrong: dict[str, str]) -> list[str]:
    given = block.get(name) or []
    if not isinstance(given, list) or not all(isinstance(v, str) for v in given):
        wrong[name] = "expected a list of ids"
        return []
    found: dict[str, None] = {}
    for text in given:
        try:
            found[str(UUID(text))] = None
        except ValueError:
            wrong[name] = f"{text[:40]!r} is no id"
    if len(found) > most:
        wrong[name] = f"names {len(found)}, {most} at most"
    return list(found)


def _frame(block: dict[str, Any], wrong: dict[str, str]) -> int:
    value = block.get("frame") or 0
    if type(value) is not int or not 0 <= value <= MOST_FRAME:
        wrong["frame"] = "expected a whole number from 0"
        return 0
    return value


def _doubled(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    seen: set[str] = set()
    wrong = {}
    for place, block in enumerate(found, start=1):
        id_ = block.get("id")
        if not isinstance(id_, str):  # `_checked` says so
            continue
        if id_ in seen:
            wrong[f"{place}.id"] = "another block has this id"
        seen.add(id_)
    return wrong


def _all(found: Iterable[dict[str, Any]], name: str) -> set[UUID]:
    return {UUID(pk) for block in found for pk in block.get(name, ())}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
