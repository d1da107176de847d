"""Runs of both stages: what they need, wait for and are told."""

from __future__ import annotations

import pytest

from vad.configs import ProxiesConfig, TwoStageConfig, UrdmuConfig
from vad.errors import ConfigError, VadError
from webapp.datasets.models import Video
from webapp.runs import needs, outcomes, pipelines, services
from webapp.runs.models import Checkpoint, State


@pytest.fixture
def filmed(version):
    """A version with a video file."""
    Video.objects.create(version=version, key="a", split="train", label=0, path="a.mp4")
    return version


def test_both_stages_need_videos(project, user, feature_set):
    with pytest.raises(VadError) as refused:
        services.run_create(
            project=project, config=TwoStageConfig(), by=user, feature_set=feature_set
        )

    assert refused.value.code == "run-inputs-missing"
    assert "no video files" in refused.value.message


def test_proxies_are_made_once_and_waited_for(project, user, filmed, feature_set):
    def queue():
        return pipelines.pipeline_create(
            project=project, by=user, train=TwoStageConfig(), proxies=ProxiesConfig(),
            feature_set=feature_set,
        )  # fmt: skip

    first, second = queue(), queue()

    assert first.proxies is not None
    assert second.proxies is None
    for made in (first, second):
        assert first.proxies in made.trainings[0].parents.all()
        assert made.trainings[0].state == State.WAITING
    assert [r.kind for r in first.runs] == ["proxies", "train-two-stage", "evaluate"]


@pytest.mark.parametrize(
    ("asked", "made"), [((128, 128), [64, 96]), ((32, 32), [32, 32]), ((0, 0), [0, 0])]
)
def test_proxies_have_copies_of_the_size_of_the_trainings_clips(
    project, user, filmed, feature_set, asked, made
):
    pipeline = pipelines.pipeline_create(
        project=project, by=user, train=UrdmuConfig(), stage2=TwoStageConfig(resize=(64, 96)),
        proxies=ProxiesConfig(clip_size=asked), feature_set=feature_set,
    )  # fmt: skip

    assert pipeline.proxies is not None
    assert pipeline.proxies.config["clip_size"] == made


def test_stage_1_alone_makes_no_proxies(project, user, filmed, feature_set):
    made = pipelines.pipeline_create(
        project=project, by=user, train=UrdmuConfig(), proxies=ProxiesConfig(),
        feature_set=feature_set,
    )  # fmt: skip

    assert made.proxies is None
    assert not made.trainings[0].parents.exists()


def test_failed_proxies_are_no_proxies(filmed, make_run):
    make_run(kind="proxies", state=State.FAILED, version=filmed)
    good = make_run(kind="proxies", state=State.SUCCEEDED, version=filmed)
    make_run(kind="proxies", state=State.CANCELLED, version=filmed)

    assert needs.proxies_of(filmed) == [good]


def test_a_training_waits_for_the_run_that_it_starts_from(
    project, user, filmed, feature_set, make_run
):
    stage1 = make_run(state=State.QUEUED, feature_set=feature_set)
    config = TwoStageConfig(pretrained_point=f"run:{stage1.pk}", stage1="frozen")
    run = services.run_create(project=project, config=config, by=user, feature_set=feature_set)

    assert run.state == State.WAITING
    assert list(run.parents.all()) == [stage1]


@pytest.mark.parametrize("text", ["run:7", "run:00000000-0000-0000-0000-000000000000", "../x"])
def test_a_start_that_is_no_run_of_the_project_is_refused(project, user, feature_set, text):
    config = UrdmuConfig(pretrained_point=text)

    with pytest.raises(ConfigError) as refused:
        services.run_create(project=project, config=config, by=user, feature_set=feature_set)
    assert "pretrained_point" in refused.value.fields


def test_image_weights_are_named_by_a_bare_file_name(project, user, filmed, feature_set):
    config = TwoStageConfig(encoder_point="../vit.pth")

    with pytest.raises(ConfigError) as refused:
        services.run_create(project=project, config=config, by=user, feature_set=feature_set)
    assert "bare name" in refused.value.fields["encoder_point"]


def test_a_run_without_a_checkpoint_is_no_start(project, user, feature_set, make_run):
    ended = make_run(state=State.FAILED, name="broken one")
    config = UrdmuConfig(pretrained_point=f"run:{ended.pk}")

    with pytest.raises(ConfigError, match="broken one"):
        services.run_create(project=project, config=config, by=user, feature_set=feature_set)


def test_a_run_with_a_checkpoint_is_a_start_at_once(project, user, feature_set, make_run):
    ended = make_run(state=State.SUCCEEDED)
    Checkpoint.objects.create(run=ended, step=1, path="x", sha256="0", size_bytes=1)
    config = UrdmuConfig(pretrained_point=f"run:{ended.pk}")
    run = services.run_create(project=project, config=config, by=user, feature_set=feature_set)

    assert run.state == State.QUEUED


def test_proxies_succeed_without_a_checkpoint(filmed, make_run):
    run = make_run(kind="proxies", state=State.RUNNING, version=filmed)

    assert outcomes.record(run, {"videos": 1}) == {"videos": 1}


def test_the_form_queues_both_stages_with_their_copies(client, filmed, feature_set):
    page = client.get("/runs/new/", {"kind": "train-two-stage"})
    assert "Build small copies" in page.text
    answer = client.post(
        "/runs/new/",
        {"kind": "train-two-stage", "inputs": f"features:{feature_set.pk}", "copies": "yes",
         "clip_view": "energy", "view_cell": "16", "seeds": "4"},
    )  # fmt: skip

    assert answer.status_code == 302
    runs = feature_set.version.runs.order_by("created_at")
    assert [r.kind for r in runs] == ["proxies", "train-two-stage"]
    assert runs[1].config["view_cell"] == 16


def test_the_form_says_at_the_field_what_does_not_divide(client, filmed, feature_set):
    answer = client.post(
        "/runs/new/",
        {"kind": "train-two-stage", "inputs": f"features:{feature_set.pk}", "resize": "120 100"},
    )

    assert answer.status_code == 422
    assert "120 pixels cannot be cut" in answer.text or "100 pixels cannot be cut" in answer.text


def test_the_page_names_the_videos_that_a_run_did_without(client, make_run):
    left = {f"clip-{i}": f"clip-{i} is no video file." for i in range(7)}
    run = make_run(state=State.SUCCEEDED, result={"left_out": left, "damaged": {}})

    text = client.get(f"/runs/{run.pk}/").text
    assert "7 videos: clip-0, clip-1, clip-2, clip-3, clip-4, …" in text
    assert "clip-0 is no video file." in text
    assert "Damaged" not in text
