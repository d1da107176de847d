"""What differs between two versions, on the page and in the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import seeding
from django.test import Client

from webapp.accounts.models import Project, User
from webapp.datasets.models import DatasetVersion


@pytest.fixture
def seeded(user: User, project: Project) -> seeding.Seeded:
    return seeding.seed(user, project)


@pytest.fixture
def newer(seeded: seeding.Seeded) -> DatasetVersion:
    return seeding.add_version(seeded)


def address(version: DatasetVersion, to: Any = "", more: str = "") -> str:
    return f"/datasets/{version.pk}/differences/?to={getattr(to, 'pk', to)}{more}"


def test_videos_that_came_went_and_changed_are_counted_and_listed(
    client: Client, seeded: seeding.Seeded, newer: DatasetVersion
) -> None:
    answer = client.get(address(seeded.version, newer))

    found, text = answer.context["differences"], answer.content.decode()
    assert found.kinds == {"added": 1, "removed": 1, "changed": 3}
    assert found.unchanged == 60
    assert set(found.fields) == {"split", "num_frames", "intervals"}
    assert [c.key for c, _ in answer.context["rows"]][:2] == ["test/new_064", "train/normal_000"]
    lines = {c.key: lines for c, lines in answer.context["rows"]}
    assert lines["train/normal_002"] == [("split", "train", "test")]
    ((field, _, after),) = lines["test/running_043"]
    assert (field, after) == ("intervals", "frames 10 to 99")
    assert "frames 10 to 99" in text


def test_without_a_choice_the_newest_other_version_is_compared(
    client: Client, seeded: seeding.Seeded, newer: DatasetVersion
) -> None:
    there = client.get(f"/datasets/{seeded.version.pk}/differences/")
    back = client.get(f"/datasets/{newer.pk}/differences/")

    assert (there.context["to"], back.context["to"]) == (newer, seeded.version)
    assert back.context["differences"].kinds == {"added": 1, "removed": 1, "changed": 3}
    assert back.context["rows"][0][0].key == "train/normal_000"


def test_changes_are_filtered_by_kind_and_by_field(
    client: Client, seeded: seeding.Seeded, newer: DatasetVersion
) -> None:
    def shown(more: str) -> list[str]:
        answer = client.get(address(seeded.version, newer, more))
        return [change.key for change, _ in answer.context["rows"]]

    assert shown("&kind=removed") == ["train/normal_000"]
    assert shown("&kind=changed&field=split") == ["train/normal_002"]
    assert shown("&kind=added&field=split") == []
    assert len(shown("&kind=nonsense")) == 5


def test_one_version_alone_says_what_will_stand_here(
    client: Client, seeded: seeding.Seeded
) -> None:
    text = client.get(f"/datasets/{seeded.version.pk}/differences/").content.decode()

    assert "There is one version" in text
    assert "/datasets/new/" in text


def test_a_version_does_not_differ_from_itself(
    client: Client, seeded: seeding.Seeded, newer: DatasetVersion
) -> None:
    text = client.get(address(newer, newer)).content.decode()

    assert "hold the same videos, labels and truth" in text


def test_files_that_are_gone_are_named_and_the_page_stands(
    client: Client, seeded: seeding.Seeded, newer: DatasetVersion
) -> None:
    (newer.folder / "manifest.json").unlink()

    answer = client.get(address(seeded.version, newer))

    assert answer.status_code == 200
    assert answer.context["error"].code == "file-missing"
    assert str(newer.folder) in answer.content.decode()


def test_only_versions_of_the_same_data_set_that_a_person_may_see_are_compared(
    client: Client,
    seeded: seeding.Seeded,
    newer: DatasetVersion,
    version: DatasetVersion,
    stranger: User,
    sign_in: Callable[[User], Client],
) -> None:
    api = f"/api/v1/versions/{seeded.version.pk}/differences/"

    assert client.get(address(seeded.version, version)).status_code == 404
    assert client.get(address(seeded.version, "nonsense")).status_code == 404
    assert client.get(f"{api}?to={version.pk}").status_code == 404
    assert client.get(api).json()["code"] == "request-invalid"
    assert sign_in(stranger).get(address(seeded.version, newer)).status_code == 404
    assert sign_in(stranger).get(f"{api}?to={newer.pk}").status_code == 404


def test_the_api_gives_the_same(
    client: Client, seeded: seeding.Seeded, newer: DatasetVersion
) -> None:
    found = client.get(f"/api/v1/versions/{seeded.version.pk}/differences/?to={newer.pk}").json()

    assert found["videos"] == {"added": 1, "removed": 1, "changed": 3, "unchanged": 60}
    assert found["fields"] == {"split": 1, "num_frames": 1, "intervals": 1}
    changed = {c["key"]: c["fields"] for c in found["changes"] if c["kind"] == "changed"}
    assert changed["train/normal_002"] == {"split": ["train", "test"]}
    assert changed["test/running_043"]["intervals"][1] == [[10, 100]]
