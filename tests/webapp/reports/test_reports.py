"""Reports: blocks, revisions, panels live and frozen, rechecking, comments, files."""

from __future__ import annotations

import pytest
import seeding
from django.test import Client

from webapp.accounts.models import Project, User
from webapp.reports.models import Report


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def test_a_ready_made_report_shows_every_panel(client: Client, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    seeding.add_maps(seeded, evaluation)

    answer = client.post("/reports/make/", {"evaluation": str(evaluation.pk)}, follow=True)

    report = Report.objects.get()
    shown = answer.context["blocks"]
    assert [b.error for b in shown if b.error] == []
    kinds = {b.block["kind"] for b in shown}
    assert kinds == {
        "text", "numbers", "roc", "pr", "classes", "videos", "moment", "protocol", "settings",
        "provenance", "reproduce",
    }  # fmt: skip
    assert report.title in answer.content.decode()
