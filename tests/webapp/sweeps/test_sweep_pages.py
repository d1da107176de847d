"""Pages and endpoints of sweeps and pipelines."""

from __future__ import annotations

import json
import re

import pytest
import seeding
from sweep_helpers import evaluated, go

from webapp.datasets.models import Video
from webapp.runs.models import Run, State
from webapp.sweeps.models import Sweep, Trial

FORM = {
    "kind": "train-urdmu", "name": "rates", "strategy": "grid", "seeds": "1 2",
    "objective": "validation/video_auc", "take": "best", "evaluate": "yes", "num_epochs": "300",
    "swept-0": "lr", "values-0": "1e-4 to 1e-2 log in 3", "swept-1": "", "values-1": "",
}  # fmt: skip


@pytest.fixture
def form(feature_set) -> dict[str, str]:
    return FORM | {"inputs": f"features:{feature_set.pk}"}


@pytest.fixture
def seeded(db):
    return seeding.seed(*seeding.people())


# --- the form -------------------------------------------------------------------------------


def test_the_form_starts_a_sweep(client, form, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post("/sweeps/new/", form)

    sweep = Sweep.objects.get()
    assert answer.headers["Location"] == f"/sweeps/{sweep.pk}/"
    assert (sweep.settings, sweep.seeds, sweep.config["num_epochs"]) == (3, [1, 2], 300)
    assert sweep.trials.count() == 4
    page = client.get(answer.headers["Location"]).content.decode()
    assert "rates, trial 1" in page and "chosen on validation videos" in page
    assert "of 6" in page


def test_a_problem_stands_beside_its_field_and_nothing_is_lost(client, form):
    wrong = form | {"values-0": "1e-4 to 7", "swept-1": "dropout", "values-1": "0.4", "seeds": "x"}
    answer = client.post("/sweeps/new/", wrong)
    page = answer.content.decode()

    assert answer.status_code == 422
    assert "7.0 is above the most allowed, 1" in page and "expected whole numbers" in page
    assert 'value="1e-4 to 7"' in page and 'value="0.4"' in page and 'value="300"' in page
    assert "swept:" not in page
    assert not Sweep.objects.exists() and not Run.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"swept-0": ""}, "choose the setting that"),
        ({"swept-1": "lr", "values-1": "0.1"}, "is chosen twice"),
        ({"strategy": "seeds"}, "must be empty"),
        ({"values-0": "1e-4 to 1e-2"}, "how many values"),
        ({"inputs": "features:x"}, "is not there any more"),
        ({"strategy": "random", "settings": "999999999999999999999"}, "is not from 1 to"),
        ({"objective": "<script>x</script>"}, "say whether more"),
    ],
)
def test_what_makes_no_sense_is_said_on_the_form(client, form, change, said):
    answer = client.post("/sweeps/new/", form | change)

    assert answer.status_code == 422
    assert said in answer.content.decode() and "<script>x" not in answer.content.decode()


def test_more_rows_keep_what_was_typed(client, form):
    page = client.post("/sweeps/new/", form | {"more": "yes"}).content.decode()

    assert 'name="swept-5"' in page and 'value="1e-4 to 1e-2 log in 3"' in page
    assert not Sweep.objects.exists()


def test_a_sweep_from_a_run_begins_with_its_settings(client, make_run, feature_set):
    run = make_run(config={"dropout": 0.31, "seed": 5}, feature_set=feature_set, state="succeeded")
    page = client.get(f"/sweeps/new/?from={run.pk}").content.decode()

    assert 'value="0.31"' in page and 'value="5"' in page


def test_without_data_or_sweeps_the_pages_say_what_to_do(client):
    assert b"Register a data set" in client.get("/sweeps/new/").content
    assert b"Register a data set" in client.get("/sweeps/pipelines/new/").content
    assert b"No sweeps yet" in client.get("/sweeps/").content


# --- a sweep --------------------------------------------------------------------------------


def test_the_page_of_a_sweep_costs_the_same_for_any_number_of_trials(
    client, make_sweep, django_assert_max_num_queries
):
    make_sweep(parallel=4)
    sweep = Sweep.objects.get()
    for n, trial in enumerate(sweep.trials.all()):
        go(trial.run, 0.6 + n / 100)
        evaluated(trial.evaluation, 0.8)
    with django_assert_max_num_queries(16):
        page = client.get(f"/sweeps/{sweep.pk}/?sort=-objective").content.decode()

    assert page.index("rates, trial 4") < page.index("rates, trial 1<")
    assert "0.6300" in page and "Compare the best 4" in page
    listed = client.get(f"/runs/?q=sweep+%3D+%22{sweep.pk}%22").content.decode()
    assert "rates, trial 4" in listed and "Evaluate rates" not in listed


def test_a_sweep_is_polled_while_it_goes_on(client, make_sweep):
    sweep = make_sweep()
    part = client.get(f"/sweeps/{sweep.pk}/", headers={"HX-Request": "true"}).content.decode()
    client.post(f"/sweeps/{sweep.pk}/stop/")
    ended = client.get(f"/sweeps/{sweep.pk}/", headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in part and 'hx-trigger="every 5s"' in part
    for name in ("sweep-trials", "sweep-badge", "sweep-actions"):
        assert re.search(rf'id="{name}"[^>]*hx-swap-oob="true"', part)
    assert 'hx-trigger="every 5s"' not in ended


def test_a_sweep_that_chose_on_the_test_split_says_so(client, make_sweep):
    sweep = make_sweep(objective="evaluation/auc")
    go(sweep.trials.first().run)
    evaluated(sweep.trials.first().evaluation, 0.8)

    for address in ("/sweeps/", f"/sweeps/{sweep.pk}/"):
        assert b"optimistic: chosen on the test split" in client.get(address).content


def test_the_run_of_a_stopped_trial_says_why(client, make_sweep):
    trial = make_sweep().trials.first()
    go(trial.run, 0.5, state=State.CANCELLED)
    Trial.objects.filter(pk=trial.pk).update(pruned_step=50, pruned_why="It was <b>bad</b>.")
    page = client.get(f"/runs/{trial.run_id}/").content.decode()

    assert "stopped early by its rule. It was &lt;b&gt;bad&lt;/b&gt;." in page
    assert "Trial 1 of the sweep" in client.get(f"/runs/{trial.evaluation_id}/").content.decode()


def test_people_hold_release_stop_and_delete_on_the_page(client, make_sweep):
    sweep = make_sweep()
    for action, state in (("hold", "held"), ("release", "active"), ("stop", "stopped")):
        client.post(f"/sweeps/{sweep.pk}/{action}/")
        sweep.refresh_from_db()
        assert sweep.state == state
    assert client.post(f"/sweeps/{sweep.pk}/hold/").status_code == 409
    assert client.post(f"/sweeps/{sweep.pk}/delete/").headers["Location"] == "/sweeps/"
    assert client.post(f"/sweeps/{sweep.pk}/nonsense/").status_code == 404


def test_the_figures_tell_the_same_as_the_trials(client, seeded, sign_in):
    sweep = seeding.add_sweep(seeded)
    client = sign_in(seeded.user)
    history, parallel, matters = (
        client.get(f"/sweeps/{sweep.pk}/figures/{name}/").json()
        for name in ("history", "parallel", "importance")
    )

    assert len(history["csv"]["rows"]) == 17 and history["live"]  # one failed without a value
    best = max(row[2] for row in history["csv"]["rows"] if row[1] == "ended")
    assert f"{best:.4g}" in parallel["alt"]
    assert len(parallel["csv"]["rows"]) == 15
    drawn = sum(t["x"].count(None) for t in parallel["data"] if "level" in t.get("name", ""))
    assert drawn == 15  # a line each
    heights = [y for t in parallel["data"] for y in t["y"] if y is not None]
    assert min(heights) >= 0 and max(heights) <= 1
    assert {row[0] for row in matters["csv"]["rows"]} == {"lr", "dropout", "memory_slots"}
    assert "15 trials" in matters["alt"]


def test_an_empty_sweep_has_figures_too(client, make_sweep):
    sweep = make_sweep()
    for name in ("history", "parallel", "importance"):
        assert client.get(f"/sweeps/{sweep.pk}/figures/{name}/").status_code == 200


# --- the API --------------------------------------------------------------------------------


def post(client, address, **body):
    return client.post(f"/api/v1/{address}", json.dumps(body), content_type="application/json")


def test_a_sweep_over_the_api(client, feature_set, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = post(
            client, "sweeps/", name="search", strategy="random", settings=3, seeds=[1],
            space={"lr": {"low": 1e-5, "high": 1e-2, "log": True}}, feature_set=str(feature_set.pk),
            stop_rule="halving", stop_after=100, parallel=2, config={"num_epochs": 300},
        )  # fmt: skip
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["trials_planned"], made["chosen_on"], made["direction"]) == (
        3,
        "validation",
        "max",
    )
    address = f"sweeps/{made['id']}/"
    trials = client.get(f"/api/v1/{address}trials/").json()
    assert trials["count"] == 2 and trials["results"][0]["state"] == "queued"
    wrong = client.get(f"/api/v1/{address}trials/?sort=luck")
    assert (wrong.status_code, list(wrong.json()["fields"])) == (400, ["sort"])
    assert client.get("/api/v1/sweeps/").json()["results"][0]["id"] == made["id"]
    detail = client.get(f"/api/v1/{address}").json()
    assert detail["trials"]["active"] == 2 and "10 trials" in detail["importance"]["missing"]
    assert post(client, address + "hold/").json()["state"] == "held"
    assert post(client, address + "stop/").json()["state"] == "stopped"
    assert client.delete(f"/api/v1/{address}").status_code == 204


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"space": {"lr": {"values": [1e400]}}}, "lr"),
        ({"space": {"lr": {"values": "1"}}}, "lr"),
        ({"space": []}, "space"),
        ({"seeds": ["1"]}, "seeds"),
        ({"parallel": 2.5}, "parallel"),
        ({"kind": "evaluate"}, "kind"),
        ({"evaluate": "no"}, "evaluate"),
        ({"space": {f"s{n}": {"values": [1]} for n in range(13)}}, "space"),
        ({"feature_set": "00000000-0000-0000-0000-000000000000"}, "feature_set"),
        ({"more": 1}, "more"),
    ],
)
def test_a_bad_request_names_the_member(client, feature_set, body, at):
    usual = {"name": "x", "space": {"lr": {"values": [0.1]}}, "feature_set": str(feature_set.pk)}
    text = json.dumps({**usual, **body}).replace("Infinity", "1e400")
    answer = client.post("/api/v1/sweeps/", text, content_type="application/json")

    assert answer.status_code in (400, 422) and at in answer.json()["fields"]
    assert not Sweep.objects.exists()


# --- pipelines ------------------------------------------------------------------------------


@pytest.fixture
def footage_set(version, feature_set):
    """A data set with videos, and its features."""
    Video.objects.create(
        version=version, key="a", split="train", label=0, classes=[], path="a.mp4", num_frames=320,
        fps=25, width=64, height=64,
    )  # fmt: skip
    return feature_set


def test_a_pipeline_is_one_submission_in_which_each_run_waits_for_what_it_needs(
    client, version, footage_set
):
    answer = client.post(
        "/sweeps/pipelines/new/",
        {
            "inputs": f"extract:{version.pk}", "stages": "both", "seeds": "1 2", "evaluate": "yes",
            "name": "whole", "stage1-lr": "0.001", "stage2-dropout": "0.2",
            "evaluate-bootstrap_samples": "50",
        },
    )  # fmt: skip

    runs = {run.name: run for run in Run.objects.all()}
    assert answer.status_code == 302 and "tab=lineage" in answer.headers["Location"]
    assert len(runs) == 8
    first, second = runs["whole, seed 2: stage 1"], runs["whole, seed 2: stage 2"]
    assert (first.config["lr"], second.config["dropout"]) == (0.001, 0.2)
    assert second.config["pretrained_point"] == f"run:{first.pk}"
    assert first.config["seed"] == second.config["seed"] == 2
    assert set(second.parents.all()) == {runs["whole: features"], runs["whole: proxies"], first}
    evaluation = Run.objects.get(of_run=second)
    assert evaluation.config["bootstrap_samples"] == 50 and second in evaluation.parents.all()
    assert [r.name for r in runs.values() if r.state == "queued"] == ["whole: features"] or {
        r.name for r in runs.values() if r.state == "queued"
    } == {"whole: features", "whole: proxies"}


def test_a_pipeline_with_a_problem_queues_nothing_and_opens_its_part(client, footage_set):
    answer = client.post(
        "/sweeps/pipelines/new/",
        {"inputs": f"features:{footage_set.pk}", "stages": "both", "stage2-dropout": "7",
         "evaluate": "yes"},
    )  # fmt: skip
    page = answer.content.decode()

    assert answer.status_code == 422 and not Run.objects.exists()
    assert "7.0 is above the most allowed" in page
    assert page.count('<details class="panel part" open>') == 1


def test_a_pipeline_without_videos_is_refused_whole(client, feature_set):
    answer = client.post(
        "/sweeps/pipelines/new/", {"inputs": f"features:{feature_set.pk}", "stages": "both"}
    )

    assert answer.status_code == 422 and "has no video files" in answer.content.decode()
    assert not Run.objects.exists()


def test_a_pipeline_of_both_stages_over_the_api(client, footage_set):
    answer = post(client, "pipelines/", stage2={}, feature_set=str(footage_set.pk), seeds=[3])

    kinds = [run["kind"] for run in answer.json()["runs"]]
    assert kinds == ["train-urdmu", "train-two-stage", "evaluate"]
