"""The viewer of several runs: who may see what, which videos, which curves and which errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import seeding
from django.test import Client

from vad.data.manifest import load_truth
from vad.evaluation.alarms import video_alarms
from vad.evaluation.patch_scores import PatchScores
from webapp.accounts.models import Project, User
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.evaluations import scores as store
from webapp.evaluations.models import Evaluation

KEY = "test/running_053"


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def page(*runs: Any, **more: str) -> str:
    query = "&".join([*(f"run={run}" for run in runs), *(f"{k}={v}" for k, v in more.items())])
    return f"/evaluations/viewer/?{query}"


def test_a_training_run_stands_for_its_newest_evaluation(
    client: Client, seeded: seeding.Seeded
) -> None:
    first, second = seeded.evaluations

    viewer = client.get(page(second.of_run_id, first.pk, video=KEY)).context["viewer"]

    assert [line.evaluation.pk for line in viewer.lines] == [second.pk, first.pk]
    assert viewer.key == KEY


def test_runs_are_called_by_what_tells_them_apart(client: Client, seeded: seeding.Seeded) -> None:
    first, second = seeded.evaluations

    viewer = client.get(page(first.pk, second.pk, video=KEY)).context["viewer"]

    names = ["seed 2022", "long warm-up, lr 3e-4, seed 7"]
    assert [line.name for line in viewer.lines] == names
    assert [run["name"] for run in viewer.data["runs"]] == names


def test_without_a_run_it_says_how_to_begin(client: Client) -> None:
    answer = client.get("/evaluations/viewer/")

    assert answer.status_code == 200
    assert "Choose what to see" in answer.content.decode()


def test_a_stranger_finds_nothing(
    seeded: seeding.Seeded, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    evaluation = seeded.evaluations[0]
    other = sign_in(stranger)

    assert other.get(page(evaluation.pk)).status_code == 404
    answer = other.get(f"/evaluations/viewer/timeline/?run={evaluation.pk}&video={KEY}")
    assert answer.status_code == 404
    assert evaluation.of_run.name not in answer.content.decode()
    assert other.get(errors_api(evaluation)).status_code == 404


def test_a_run_that_is_gone_is_said_and_the_others_stay(
    client: Client, seeded: seeding.Seeded
) -> None:
    answer = client.get(page(seeded.evaluations[0].pk, uuid4()))

    assert len(answer.context["viewer"].lines) == 1
    assert "A run of this link was not evaluated" in answer.content.decode()


def test_a_run_of_other_videos_is_left_out(client: Client, seeded: seeding.Seeded) -> None:
    first, second = seeded.evaluations
    dataset = Dataset.objects.get(pk=seeded.version.dataset_id)
    other = DatasetVersion.objects.create(
        dataset=dataset, number=2, format="generic", fingerprint="x", created_by=seeded.user
    )
    Evaluation.objects.filter(pk=second.pk).update(version=other)

    answer = client.get(page(first.pk, second.pk))

    assert len(answer.context["viewer"].lines) == 1
    assert "was evaluated on campus v2, the first run on campus v1" in answer.content.decode()


def test_it_opens_the_video_with_the_most_errors(client: Client, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    scores, truth = store.load(evaluation), load_truth(seeded.version.folder, "test")

    context = client.get(page(evaluation.pk)).context

    def wrong(key: str) -> tuple[int, int]:
        video, known = scores.video(key), truth.get(key)
        found = video_alarms(video.scores, video.frames, known.intervals if known else (), 0.5)
        return found.count, found.wrong_frames

    picks = context["picker"].picks
    assert [(p.errors, p.wrong_frames) for p in picks] == sorted(
        (wrong(key) for key in scores.keys), reverse=True
    )
    assert context["viewer"].key == picks[0].key


def test_videos_are_found_by_name_and_class_and_the_neighbours_follow(
    client: Client, seeded: seeding.Seeded
) -> None:
    run = seeded.evaluations[0].pk

    picker = client.get(page(run, **{"class": "Fire", "order": "key", "video": KEY})).context[
        "picker"
    ]
    keys = [pick.key for pick in picker.picks]
    assert keys == ["test/fire_047", "test/fire_057"]
    assert (picker.place, picker.before, picker.after) == (0, "", keys[0])
    inside = client.get(page(run, **{"class": "Fire", "order": "key", "video": keys[1]}))
    assert (inside.context["picker"].place, inside.context["picker"].before) == (2, keys[0])
    assert [p.key for p in client.get(page(run, q="fire+057")).context["picker"].picks] == keys[1:]
    normal = client.get(page(run, **{"class": "normal"})).context["picker"].picks
    assert {pick.classes for pick in normal} == {()}


@pytest.mark.parametrize(
    ("order", "value"),
    [("cost", lambda p: -p.cost), ("peak", lambda p: -p.peak), ("key", lambda p: p.key)],
)
def test_videos_come_in_the_order_that_was_chosen(
    client: Client, seeded: seeding.Seeded, order: str, value: Callable[[Any], Any]
) -> None:
    picks = client.get(page(seeded.evaluations[0].pk, order=order)).context["picker"].picks
    values = [value(pick) for pick in picks]

    assert len(values) == 24
    assert values == sorted(values)


def test_the_threshold_of_the_address_counts_the_errors(
    client: Client, seeded: seeding.Seeded
) -> None:
    run = seeded.evaluations[0].pk

    def errors(threshold: str) -> int:
        picks = client.get(page(run, threshold=threshold)).context["picker"].picks
        return sum(pick.false_alarms for pick in picks)

    assert errors("0.3") > errors("0.5") > errors("0.8") > errors("1")
    assert errors("nonsense") == errors("7") == errors("0.5")


def test_htmx_gets_the_list_and_the_step(client: Client, seeded: seeding.Seeded) -> None:
    address = page(seeded.evaluations[0].pk, q="fire")

    part = client.get(address, headers={"HX-Request": "true"}).content.decode()

    assert part.lstrip().startswith('<div id="viewer-videos"')
    assert 'id="viewer-step" class="viewer-step" hx-swap-oob="true"' in part
    assert "test/running_053" not in part.split("viewer-step")[0]


def test_other_evaluations_of_the_version_may_join(client: Client, seeded: seeding.Seeded) -> None:
    first, second = seeded.evaluations

    assert list(client.get(page(first.pk)).context["candidates"]) == [second]
    assert client.get(page(first.pk, second.pk)).context["candidates"] == []


def test_a_lost_score_file_takes_its_curve_but_not_the_page(
    client: Client, seeded: seeding.Seeded
) -> None:
    first, second = seeded.evaluations
    second.scores_path.unlink()

    viewer = client.get(page(first.pk, second.pk, video=KEY)).context["viewer"]

    assert viewer.lines[0].problem is None
    assert viewer.lines[1].problem.code == "file-missing"
    assert viewer.data["runs"][1]["scores"] == []
    first.scores_path.unlink()
    answer = client.get(page(first.pk, second.pk, video=KEY))
    assert answer.status_code == 200


def test_a_frame_without_a_video_never_breaks_the_page(
    client: Client, seeded: seeding.Seeded
) -> None:
    run = seeded.evaluations[0].pk

    for odd in ("video=nothing", "video=../x", "frame=-1", "frame=9999999", "patch=a.b", "order=x"):
        assert client.get(f"{page(run)}&{odd}").status_code == 200, odd


def test_the_page_costs_few_queries(
    client: Client, seeded: seeding.Seeded, django_assert_max_num_queries: Any
) -> None:
    for evaluation in seeded.evaluations:
        seeding.add_maps(seeded, evaluation)
    with django_assert_max_num_queries(12):
        client.get(page(*(e.pk for e in seeded.evaluations), video=KEY))


# --- the curve ------------------------------------------------------------------------------


def timeline(client: Client, *runs: Any, more: str = "") -> dict[str, Any]:
    address = page(*runs, video=KEY).replace("viewer/", "viewer/timeline/")
    return client.get(address + more).json()


def test_the_curve_has_every_run_in_its_colour_and_the_truth(
    client: Client, seeded: seeding.Seeded
) -> None:
    first, second = seeded.evaluations

    figure = timeline(client, first.pk, second.pk)

    traces = {trace["name"]: trace for trace in figure["data"]}
    for evaluation in (first, second):
        video = store.load(evaluation).video(KEY)
        trace = traces[evaluation.of_run.name]
        assert trace["y"][:-1] == pytest.approx(video.scores.tolist())
    assert traces[first.of_run.name]["line"]["color"] != traces[second.of_run.name]["line"]["color"]
    start, end = load_truth(seeded.version.folder, "test")[KEY].intervals[0]
    assert traces["anomaly (truth)"]["x"][1:3] == [start, end]


def test_a_patch_has_its_own_dotted_curve(client: Client, seeded: seeding.Seeded) -> None:
    first = seeded.evaluations[0]
    seeding.add_maps(seeded, first, rows=5, columns=7, tubelets=3)

    figure = timeline(client, first.pk, more=f"&patch={first.pk}.2.4")

    trace = figure["data"][-1]
    assert trace["name"] == f"patch 2,4 of {first.of_run.name}"
    assert trace["line"]["dash"] == "dot"
    video = PatchScores.open(first.patches_path).video(KEY)
    assert trace["y"][:-1] == pytest.approx(video.maps[:, :, 1 * 7 + 3].ravel().tolist())
    # each tubelet from the first frame whose share of the snippet is at least its own
    assert trace["x"][:4] == [0, 6, 11, 16]


@pytest.mark.parametrize(
    "patch",
    ["{id}.0.1", "{id}.6.1", "{id}.1.8", "{id}.1", "{id}.1.1.1", "x.1.1", "..", "{id}.\u0663.1"],
)
def test_a_patch_that_is_none_draws_nothing(
    client: Client, seeded: seeding.Seeded, patch: str
) -> None:
    first = seeded.evaluations[0]
    seeding.add_maps(seeded, first, rows=5, columns=7)

    figure = timeline(client, first.pk, more=f"&patch={patch.format(id=first.pk)}")

    assert figure["data"] == timeline(client, first.pk)["data"]


def test_a_video_that_nobody_scored_is_said(client: Client, seeded: seeding.Seeded) -> None:
    address = f"/evaluations/viewer/timeline/?run={seeded.evaluations[0].pk}&video=nothing"
    answer = client.get(address)

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


# --- the errors -----------------------------------------------------------------------------


def errors_api(evaluation: Evaluation, key: str = KEY, threshold: str = "0.4") -> str:
    return f"/api/v1/evaluations/{evaluation.pk}/errors/?video={key}&threshold={threshold}"


def test_the_api_lists_the_errors_with_their_rule(client: Client, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]
    video = store.load(evaluation).video(KEY)
    truth = load_truth(seeded.version.folder, "test")[KEY].intervals
    wrong = video_alarms(video.scores, video.frames, truth, 0.4)

    found = client.get(errors_api(evaluation)).json()

    assert wrong.count > 0
    assert [(a["start"], a["end"]) for a in found["false_alarms"]] == [
        (a.start, a.end) for a in wrong.false_alarms
    ]
    assert len(found["misses"]) == len(wrong.misses)
    assert found["wrong_frames"] == wrong.wrong_frames
    assert "no frame reaches the threshold" in found["rule"]


def test_the_api_refuses_what_is_no_threshold(client: Client, seeded: seeding.Seeded) -> None:
    evaluation = seeded.evaluations[0]

    for threshold in ("x", "-0.1", "1.01", "nan", "inf"):
        answer = client.get(errors_api(evaluation, threshold=threshold))
        assert (answer.status_code, answer.json()["code"]) == (400, "request-invalid"), threshold
    assert client.get(errors_api(evaluation, key="nothing")).status_code == 404


def test_truth_without_its_file_is_taken_from_the_scores(
    client: Client, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[0]
    (seeded.version.folder / "truth-test.json").unlink()

    found = client.get(errors_api(evaluation, threshold="1")).json()

    video = store.load(evaluation).video(KEY)
    starts = video.start_frames[np.flatnonzero(video.positives)]
    assert [m["start"] for m in found["misses"]] == [int(starts[0])]
