from __future__ import annotations

import io
import socket

import pytest
from django.core.management.base import CommandError

from webapp.core.launcher import free_port
from webapp.datasets.models import FeatureSet, Video
from webapp.demo import check, pipeline
from webapp.demo.display import Display
from webapp.runs.models import Run, State


@pytest.fixture
def version(version):
    """With a video file, as the demo's has."""
    Video.objects.create(version=version, key="a", split="train", label=0, path="a.mp4")
    return version


def test_a_second_start_queues_nothing_new(project, user, version):
    first = pipeline.models(project=project, version=version, by=user)

    again = pipeline.models(project=project, version=version, by=user)

    assert [r.pk for r in again] == [r.pk for r in first]
    assert Run.objects.count() == len(first) == 2 + 2 * len(pipeline.MODELS)


def test_what_failed_is_queued_anew_at_the_next_start(project, user, version):
    first = pipeline.models(project=project, version=version, by=user)
    Run.objects.filter(pk=first[2].pk).update(state=State.CANCELLED)

    again = pipeline.models(project=project, version=version, by=user)

    assert again[2].pk != first[2].pk
    assert again[2].name == first[2].name
    assert [r.pk for r in again[3:5]] == [r.pk for r in first[3:5]]


def test_what_waits_for_something_that_failed_is_queued_anew_with_it(project, user, version):
    first = pipeline.models(project=project, version=version, by=user)
    Run.objects.filter(pk=first[1].pk).update(state=State.FAILED)

    again = pipeline.models(project=project, version=version, by=user)

    both = next(r for r in again if r.kind == "train-two-stage")
    assert both.pk not in {r.pk for r in first}
    assert again[1] in both.parents.all()
    assert not Run.objects.filter(state=State.WAITING, parents__state=State.FAILED).exists()


def test_every_model_trains_on_the_features_that_the_first_run_extracts(project, user, version):
    runs = pipeline.models(project=project, version=version, by=user)

    features = FeatureSet.objects.get(produced_by=runs[0])
    assert {r.feature_set_id for r in runs[2:]} == {features.pk}
    waiting = [State.WAITING] * (len(runs) - 2)
    assert [r.state for r in runs] == [State.QUEUED, State.QUEUED, *waiting]


def test_the_model_of_both_stages_looks_at_the_copies_that_the_second_run_makes(
    project, user, version
):
    _, copies, *rest = pipeline.models(project=project, version=version, by=user)

    both = [r for r in rest if r.kind == "train-two-stage"]
    assert len(both) == 1
    assert copies in both[0].parents.all()


def test_the_model_of_both_stages_starts_from_a_trained_stage_1(project, user, version):
    runs = pipeline.models(project=project, version=version, by=user)

    both = next(r for r in runs if r.kind == "train-two-stage")
    assert both.config["pretrained_point"] == f"run:{runs[2].pk}"
    assert runs[2].kind == "train-urdmu"
    assert runs[2] in both.parents.all()


def test_a_taken_port_is_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert free_port(port) > port


def test_no_free_port_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setattr("socket.socket.bind", _refuse)

    with pytest.raises(CommandError, match="--port"):
        free_port(8000)


def _refuse(*args: object) -> None:
    raise OSError("taken")


def test_without_a_terminal_only_changes_of_state_are_printed(make_run):
    out = io.StringIO()
    display = Display(out)
    run = make_run(state=State.QUEUED, name="one")

    display.runs([run])
    display.runs([run])
    run.state = State.SUCCEEDED
    display.runs([run])

    lines = out.getvalue().splitlines()
    assert [line.split("s  ", 1)[1] for line in lines] == ["one: queued", "one: succeeded"]


def test_the_check_names_the_run_that_did_not_succeed(live_server, make_run, make_user):
    admin = make_user(name="boss")
    admin.is_superuser = True
    admin.save()
    run = make_run(state=State.FAILED, name="broken one")

    found = check.problems(live_server.url, admin, [run])

    assert any("broken one is failed" in text for text in found)


@pytest.mark.parametrize("path", ["/nowhere/", "/login/"])
def test_the_check_does_not_take_an_error_or_a_redirect_for_a_page(live_server, make_user, path):
    site = check.Site(live_server.url, check.session_cookie(make_user()))

    with pytest.raises(AssertionError, match=path):
        site.page(path)
