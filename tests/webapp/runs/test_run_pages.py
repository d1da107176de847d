"""The runs table, one run, and what people do with them, over plain GET and POST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import seeding
from django.test import Client

from webapp.accounts.models import Project, User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.datasets.models import Video as VideoRow
from webapp.evaluations.models import Evaluation
from webapp.runs import chunks, metrics
from webapp.runs.models import Run, State

HTMX = {"HX-Request": "true"}


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def names(client: Client, query: str) -> list[str]:
    return [row.run.name for row in client.get(f"/runs/?{query}").context["rows"]]


# --- the table ------------------------------------------------------------------------------


def test_an_empty_project_offers_the_next_step(client: Client) -> None:
    text = client.get("/runs/").content.decode()

    assert "No runs yet" in text
    assert 'href="/runs/new/"' in text


def test_a_viewer_is_not_offered_what_the_role_does_not_allow(
    viewer: User, sign_in: Callable[[User], Client], make_run: Callable[..., Run]
) -> None:
    run = make_run(state=State.RUNNING)
    client = sign_in(viewer)

    assert "/runs/new/" not in client.get("/runs/").content.decode()
    assert f"/runs/{run.pk}/stop/" not in client.get(f"/runs/{run.pk}/").content.decode()
    assert client.get("/runs/new/").status_code == 403
    assert client.post(f"/runs/{run.pk}/stop/").status_code == 404


def test_the_table_shows_the_best_result_and_the_last_loss(
    client: Client, seeded: seeding.Seeded
) -> None:
    rows = {row.run.pk: row for row in client.get("/runs/").context["rows"]}
    first = rows[seeded.runs["first"].pk]
    evaluation = seeded.evaluations[0]

    assert first.auc == evaluation.frame_auc
    assert first.ap == evaluation.frame_ap
    assert first.loss == metrics.read_raw(first.run, "loss/total").values[-1]
    assert first.spark.path.startswith("M0.0,")
    assert rows[evaluation.pk].auc == evaluation.frame_auc  # the evaluate run's own
    assert rows[seeded.runs["held"].pk].auc is None


def test_a_search_of_thousands_of_words_is_answered(
    client: Client, make_run: Callable[..., Run]
) -> None:
    make_run()

    for address in ("/runs/", "/evaluations/"):
        assert client.get(address, {"q": "a " * 2000}).status_code == 200


def test_the_table_is_filtered_by_words_state_kind_and_tag(
    client: Client, seeded: seeding.Seeded
) -> None:
    assert names(client, "q=warm-up+lr&kind=train-urdmu") == [seeded.runs["second"].name]
    assert names(client, "q=nosuchrun") == []
    assert names(client, "state=held") == [seeded.runs["held"].name]
    assert set(names(client, "state=active")) == {
        seeded.runs["running"].name,
        seeded.runs["waiting"].name,
        "UR-DMU on campus v1, seed 5",
    }
    assert names(client, "kind=extract") == [seeded.runs["extract"].name]
    assert names(client, "tag=lr") == [seeded.runs["second"].name]
    assert len(names(client, "tag=baseline")) == 2


@pytest.mark.parametrize("key", ["auc", "ap", "loss", "progress"])
def test_sorting_by_a_number_puts_runs_without_it_last_in_both_directions(
    client: Client, seeded: seeding.Seeded, key: str
) -> None:
    def values(sort: str) -> list[float | None]:
        rows = client.get(f"/runs/?sort={sort}").context["rows"]
        if key == "progress":
            return [r.run.done / r.run.total if r.run.total else None for r in rows]
        return [getattr(row, key) for row in rows]

    for sort, reverse in ((key, False), (f"-{key}", True)):
        found = values(sort)
        have = [v for v in found if v is not None]
        assert have == sorted(have, reverse=reverse)
        assert found[: len(have)] == have
        assert 0 < len(have) < len(found)


@pytest.mark.parametrize("key", ["name", "state", "kind", "dataset", "owner", "created"])
def test_the_table_sorts_by_every_column(client: Client, seeded: seeding.Seeded, key: str) -> None:
    assert len(names(client, f"sort={key}")) == len(names(client, f"sort=-{key}")) == 12


def test_an_unknown_sort_key_is_ignored(client: Client, seeded: seeding.Seeded) -> None:
    assert names(client, "sort=owner__password") == names(client, "")


def test_the_table_costs_the_same_queries_however_many_runs_there_are(
    client: Client, make_run: Callable[..., Run], django_assert_max_num_queries: Any
) -> None:
    def fill(n: int) -> None:
        for _ in range(n):
            run = make_run(tags=["t"])
            chunks.append(run, chunks.columns([(1, {"loss/total": 1.0}), (2, {"loss/total": 2})]))

    fill(3)
    with django_assert_max_num_queries(14) as few:
        client.get("/runs/")
    fill(57)
    with django_assert_max_num_queries(14) as many:
        answer = client.get("/runs/")

    assert len(answer.context["rows"]) == 50
    assert len(many) == len(few)


def test_the_live_part_asks_again_only_while_a_run_is_active(
    client: Client, seeded: seeding.Seeded
) -> None:
    running = seeded.runs["running"]
    address = f"/runs/live/?run={running.pk}"

    before = client.get(address, headers=HTMX).content.decode()
    Run.objects.filter(pk=running.pk).update(state=State.FAILED, claim=None)
    after = client.get(address, headers=HTMX).content.decode()

    assert "every 3s" in before
    assert f'id="progress-{running.pk}" hx-swap-oob="true"' in before
    assert "every 3s" not in after
    assert 'data-state="failed"' in after


def test_the_live_part_tells_a_stranger_nothing(
    seeded: seeding.Seeded, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    text = sign_in(stranger).get(f"/runs/live/?run={seeded.runs['running'].pk}").content.decode()

    assert "state-" not in text


# --- bulk -----------------------------------------------------------------------------------


def test_several_runs_are_stopped_at_once_and_the_others_are_named(
    client: Client, make_run: Callable[..., Run]
) -> None:
    queued, done = make_run(), make_run(state=State.SUCCEEDED)

    answer = client.post(
        "/runs/bulk/", {"action": "stop", "run": [str(queued.pk), str(done.pk)]}, follow=True
    )

    queued.refresh_from_db()
    assert queued.state == State.CANCELLED
    text = answer.content.decode()
    assert "1 run stopped." in text
    assert f"{done.name} is succeeded and cannot be cancelled." in text


def test_a_tag_is_given_and_taken_off(client: Client, make_run: Callable[..., Run]) -> None:
    run = make_run(tags=["old"])

    client.post("/runs/bulk/", {"action": "tag", "tag": "new", "run": [str(run.pk)]})
    client.post("/runs/bulk/", {"action": "tag", "tag": "-old", "run": [str(run.pk)]})

    run.refresh_from_db()
    assert run.tags == ["new"]


def test_comparing_is_an_address(client: Client, make_run: Callable[..., Run]) -> None:
    ids = [str(make_run().pk) for _ in range(2)]

    answer = client.post("/runs/bulk/", {"action": "compare", "run": ids})

    assert answer["Location"] == f"/compare/?run={ids[0]}&run={ids[1]}"


def test_deleting_says_first_what_goes(client: Client, seeded: seeding.Seeded) -> None:
    first, evaluation = seeded.runs["first"], seeded.evaluations[0]
    (first.folder / "checkpoints").mkdir()
    (first.folder / "checkpoints" / "step-000100.safetensors").write_bytes(bytes(2_000_000))

    asked = client.post("/runs/bulk/", {"action": "delete", "run": [str(first.pk)]}, follow=True)
    text = asked.content.decode()
    assert Run.objects.filter(pk=first.pk).exists()
    assert "1 run and 2.0 MB" in text
    assert evaluation.run.name in text

    client.post("/runs/delete/", {"run": [str(first.pk)]})
    assert not Run.objects.filter(pk__in=[first.pk, evaluation.pk]).exists()
    assert not Evaluation.objects.filter(pk=evaluation.pk).exists()


def test_a_running_run_is_not_deleted(client: Client, seeded: seeding.Seeded) -> None:
    running = seeded.runs["running"]

    assert "cannot go yet" in client.get(f"/runs/delete/?run={running.pk}").content.decode()
    answer = client.post("/runs/delete/", {"run": [str(running.pk)]})

    assert answer.status_code == 409
    assert Run.objects.filter(pk=running.pk).exists()


# --- one run --------------------------------------------------------------------------------


def test_status_stops_asking_when_the_run_has_ended(client: Client, seeded: seeding.Seeded) -> None:
    running = seeded.runs["running"]
    address = f"/runs/{running.pk}/status/?seen=running"

    before = client.get(address, headers=HTMX).content.decode()
    Run.objects.filter(pk=running.pk).update(state=State.FAILED, claim=None)
    after = client.get(address, headers=HTMX).content.decode()

    assert "every 3s" in before
    assert "run-badge" not in before  # nothing new to say there
    assert "every 3s" not in after
    assert 'id="run-badge" hx-swap-oob="true"' in after
    assert "/retry/" in after


@pytest.mark.parametrize(
    ("action", "state", "becomes"),
    [
        ("stop", State.QUEUED, State.CANCELLED),
        ("hold", State.QUEUED, State.HELD),
        ("release", State.HELD, State.QUEUED),
        ("retry", State.FAILED, State.QUEUED),
    ],
)
def test_each_action_is_a_plain_post(
    client: Client, make_run: Callable[..., Run], action: str, state: str, becomes: str
) -> None:
    run = make_run(state=state)

    answer = client.post(f"/runs/{run.pk}/{action}/", follow=True)

    run.refresh_from_db()
    assert run.state == becomes
    assert answer.redirect_chain[-1][0] == f"/runs/{run.pk}/"


def test_an_action_that_came_too_late_is_explained(
    client: Client, make_run: Callable[..., Run]
) -> None:
    run = make_run(state=State.SUCCEEDED)

    answer = client.post(f"/runs/{run.pk}/stop/")

    assert answer.status_code == 409
    assert f"{run.name} is succeeded" in answer.content.decode()


def test_an_unknown_action_is_not_there(client: Client, make_run: Callable[..., Run]) -> None:
    assert client.post(f"/runs/{make_run().pk}/explode/").status_code == 404


def test_a_run_that_is_being_cancelled_offers_no_hold(
    client: Client, make_run: Callable[..., Run]
) -> None:
    running, leaving = (make_run(state=State.RUNNING, stop=stop) for stop in ("", "cancel"))

    assert f"/runs/{running.pk}/hold/" in client.get(f"/runs/{running.pk}/").content.decode()
    assert f"/runs/{leaving.pk}/hold/" not in client.get(f"/runs/{leaving.pk}/").content.decode()


def test_the_way_back_never_leads_to_another_site(
    client: Client, make_run: Callable[..., Run]
) -> None:
    answer = client.post(f"/runs/{make_run().pk}/hold/", {"next": "https://elsewhere.example/"})

    assert answer["Location"].startswith("/runs/")


def test_the_log_gives_only_new_lines(client: Client, make_run: Callable[..., Run]) -> None:
    run = make_run(state=State.RUNNING)
    run.folder.mkdir(parents=True)
    file = run.folder / "log.txt"
    file.write_text("first\n")
    page = client.get(f"/runs/{run.pk}/?tab=log")
    end = page.context["log"].end

    with file.open("a") as log:
        log.write("WARNING second\nunfinished")
    tail = client.get(f"/runs/{run.pk}/log/tail/?after={end}").content.decode()

    assert "second" in tail
    assert 'data-level="warning"' in tail
    assert "first" not in tail
    assert "unfinished" not in tail


def test_a_log_without_a_file_is_empty(client: Client, make_run: Callable[..., Run]) -> None:
    run = make_run()

    assert client.get(f"/runs/{run.pk}/?tab=log").status_code == 200
    assert client.get(f"/runs/{run.pk}/log/").status_code == 404


def test_names_and_logs_are_text_not_code(client: Client, make_run: Callable[..., Run]) -> None:
    run = make_run(name="<script>alert(1)</script>", state=State.RUNNING)
    run.folder.mkdir(parents=True)
    (run.folder / "log.txt").write_text("<img src=x onerror=alert(1)>\n")

    for address in ("/runs/", f"/runs/{run.pk}/?tab=log", "/queue/"):
        text = client.get(address).content.decode()
        assert "<script>alert" not in text
        assert "<img" not in text


def test_each_kind_of_run_leads_on_to_what_it_made(client: Client, seeded: seeding.Seeded) -> None:
    runs, evaluate = seeded.runs, seeded.evaluations[0].run
    for run, word in (
        (runs["register"], "Open data set"),
        (runs["extract"], "Train on it"),
        (runs["first"], "Evaluate"),
        (evaluate, "Open evaluation"),
    ):
        text = client.get(f"/runs/{run.pk}/").content.decode()
        assert f"</svg>{word}</a>" in text
        assert ("?tab=checkpoints" in text) == (run.kind == "train-urdmu")


# --- a new run ------------------------------------------------------------------------------


@pytest.fixture
def media(version: DatasetVersion) -> DatasetVersion:
    """A version that has videos to extract from."""
    VideoRow.objects.create(version=version, key="a", split="train", label=0, path="a.mp4")
    return version


def test_without_data_the_form_leads_to_registering(client: Client) -> None:
    assert 'href="/datasets/new/"' in client.get("/runs/new/").content.decode()
    assert "Train first" in client.get("/runs/new/?kind=evaluate").content.decode()


def test_several_seeds_queue_several_runs_each_with_its_evaluation(
    client: Client, feature_set: FeatureSet
) -> None:
    answer = client.post(
        "/runs/new/",
        {
            "kind": "train-urdmu", "inputs": f"features:{feature_set.pk}", "seeds": "1, 2 3",
            "lr": "3e-4", "evaluate": "yes", "priority": "5", "tags": "a b", "name": "sweep",
        },
    )  # fmt: skip

    assert answer.status_code == 302
    trainings = Run.objects.filter(kind="train-urdmu").order_by("created_at")
    assert [run.config["seed"] for run in trainings] == [1, 2, 3]
    assert {run.config["lr"] for run in trainings} == {3e-4}
    assert {run.priority for run in trainings} == {5}
    assert trainings[0].tags == ["a", "b"]
    evaluations = Run.objects.filter(kind="evaluate")
    assert {run.of_run_id for run in evaluations} == {run.pk for run in trainings}
    assert {run.state for run in evaluations} == {State.WAITING}


def test_a_training_and_its_evaluation_are_named_once_they_are_queued(
    client: Client, feature_set: FeatureSet
) -> None:
    inputs = f"features:{feature_set.pk}"
    form = {"kind": "train-urdmu", "inputs": inputs, "evaluate": "yes", "name": "first"}

    text = client.post("/runs/new/", form, follow=True).content.decode()

    assert "first is queued, and Evaluate first." in text


def test_without_the_check_mark_nothing_is_evaluated(
    client: Client, feature_set: FeatureSet
) -> None:
    client.post("/runs/new/", {"kind": "train-urdmu", "inputs": f"features:{feature_set.pk}"})

    assert Run.objects.get().kind == "train-urdmu"


def test_training_waits_for_features_that_must_be_extracted_first(
    client: Client, media: DatasetVersion
) -> None:
    client.post("/runs/new/", {"kind": "train-urdmu", "inputs": f"extract:{media.pk}"})

    training = Run.objects.get(kind="train-urdmu")
    assert training.state == State.WAITING
    assert training.parents.get().kind == "extract"


def test_problems_stand_beside_their_fields_and_nothing_is_lost(
    client: Client, feature_set: FeatureSet
) -> None:
    answer = client.post(
        "/runs/new/",
        {
            "kind": "train-urdmu", "inputs": f"features:{feature_set.pk}", "lr": "7",
            "dropout": "much", "seeds": "1 x", "priority": "1000", "name": "kept",
        },
    )  # fmt: skip

    assert answer.status_code == 422
    assert set(answer.context["errors"]) == {"lr", "dropout", "seeds", "priority"}
    text = answer.content.decode()
    assert "7.0 is above the most allowed, 1" in text
    assert 'value="kept"' in text
    assert 'value="much"' in text
    assert not Run.objects.exists()


def test_features_of_another_project_cannot_be_chosen(
    feature_set: FeatureSet, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    answer = sign_in(stranger).post(
        "/runs/new/", {"kind": "train-urdmu", "inputs": f"features:{feature_set.pk}"}
    )

    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_a_clone_starts_from_the_settings_of_its_source(
    client: Client, seeded: seeding.Seeded
) -> None:
    source = seeded.runs["second"]
    values = client.get(f"/runs/new/?from={source.pk}").context["values"]
    assert values["dropout"] == "0.3"

    given = {k: v for k, v in values.items() if k != "evaluate"} | {"dropout": "0.4"}
    client.post("/runs/new/", {**given, "kind": source.kind, "from": str(source.pk)})

    clone = Run.objects.get(cloned_from=source)
    assert clone.config == source.config | {"dropout": 0.4}
    assert clone.feature_set == source.feature_set
    compared = client.get(f"/runs/{clone.pk}/?tab=config").context["compared"]
    assert [row.name for row in compared.rows] == ["dropout"]


def test_an_evaluation_is_queued_from_the_form(client: Client, seeded: seeding.Seeded) -> None:
    first = seeded.runs["first"]

    client.post("/runs/new/", {"kind": "evaluate", "of_run": str(first.pk), "tail": "cut"})

    run = Run.objects.filter(kind="evaluate", of_run=first, state=State.QUEUED).get()
    assert run.config["tail"] == "cut"
