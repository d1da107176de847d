"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import seeding
from django.test import Client

from vad.evaluation.bootstrap import paired
from vad.evaluation.protocol import Protocol
from webapp.accounts.models import Project, User
from webapp.compare import comparison
from webapp.evaluations import scores as store
from webapp.runs.models import Run


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def address(*runs: Run) -> str:
    return "/compare/?" + "&".join(f"run={run.pk}" for run in runs)


def test_without_runs_the_page_offers_some(client: Client, seeded: seeding.Seeded) -> None:
    answer = client.get("/compare/")

    assert "Choose runs to compare" in answer.content.decode()
    assert seeded.runs["first"] in answer.context["candidates"]


def test_runs_stand_in_the_order_of_the_address_each_once(
    client: Client, seeded: seeding.Seeded
) -> None:
    first, second = seeded.runs["first"], seeded.runs["second"]
    evaluate = seeded.evaluations[0].run  # stands for the run that it evaluated

    columns = client.get(address(second, evaluate, first)).context["columns"]

    assert [column.run for column in columns] == [second, first]


def test_differences_are_paired_over_the_same_videos(
    client: Client, seeded: seeding.Seeded
) -> None:
    a, b = (store.load(e) for e in seeded.evaluations)
    expected = paired(a, b, samples=comparison.PAIRED_SAMPLES, names=comparison.PAIRED)["auc"]

    asked = address(seeded.runs["first"], seeded.runs["second"])
    plain = client.get(asked)
    part = client.get(asked, headers={"HX-Request": "true"})

    assert "differences=yes" in plain.content.decode()  # asked for once the page stands
    assert part.content.decode().lstrip().startswith('<section class="panel" id="metrics"')
    rows = client.get(f"{asked}&differences=yes").context["metric_rows"]
    auc = next(row for row in rows if row.title == "AUC")
    assert expected is not None
    assert auc.cells[0].difference is None
    assert auc.cells[1].difference.text.startswith(f"{expected.difference:+.4f}")
    assert auc.cells[1].difference.sign == "worse"
    assert [cell.best for cell in auc.cells] == [True, False]


def test_other_protocols_are_not_comparable_and_the_page_says_what_differs(
    client: Client, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[1]
    other = replace(Protocol.from_dict(evaluation.protocol), smoothing=5)
    evaluation.protocol, evaluation.fingerprint = other.to_dict(), other.fingerprint
    evaluation.save()

    answer = client.get(address(seeded.runs["first"], seeded.runs["second"]) + "&differences=yes")

    text = answer.content.decode()
    assert "Not comparable" in text
    assert "The smoothing over snippets differs: 1 and 5." in text
    cells = [cell for row in answer.context["metric_rows"] for cell in row.cells]
    assert not any(cell.best or cell.difference for cell in cells)


def test_only_settings_that_differ_are_listed(client: Client, seeded: seeding.Seeded) -> None:
    rows = client.get(address(seeded.runs["first"], seeded.runs["second"])).context["config_rows"]

    assert {row.name for row in rows} == {"lr", "seed", "dropout", "selection"}


def test_a_run_keeps_its_colour_whoever_stands_beside_it(
    client: Client, seeded: seeding.Seeded
) -> None:
    def colour(*runs: Run) -> str:
        query = address(*runs).partition("?")[2]
        figure = client.get(f"/compare/figures/curves/?{query}&key=loss/total").json()
        name = seeded.runs["second"].name
        return next(t["line"]["color"] for t in figure["data"] if t["name"].startswith(name))

    alone = colour(seeded.runs["second"])
    together = colour(seeded.runs["first"], seeded.runs["second"], seeded.runs["running"])

    assert alone == together


def test_a_run_without_an_evaluation_is_compared_in_its_curves_only(
    client: Client, seeded: seeding.Seeded
) -> None:
    answer = client.get(address(seeded.runs["first"], seeded.runs["running"]))

    assert "not evaluated" in answer.content.decode()
    assert "validation/video_auc" in answer.context["keys"]


def test_runs_of_others_are_left_out(
    seeded: seeding.Seeded, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    answer = sign_in(stranger).get(address(seeded.runs["first"]))

    assert answer.context["columns"] == []
