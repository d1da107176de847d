"""Every page: who may see it, what it says, what it costs, and that it brings no inline code."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import seeding
from django.test import Client

from webapp.accounts.models import Project, User

INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*application/json)|\sstyle=|<style|\son[a-z]+=", re.I
)


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def pages(seeded: seeding.Seeded) -> dict[str, str]:
    """Address of every page -> something that only this page can say."""
    runs, evaluation = seeded.runs, seeded.evaluations[0]
    first, second = runs["first"], runs["second"]
    run = f"/runs/{first.pk}/"
    return {
        "/runs/": second.name,
        run: "AUC and AP while training",
        f"{run}?tab=log": "Search the lines",
        f"/runs/{second.pk}/?tab=checkpoints": "checkpoints/step-000300.safetensors",
        f"/runs/{second.pk}/?tab=config": "what differs from",
        f"{run}?tab=events": "created",
        f"/runs/{runs['failed'].pk}/": "loss/triplet: nan at step 212",
        f"/runs/{runs['waiting'].pk}/": f"It starts after {runs['running'].name}.",
        f"/runs/delete/?run={first.pk}": "It cannot be undone",
        "/runs/new/": "Each seed becomes a run",
        "/runs/new/?kind=extract": "All its videos are decoded once",
        "/runs/new/?kind=evaluate": "Its checkpoint is scored",
        f"/runs/new/?from={second.pk}": 'value="0.0003"',
        "/queue/": "atlas-01",
        "/datasets/": "campus",
        f"/datasets/{seeded.version.pk}/": "its container says 812 frames",
        "/datasets/new/": "This server may read",
        "/evaluations/": first.name,
        f"/evaluations/{evaluation.pk}/": "What was counted",
        f"/evaluations/{seeded.evaluations[1].pk}/": "optimistic",
        f"/evaluations/viewer/?run={first.pk}&video=test/fire_047": "errors of",
        f"/compare/?run={first.pk}&run={second.pk}": "What differs in the settings",
    }


def figures(seeded: seeding.Seeded) -> list[str]:
    runs, evaluation = seeded.runs, seeded.evaluations[0]
    both = f"run={runs['first'].pk}&run={runs['second'].pk}"
    return [
        f"/runs/{runs['first'].pk}/figures/loss/",
        f"/runs/{runs['first'].pk}/figures/score/?from=100.4&to=200",
        f"/evaluations/{evaluation.pk}/figures/roc/",
        f"/evaluations/{evaluation.pk}/figures/pr/",
        f"/evaluations/{evaluation.pk}/figures/classes/",
        f"/evaluations/viewer/timeline/?run={evaluation.pk}&video=test/normal_040",
        f"/datasets/{seeded.version.pk}/classes/",
        f"/compare/figures/roc/?{both}",
        f"/compare/figures/pr/?{both}",
        f"/compare/figures/curves/?{both}&key=loss/total",
    ]


def test_a_member_sees_every_page_with_its_facts(client: Client, seeded: seeding.Seeded) -> None:
    for address, fact in pages(seeded).items():
        answer = client.get(address)

        assert answer.status_code == 200, address
        text = answer.content.decode()
        assert fact in text, address
        assert not INLINE.search(text), (address, INLINE.search(text))


def test_every_figure_draws_something(client: Client, seeded: seeding.Seeded) -> None:
    for address in figures(seeded):
        answer = client.get(address)

        assert answer.status_code == 200, (address, answer.content[:300])
        assert any(len(trace["x"]) > 1 for trace in answer.json()["data"]), address


def test_nobody_sees_a_page_without_signing_in(seeded: seeding.Seeded) -> None:
    for address in [*pages(seeded), *figures(seeded)]:
        answer = Client().get(address)

        assert answer.status_code == 302, address
        assert answer["Location"].startswith("/login/"), address


def test_a_stranger_finds_nothing_of_the_project(
    seeded: seeding.Seeded, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(stranger)
    ids = {str(run.pk) for run in seeded.runs.values()} | {str(seeded.version.pk)}

    for address in [*pages(seeded), *figures(seeded)]:
        answer = client.get(address)

        path = address.partition("?")[0]
        if any(part in ids | {str(e.pk) for e in seeded.evaluations} for part in path.split("/")):
            assert answer.status_code == 404, address
        elif answer.status_code == 200:
            text = answer.content.decode().replace(address, "")
            assert "campus" not in text, address


def test_the_address_without_a_path_leads_to_the_runs(client: Client) -> None:
    assert client.get("/", follow=True).redirect_chain[-1][0] == "/runs/"


def test_nobody_without_a_project_breaks_a_page(
    make_user: Callable[..., User], sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(make_user())

    for address in ("/runs/", "/queue/", "/datasets/", "/evaluations/", "/compare/"):
        assert client.get(address).status_code == 200, address
    assert client.get("/runs/new/").status_code == 403
