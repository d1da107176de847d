"""Which reports show a run or an evaluation."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import F, OuterRef, Q, Subquery, TextField
from django.db.models.functions import Cast

from webapp.accounts.models import Project
from webapp.reports.models import Report, Revision


def showing(project: Project, ids: Collection[UUID]) -> list[tuple[Report, set[UUID]]]:
    """The project's reports whose newest revision has a panel of one of these runs or
    evaluations, oldest first, and of which. A list of runs that a filter finds names none."""
    if not ids:
        return []
    newest = Revision.objects.filter(report=OuterRef("report")).order_by("-number")
    found = Revision.objects.filter(
        report__project=project, number=Subquery(newest.values("number")[:1])
    )
    named = Q()
    for pk in ids:
        named |= Q(text__contains=str(pk))
    # a look at the text leaves out most; ids may stand in prose, too, which shows nothing
    found = found.annotate(text=Cast(F("blocks"), TextField())).filter(named)
    rows = []
    for revision in found.select_related("report").order_by("report__created_at", "report_id"):
        panels = [b.get(name, ()) for b in revision.blocks for name in ("runs", "evaluations")]
        shown = {str(pk) for own in panels for pk in own}
        if of := {pk for pk in ids if str(pk) in shown}:
            rows.append((revision.report, of))
    return rows
