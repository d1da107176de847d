"""A backup is tested by restoring it: pages, scores and checkpoints are those of before."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
import seeding
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from webapp.accounts.models import User
from webapp.runs.models import Checkpoint, Run
from webapp.storage import dump, leftovers, retention
from webapp.storage.archive import Archive
from webapp.storage.backup import backup
from webapp.storage.models import Leftover, RemovalHold

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seeded(data_dir: Path) -> seeding.Seeded:
    found = seeding.seed(*seeding.people())
    seeding.add_checkpoint_files(found.runs["first"], [300])
    return found


def call(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for area in ("runs", "features", "datasets")
        for path in sorted((folder / area).rglob("*"))
        if path.is_file()
    }


def forget_everything() -> None:
    """As on a new machine: a database with tables and no rows."""
    call_command("flush", verbosity=0, interactive=False)


def test_what_was_backed_up_is_restored_into_an_empty_installation_and_works(
    seeded: seeding.Seeded, settings: Any, tmp_path: Path
) -> None:
    run, evaluation = seeded.runs["first"], seeded.evaluations[0]
    before, url = tree(settings.DATA_DIR), f"/runs/{run.pk}/checkpoints/300/file/"
    said = call("backup", str(tmp_path / "kept"))
    assert f"the database and {len(before)} files" in said
    assert not RemovalHold.objects.exists()

    forget_everything()
    settings.DATA_DIR = tmp_path / "new"
    settings.DATA_DIR.mkdir()
    said = call("restore", str(tmp_path / "kept"))

    assert f"{Run.objects.count()} runs" in said and Run.objects.count() > 8
    assert tree(settings.DATA_DIR) == before
    client = Client()
    assert client.login(username=seeded.user.username, password=seeding.PASSWORD)
    content = b"".join(client.get(url).streaming_content)
    assert content == before[f"runs/{run.pk}/checkpoints/step-000300.safetensors"]
    for page in (
        "/runs/", f"/runs/{run.pk}/", f"/evaluations/{evaluation.pk}/", "/settings/storage/",
        f"/api/v1/evaluations/{evaluation.pk}/roc/", f"/datasets/{seeded.version.pk}/",
    ):  # fmt: skip
        assert client.get(page).status_code == 200, page

    with pytest.raises(CommandError, match="This installation is not empty"):
        call("restore", str(tmp_path / "kept"))


def test_a_second_backup_copies_only_what_is_new_and_old_ones_can_go(
    seeded: seeding.Seeded, settings: Any, tmp_path: Path
) -> None:
    run, kept = seeded.runs["first"], tmp_path / "kept"
    first = backup(kept)
    (run.folder / "log.txt").write_text("more\n")
    second = backup(kept)

    assert first.added > 3 and second.added == 1
    assert Archive(kept).names() == sorted([first.manifest.name, second.manifest.name])
    (run.folder / "log.txt").unlink()
    third = backup(kept, keep=1, full=True)
    assert (third.added, third.freed_bytes) == (0, len("more\n"))
    assert Archive(kept).names() == [third.manifest.name]
    forget_everything()
    shutil.rmtree(settings.DATA_DIR)
    settings.DATA_DIR.mkdir()
    call("restore", str(kept))
    assert Run.objects.filter(pk=run.pk).exists()


def test_a_damaged_or_missing_file_is_named_and_nothing_is_changed(
    seeded: seeding.Seeded, settings: Any, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    archive, manifest = Archive(kept), backup(kept).manifest
    file = next(f for f in manifest.files if f.path.endswith("step-000300.safetensors"))
    forget_everything()
    settings.DATA_DIR = tmp_path / "new"
    settings.DATA_DIR.mkdir()

    archive.object(file.sha256).write_bytes(b"rotten")
    with pytest.raises(CommandError, match=r"step-000300\.safetensors is damaged"):
        call("restore", str(kept))
    archive.object(file.sha256).unlink()
    with pytest.raises(CommandError, match=r"step-000300\.safetensors is missing"):
        call("restore", str(kept))
    database = kept / "backups" / manifest.name / manifest.database.path
    database.write_bytes(database.read_bytes()[:-100])
    with pytest.raises(CommandError, match="is not what the backup says it wrote"):
        call("restore", str(kept))

    assert not User.objects.exists()
    assert list(settings.DATA_DIR.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"migrations": ["runs.9999_from_the_future"]}, "the first runs.9999_from_the_future"),
        ({"engine": "oracle"}, "The backup is of a oracle database"),
        ({"format": 99}, "a format that this version cannot read"),
        (
            {"files": [{"path": "runs/../../etc/passwd", "sha256": "a" * 64,
                        "size_bytes": 1, "modified_ns": 0}]},
            "which is no file of the data folder",
        ),
        ({"files": "nonsense"}, "is damaged"),
    ],
)  # fmt: skip
def test_a_backup_that_does_not_fit_is_refused(
    data_dir: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    name = backup(tmp_path / "kept").manifest.name
    path = tmp_path / "kept" / "backups" / name / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    with pytest.raises(CommandError, match=says):
        call("restore", str(tmp_path / "kept"), "--force")


def test_with_force_what_was_there_is_moved_aside(
    seeded: seeding.Seeded, settings: Any, tmp_path: Path
) -> None:
    backup(tmp_path / "kept")
    later = settings.DATA_DIR / "runs" / str(uuid.uuid4()) / "log.txt"
    later.parent.mkdir()
    later.write_text("of a later run")
    seeded.worker.__class__.objects.update(stopped_at="2026-01-01T00:00Z")

    said = call("restore", str(tmp_path / "kept"), "--force")

    (aside,) = settings.DATA_DIR.glob("before-restore-*")
    assert str(aside) in said
    assert (aside / later.relative_to(settings.DATA_DIR)).read_text() == "of a later run"
    assert not later.exists()
    assert (aside / "database.sqlite3").is_file() == (connection.vendor == "sqlite")


def test_nothing_is_restored_under_running_workers(seeded: seeding.Seeded, tmp_path: Path) -> None:
    backup(tmp_path / "kept")
    with pytest.raises(CommandError, match=r"Workers are running .* atlas-01"):
        call("restore", str(tmp_path / "kept"), "--force")


def test_what_is_let_go_during_a_backup_is_removed_after_it(
    seeded: seeding.Seeded, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = seeded.runs["first"]
    path = run.folder / Checkpoint.objects.get(run=run, step=300).path
    write = dump.write

    def and_then_it_is_let_go(target: Path) -> None:
        write(target)
        leftovers.let_go([path])

    monkeypatch.setattr(dump, "write", and_then_it_is_let_go)
    manifest = backup(tmp_path / "kept").manifest

    assert path.relative_to(settings.DATA_DIR).as_posix() in {f.path for f in manifest.files}
    assert path.is_file() and Leftover.objects.exists()
    retention.tidy()
    assert not path.exists()


def test_a_backup_that_was_killed_counts_for_nothing(
    seeded: seeding.Seeded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    with monkeypatch.context() as patch:
        patch.setattr(Archive, "save", lambda self, manifest: os.kill)
        backup(kept)
    with pytest.raises(CommandError, match="holds no backup"):
        call("restore", str(kept), "--force")

    assert backup(kept).added == 0  # what it copied is not copied again


def test_a_folder_inside_the_files_and_a_missing_tool_are_refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="lies in what would be backed up"):
        call("backup", str(data_dir / "runs" / "x"))
    monkeypatch.setattr(dump, "engine", lambda: dump.POSTGRESQL)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="pg_dump is not installed"):
        call("backup", str(tmp_path / "kept"))
