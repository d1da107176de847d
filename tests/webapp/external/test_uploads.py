"""Files of external runs: sent in parts, cut, gone on with, refused."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from datetime import timedelta

import numpy as np
import pytest
import safetensors.numpy
from django.utils import timezone

from vad.errors import VadError
from webapp.external import services, uploads
from webapp.external.models import Upload
from webapp.runs import services as run_services

WEIGHTS = safetensors.numpy.save({"w": np.arange(1000, dtype=np.float32)})


@pytest.fixture
def run(project, user):
    return services.run_start(project=project, by=user)


@pytest.fixture
def announce(run, user):
    def make(content=WEIGHTS, *, step=None, path="a/b.bin", **more):
        given = {
            "kind": "artifact" if step is None else "checkpoint", "path": path, "step": step,
            "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "by": user,
        }  # fmt: skip
        return uploads.upload_create(run_id=run.pk, **{**given, **more})

    return make


@pytest.fixture
def send(user):
    def append(upload, offset, part):
        data = io.BytesIO(part)
        return uploads.upload_append(upload_id=upload.pk, offset=offset, data=data, by=user)

    return append


@pytest.fixture
def finish(user):
    return lambda upload: uploads.upload_finish(upload_id=upload.pk, by=user)


def test_a_checkpoint_in_parts_is_the_runs(run, announce, send, finish):
    upload = announce(step=7, best=True, metrics={"auc": 0.5})
    send(upload, 0, WEIGHTS[:1000])
    send(upload, 1000, WEIGHTS[1000:])
    finish(upload)
    finish(upload)

    checkpoint = run.checkpoints.get()
    assert (checkpoint.step, checkpoint.best, checkpoint.metrics) == (7, True, {"auc": 0.5})
    assert (run.folder / checkpoint.path).read_bytes() == WEIGHTS
    assert list((run.folder / "uploads").iterdir()) == []


def test_an_upload_that_was_cut_goes_on_where_it_was(announce, send, finish):
    send(announce(), 0, WEIGHTS[:1000])

    again = announce()
    assert (again.received_bytes, Upload.objects.count()) == (1000, 1)
    again.part.open("ab").write(b"written, but a crash came before it was noted")
    send(again, 1000, WEIGHTS[1000:])
    assert finish(again).file.read_bytes() == WEIGHTS
    assert announce().finished_at is not None  # nothing is left to send


def test_a_part_for_another_place_is_refused_and_told_the_right_one(announce, send):
    upload = announce()
    send(upload, 0, WEIGHTS[:10])

    for offset in (0, 11):
        with pytest.raises(VadError) as refused:
            send(upload, offset, b"x")
        assert (refused.value.code, refused.value.fields) == ("upload-offset", {"offset": "10"})
    assert upload.part.read_bytes() == WEIGHTS[:10]


def test_no_more_is_taken_than_was_announced(announce, send, finish):
    upload = announce(b"four")
    with pytest.raises(VadError, match="larger than the 4 bytes"):
        send(upload, 0, b"fives")
    send(upload, 0, b"fou")
    with pytest.raises(VadError, match="3 of 4 bytes"):
        finish(upload)


def test_a_file_of_another_hash_is_deleted(announce, send, finish):
    upload = announce(b"four")
    send(upload, 0, b"FOUR")
    with pytest.raises(VadError, match="its sha256 is"):
        finish(upload)

    assert not Upload.objects.exists()


def bomb(header: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K\x01.",  # a pickle
        bomb(b"{}", 2**40),
        bomb(b"[" * 100_000),
        bomb(b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 400]}}'),
        bomb(b'{"w": {"dtype": "F32", "shape": [9007199254740993, 4], "data_offsets": [0, 0]}}'),
        WEIGHTS[:-4],
    ],
)
def test_what_is_no_sound_safetensors_is_no_checkpoint(
    run, announce, send, finish, content, django_capture_on_commit_callbacks
):  # fmt: skip
    upload = announce(content, step=1)
    if content:
        send(upload, 0, content)
    with (
        django_capture_on_commit_callbacks(execute=True),
        pytest.raises(VadError, match="is no safetensors file"),
    ):
        finish(upload)

    assert not run.checkpoints.exists()
    assert not upload.part.exists()


def test_a_checkpoint_of_the_same_step_replaces_the_old_file(
    run, announce, send, finish, django_capture_on_commit_callbacks
):
    for value in (1, 2):
        content = safetensors.numpy.save({"w": np.full(3, value)})
        upload = announce(content, step=7)
        send(upload, 0, content)
        with django_capture_on_commit_callbacks(execute=True):
            finish(upload)

    assert [p.name for p in (run.folder / "checkpoints").iterdir()] == [f"{upload.pk}.safetensors"]
    assert run.checkpoints.get().sha256 == hashlib.sha256(content).hexdigest()


def test_an_empty_file_is_a_file(announce, finish):
    assert finish(announce(b"")).file.read_bytes() == b""


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a\\b",
        "a\0",
        "a/",
        ".",
        "x" * 401,
        " a",
        "\ud800",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(announce, path):
    with pytest.raises(VadError, match="path must be"):
        announce(path=path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_bytes": -1}, {"size_bytes": 2**60}, {"sha256": "A" * 64}, {"kind": "pickle"},
        {"step": -1, "kind": "checkpoint"}, {"step": 2**53, "kind": "checkpoint"},
        {"step": 1, "kind": "artifact"}, {"kind": "checkpoint"},
    ],
)  # fmt: skip
def test_what_is_announced_wrongly_is_refused(announce, wrong):
    with pytest.raises(VadError) as refused:
        announce(**wrong)
    assert refused.value.code == "upload-invalid"


def test_a_person_has_room_for_so_much_and_the_disk_keeps_a_rest(announce, settings, monkeypatch):
    settings.UPLOAD_PERSON_BYTES = 10
    announce(b"12345678")
    with pytest.raises(VadError, match="may have"):
        announce(b"abc", path="other")
    monkeypatch.setattr(uploads, "SPARE_BYTES", 2**62)
    with pytest.raises(VadError) as refused:
        announce(b"a", path="other")
    assert refused.value.code == "disk-full"


def test_an_upload_that_was_left_is_reaped_and_a_complete_file_is_not(
    announce, send, finish, django_capture_on_commit_callbacks
):
    kept, left = announce(b"kept", path="kept"), announce(b"left", path="left")
    send(kept, 0, b"kept")
    finish(kept)
    send(left, 0, b"le")
    Upload.objects.update(touched_at=timezone.now() - timedelta(days=3))

    with django_capture_on_commit_callbacks(execute=True):
        assert uploads.reap() == 1
    assert (kept.file.is_file(), left.part.exists()) == (True, False)


def test_a_whole_file_at_once(run, user):
    for content in (b"old", b"new", b"new"):
        stored = uploads.artifact_store(
            run_id=run.pk, path="plots/roc.png", data=io.BytesIO(content), by=user
        )

    assert stored.file.read_bytes() == b"new"
    assert Upload.objects.count() == 1


def test_files_go_with_their_run(
    run, user, announce, send, finish, django_capture_on_commit_callbacks
):
    upload = announce(b"four")
    send(upload, 0, b"four")
    finish(upload)
    services.run_end(run_id=run.pk, status="finished", by=user)
    with django_capture_on_commit_callbacks(execute=True):
        run_services.run_delete(run=run, by=user)

    assert not run.folder.exists()
    assert not Upload.objects.exists()


def test_everything_goes_over_http(run, client, sign_in, stranger, viewer):
    base = f"/api/v1/external/{run.pk}"
    body = {
        "kind": "checkpoint", "path": "m", "step": 3, "size_bytes": len(WEIGHTS),
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    }  # fmt: skip
    made = client.post(f"{base}/uploads/", json.dumps(body), content_type="application/json")
    at = f"/api/v1/external/uploads/{made.json()['id']}/"
    octets = {"content_type": "application/octet-stream"}

    for other in (stranger, viewer):
        assert sign_in(other).put(f"{at}?offset=0", b"x", **octets).status_code == 404
    assert client.put(f"{at}?offset=0", WEIGHTS[:99], **octets).json()["offset"] == 99
    assert client.put(f"{at}?offset=0", WEIGHTS[:99], **octets).status_code == 409
    assert client.put(f"{at}?offset=99", WEIGHTS[99:], **octets).status_code == 200
    done = client.post(at).json()
    assert [row["path"] for row in client.get(f"{base}/files/").json()["results"]] == ["m"]
    for address in (done["file"], f"/api/v1/runs/{run.pk}/checkpoints/3/file/"):
        answer = client.get(address, headers={"range": "bytes=10-"})
        assert b"".join(answer.streaming_content) == WEIGHTS[10:]
    assert sign_in(stranger).get(done["file"]).status_code == 404
