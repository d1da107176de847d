"""Every video of a version with its truth and the scores of a run, on the page and in the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import seeding
from django.test import Client

from vad.data.manifest import Manifest, load_truth, save_version
from vad.data.manifest import Video as Manifested
from vad.evaluation.scores import ScoreSet, VideoScores
from webapp.accounts.models import Project, User
from webapp.datasets import scored, strips, video_views
from webapp.datasets.models import DatasetVersion, Video
from webapp.evaluations.links import viewer_url
from webapp.evaluations.models import Evaluation


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def page(client: Client, seeded: seeding.Seeded) -> Callable[..., Any]:
    """The context of the videos page for a query."""

    def ask(query: str = "") -> Any:
        answer = client.get(f"/datasets/{seeded.version.pk}/videos/?{query}")
        assert answer.status_code == 200
        return answer.context

    return ask


def keys(context: Any) -> list[str]:
    return [row.video.key for row in context["rows"]]


# --- filter, order, pages ---------------------------------------------------------------------


def test_videos_are_filtered(page: Any) -> None:
    assert {row.video.split for row in page("split=test")["rows"]} == {"test"}
    assert {tuple(row.video.classes) for row in page("class=Fire")["rows"]} == {("Fire",)}
    assert {row.video.label for row in page("class=Normal")["rows"]} == {0}
    assert keys(page("q=fire+047")) == ["test/fire_047"]


def test_videos_are_ordered(page: Any) -> None:
    frames = [row.video.num_frames for row in page("sort=-frames")["rows"]]
    assert frames == sorted(frames, reverse=True)
    assert keys(page("sort=key")) == sorted(keys(page("sort=key")))
    first = page()
    assert {row.video.split for row in first["rows"][:40]} == {"train"}
    # an order that needs scores means nothing without a run
    assert keys(page("sort=-error")) == keys(page("sort=nonsense")) == keys(first)


def test_there_are_sixty_on_a_page(page: Any) -> None:
    assert len(page()["rows"]) == video_views.PAGE_SIZE == 60
    assert len(page("page=2")["rows"]) == 4
    assert set(keys(page())).isdisjoint(keys(page("page=2")))


@pytest.mark.parametrize("query", ["", "view=table", "view=gallery&split=test&sort=key"])
def test_a_page_costs_the_same_queries_whatever_is_on_it(
    client: Client, seeded: seeding.Seeded, django_assert_max_num_queries: Any, query: str
) -> None:
    address = f"/datasets/{seeded.version.pk}/videos/?run={seeded.evaluations[0].pk}&{query}"
    with django_assert_max_num_queries(18) as many:
        client.get(address)
    with django_assert_max_num_queries(18) as few:
        client.get(f"{address}&q=fire_047")

    assert len(many) == len(few)


def test_htmx_gets_the_list_alone(client: Client, seeded: seeding.Seeded) -> None:
    address = f"/datasets/{seeded.version.pk}/videos/"

    part = client.get(address, headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in part
    assert 'id="videos"' in part


# --- a run ------------------------------------------------------------------------------------


def test_a_run_brings_its_scores_and_the_largest_error_comes_first(
    page: Any, seeded: seeding.Seeded
) -> None:
    rows = page(f"run={seeded.evaluations[0].pk}")["rows"]

    errors = [row.numbers.error for row in rows if row.numbers]
    assert len(errors) == 24
    assert errors == sorted(errors, reverse=True)
    assert all(row.numbers is None for row in rows[24:])  # training videos have no scores
    assert {row.video.split for row in rows[24:]} == {"train"}


@pytest.mark.parametrize(
    ("sort", "name", "down"),
    [("-score", "max_score", True), ("error", "error", False), ("auc", "auc", False)],
)
def test_videos_are_ordered_by_what_a_run_says_and_those_without_come_last(
    page: Any, seeded: seeding.Seeded, sort: str, name: str, down: bool
) -> None:
    rows = page(f"run={seeded.evaluations[0].pk}&sort={sort}&split=test")["rows"]

    values = [getattr(row.numbers, name) for row in rows]
    known = [v for v in values if v is not None]
    assert known == sorted(known, reverse=down)
    assert values == known + [None] * (len(values) - len(known))


def test_a_run_is_also_named_by_its_training(page: Any, seeded: seeding.Seeded) -> None:
    found = page(f"run={seeded.runs['second'].pk}")

    assert found["run"].pk == seeded.evaluations[1].pk


def test_the_error_is_the_mean_distance_of_score_and_truth(
    page: Any, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[0]
    scores = ScoreSet.load(evaluation.scores_path)
    truth = load_truth(seeded.version.folder, "test")

    for row in page(f"run={evaluation.pk}&split=test")["rows"]:
        given = scores.video(row.video.key).frame_scores()
        wanted = np.zeros(len(given))
        for start, end in truth[row.video.key].intervals if row.video.label else ():
            wanted[start:end] = 1
        assert row.numbers.error == pytest.approx(np.abs(given - wanted).mean(), abs=1e-6)
        assert row.numbers.max_score == given.max()
        assert given[row.numbers.peak_frame] == given.max()


def test_each_evaluated_video_leads_to_the_viewer_at_its_peak(
    client: Client, page: Any, seeded: seeding.Seeded
) -> None:
    evaluation = seeded.evaluations[0]
    rows = page(f"run={evaluation.pk}")["rows"]

    first = rows[0]
    assert first.viewer_url == viewer_url(
        [evaluation.pk], first.video.key, first.numbers.peak_frame
    )
    opened = client.get(first.viewer_url).context["viewer"]
    assert (opened.key, opened.frame) == (first.video.key, first.numbers.peak_frame)
    assert all(row.viewer_url == "" for row in rows if row.numbers is None)


def test_only_runs_that_a_person_may_see_are_offered(
    client: Client, seeded: seeding.Seeded, stranger: User
) -> None:
    """An evaluation of another project may be on a version of this one."""
    hidden = seeded.evaluations[0]
    hidden.run.project = Project.objects.get(membership__user=stranger)
    hidden.run.save()

    answer = client.get(f"/datasets/{seeded.version.pk}/videos/?run={hidden.pk}")

    assert [e.pk for e in answer.context["runs"]] == [seeded.evaluations[1].pk]
    assert answer.context["scored"] is None
    assert "has no evaluation on" in answer.content.decode()
    assert str(hidden.pk) not in answer.content.decode().replace(f"?run={hidden.pk}", "")


def test_scores_that_are_gone_are_said_and_the_videos_stay(
    client: Client, seeded: seeding.Seeded
) -> None:
    evaluation = Evaluation.objects.get(pk=seeded.evaluations[0].pk)
    evaluation.scores_path.unlink()

    answer = client.get(f"/datasets/{seeded.version.pk}/videos/?run={evaluation.pk}")

    assert answer.context["scores_error"].code == "file-missing"
    assert len(answer.context["rows"]) == 60


# --- truth ------------------------------------------------------------------------------------


def test_truth_of_a_training_video_is_marked_as_not_used(page: Any) -> None:
    rows = page("split=train&class=Fire")["rows"]

    assert all(row.unused for row in rows)
    assert not any(row.unused for row in page("split=test")["rows"])


def test_a_training_video_without_truth_has_its_label_only(
    client: Client, version: DatasetVersion
) -> None:
    videos = [
        Manifested(key="weak", split="train", label=1, classes=("Fight",), num_frames=64),
        Manifested(key="calm", split="train", label=0, num_frames=64),
        Manifested(key="unknown", split="test", label=1, classes=("Fight",), num_frames=64),
    ]
    version.folder.mkdir(parents=True)
    save_version(version.folder, Manifest(name="x", format="generic", videos=tuple(videos)), {})
    for v in videos:
        Video.objects.create(version=version, key=v.key, split=v.split, label=v.label)

    answer = client.get(f"/datasets/{version.pk}/videos/?sort=key")

    texts = {row.video.key: row.truth_text for row in answer.context["rows"]}
    assert texts == {
        "weak": "video-level label only", "calm": "no anomaly", "unknown": "no temporal truth",
    }  # fmt: skip
    assert "Video-level label only" in answer.content.decode()
    assert "No checkpoint was evaluated on this version yet" in answer.content.decode()


def test_a_version_whose_truth_is_gone_still_lists_its_videos(
    client: Client, seeded: seeding.Seeded
) -> None:
    (seeded.version.folder / "truth-test.json").unlink()

    answer = client.get(f"/datasets/{seeded.version.pk}/videos/?split=test")

    assert answer.context["truth_error"].code == "file-missing"
    assert len(answer.context["rows"]) == 24


def test_features_without_videos_have_no_pictures_to_ask_for(
    client: Client, version: DatasetVersion
) -> None:
    videos = (Manifested(key="a", split="test", label=0),)
    version.folder.mkdir(parents=True)
    save_version(version.folder, Manifest(name="x", format="generic", videos=videos), {})
    Video.objects.create(version=version, key="a", split="test", label=0)

    text = client.get(f"/datasets/{version.pk}/videos/").content.decode()

    assert "data-thumbnail" not in text
    assert "registered without videos" in text


def test_empty_pages_say_what_to_do(client: Client, page: Any, version: DatasetVersion) -> None:
    none = client.get(f"/datasets/{version.pk}/videos/").content.decode()
    assert "This version has no videos" in none
    seeded = page("q=nothing+like+this")
    assert seeded["rows"] == []


# --- strips -----------------------------------------------------------------------------------


def video_scores(values: list[float], frames: int = 16) -> VideoScores:
    count = len(values)
    return VideoScores(
        key="a", label=1, classes=(), scores=np.array(values, np.float32),
        frames=np.full(count, frames), positives=np.zeros(count, np.int64),
    )  # fmt: skip


def test_a_strip_has_its_bands_where_the_truth_is() -> None:
    found = strips.strip(200, [(20, 40), (150, 400)])

    assert found
    assert found.bands == (("10.00%", "10.00%"), ("75.00%", "25.00%"))
    assert found.label == "Anomalous: frames 20 to 39, 150 to 399"


def test_a_curve_is_scaled_from_0_to_1_and_marks_its_peak() -> None:
    found = strips.strip(64, [], video_scores([0.0, 0.25, 1.0, 0.5]))

    assert found
    assert found.line == (
        "M0.0,100.0 50.0,100.0 50.0,75.0 100.0,75.0 100.0,0.0 150.0,0.0 150.0,50.0 200.0,50.0"
    )
    assert found.peak == ("62.50%", "0.00%")
    assert "up to 1.000 at frame 32" in found.label


def test_no_peak_of_a_long_video_is_lost() -> None:
    values = [0.1] * 5000
    values[3333] = 0.97

    starts, ends, highest = strips.envelope(video_scores(values))

    assert len(highest) <= strips.POINTS
    assert highest.max() == pytest.approx(0.97)
    top = int(highest.argmax())
    assert starts[top] <= 3333 * 16 < ends[top]
    assert (starts[1:] == ends[:-1]).all()
    assert (starts[0], ends[-1]) == (0, 5000 * 16)


def test_there_is_no_strip_of_a_video_of_unknown_length() -> None:
    assert strips.strip(0, [(0, 5)]) is None
    assert strips.strip(100, []) is None
    assert strips.strip(0, [], video_scores([0.5]))


# --- the API ----------------------------------------------------------------------------------


def test_the_api_gives_a_run_s_numbers_of_each_video(
    client: Client, seeded: seeding.Seeded
) -> None:
    api = f"/api/v1/versions/{seeded.version.pk}/videos/"
    evaluation = seeded.evaluations[0]

    plain = client.get(f"{api}?limit=1000").json()["results"]
    rows = client.get(f"{api}?limit=1000&run={evaluation.pk}").json()["results"]

    assert "scores" not in plain[0]
    assert "intervals" not in plain[0]
    by_key = {row["key"]: row for row in rows}
    numbers = scored.load(evaluation).numbers["test/running_053"]
    assert by_key["test/running_053"]["scores"] == numbers.to_dict()
    truth = load_truth(seeded.version.folder, "test")["test/running_053"]
    assert by_key["test/running_053"]["intervals"] == [list(p) for p in truth.intervals]
    assert all(r["scores"] is None for r in rows if r["split"] == "train")


def test_the_api_filters_as_the_page_does_and_knows_no_foreign_run(
    client: Client, seeded: seeding.Seeded
) -> None:
    api = f"/api/v1/versions/{seeded.version.pk}/videos/"

    rows = client.get(f"{api}?class=Fire&split=test&truth=yes").json()["results"]

    assert {tuple(row["classes"]) for row in rows} == {("Fire",)}
    assert all(row["intervals"] for row in rows)
    missing = client.get(f"{api}?run={seeded.version.pk}")
    assert (missing.status_code, missing.json()["code"]) == (404, "not-found")


def test_the_api_says_null_where_only_the_label_is_known(
    client: Client, version: DatasetVersion
) -> None:
    version.folder.mkdir(parents=True)
    videos = tuple(
        Manifested(key=key, split="train", label=label) for key, label in (("weak", 1), ("calm", 0))
    )
    save_version(version.folder, Manifest(name="x", format="generic", videos=videos), {})
    for v in videos:
        Video.objects.create(version=version, key=v.key, split=v.split, label=v.label)

    rows = client.get(f"/api/v1/versions/{version.pk}/videos/?truth=yes").json()["results"]

    assert {row["key"]: row["intervals"] for row in rows} == {"weak": None, "calm": []}
