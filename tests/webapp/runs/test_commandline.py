"""A run as commands: typed again, they make the same run."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from django.core.management import call_command

from vad import cli, options
from vad.configs import config_class
from webapp.runs import commandline
from webapp.runs.models import Checkpoint, Run

CONFIG = {"lr": 3e-4, "seed": 7, "selection": "test", "dropout": 0.25}


def words(command: str) -> list[str]:
    return shlex.split(command.replace("\\\n", " "))


@pytest.fixture
def run(make_run: Any, feature_set: Any) -> Run:
    found = make_run(
        config=CONFIG, feature_set=feature_set, version=feature_set.version, name="it's one"
    )
    found.folder.mkdir(parents=True)
    return found


def test_the_command_of_the_server_queues_the_same_run(run: Run, user: Any) -> None:
    given = words(commandline.submit_command(run))

    assert given[:3] == ["python", "manage.py", "run_submit"]
    call_command(*given[2:], "--user", user.username)

    again = Run.objects.exclude(pk=run.pk).get()
    assert again.config == run.config
    assert (again.kind, again.feature_set, again.project) == (
        run.kind,
        run.feature_set,
        run.project,
    )


def test_the_command_by_hand_is_read_as_the_same_configuration(run: Run) -> None:
    given = words(commandline.vad_command(run))

    assert given[:5] == ["python", "-m", "vad", "train", "urdmu"]
    args = cli._parser(given[3:]).parse_args(given[3:])
    assert options.read(args, config_class(run.kind)).to_dict() == run.config
    assert args.manifest == run.version.folder
    assert args.features == run.feature_set.folder


def test_an_evaluation_names_the_file_that_it_scores(run: Run, make_run: Any) -> None:
    path = "checkpoints/step-000100.safetensors"
    (run.folder / "checkpoints").mkdir()
    (run.folder / path).write_bytes(b"-")
    Checkpoint.objects.create(run=run, step=100, path=path, sha256="0", size_bytes=1)
    evaluate = make_run(
        kind="evaluate", of_run=run, feature_set=run.feature_set, version=run.version,
        config={"checkpoint": "last", "tail": "cut"},
    )  # fmt: skip

    given = words(commandline.vad_command(evaluate))

    args = cli._parser(given[3:]).parse_args(given[3:])
    assert args.checkpoint_file == run.folder / path
    assert options.read(args, config_class("evaluate")).tail == "cut"
    queued = words(commandline.submit_command(evaluate))
    assert queued[queued.index("--of-run") + 1] == str(run.pk)
    assert "checkpoint=last" in queued


def test_what_cannot_be_done_again_says_why(run: Run) -> None:
    run.feature_set.ready = False

    by_hand = commandline.recipes(run)[1]

    assert by_hand.command == ""
    assert "no features that are ready" in by_hand.problem
