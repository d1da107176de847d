"""The evaluation list, one evaluation, and its figures."""

from __future__ import annotations

from typing import Any

import pytest
import seeding
from django.test import Client

from vad.evaluation.anatomy import anatomy
from webapp.accounts.models import Project, User
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def evaluation(seeded: seeding.Seeded) -> Evaluation:
    return seeded.evaluations[0]


def test_an_empty_list_offers_the_next_step(client: Client) -> None:
    text = client.get("/evaluations/").content.decode()

    assert "No evaluations yet" in text
    assert "/runs/new/" in text


def test_the_list_sorts_by_the_numbers(client: Client, seeded: seeding.Seeded) -> None:
    def aucs(sort: str) -> list[float]:
        page = client.get(f"/evaluations/?sort={sort}").context["page"]
        return [e.frame_auc for e in page]

    assert aucs("-auc") == sorted(aucs("auc"), reverse=True)
    assert len(aucs("auc")) == 2


def test_the_list_is_filtered_by_run_and_data_set(client: Client, seeded: seeding.Seeded) -> None:
    def found(query: str) -> int:
        return len(client.get(f"/evaluations/?{query}").context["page"].object_list)

    assert found("q=warm-up") == 1
    assert found(f"version={seeded.version.pk}") == 2
    assert found("version=00000000-0000-0000-0000-000000000000") == 0


def test_the_list_costs_a_fixed_number_of_queries(
    client: Client, seeded: seeding.Seeded, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(10):
        client.get("/evaluations/")


def test_the_page_states_every_number_with_its_interval_and_how_it_was_chosen(
    client: Client, evaluation: Evaluation
) -> None:
    text = client.get(f"/evaluations/{evaluation.pk}/").content.decode()
    low, high = evaluation.intervals["auc"]

    assert f"{evaluation.frame_auc:.4f}" in text
    assert f"{low:.4f} \u2013 {high:.4f}" in text
    assert "checkpoint chosen on validation videos" in text
    assert "optimistic" not in text
    assert evaluation.fingerprint in text


def test_a_checkpoint_chosen_on_the_test_split_is_labelled_everywhere(
    client: Client, seeded: seeding.Seeded
) -> None:
    chosen_on_test = seeded.evaluations[1]

    for address in (
        "/evaluations/",
        f"/evaluations/{chosen_on_test.pk}/",
        f"/runs/{chosen_on_test.of_run_id}/",
        f"/compare/?run={chosen_on_test.of_run_id}",
    ):
        assert "optimistic" in client.get(address).content.decode(), address


def test_each_video_has_its_contribution_and_the_worst_comes_first(
    client: Client, evaluation: Evaluation
) -> None:
    rows = client.get(f"/evaluations/{evaluation.pk}/").context["videos"]
    expected = {v["key"]: v["change"] for v in anatomy(store.load(evaluation))["videos"]}

    assert {row.key: row.contribution for row in rows} == expected
    assert [row.contribution for row in rows] == sorted(expected.values())


def test_videos_are_narrowed_to_a_class(client: Client, evaluation: Evaluation) -> None:
    rows = client.get(f"/evaluations/{evaluation.pk}/?class=Fire").context["videos"]

    assert {row.classes for row in rows} == {("Fire",)}


def test_a_video_is_chosen_by_address_and_htmx_gets_only_its_timeline(
    client: Client, evaluation: Evaluation
) -> None:
    address = f"/evaluations/{evaluation.pk}/?video=test/fire_047"
    whole = client.get(address)
    part = client.get(address, headers={"HX-Request": "true"}).content.decode()

    assert whole.context["video"] == "test/fire_047"
    assert part.lstrip().startswith('<section id="timeline"')
    assert "video=test%2Ffire_047" in part


def test_the_roc_curve_carries_the_value_and_the_band(
    client: Client, evaluation: Evaluation
) -> None:
    figure = client.get(f"/evaluations/{evaluation.pk}/figures/roc/").json()

    names = [trace["name"] for trace in figure["data"]]
    assert any(name.endswith(f"{evaluation.frame_auc:.3f}") for name in names)
    assert "95 % interval" in names
    assert "campus v1 test, 24 videos" in figure["layout"]["title"]["text"]


def test_what_is_not_there_is_said_in_the_apis_shape(
    client: Client, evaluation: Evaluation
) -> None:
    answer = client.get(f"/evaluations/{evaluation.pk}/figures/nothing/")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not-found"


def test_a_lost_score_file_takes_the_curves_but_not_the_page(
    client: Client, evaluation: Evaluation
) -> None:
    store._load.cache_clear()
    store._contributions.cache_clear()
    evaluation.scores_path.unlink()

    page = client.get(f"/evaluations/{evaluation.pk}/")
    figure = client.get(f"/evaluations/{evaluation.pk}/figures/roc/")

    assert page.status_code == 200
    text = page.content.decode()
    assert "does not exist" in text
    assert f"{evaluation.frame_auc:.4f}" in text
    assert figure.json()["code"] == "file-missing"


def test_classes_have_their_interval_where_there_are_enough_videos(
    client: Client, evaluation: Evaluation
) -> None:
    answer = client.get(f"/evaluations/{evaluation.pk}/")
    rows = {row["class"]: row for row in answer.context["per_class"]}

    low, high = rows["Running"]["interval"]
    assert low < rows["Running"]["auc"] < high
    assert rows["Fire"]["interval"] is None  # two videos show no variation worth a number
    figure = client.get(f"/evaluations/{evaluation.pk}/figures/classes/").json()
    assert figure["data"][0]["error_x"]["array"].count(0.0) == 2
