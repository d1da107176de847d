"""An export holds the project, all of it and nothing of another one."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import seeding
from django.core.management import CommandError, call_command
from django.test import Client

from webapp.accounts.models import Project, User
from webapp.interop import export
from webapp.runs import chunks, metrics
from webapp.runs.models import MetricChunk, Run

pytestmark = pytest.mark.django_db


def rows(source: Any) -> list[dict[str, Any]]:
    return pq.read_table(source).to_pylist()


def unzipped(response: Any) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_whole_project_is_in_its_folder(
    user: User, project: Project, stranger: User, tmp_path: Path
) -> None:
    seeded = seeding.seed(user, project)
    seeding.add_checkpoint_files(seeded.runs["first"], [300])
    other = Project.objects.exclude(pk=project.pk).get()
    Run.objects.create(project=other, owner=stranger, name="not ours", kind="register", config={})
    User.objects.create_superuser("root")
    out = tmp_path / "out"

    call_command("export_project", str(out), project=project.slug, verbosity=0)

    runs = rows(out / "runs.parquet")
    assert [r["run_id"] for r in runs] == [
        str(pk)
        for pk in Run.objects.filter(project=project)
        .order_by("created_at", "pk")
        .values_list("pk", flat=True)
    ]
    assert next(r for r in runs if r["tags"] == ["baseline"])["created_at"].tzinfo is not None
    lr = {r["value"] for r in rows(out / "params.parquet") if r["name"] == "lr"}
    assert {"1.0", "0.0003"} <= lr
    points = pq.read_table(out / "metric_points.parquet")
    stored = MetricChunk.objects.filter(run__project=project).values_list("count", flat=True)
    assert points.num_rows == sum(stored)
    one = points.filter(
        (np.array(points["run_id"]) == str(seeded.runs["first"].pk))
        & (np.array(points["key"]) == "loss/total")
    )
    series = metrics.read_raw(seeded.runs["first"], "loss/total")
    assert np.array_equal(one["step"], series.steps)
    assert np.array_equal(one["value"], series.values)
    for checkpoint in rows(out / "checkpoints.parquet"):
        if checkpoint["file"]:
            assert checkpoint["step"] == 300
            assert (out / checkpoint["file"]).read_bytes() == b"weights of step 300"
    evaluations = rows(out / "evaluations.parquet")
    assert {e["frame_auc"] for e in evaluations} == {e.frame_auc for e in seeded.evaluations}
    assert all((out / e["scores_file"]).is_file() for e in evaluations)
    assert len(rows(out / "videos.parquet")) == seeded.version.videos.count()
    readme = (out / "README.md").read_text()
    assert all(f"{path.name}" in readme for path in out.glob("*.parquet"))

    with pytest.raises(CommandError, match="not empty"):
        call_command("export_project", str(out), project=project.slug)


def test_a_download_is_a_zip_of_tables_and_of_the_files_asked_for(
    client: Client, user: User, project: Project
) -> None:
    seeded = seeding.seed(user, project)
    address = f"/settings/projects/{project.slug}/export/download/"

    tables = unzipped(client.get(address))
    scores = unzipped(client.get(f"/api/v1/projects/{project.slug}/export/?files=scores"))

    assert "runs.parquet" in tables and not any(name.startswith("files/") for name in tables)
    assert {name for name in scores if name.startswith("files/")} == {
        f"files/{e.pk}/scores.safetensors" for e in seeded.evaluations
    }
    assert client.get(f"{address}?files=../..").status_code == 400


def test_values_that_are_not_finite_and_an_empty_project_survive(
    make_run: Callable[..., Run], project: Project, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    export.to_folder(project=project, folder=empty)
    run = make_run()
    values = np.array([np.nan, np.inf, -np.inf, 5e-324])
    chunks.append(run, {"loss": (np.array([-1, 0, 1, 2**62]), values)})

    export.to_folder(project=project, folder=tmp_path / "out")

    assert rows(empty / "metric_points.parquet") == []
    points = pq.read_table(tmp_path / "out" / "metric_points.parquet")
    assert points["step"].to_pylist() == [-1, 0, 1, 2**62]
    assert points["value"].to_numpy().tobytes() == values.tobytes()


def test_what_is_too_large_for_a_browser_is_refused_with_the_command_for_it(
    client: Client, user: User, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeding.seed(user, project)
    monkeypatch.setattr(export, "DOWNLOAD_MAX_BYTES", 10)

    refused = client.get(f"/api/v1/projects/{project.slug}/export/?files=all")

    assert refused.status_code == 422
    assert f"--project {project.slug}" in refused.json()["hint"]
    assert (
        "too much for a download"
        in client.get(f"/settings/projects/{project.slug}/export/").content.decode()
    )


def test_a_file_outside_a_runs_own_folder_is_never_exported(
    make_run: Callable[..., Run], project: Project, tmp_path: Path
) -> None:
    run = make_run()
    secret = tmp_path / "secret"
    secret.write_text("x")
    run.folder.mkdir(parents=True)
    (run.folder / "link").symlink_to(secret)
    for step, path in enumerate(("link", "../../../secret")):
        run.checkpoints.create(step=step, path=path, sha256="", size_bytes=1)

    written = export.to_folder(project=project, folder=tmp_path / "out")

    assert not any(name.startswith("files/") for name in written)
    assert {c["file"] for c in rows(tmp_path / "out" / "checkpoints.parquet")} == {None}
