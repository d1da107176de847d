"""Checkpoints and scores in a bucket, against a real S3 server on this machine; and the cache."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import seeding
from django.test import Client
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from vad.errors import VadError
from webapp.runs import services as runs
from webapp.runs.models import Checkpoint, Run, State
from webapp.storage import artifacts, cache, leftovers, moving, queries, retention, survey
from webapp.storage.models import Finding, Leftover, StoredArtifact
from workers import commands


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, settings: Any, tmp_path: Path) -> Any:
    """A bucket of the test's own, and the settings that name it."""
    keys = {"endpoint_url": server, "region_name": "us-east-1"}
    name = f"vadlab-{uuid.uuid4().hex[:12]}"
    s3 = boto3.resource("s3", aws_access_key_id="a", aws_secret_access_key="b", **keys)
    made = s3.create_bucket(Bucket=name)
    options = {**keys, "bucket_name": name, "location": "team", "access_key": "a"}
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {**options, "secret_key": "b", "file_overwrite": True},
        },
    }
    settings.CACHE_DIR, settings.CACHE_BYTES = tmp_path / "cache", 10_000_000
    return made


@pytest.fixture
def seeded(db: None, data_dir: Path) -> seeding.Seeded:
    """A finished run whose checkpoint 300 has a file with the hash that its row says."""
    found = seeding.seed(*seeding.people())
    give_file(found.runs["first"], 300)
    return found


def give_file(run: Run, step: int) -> Path:
    seeding.add_checkpoint_files(run, [step])
    row = Checkpoint.objects.get(run=run, step=step)
    path = run.folder / row.path
    row.sha256, row.size_bytes = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    row.save()
    return path


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Any:
    return lambda: django_capture_on_commit_callbacks(execute=True)


def keys(bucket: Any) -> set[str]:
    return {found.key for found in bucket.objects.all()}


def test_what_ended_runs_left_moves_to_the_bucket_and_is_read_from_there(
    seeded: seeding.Seeded, bucket: Any, commit: Any
) -> None:
    run, evaluation = seeded.runs["first"], seeded.evaluations[0]
    path, scores = run.folder / "checkpoints/step-000300.safetensors", evaluation.scores_path
    content, url = path.read_bytes(), f"/runs/{run.pk}/checkpoints/300/file/"
    client = Client()
    client.force_login(seeded.user)
    roc = client.get(f"/api/v1/evaluations/{evaluation.pk}/roc/").json()

    with commit():
        moved = moving.offload()

    assert moved >= len(content)
    assert not path.exists() and not scores.exists()
    assert f"team/runs/{run.pk}/checkpoints/step-000300.safetensors" in keys(bucket)
    assert b"".join(client.get(url).streaming_content) == content
    assert client.get(f"/api/v1/evaluations/{evaluation.pk}/roc/").json() == roc
    assert client.get(f"/evaluations/{evaluation.pk}/").status_code == 200
    rows = client.get(f"/api/v1/runs/{run.pk}/checkpoints/").json()["results"]
    assert {row["step"]: row["file"] for row in rows}[300] == url
    assert queries.storage(seeded.user).projects[0].stored_bytes == moved
    survey.survey()
    gone = Finding.objects.filter(path__contains=f"{run.pk}/checkpoints/step-000300")
    assert not gone.exists()
    with commit():
        assert moving.offload() == 0


def test_a_worker_is_given_a_copy_from_its_cache(
    seeded: seeding.Seeded, bucket: Any, commit: Any, settings: Any
) -> None:
    run = seeded.runs["first"]
    content = (run.folder / "checkpoints/step-000300.safetensors").read_bytes()
    Checkpoint.objects.filter(run=run).exclude(step=300).delete()
    Checkpoint.objects.filter(run=run).update(best=True)
    with commit():
        moving.offload()
    evaluate = Run.objects.get(pk=seeded.evaluations[0].pk)

    argv = commands.prepare(evaluate).argv

    given = Path(argv[argv.index("--checkpoint") + 1])
    assert given.is_relative_to(settings.CACHE_DIR) and given.read_bytes() == content


def test_a_run_that_goes_on_has_its_checkpoints_in_its_folder_again(
    seeded: seeding.Seeded, bucket: Any, commit: Any
) -> None:
    run = seeded.runs["first"]
    path = run.folder / "checkpoints/step-000300.safetensors"
    content, steps = path.read_bytes(), {300}
    Checkpoint.objects.filter(run=run).exclude(step=300).delete()
    with commit():
        moving.offload()
    assert not path.exists()
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED)
    run.refresh_from_db()

    moving.bring_back(run)

    assert path.read_bytes() == content
    assert retention.holdings([run])[0].resume_steps() == steps
    with commit():
        assert moving.offload() == 0  # it is no ended run any more
    leftovers.clear()
    assert path.is_file()


def test_a_move_that_was_killed_leaves_the_file_and_is_done_again(
    seeded: seeding.Seeded, bucket: Any, commit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seeded.runs["first"].folder / "checkpoints/step-000300.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "let_go", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            moving.offload()
    assert path.is_file() and not StoredArtifact.objects.exists()

    with commit():
        assert moving.offload()
    assert not path.exists()


def test_what_is_deleted_goes_from_the_bucket_too(
    seeded: seeding.Seeded, bucket: Any, commit: Any
) -> None:
    run = seeded.runs["first"]
    with commit():
        moving.offload()
    theirs = {key for key in keys(bucket) if str(run.pk) in key}
    assert theirs

    with commit():
        runs.runs_delete(runs=[run], by=seeded.user)

    assert not theirs & keys(bucket)
    assert not Leftover.objects.exists()


def test_an_object_that_is_not_what_was_stored_is_refused_and_a_silent_server_is_named(
    seeded: seeding.Seeded, bucket: Any, commit: Any, settings: Any
) -> None:
    run = seeded.runs["first"]
    path = run.folder / "checkpoints/step-000300.safetensors"
    with commit():
        moving.offload()
    key = f"team/runs/{run.pk}/checkpoints/step-000300.safetensors"

    bucket.put_object(Key=key, Body=b"something else")
    with pytest.raises(VadError, match="gave a file of hash"):
        artifacts.local(path)
    assert [p for p in settings.CACHE_DIR.rglob("*") if p.is_file()] == []
    bucket.Object(key).delete()
    with pytest.raises(VadError, match="has no runs/"):
        artifacts.local(path)
    options = settings.STORAGES["artifacts"]["OPTIONS"]
    settings.STORAGES = {
        **settings.STORAGES,
        "artifacts": {
            "BACKEND": "storages.backends.s3.S3Storage",
            "OPTIONS": {**options, "bucket_name": "no-such-bucket"},
        },
    }
    give_file(seeded.runs["second"], 300)
    with pytest.raises(VadError, match="did not answer"):
        moving.offload()


def test_a_file_that_is_not_what_its_row_says_stays_on_the_disk(
    seeded: seeding.Seeded, bucket: Any, commit: Any
) -> None:
    path = seeded.runs["first"].folder / "checkpoints/step-000300.safetensors"
    path.write_bytes(b"rotten")
    with commit():
        moving.offload()

    assert path.is_file()
    assert not any("step-000300" in key for key in keys(bucket))


def test_without_a_bucket_nothing_is_asked(
    seeded: seeding.Seeded, django_assert_num_queries: Any
) -> None:
    path = seeded.runs["first"].folder / "checkpoints/step-000300.safetensors"
    with django_assert_num_queries(0):
        assert artifacts.local(path) == path
        assert artifacts.exists(path) and not artifacts.exists(path.with_name("none"))
        assert moving.offload() == 0


# --- the cache ------------------------------------------------------------------------------


def put(store: cache.Cache, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    return store.get(sha256, len(content), lambda file: file.write(content) and None)


def test_the_cache_fetches_once_and_lets_the_longest_unused_go(tmp_path: Path) -> None:
    store = cache.Cache(tmp_path, 250)
    first, second = put(store, b"a" * 100), put(store, b"b" * 100)
    for path, age_s in ((first, 2000), (second, 3000)):
        at = time.time() - age_s
        os.utime(path, (at, at))
    sha256 = hashlib.sha256(b"b" * 100).hexdigest()

    assert store.get(sha256, 100, lambda file: pytest.fail("fetched again")) == second
    third = put(store, b"c" * 100)

    assert not first.exists() and second.exists() and third.exists()


def test_what_was_used_just_now_stays_though_it_is_too_much(tmp_path: Path) -> None:
    store = cache.Cache(tmp_path, 150)

    assert all(path.exists() for path in (put(store, b"a" * 100), put(store, b"b" * 100)))


def test_a_fetch_that_fails_leaves_nothing_and_a_short_file_is_fetched_again(
    tmp_path: Path,
) -> None:
    store = cache.Cache(tmp_path, 1000)

    def breaks(file: Any) -> None:
        file.write(b"half")
        raise OSError("the line went down")

    with pytest.raises(OSError, match="went down"):
        store.get("ab" * 32, 8, breaks)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []

    path = put(store, b"whole")
    path.write_bytes(b"who")
    assert put(store, b"whole").read_bytes() == b"whole"
