"""What other tools wrote is taken over whole, once, and what cannot be kept is told."""

from __future__ import annotations

import io
import math
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from webapp.accounts.models import Project, User
from webapp.external import history
from webapp.interop import tensorboard
from webapp.runs import metrics
from webapp.runs.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def said(project: Project, user: User) -> Any:
    """Run an import as `user`; gives what it said."""

    def ask(command: str, path: Path, **more: Any) -> str:
        out = io.StringIO()
        call_command(
            command, str(path), user=user.username, project=project.slug, stdout=out, **more
        )
        return out.getvalue()

    return ask


def rows() -> dict[str, list[Any]]:
    """Every row of the apps that an import writes to."""
    models = [m for m in apps.get_models() if m._meta.app_label in ("runs", "external", "interop")]
    return {m._meta.label: list(m._base_manager.order_by("pk").values_list()) for m in models}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A store of MLflow's own client in `mlruns`."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())


def test_a_store_that_mlflow_wrote_is_taken_over_once(
    store: MlflowClient, tmp_path: Path, said: Any, user: User
) -> None:
    experiment = store.create_experiment("ablation: memory, and " + "long " * 30 + "end")
    made = store.create_run(experiment, run_name="seed 1", start_time=1_700_000_000_000)
    run_id = made.info.run_id
    sent = [(0.1 + 0.2, 1_700_000_000_500, 0), (math.nan, 1_700_000_001_000, 1),
            (math.inf, 1_700_000_001_500, 2), (1e-300, 1_700_000_001_600, 2)]  # fmt: skip
    store.log_batch(
        run_id,
        metrics=[*(Metric("val/loss", *point) for point in sent), Metric("sys/own", 1.0, 5, 0)],
        params=[Param("lr", "0.0001"), Param("net", "UR-DMU ü\nsecond line")],
    )
    store.set_tag(run_id, "mlflow.note.content", "a note")
    store.set_tag(run_id, "team", "vad")
    store.log_text(run_id, "hello", "notes/a.txt")
    (tmp_path / "secret").write_text("x")
    artifacts = tmp_path / "mlruns" / experiment / run_id / "artifacts"
    (artifacts / "link").symlink_to(tmp_path / "secret")
    (artifacts / "model.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    store.set_terminated(run_id, "FINISHED", end_time=1_700_000_009_000)
    going_on = store.create_run("0", run_name="going on").info.run_id
    store.delete_run(store.create_run("0").info.run_id)

    first = said("import_mlflow", tmp_path / "mlruns")

    run = Run.objects.get(pk=run_id)
    assert "2 runs made" in first and "2 files added" in first
    assert "sys/own" in first and "deleted in MLflow" in first and "going on: had not" in first
    assert (run.name, run.state, run.owner, run.notes) == ("seed 1", "succeeded", user, "a note")
    assert run.config == {"lr": "0.0001", "net": "UR-DMU ü\nsecond line"}
    assert (run.started_at.timestamp(), run.ended_at.timestamp()) == (1_700_000_000, 1_700_000_009)
    kept = history.read(run, "val/loss")
    assert str([(v, t, s) for s, t, v in kept.tolist()]) == str(sent)
    assert run.external.labels["team"] == "vad"
    assert run.tracked.experiment.name.startswith("ablation: memory, and long long")
    uploaded = {u.path: u.file.read_bytes() for u in run.uploads.all()}
    assert uploaded == {"notes/a.txt": b"hello", "model.pkl": b"cos\nsystem\n(S'false'\ntR."}
    before = rows()
    again = said("import_mlflow", tmp_path / "mlruns")
    assert "0 runs made, 0 extended, 2 unchanged; 0 points and 0 files added" in again
    assert rows() == before

    store.log_metric(going_on, "auc", 0.9, step=3)
    store.set_terminated(going_on, "FINISHED")
    assert "0 runs made, 1 extended, 1 unchanged; 1 points" in said(
        "import_mlflow", tmp_path / "mlruns"
    )
    assert Run.objects.get(pk=going_on).state == "succeeded"


def test_a_damaged_or_hostile_store_harms_nothing(
    store: MlflowClient, tmp_path: Path, said: Any
) -> None:
    run_id = store.create_run("0", run_name="good").info.run_id
    store.log_metric(run_id, "auc", 0.5, timestamp=1000, step=1)
    folder = tmp_path / "mlruns" / "0"
    with (folder / run_id / "metrics" / "auc").open("a") as file:
        file.write("not a point\n-5 0.1 1\n1000 0.1 99999999999999999999\n2000 0.7 2\n")
    for name, text in {
        "code": "run_id: !!python/object/apply:os.system ['touch /tmp/owned']\n",
        "other": "run_id: ../../etc\nlifecycle_stage: active\n",
        "binary": "\x00\x01",
    }.items():
        (folder / name).mkdir()
        (folder / name / "meta.yaml").write_text(text)

    out = said("import_mlflow", tmp_path / "mlruns")

    assert "1 runs made" in out and "3 lines are no points" in out
    assert "code/meta.yaml: cannot be read" in out and "its id is none" in out
    run = Run.objects.get()
    assert metrics.read_raw(run, "auc").values.tolist() == [0.5, 0.7]
    for nothing in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CommandError, match="is no MLflow store"):
            said("import_mlflow", nothing)


def test_a_database_of_mlflow_is_taken_over(tmp_path: Path, said: Any) -> None:
    path = tmp_path / "mlflow.db"
    run_id = "0123456789abcdef0123456789abcdef"
    with sqlite3.connect(path) as db:  # the columns that MLflow's schema has of these tables
        db.executescript(
            "create table experiments (experiment_id integer primary key, name text);"
            "create table runs (run_uuid text, name text, status text, start_time integer,"
            " end_time integer, lifecycle_stage text, artifact_uri text, experiment_id integer);"
            "create table metrics (key text, value real, timestamp integer, run_uuid text,"
            " step integer, is_nan boolean);"
            "create table params (key text, value text, run_uuid text);"
            "create table tags (key text, value text, run_uuid text);"
            "insert into experiments values (1, 'from a database');"
        )
        uri = str(tmp_path / "files" / "artifacts")
        db.execute(
            "insert into runs values (?, 'r', 'FAILED', 1000, 2000, 'active', ?, 1)", (run_id, uri)
        )
        for value, at, step, nan in (
            (0.5, 1, 0, 0),
            (0, 2, 1, 1),
            (-1.7976931348623157e308, 3, 2, 0),
        ):
            db.execute(
                "insert into metrics values ('m', ?, ?, ?, ?, ?)", (value, at, run_id, step, nan)
            )
        db.execute("insert into params values ('lr', '0.1', ?)", (run_id,))
        db.execute("insert into tags values ('t', 'x', ?)", (run_id,))
    Path(uri).mkdir(parents=True)
    (Path(uri) / "a.txt").write_text("a")

    out = said("import_mlflow", path)

    run = Run.objects.get()
    assert "1 runs made" in out and (run.pk.hex, run.state) == (run_id, "failed")
    assert str(history.read(run, "m")["value"].tolist()) == "[0.5, nan, -inf]"
    assert (run.config, run.external.labels) == ({"lr": "0.1"}, {"t": "x"})
    assert run.uploads.get().file.read_bytes() == b"a"


# --- TensorBoard ----------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """Bit by bit, as the standard writes it: nothing of the reader's."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number: int) -> bytes:
    out = b""
    number &= (1 << 64) - 1
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def part(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def scalar(tag: str, value: float, how: str = "simple") -> bytes:
    name = part(1, tag.encode())
    if how == "simple":
        return name + varint(2 << 3 | 5) + struct.pack("<f", value)
    kind, packed = (
        (1, struct.pack("<f", value)) if how == "float" else (2, struct.pack("<d", value))
    )
    tensor = varint(1 << 3) + varint(kind) + part(2, b"")
    return name + part(8, tensor + part(5 if how == "float" else 4, packed))


def event(wall: float, step: int, *values: bytes) -> bytes:
    summary = b"".join(part(1, value) for value in values)
    body = varint(1 << 3 | 1) + struct.pack("<d", wall) + varint(2 << 3) + varint(step)
    return record(body + part(5, summary))


def record(body: bytes) -> bytes:
    length = struct.pack("<Q", len(body))
    return length + masked(length) + body + masked(body)


HEADER = record(varint(1 << 3 | 1) + struct.pack("<d", 1.0) + part(3, b"brain.Event:2"))


@pytest.fixture
def logdir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "runs" / "seed 1" / "train"
    folder.mkdir(parents=True)
    picture = part(1, b"image") + part(4, part(4, b"png"))
    (folder / "events.out.tfevents.1.host").write_bytes(
        HEADER
        + event(100.5, 1, scalar("loss", 0.1), scalar("auc", 0.25, "float"))
        + event(101.5, 2, scalar("loss", math.nan), picture)
        + event(102.0, -1, scalar("ap", 0.1, "double"))
    )
    (folder / "events.out.tfevents.2.host").write_bytes(
        HEADER + event(103.0, 3, scalar("loss", 0.5))
    )
    yield tmp_path / "runs"


def test_scalars_of_tensorboard_are_taken_over_once(logdir: Path, said: Any) -> None:
    out = said("import_tensorboard", logdir)

    run = Run.objects.get()
    assert "1 runs made" in out and "5 points" in out
    assert "1 values that are no scalars" in out
    assert (run.name, run.state, run.started_at.timestamp()) == ("seed 1/train", "succeeded", 100.5)
    loss = history.read(run, "loss")
    assert loss["step"].tolist() == [1, 2, 3] and loss["time"].tolist() == [100500, 101500, 103000]
    assert np.array_equal(loss["value"], [np.float32(0.1), np.nan, 0.5], equal_nan=True)
    assert history.read(run, "ap").tolist() == [(-1, 102000, 0.1)]
    before = rows()
    assert "1 unchanged; 0 points" in said("import_tensorboard", logdir)
    assert rows() == before


def test_a_file_that_is_cut_or_damaged_is_read_up_to_there(logdir: Path, said: Any) -> None:
    folder = logdir / "seed 1" / "train"
    first = folder / "events.out.tfevents.1.host"
    data = bytearray(first.read_bytes())
    data[-10] ^= 1
    first.write_bytes(data)
    second = folder / "events.out.tfevents.2.host"
    second.write_bytes(second.read_bytes()[:-3])
    (logdir / "events.out.tfevents.junk").write_bytes(struct.pack("<Q", 1 << 62) + b"12345678")

    out = said("import_tensorboard", logdir)

    assert "the content of a record is damaged" in out
    assert "it ends in the middle of a record" in out
    assert "the length of a record is damaged" in out
    assert history.read(Run.objects.get(), "loss")["step"].tolist() == [1, 2]
    with pytest.raises(CommandError, match="No event file"):
        said("import_tensorboard", logdir.parent / "nothing")


@pytest.mark.parametrize("body", [b"\xff" * 12, b"\x2a\xff\x01a", b"\x0b", b"\x80" * 30])
def test_a_sound_record_of_nonsense_is_refused(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1"
    path.write_bytes(record(body))

    with pytest.raises(tensorboard.Damaged):
        list(tensorboard.scalars(path, {}))


def test_the_checksum_is_that_of_the_standard() -> None:
    # RFC 3720, B.4: 32 bytes of zeros
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert tensorboard.masked_crc(bytes(32)) == struct.unpack("<I", masked(bytes(32)))[0]
