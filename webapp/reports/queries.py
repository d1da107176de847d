"""What the pages of reports read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from vad.errors import VadError
from webapp.accounts.models import Project
from webapp.core.query import words
from webapp.reports import blocks, panels, prose
from webapp.reports.content import Content
from webapp.reports.models import Comment, Report, Revision, ShareLink, Snapshot

MOST_NUMBER = 2**31 - 1  # that the database has room for


@dataclass(kw_only=True)
class Shown:
    """One block as it is drawn.

    Args:
        html: of a text; else empty.
        content: of a panel, frozen or computed now; None where `error` says why not.
        link: where the same is looked at live; empty where there is no such page.
    """

    block: dict[str, Any]
    html: SafeString | str = ""
    content: Content | None = None
    error: VadError | None = None
    frozen_at: datetime | None = None
    comments: list[Comment] = field(default_factory=list)
    link: str = ""

    @property
    def id(self) -> str:
        return self.block["id"]

    @property
    def figures(self) -> list[tuple[str, Any, int]]:
        """The figures with the ids of their elements and their heights."""
        found = self.content.figures if self.content else []
        return [(f"figure-{self.id}-{i}", each, _height(each)) for i, each in enumerate(found)]

    @property
    def is_panel(self) -> bool:
        return blocks.is_panel(self.block)

    @property
    def is_frozen(self) -> bool:
        return self.frozen_at is not None

    @property
    def title(self) -> str:
        if self.content is not None:
            return self.content.title
        return blocks.KINDS[self.block["kind"]].title if self.is_panel else ""


def _height(figure: Any) -> int:
    """Of bars as many as there are; else the usual one."""
    bars = [trace for trace in figure["data"] if trace.get("type") == "bar"]
    if not bars:
        return 360
    count = len(bars) * len(bars[0].get("y", ()))
    return 240 if count <= 6 else 360 if count <= 16 else 480


def reports(project: Project | None, q: str = "") -> QuerySet[Report]:
    """The project's reports, the last changed first."""
    found = Report.objects.filter(project=project).select_related("owner")
    for word in words(q):
        found = found.filter(title__icontains=word)
    links = ShareLink.objects.filter(report=OuterRef("pk")).order_by().values("report")
    newest = Revision.objects.filter(report=OuterRef("pk")).order_by("-number")
    return found.annotate(
        number=Subquery(newest.values("number")[:1]),
        seen=Coalesce(Subquery(links.annotate(n=Count("pk")).values("n")[:1]), 0),
    )


def revision_of(report: Report, number: int | None = None) -> Revision:
    """The revision of this number; the newest without one.

    Raises:
        VadError: `not-found`.
    """
    found = report.revisions.select_related("by", "report__project", "report__owner")
    if number is not None and number > MOST_NUMBER:
        found = found.none()
    revision = found.filter(number=number).first() if number is not None else found.first()
    if revision is None:
        raise VadError(
            "not-found", f"{report} has no revision {number}.", "Choose one of its history."
        )
    return revision


def shown(revision: Revision, *, with_comments: bool = False) -> list[Shown]:
    """Every block of a revision, its live panels computed now."""
    report = revision.report
    project = report.project
    frozen = snapshots(report, revision.blocks)
    found = [one(block, project, frozen) for block in revision.blocks]
    if with_comments:
        by_block: dict[str, list[Comment]] = {}
        for comment in report.comments.select_related("by"):
            by_block.setdefault(comment.block, []).append(comment)
        for each in found:
            each.comments = by_block.get(each.id, [])
    return found


def snapshots(report: Report, given: Sequence[dict[str, Any]]) -> dict[str, Snapshot]:
    """What the blocks have frozen, by digest."""
    digests = {block["frozen"] for block in given if block.get("frozen")}
    return {s.sha256: s for s in report.snapshots.filter(sha256__in=digests)}


def one(block: dict[str, Any], project: Project, frozen: dict[str, Snapshot]) -> Shown:
    """A block drawn: of a frozen panel what was kept, of a live one what is now."""
    if not blocks.is_panel(block):
        return Shown(block=block, html=prose.to_html(block["text"]))
    kept = frozen.get(block["frozen"])
    if kept is not None:
        return Shown(
            block=block,
            content=Content.from_dict(kept.content),
            frozen_at=kept.taken_at,
            link=_link(block),
        )
    try:
        content = panels.build(block, project)
        return Shown(block=block, content=content.normal(), link=_link(block))
    except VadError as exc:
        return Shown(block=block, error=exc)


def _link(block: dict[str, Any]) -> str:
    if block["kind"] == "moment":
        query = {
            "run": block["evaluations"][0], "video": block["video"], "frame": block["frame"]
        }  # fmt: skip
        return f"{reverse('evaluations:viewer')}?{urlencode(query)}"
    if block["kind"] == "runs":
        query = {name: block[name] for name in ("q", "sort", "cols") if block[name]}
        return f"{reverse('runs:list')}?{urlencode(query)}"
    ids = block.get("evaluations") or block.get("runs") or []
    if len(ids) > 1:
        return f"{reverse('compare:index')}?{urlencode([('run', pk) for pk in ids])}"
    if block.get("evaluations"):
        return reverse("evaluations:detail", args=ids)
    return reverse("runs:detail", args=ids) if ids else ""
