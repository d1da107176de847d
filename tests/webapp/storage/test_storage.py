"""What takes the room, what does not fit the rows, and what a deletion would free."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from vad.errors import VadError
from webapp.accounts.models import User
from webapp.datasets.models import DatasetVersion, FeatureSet
from webapp.runs import services as runs
from webapp.runs.models import Checkpoint, Run, State
from webapp.storage import deletion, leftovers, queries, services, survey
from webapp.storage.models import Finding, Leftover, Measured

OLD_S = 2 * survey.SETTLED_S


def write(path: Path, size: int, *, age_s: float = OLD_S) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    at = time.time() - age_s
    os.utime(path, (at, at))
    os.utime(path.parent, (at, at))
    return path


@pytest.fixture
def trained(make_run: Callable[..., Run]) -> Run:
    run = make_run(state=State.SUCCEEDED)
    write(run.folder / "checkpoints/step-000010.safetensors", 1000)
    write(run.folder / "log.txt", 10)
    Checkpoint.objects.create(
        run=run, step=10, path="checkpoints/step-000010.safetensors", sha256="a" * 64,
        size_bytes=1000, best=True,
    )  # fmt: skip
    return run


@pytest.fixture
def admin(make_user: Callable[..., User]) -> User:
    user = make_user()
    user.is_superuser = True
    user.save()
    return user


def orphans() -> list[str]:
    return sorted(Finding.objects.filter(kind="orphan").values_list("path", flat=True))


def test_sizes_are_told_by_project_and_kind(
    trained, feature_set: FeatureSet, version: DatasetVersion, user, stranger, make_run
):
    evaluated = make_run(kind="evaluate", state=State.SUCCEEDED, of_run=trained)
    write(evaluated.folder / "scores.safetensors", 200)
    write(make_run(kind="proxies", state=State.SUCCEEDED).folder / "proxies/video.mp4", 3000)
    write(feature_set.folder / "features.safetensors", 500)
    write(version.folder / "manifest.json", 70)

    survey.survey()

    (use,) = queries.storage(user).projects
    assert (use.checkpoint_bytes, use.log_bytes, use.score_bytes) == (1000, 10, 200)
    assert (use.feature_bytes, use.dataset_bytes, use.proxy_bytes) == (500, 70, 3000)
    assert use.size_bytes == 4780
    assert [row.size_bytes for row in queries.storage(user).largest] == [3000, 1010, 500, 200, 70]
    assert [use.size_bytes for use in queries.storage(stranger).projects] == [0]
    assert not queries.storage(stranger).largest


def test_files_without_rows_are_found_once_they_are_old(trained, make_run, data_dir):
    active = make_run(state=State.RUNNING)
    known = [
        write(trained.folder / "checkpoints/step-000020.safetensors", 50),
        write(trained.folder / "checkpoints/.step-000030.safetensors.1-ab.part", 60),
        write(data_dir / "runs" / str(uuid.uuid4()) / "log.txt", 70).parent,
        write(data_dir / "features" / "by-hand" / "x", 80).parent,
    ]
    write(active.folder / "checkpoints/step-000005.safetensors", 90)  # its row is on its way
    write(trained.folder / "checkpoints/step-000040.safetensors", 50, age_s=0)
    write(data_dir / "datasets" / str(uuid.uuid4()) / "manifest.json", 1, age_s=0)

    survey.survey()

    assert orphans() == sorted(path.relative_to(data_dir).as_posix() for path in known)


def test_rows_without_files_are_found(trained, feature_set, version, user):
    (trained.folder / "checkpoints/step-000010.safetensors").unlink()
    survey.survey()

    missing = queries.visible(user, "missing").values_list("path", flat=True)
    assert sorted(missing) == sorted(
        [
            f"runs/{trained.pk}/checkpoints/step-000010.safetensors",
            f"features/{feature_set.pk}",
            f"datasets/{version.pk}",
        ]
    )


def test_orphans_go_after_a_second_look_and_only_those_of_ones_projects(
    trained, user, viewer, stranger, admin, data_dir, django_capture_on_commit_callbacks
):
    mine = write(trained.folder / "checkpoints/step-000020.safetensors", 50)
    found_again = write(trained.folder / "checkpoints/step-000030.safetensors", 50)
    nobodys = write(data_dir / "runs" / str(uuid.uuid4()) / "log.txt", 70).parent
    survey.survey()
    Checkpoint.objects.create(
        run=trained, step=30, path="checkpoints/step-000030.safetensors", sha256="b", size_bytes=50
    )

    for other in (viewer, stranger):
        assert services.orphans_remove(by=other) == (0, 0)
    with django_capture_on_commit_callbacks(execute=True):
        assert services.orphans_remove(by=user) == (1, 50)
    assert not mine.exists() and found_again.exists() and nobodys.exists()
    with django_capture_on_commit_callbacks(execute=True):
        assert services.orphans_remove(by=admin) == (1, 70)
    assert not nobodys.exists() and trained.folder.exists()


@pytest.mark.parametrize("path", ["runs", "runs/", "secret_key", "../x", "runs/x/../../secret_key"])
def test_no_path_outside_the_areas_is_an_orphan(db, data_dir, path):
    (data_dir / "runs" / "x").mkdir(parents=True)
    write(data_dir / "secret_key", 1)

    assert not survey.is_orphan(path)


def test_a_deletion_says_what_would_go_and_what_forbids_it(trained, make_run, user):
    evaluated = make_run(kind="evaluate", state=State.SUCCEEDED, of_run=trained)
    write(evaluated.folder / "scores.safetensors", 200)
    begun = make_run(state=State.FAILED, config={"pretrained_point": f"run:{trained.pk}"})

    found = deletion.preview([trained])
    assert (found.size_bytes, found.checkpoints) == (1210, 1)
    assert (found.also, found.starts) == ([evaluated], [begun])
    assert not found.blocked

    Run.objects.filter(pk=begun.pk).update(state=State.QUEUED)
    assert deletion.preview([trained]).needed_by == [begun]
    with pytest.raises(VadError, match="cannot go on without") as caught:
        runs.runs_delete(runs=[trained], by=user)
    assert caught.value.code == "run-in-use"


def test_a_deletion_that_is_killed_after_its_commit_is_finished_by_the_next(trained, user):
    runs.runs_delete(runs=[trained], by=user)  # no callback of the commit runs

    assert trained.folder.is_dir()
    assert [row.path for row in Leftover.objects.all()] == [f"runs/{trained.pk}"]
    survey.survey()
    assert orphans() == []  # it is on its way

    assert leftovers.clear() == 1
    assert not trained.folder.exists()


def test_the_page_and_the_endpoints_show_it(
    trained, client: Client, viewer, sign_in, project, settings, django_capture_on_commit_callbacks
):
    settings.KEEP_BEST = 9
    write(trained.folder / "checkpoints/step-000020.safetensors", 50)
    write(trained.folder / "checkpoints/step-000030.safetensors", 60)
    for step in (20, 30):
        Checkpoint.objects.create(
            run=trained, step=step, path=f"checkpoints/step-{step:06}.safetensors", sha256="b",
            size_bytes=50, metrics={"validation/video_auc": step / 100},
        )  # fmt: skip
    page = "/settings/storage/"
    assert "Not measured yet" in client.get(page).content.decode()
    assert client.post(f"{page}measure/").status_code == 302
    assert client.post(f"{page}measure/").status_code == 429  # not again at once
    assert "and delete 1 checkpoint, 50" in client.get(f"{page}?keep_best=1").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"{page}rule/", {"keep_best": "1"}).status_code == 302
    assert client.post(f"{page}rule/", {"keep_best": "many"}).status_code == 422

    api = client.get("/api/v1/storage/").json()
    assert api["projects"][0]["checkpoint_bytes"] == 1110
    assert api["orphans"] == {"count": 0, "size_bytes": 0}
    assert client.get("/api/v1/storage/rule/").json()["keep_best"] == 1
    answer = client.get(f"/api/v1/storage/deletion/?run={trained.pk}").json()
    assert answer["possible"] and answer["checkpoints"] == 2
    many = ",".join(str(uuid.uuid4()) for _ in range(1001))
    assert client.get(f"/api/v1/storage/deletion/?run={many}").status_code == 400
    put = {"project": project.slug, "keep_best": None}
    assert client.put("/api/v1/storage/rule/", put, "application/json").json()["keep_best"] == 9
    assert sign_in(viewer).put("/api/v1/storage/rule/", put, "application/json").status_code == 403


def test_the_survey_is_kept_and_replaced_as_a_whole(trained):
    survey.survey()
    assert not survey.is_due()
    trained.delete()
    survey.survey()

    assert not Measured.objects.filter(area="runs").exists()
