"""The data set list, one version, and registering."""

from __future__ import annotations

from collections.abc import Callable
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
    assert (row.classes, row.num_features) == (3, 1)


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


def test_videos_are_filtered_sorted_and_paged(client: Client, seeded: seeding.Seeded) -> None:
    def page(query: str) -> Any:
        return client.get(f"/datasets/{seeded.version.pk}/?{query}").context["page"]

    assert len(page("").object_list) == 50
    assert len(page("page=2").object_list) == 14
    assert {v.split for v in page("split=test")} == {"test"}
    assert {tuple(v.classes) for v in page("class=Fire")} == {("Fire",)}
    assert [v.key for v in page("q=fire_047")] == ["test/fire_047"]
    frames = [v.num_frames for v in page("sort=-frames")]
    assert frames == sorted(frames, reverse=True)


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


def test_the_alignment_page_says_what_does_not_line_up_and_which_rule_settles_it(
    client: Client, version: DatasetVersion
) -> None:
    videos = (
        Manifested(key="whole", split="train", label=0, num_frames=32),
        Manifested(key="cut", split="test", label=1, classes=("Fight",), num_frames=37),
    )
    manifest = Manifest(name="x", format="generic", videos=videos)
    version.folder.mkdir(parents=True)
    save_version(version.folder, manifest, {"cut": Truth(intervals=((4, 90),))})

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
