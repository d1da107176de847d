"""What changes reports: every save is a new revision, and no revision ever changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from vad.errors import ConfigError, VadError
from webapp.accounts import audit
from webapp.accounts.access import administered
from webapp.accounts.models import Project, User
from webapp.accounts.permissions import may_edit, require_editor
from webapp.core.api import storable
from webapp.reports import blocks, panels, queries
from webapp.reports.content import digest
from webapp.reports.models import Comment, Report, Revision, Snapshot

MOST_COMMENT = 4000
MOST_COMMENTS = 500  # of a report
MOST_TITLE, MOST_NOTE = 120, 200


def report_create(*, project: Project, title: str, given: Any, by: User) -> Report:
    """A report with its first revision.

    Raises:
        ConfigError: a field or a block is wrong.
        VadError: `not-allowed`.
    """
    require_editor(by, project)
    title, _ = _checked(title, "")
    draft = _drafted(project, None, given)
    with transaction.atomic():
        report = Report.objects.create(project=project, title=title, owner=by)
        _revise(report, draft, number=1, title=title, note="", by=by)
    return report


def report_save(
    *,
    report: Report,
    title: str,
    given: Any,
    by: User,
    base: int | None = None,
    note: str = "",
) -> Revision:
    """The next revision.

    Args:
        base: the revision that the person began with; None overwrites whatever there is.

    Raises:
        ConfigError: a field or a block is wrong.
        VadError: `report-changed`, somebody saved since then; `not-allowed`.
    """
    require_editor(by, report.project)
    title, note = _checked(title, note)
    draft = _drafted(report.project, report, given)
    with transaction.atomic():
        locked = Report.objects.select_for_update().get(pk=report.pk)
        last = locked.revisions.select_related("by").first()
        number = last.number if last else 0
        if last is not None and base is not None and base != number:
            raise VadError(
                "report-changed",
                f"{last.by} saved revision {number} while you were changing revision {base}.",
                "Your text is still in the form. Open the report in another tab, take over what "
                "is new, and save again.",
            )
        return _revise(locked, draft, number=number + 1, title=title, note=note, by=by)


def report_restore(*, report: Report, number: int, by: User) -> Revision:
    """What an old revision said, as the newest one."""
    old = queries.revision_of(report, number)
    return report_save(
        report=report, title=old.title, given=old.blocks, by=by, note=f"as revision {number}"
    )


def report_freeze(*, report: Report, by: User, freeze: bool = True) -> Revision:
    """All panels frozen as they are now, or all live again."""
    last = report.revisions.first()
    assert last is not None  # made with the report
    given = [
        {**b, "frozen": (b["frozen"] or blocks.NOW) if freeze else ""} if blocks.is_panel(b) else b
        for b in last.blocks
    ]
    note = "all panels frozen" if freeze else "all panels live"
    return report_save(
        report=report, title=last.title, given=given, by=by, base=last.number, note=note
    )


@transaction.atomic
def report_delete(*, report: Report, by: User) -> None:
    """The report with its history, comments and links."""
    require_editor(by, report.project)
    audit.record("report-deleted", by=by, project=report.project, subject=report.title)
    report.delete()


@transaction.atomic
def comment_add(*, report: Report, block: str, text: str, by: User) -> Comment:
    """Say something of a panel of the newest revision.

    Raises:
        ConfigError: the text or the panel is wrong.
    """
    require_editor(by, report.project)
    text = text.strip()
    last = report.revisions.first()
    known = {b["id"] for b in last.blocks if blocks.is_panel(b)} if last else set()
    wrong = {}
    if block not in known:
        wrong["block"] = f"{block[:40]!r} is no panel of this report"
    if not text or not storable(text):
        wrong["text"] = "is needed"
    elif len(text) > MOST_COMMENT:
        wrong["text"] = f"has {len(text):,} characters, {MOST_COMMENT:,} at most"
    if report.comments.count() >= MOST_COMMENTS:
        wrong["text"] = f"the report has {MOST_COMMENTS} comments, delete some"
    if wrong:
        raise ConfigError(wrong, what="The comment")
    return Comment.objects.create(report=report, block=block, text=text, by=by)


@transaction.atomic
def comment_delete(*, comment: Comment, by: User) -> None:
    """One's own, or anybody's by an admin of the project."""
    if not may_delete(comment, by):
        raise VadError(
            "not-allowed", "Only who wrote a comment, or an admin, can delete it.",
            "Ask an admin of the project.",
        )  # fmt: skip
    comment.delete()


def may_delete(comment: Comment, by: User) -> bool:
    project = comment.report.project
    own = comment.by_id == by.pk and may_edit(by, project)
    return own or may_delete_all(project, by)


def may_delete_all(project: Project, by: User) -> bool:
    """Whether other people's comments are theirs to delete, too."""
    return administered(by).filter(pk=project.pk).exists()


def _checked(title: str, note: str) -> tuple[str, str]:
    title, note = " ".join(title.split()), " ".join(note.split())
    wrong = {}
    if not title:
        wrong["title"] = "is needed"
    for name, text, most in (("title", title, MOST_TITLE), ("note", note, MOST_NOTE)):
        if len(text) > most:
            wrong[name] = f"has {len(text)} characters, {most} at most"
        elif not storable(text):
            wrong[name] = "holds a character that cannot be stored"
    if wrong:
        raise ConfigError(wrong, what="The report")
    return title, note


@dataclass(frozen=True)
class _Draft:
    """Blocks that may be saved, and what their panels froze. Made before the transaction begins:
    drawing a panel takes seconds now and then."""

    blocks: list[dict[str, Any]]
    frozen: list[tuple[str, dict[str, Any], dict[str, Any]]]  # digest, spec, content


def _drafted(project: Project, report: Report | None, given: Any) -> _Draft:
    found = blocks.checked(given)
    if report is None:
        found = [{**b, "frozen": b["frozen"] and blocks.NOW} if "frozen" in b else b for b in found]
    else:
        _settle(report, found)
    blocks.require_own(found, project, known=named_before(report))
    frozen, wrong = [], {}
    for place, block in enumerate(found, start=1):
        if block.get("frozen") == blocks.NOW:
            try:
                content = panels.build(block, project)
            except VadError as exc:
                wrong[f"{place}.frozen"] = f"it cannot be frozen: {exc.message}"
                continue
            spec = blocks.spec_of(block)
            block["frozen"] = digest(content, spec)
            frozen.append((block["frozen"], spec, content.to_dict()))
    if wrong:
        raise ConfigError(wrong, what="The report")
    return _Draft(found, frozen)


def _settle(report: Report, found: list[dict[str, Any]]) -> None:
    """A frozen panel whose fields were changed is frozen anew; so is one of an unknown digest."""
    digests = [block["frozen"] for block in found if block.get("frozen")]
    kept = dict(report.snapshots.filter(sha256__in=digests).values_list("sha256", "spec"))
    for block in found:
        if block.get("frozen") and kept.get(block["frozen"]) != blocks.spec_of(block):
            block["frozen"] = blocks.NOW


def named_before(report: Report | None) -> set[str]:
    """Ids of the report's earlier revisions: they were the project's when they came, and a report
    can still be saved when one of them was deleted since."""
    if report is None:
        return set()
    return {
        pk
        for given in report.revisions.values_list("blocks", flat=True)
        for block in given
        for pk in (*block.get("runs", ()), *block.get("evaluations", ()))
    }


def _revise(
    report: Report, draft: _Draft, *, number: int, title: str, note: str, by: User
) -> Revision:
    for sha, spec, content in draft.frozen:
        Snapshot.objects.get_or_create(
            report=report, sha256=sha, defaults={"spec": spec, "content": content}
        )
    report.title, report.changed_at = title, timezone.now()
    report.save(update_fields=["title", "changed_at"])
    return Revision.objects.create(
        report=report, number=number, title=title, blocks=draft.blocks, note=note, by=by
    )
