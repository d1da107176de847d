"""The terminal does what the pages do, and says what is wrong without a trace."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection

from webapp.accounts.models import Membership, Role, User
from webapp.core import terminal
from webapp.datasets.models import Video
from webapp.runs.models import Run, State


@pytest.fixture
def admin(project) -> User:
    admin = User.objects.create_superuser("chief", password="x")
    Membership.objects.create(project=project, user=admin, role=Role.ADMIN)
    return admin


def call(*args: str) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def test_a_data_set_is_registered(admin, footage):
    (footage / "one").mkdir()

    text = call("dataset_register", "Ped 2", "ucsd_ped", str(footage / "one"),
                "--set", "snippet_rule=stretch")  # fmt: skip

    run = Run.objects.get()
    assert str(run.pk) in text
    assert (run.owner, run.config["name"], run.config["snippet_rule"]) == (
        admin, "Ped 2", "stretch",
    )  # fmt: skip


def test_a_relative_path_means_from_here(admin, footage, monkeypatch):
    (footage / "one").mkdir()
    monkeypatch.chdir(footage)

    call("dataset_register", "x", "generic", "one")

    assert Run.objects.get().config["root"] == str(footage / "one")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["x", "generic", "/etc"], "outside the folders"),
        (["x", "generic", "none"], "does not exist"),
        (["x", "avi", "."], "format"),
        (["x", "generic", ".", "--set", "odd"], "NAME=VALUE"),
        (["x", "generic", ".", "--set", "odd=1"], "no such field"),
        (["x", "generic", ".", "--user", "nobody"], "no person"),
        (["x", "generic", ".", "--project", "none"], "no project"),
    ],
)
def test_what_is_wrong_is_said_in_words(admin, args, says, footage, monkeypatch):
    monkeypatch.chdir(footage)

    with pytest.raises(CommandError, match=says):
        call("dataset_register", *args)
    assert not Run.objects.exists()


def test_a_person_may_only_do_what_they_may_do(admin, viewer, footage):
    with pytest.raises(CommandError, match="not change"):
        call("dataset_register", "x", "generic", str(footage), "--user", viewer.username)


def test_a_training_names_its_data_set_by_name(admin, feature_set, version, tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"lr": 0.01}))
    name = version.dataset.name

    call("run_submit", "train-urdmu", "--dataset", name, "--config", str(file),
         "--set", "seed=5", "--tag", "a", "--name", "mine")  # fmt: skip
    call("run_submit", "train-urdmu", "--dataset", f"{name} v1", "--features", "motion",
         "--config", '{"lr": 0.02}')  # fmt: skip
    call("run_submit", "evaluate", "--of-run", "mine")

    first, second, third = Run.objects.order_by("created_at")
    assert (first.config["lr"], first.config["seed"], first.tags) == (0.01, 5, ["a"])
    assert second.config["lr"] == 0.02
    assert third.of_run == first
    assert third.state == State.WAITING


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["train-urdmu", "--dataset", "none"], "no data set 'none'. Known: set"),
        (["train-urdmu"], "needs features"),
        (["evaluate", "--of-run", "none"], "no run"),
        (["train-urdmu", "--config", "none.json"], "cannot be read"),
        (["train-urdmu", "--config", "{bad"], "not JSON"),
        (["train-urdmu", "--set", "lr=-1"], "lr: -1.0 must be above 0"),
    ],
)
def test_a_wrong_submission_is_said_in_words(admin, version, args, says):
    with pytest.raises(CommandError, match=says):
        call("run_submit", *args)


def test_features_must_be_named_when_there_are_several(admin, version, feature_set):
    feature_set.pk = None
    feature_set.name = "i3d"
    feature_set._state.adding = True
    feature_set.save()

    with pytest.raises(CommandError, match="motion, i3d"):
        call("run_submit", "train-urdmu", "--dataset", version.dataset.name)


def test_a_pipeline_is_queued(admin, version):
    call("pipeline_submit", version.dataset.name, "--seeds", "1", "2", "--train", "num_epochs=9")

    kinds = list(Run.objects.order_by("created_at").values_list("kind", flat=True))
    assert kinds == ["extract"] + ["train-urdmu"] * 2 + ["evaluate"] * 2
    assert set(
        Run.objects.filter(kind="train-urdmu").values_list("config__num_epochs", flat=True)
    ) == {9}


def test_a_pipeline_has_stage_2_from_the_weights_of_stage_1(admin, version, feature_set):
    Video.objects.create(
        version=version, key="a", split="train", label=0, classes=[], path="a.mp4", num_frames=320,
        fps=25, width=64, height=64,
    )  # fmt: skip
    words = (version.dataset.name, "--features", str(feature_set.pk), "--no-proxies")

    with pytest.raises(CommandError, match="--stages both"):
        call("pipeline_submit", *words, "--stage2", "dropout=0.2")
    call("pipeline_submit", *words, "--stages", "both", "--stage2", "dropout=0.2")

    first, second, last = Run.objects.order_by("created_at")
    assert (first.kind, second.kind, last.of_run) == ("train-urdmu", "train-two-stage", second)
    assert second.config["pretrained_point"] == f"run:{first.pk}"
    assert second.config["dropout"] == 0.2


def test_waiting_ends_with_the_error_of_the_run(admin, make_run):
    run = make_run(state=State.FAILED, name="bad", error={
        "code": "dataset-invalid", "message": "2 problems.", "hint": "Fix.", "problems": ["p1"],
    })  # fmt: skip
    child = make_run(state=State.WAITING, parents=[run], name="child")
    grandchild = make_run(state=State.WAITING, parents=[child])
    out = io.StringIO()
    command = terminal.VadCommand(stdout=out)

    with pytest.raises(CommandError) as ended:
        command.watch([run, child, grandchild])

    text = str(ended.value)
    assert "2 problems. [dataset-invalid]" in text
    assert "  - p1" in text
    assert "child: waiting" in text


@pytest.mark.django_db(transaction=True)
def test_waiting_goes_on_until_all_has_succeeded(admin, make_run, monkeypatch):
    run = make_run(state=State.QUEUED)
    slept = threading.Event()

    def sleep(seconds: float) -> None:
        slept.set()
        Run.objects.filter(pk=run.pk).update(state=State.SUCCEEDED)

    monkeypatch.setattr(terminal.time, "sleep", sleep)
    out = io.StringIO()
    terminal.VadCommand(stdout=out).watch([run])

    assert slept.is_set()
    assert "succeeded" in out.getvalue()
    connection.close()


def test_a_command_on_a_database_that_is_not_there_ends_without_a_trace():
    args = ["run_submit", "train-urdmu", "--settings=webapp.settings.test"]
    done = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=django_settings.BASE_DIR,
        env={k: v for k, v in os.environ.items() if k != "DATABASE_URL"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr
