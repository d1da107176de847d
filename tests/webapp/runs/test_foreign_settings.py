"""Settings of runs that are trained elsewhere: filters, orders, groups and columns."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from webapp.external import services
from webapp.runs import grouping, table
from webapp.runs.filtering.completion import complete
from webapp.runs.filtering.problem import FilterError
from webapp.runs.models import Run
from webapp.runs.ordering import Ordered

SETTINGS: dict[str, dict[str, Any]] = {
    "number": {"net": {"depth": 3}, "optim": "adam"},
    "text": {"net.depth": "3", "optim": "sgd"},
    "more": {"net": {"depth": 10.5}, "optim": None, "amp": True},
    "word": {"net.depth": "deep", "with space": 1},
    "none": {"lr": 0.1},
}


@pytest.fixture
def runs(project, user) -> dict[str, Run]:
    return {
        name: services.run_start(project=project, by=user, name=name, params=params)
        for name, params in SETTINGS.items()
    }


def shown(**given: str) -> table.Shown:
    query = QueryDict(mutable=True)
    query.update(given)
    return table.Shown.of(query)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("config.net.depth = 3", "number text"),
        ("config.net.depth = 3.0", "number"),  # "3.0" is another text
        ("config.net.depth != 3", "more word"),
        ("config.net.depth = deep", "word"),
        ("config.net.depth != deep", "number text more"),
        ("config.net.depth > 2", "number more"),
        ("config.net.depth:EE", "word"),
        ("not config.net.depth <= 3", "text more word none"),
        ("config.amp = true", "more"),
        ('config.optim = "adam" or config.net.depth >= 10.5', "number more"),
    ],
)
def test_what_a_filter_finds(runs, project, text: str, found: str) -> None:
    names = shown(q=text).scope([project.pk]).runs().values_list("name", flat=True)

    assert sorted(names) == sorted(found.split())


@pytest.mark.parametrize(
    ("text", "token", "says"),
    [
        ("auc > 0.5 or config.net.dept = 3", "config.net.dept", "Did you mean config.net.depth"),
        ("config.lrr = 3", "config.lrr", "Did you mean config.lr"),
        ("config.net.depth > deep", "deep", "is no number"),
        ("config.net.depth", None, ""),  # a word, as any without an operator
    ],
)
def test_what_is_no_setting_of_any_run_is_refused_at_its_place(
    runs, project, text: str, token: str | None, says: str
) -> None:
    problem = shown(q=text).checked([project.pk]).problem

    if token is None:
        assert problem is None
    else:
        assert isinstance(problem, FilterError)
        assert problem.token == token
        assert says in problem.message


def test_only_runs_of_the_same_projects_make_a_setting_known(runs, project) -> None:
    assert shown(q="config.net.depth = 3").checked([project.pk + 1]).problem is not None


def test_the_page_marks_the_place_and_the_api_says_it(runs, client: Client) -> None:
    page = client.get("/runs/", {"q": "config.nothing = 3"})
    answer = client.get("/api/v1/runs/", {"q": "config.nothing = 3"})

    assert "No run has a setting nothing" in page.content.decode()
    assert (answer.status_code, answer.json()["fields"]["q.to"]) == (400, "14")
    assert client.get("/api/v1/runs/", {"q": "config.net.depth = 3"}).json()["results"]


def test_completion_and_the_columns_offer_them(runs, client: Client) -> None:
    known = table.known(Run.objects.all())

    assert list(known.settings) == ["amp", "net.depth", "optim"]  # lr is ours, one has a space
    proposals = complete("config.net", 10, known).proposals
    assert [p.text for p in proposals] == ["config.net.depth"]
    assert [p.text for p in complete("config.net.depth ", 17, known).proposals][:2] == [":", "="]
    assert "config.net.depth" in client.get("/runs/columns/").content.decode()


def test_sorted_grouped_and_shown_by_one(runs, project, client: Client) -> None:
    view = shown(sort="-config.net.depth", group="config.optim", cols="config.net.depth")
    ordered = Ordered(view.scope([project.pk]), view.sort)

    names = Run.objects.in_bulk(ordered[:3])
    assert [names[pk].name for pk in ordered[:2]] == ["more", "number"]
    titles = {
        g.title: len(g.ids) for g in grouping.groups(Run.objects.all(), view.group, view.sort)
    }
    assert titles == {"adam": 1, "sgd": 1, grouping.NONE: 3}
    row = table.rows([runs["word"].pk], view.columns)[0]
    assert table.value(row, view.columns[0]) == "deep"
    page = client.get("/runs/", {"cols": "config.net.depth", "sort": "-config.net.depth"})
    assert page.status_code == 200 and "deep" in page.content.decode()
