"""The data set list, one version, and registering."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import seeding
from django.test import Client

from vad.data.manifest import Manifest, Truth, save_version
from vad.data.manifest import Video as Manifested
from webapp.accounts.models import Project, User
from webapp.datasets.models import Dataset, DatasetVersion
from webapp.runs.models import Run


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


def test_an_empty_project_offers_to_register(client: Client) -> None:
    text = client.get("/datasets/").content.decode()

    assert "No data sets yet" in text
    assert "/datasets/new/" in text


def test_the_list_counts_videos_by_split_and_label(client: Client, seeded: seeding.Seeded) -> None:
    row = client.get("/datasets/").context["rows"][0]

    assert (row.train, row.train_abnormal, row.test, row.test_abnormal) == (40, 20, 24, 12)
    assert (row.classes, row.num_features, row.feature_bytes) == (3, 1, 4_812_344)
    videos = list(seeded.version.videos.all())
    assert row.frames == sum(v.num_frames for v in videos)
    assert row.duration_s == pytest.approx(sum(v.num_frames / v.fps for v in videos))


def test_the_list_shows_the_latest_version_of_each_data_set(
    client: Client, seeded: seeding.Seeded, user: User
) -> None:
    dataset = seeded.version.dataset
    newer = DatasetVersion.objects.create(
        dataset=dataset, number=2, format="generic", fingerprint="2", created_by=user
    )

    answer = client.get("/datasets/")

    (row,) = answer.context["rows"]
    assert (row.version, row.num_versions, row.train) == (newer, 2, 0)
    assert f"/datasets/{newer.pk}/differences/" in answer.content.decode()


def test_the_list_is_searched_by_name(client: Client, seeded: seeding.Seeded) -> None:
    assert len(client.get("/datasets/?q=CAMP").context["rows"]) == 1

    answer = client.get("/datasets/?q=airport")

    assert answer.context["rows"] == []
    assert "No data set has this name" in answer.content.decode()
    assert "No data sets yet" not in answer.content.decode()


def test_the_list_says_what_the_doctor_finds(
    client: Client, seeded: seeding.Seeded, version: DatasetVersion
) -> None:
    _write(version, _cut(), {"cut": Truth(intervals=((4, 90),))})

    rows = {row.version: row.findings for row in client.get("/datasets/").context["rows"]}

    assert rows[version].problems == 1
    assert rows[version].error is None
    # its feature set has no files; what is left is looked at all the same
    assert rows[seeded.version].error.code == "file-missing"
    assert rows[seeded.version].problems == 0


def test_the_list_costs_the_same_queries_however_many_versions_there_are(
    client: Client, seeded: seeding.Seeded, user: User, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(14) as few:
        client.get("/datasets/")
    for n in range(8):
        dataset = Dataset.objects.create(project=seeded.project, name=f"set {n}", created_by=user)
        DatasetVersion.objects.create(
            dataset=dataset, number=1, format="generic", fingerprint=str(n), created_by=user
        )
    with django_assert_max_num_queries(14) as many:
        client.get("/datasets/")

    assert len(many) == len(few)


def test_the_class_chart_counts_each_split(client: Client, seeded: seeding.Seeded) -> None:
    figure = client.get(f"/datasets/{seeded.version.pk}/classes/").json()

    assert sum(sum(trace["x"]) for trace in figure["data"]) == 64


def test_strangers_find_nothing(
    seeded: seeding.Seeded, stranger: User, sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(stranger)

    assert client.get(f"/datasets/{seeded.version.pk}/").status_code == 404
    assert client.get(f"/datasets/{seeded.version.pk}/classes/").status_code == 404
    assert client.get("/datasets/").context["rows"] == []


def test_registering_is_a_run(client: Client, footage: Path) -> None:
    (footage / "clips").mkdir()

    answer = client.post(
        "/datasets/new/",
        {"name": "clips", "root": str(footage / "clips"), "format": "synthetic"},
    )

    run = Run.objects.get(kind="register")
    assert answer["Location"] == f"/runs/{run.pk}/"
    assert run.config["root"] == str(footage / "clips")


def test_a_folder_outside_the_roots_is_refused_and_the_roots_are_named(
    client: Client, footage: Path
) -> None:
    answer = client.post("/datasets/new/", {"name": "x", "root": "/etc", "format": "synthetic"})

    assert answer.status_code == 422
    text = answer.content.decode()
    assert "path-outside-roots" in text
    assert str(footage) in text
    assert 'value="/etc"' in text
    assert not Run.objects.exists()


def test_what_is_missing_stands_beside_its_field(client: Client) -> None:
    answer = client.post("/datasets/new/", {"format": "nonsense"})

    assert set(answer.context["errors"]) == {"name", "root", "format"}


def test_a_viewer_cannot_register(
    viewer: User, sign_in: Callable[[User], Client], footage: Path
) -> None:
    answer = sign_in(viewer).post("/datasets/new/", {"name": "x", "root": str(footage)})

    assert answer.status_code == 403
    assert not Run.objects.exists()


def test_a_version_says_what_the_doctor_finds_in_words(
    client: Client, version: DatasetVersion
) -> None:
    _write(version, _cut(), {"cut": Truth(intervals=((4, 90),))})

    answer = client.get(f"/datasets/{version.pk}/")

    found = answer.context["findings"]
    assert found.problems == 1
    assert found.texts
    assert all(text in unescape(answer.content.decode()) for text in found.texts)
    assert f"/datasets/{version.pk}/alignment/" in answer.content.decode()


def test_a_version_without_a_finding_says_so(client: Client, version: DatasetVersion) -> None:
    whole = [
        Manifested(
            key=f"{split} {label}", split=split, label=label, num_frames=32, fps=25.0, path="a.mp4",
            classes=("Fight",) * label,
        )
        for split in ("train", "test")
        for label in (0, 1)
    ]  # fmt: skip
    _write(version, whole, {"test 1": Truth(intervals=((0, 32),))})

    answer = client.get(f"/datasets/{version.pk}/")

    assert answer.context["findings"].words == ""
    assert "Frames and labels line up" in answer.content.decode()


def test_a_note_of_the_registering_that_the_doctor_repeats_stands_once(
    client: Client, version: DatasetVersion
) -> None:
    _write(version, _cut(), {"cut": Truth(intervals=((4, 90),))})
    said = client.get(f"/datasets/{version.pk}/").context["findings"].texts[0]
    DatasetVersion.objects.filter(pk=version.pk).update(notes=[said, "something else"])

    answer = client.get(f"/datasets/{version.pk}/")

    assert answer.context["reader_notes"] == ["something else"]


def test_a_feature_set_says_what_it_is(client: Client, seeded: seeding.Seeded) -> None:
    seeded.feature_set.summary = {
        "rule": {"rule": "hold", "snippet_len": 16}, "crops": [10], "snippets": 3800,
        "dtype": "float16", "settings": {"stride": 4, "resize": [120, 160]},
    }  # fmt: skip
    seeded.feature_set.save()

    answer = client.get(f"/datasets/{seeded.version.pk}/")

    ((_, facts),) = answer.context["feature_sets"]
    assert dict(facts) == {
        "Snippets": "of 16 frames", "Snippets in all": "3,800", "Crops": "10",
        "Numbers": "float16", "stride": 4, "resize": [120, 160],
    }  # fmt: skip
    assert "120 \u00d7 160" in answer.content.decode()


def test_the_alignment_page_says_what_does_not_line_up_and_which_rule_settles_it(
    client: Client, version: DatasetVersion
) -> None:
    _write(version, _cut(), {"cut": Truth(intervals=((4, 90),))})

    answer = client.get(f"/datasets/{version.pk}/alignment/")

    text = answer.content.decode()
    assert answer.status_code == 200
    assert answer.context["report"].counts["test"]["frames"] == 37
    shown = {finding.video for finding in answer.context["page"]}
    assert "cut" in shown
    assert "no features yet" in text


def test_the_alignment_page_of_a_version_whose_files_are_gone_names_them(
    client: Client, version: DatasetVersion
) -> None:
    answer = client.get(f"/datasets/{version.pk}/alignment/")

    assert "report" not in answer.context
    assert answer.context["error"].message in answer.content.decode()
    assert str(version.folder) in answer.context["error"].message


def _cut() -> tuple[Manifested, ...]:
    """A whole video, and one whose truth goes on behind its end."""
    return (
        Manifested(key="whole", split="train", label=0, num_frames=32),
        Manifested(key="cut", split="test", label=1, classes=("Fight",), num_frames=37),
    )


def _write(version: DatasetVersion, videos: Any, truth: dict[str, Truth]) -> None:
    version.folder.mkdir(parents=True)
    save_version(version.folder, Manifest(name="x", format="generic", videos=tuple(videos)), truth)
