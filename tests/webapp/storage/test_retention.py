"""Which checkpoints stay, and that a removal is finished whatever kills it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from vad import results
from vad.errors import VadError
from webapp.runs import recording
from webapp.runs.claims import Claim
from webapp.runs.models import Checkpoint, Run, State
from webapp.storage import leftovers, retention, services
from webapp.storage.models import CheckpointPin, Leftover, RemovedCheckpoint

KEY = "validation/video_auc"
CURVE = {10: 0.5, 20: 0.8, 30: 0.7, 40: 0.9, 50: 0.85, 60: 0.6}


@pytest.fixture
def trained(make_run: Callable[..., Run]) -> Run:
    """A training run that has ended, with six checkpoints of 100 bytes; step 40 is the best."""
    run = make_run(state=State.SUCCEEDED)
    best = 0.0
    for step, value in CURVE.items():
        was_best = value > best
        best = max(best, value)
        add_checkpoint(run, step, {KEY: value}, was_best=was_best, best=step == 40)
    return run


def add_checkpoint(run: Run, step: int, metrics: dict[str, float], **fields: Any) -> Checkpoint:
    path = f"checkpoints/step-{step:06}.safetensors"
    (run.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run.folder / path).write_bytes(bytes(100))
    return Checkpoint.objects.create(
        run=run, step=step, path=path, sha256=f"{step:064}", size_bytes=100, metrics=metrics,
        **fields,
    )  # fmt: skip


def on_disk(run: Run) -> list[int]:
    return sorted(int(p.stem.split("-")[1]) for p in (run.folder / "checkpoints").iterdir())


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Any:
    """Run what waits for a commit, as a commit would."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.mark.parametrize(
    ("keep_best", "state", "left"),
    [
        (1, State.SUCCEEDED, [40, 60]),
        (3, State.SUCCEEDED, [20, 40, 50, 60]),
        (1, State.FAILED, [40, 50, 60]),  # may be retried: from the newest, or the one before
        (9, State.SUCCEEDED, [10, 20, 30, 40, 50, 60]),
    ],
)
def test_the_best_few_and_the_last_stay(trained, settings, commit, keep_best, state, left):
    settings.KEEP_BEST = keep_best
    Run.objects.filter(pk=trained.pk).update(state=state)

    with commit():
        freed = retention.apply(trained.pk)

    assert on_disk(trained) == left
    assert freed == 100 * (6 - len(left))
    assert [c.step for c in Checkpoint.objects.filter(run=trained, removed=None)] == left
    assert Checkpoint.objects.filter(run=trained).count() == 6  # the others say that they went
    assert not Leftover.objects.exists()


def test_without_a_selection_metric_the_newest_are_the_best(make_run, settings, commit):
    settings.KEEP_BEST = 2
    run = make_run(state=State.SUCCEEDED, config={"selection": "last"})
    for step in (1, 2, 3):
        add_checkpoint(run, step, {})

    with commit():
        retention.apply(run.pk)

    assert on_disk(run) == [2, 3]


def test_of_equal_values_the_later_one_is_better_and_nan_is_nothing(make_run, commit):
    run = make_run(state=State.SUCCEEDED)
    for step, value in ((1, 0.5), (2, 0.5), (3, float("inf")), (4, 0.1)):
        add_checkpoint(run, step, {KEY: value} if value < 1 else {KEY: "inf"})

    with commit():
        retention.apply(run.pk)

    assert on_disk(run) == [2, 4]


def test_pinned_evaluated_and_started_from_stay(trained, make_run, user, commit):
    services.checkpoint_pin(run=trained, step=10, by=user)
    make_run(kind="evaluate", state=State.SUCCEEDED, of_run=trained, result={"checkpoint_step": 20})
    make_run(
        state=State.FAILED,
        config={"pretrained_point": f"run:{trained.pk}"},
        environment={"start_sha256": f"{30:064}"},
    )

    with commit():
        retention.apply(trained.pk)

    assert on_disk(trained) == [10, 20, 30, 40, 60]
    why = retention.holdings([trained])[0].reasons()
    assert why[10] == ["pinned"]
    assert why[20] == ["evaluated"]
    assert why[30] == ["a training started from it"]


@pytest.mark.parametrize(
    "user_of",
    [
        {"kind": "evaluate", "state": State.STARTING},
        {"kind": "evaluate", "state": State.QUEUED, "started_at": timezone.now()},  # was lost once
        {"kind": "train-urdmu", "state": State.RUNNING},
    ],
)
def test_nothing_is_taken_from_under_a_run_that_reads(trained, make_run, commit, user_of):
    if user_of["kind"] == "evaluate":
        user_of = {**user_of, "of_run": trained}
    else:
        user_of = {**user_of, "config": {"pretrained_point": f"run:{trained.pk}"}}
    make_run(**user_of)

    with commit():
        retention.apply(trained.pk)

    assert on_disk(trained) == sorted(CURVE)


def test_an_unpinned_checkpoint_goes_and_cannot_be_pinned_again(trained, user, commit):
    services.checkpoint_pin(run=trained, step=10, by=user)
    with commit():
        services.checkpoint_unpin(run=trained, step=10, by=user)
    with commit():
        retention.apply(trained.pk)

    assert on_disk(trained) == [40, 60]
    with pytest.raises(VadError, match=r"step 10 .* is gone"):
        services.checkpoint_pin(run=trained, step=10, by=user)
    assert not CheckpointPin.objects.exists()


def test_the_rule_of_a_project_is_applied_at_once_to_it_alone(
    trained, make_run, stranger, project, user, commit, settings
):
    settings.KEEP_BEST = 9
    elsewhere = make_run(state=State.SUCCEEDED, project=stranger.membership_set.get().project)
    for step in (1, 2, 3):
        add_checkpoint(elsewhere, step, {KEY: step / 10})

    with commit():
        services.rule_set(project=project, keep_best=2, by=user)
    with commit():
        retention.tidy()

    assert on_disk(trained) == [40, 50, 60]
    assert on_disk(elsewhere) == [1, 2, 3]
    for wrong in (0, -1, retention.MOST_KEPT + 1):
        with pytest.raises(VadError, match="is not from 1"):
            services.rule_set(project=project, keep_best=wrong, by=user)


def test_a_viewer_neither_pins_nor_rules(trained, viewer, project):
    with pytest.raises(VadError, match="not change it"):
        services.checkpoint_pin(run=trained, step=40, by=viewer)
    with pytest.raises(VadError, match="not change it"):
        services.rule_set(project=project, keep_best=2, by=viewer)


# --- kills and races ------------------------------------------------------------------------


def test_a_removal_that_was_killed_after_the_commit_is_finished_by_the_next(trained):
    retention.apply(trained.pk)  # no callback of the commit runs: as if killed there

    assert on_disk(trained) == sorted(CURVE)
    assert Leftover.objects.count() == 4
    assert sorted(RemovedCheckpoint.objects.values_list("checkpoint__step", flat=True)) == [
        10, 20, 30, 50,
    ]  # fmt: skip

    assert leftovers.clear() == 4
    assert on_disk(trained) == [40, 60]
    assert leftovers.clear() == 0


def test_a_checkpoint_written_anew_is_not_removed_for_its_predecessor(make_run, worker, commit):
    run = make_run(state=State.RUNNING, worker=worker)
    claim = Claim(id=run.claim, run_id=run.pk, attempt=1)
    old = add_checkpoint(run, 10, {KEY: 0.1})
    RemovedCheckpoint.objects.create(checkpoint=old)
    leftovers.let_go([run.folder / old.path])
    record = results.CheckpointWritten(
        step=10, path=old.path, sha256="a" * 64, size_bytes=100, best=True, metrics={KEY: 0.1}
    )

    with commit():
        recording.record_batch(claim, [record])
    leftovers.clear()

    assert on_disk(run) == [10]
    assert not RemovedCheckpoint.objects.exists()


def test_a_file_that_is_younger_than_the_note_stays(trained):
    path = trained.folder / "checkpoints/step-000010.safetensors"
    leftovers.let_go([path])
    later = timezone.now().timestamp() + 60
    os.utime(path, (later, later))

    leftovers.clear()

    assert path.is_file()


@pytest.mark.parametrize("path", ["../out", "runs/../secret_key", "secret_key", "runs/."])
def test_nothing_beside_the_folders_of_artifacts_is_ever_removed(data_dir, db, path):
    kept = data_dir / ("runs/precious" if path == "runs/." else path)
    (data_dir / "runs").mkdir()
    kept.write_text("precious")
    Leftover.objects.create(path=path)

    leftovers.clear()

    assert kept.read_text() == "precious"


def test_a_recorded_checkpoint_applies_the_rule_but_keeps_what_a_resume_needs(
    make_run, worker, commit
):
    run = make_run(state=State.RUNNING, worker=worker)
    claim = Claim(id=run.claim, run_id=run.pk, attempt=1)
    for step, value, best in ((1, 0.5, True), (2, 0.9, True), (3, 0.7, False), (4, 0.6, False)):
        add_checkpoint(run, step, {}).delete()  # the file, as the child wrote it
        with commit():
            recording.record_batch(
                claim,
                [
                    results.CheckpointWritten(
                        step=step, path=f"checkpoints/step-{step:06}.safetensors", sha256="b" * 64,
                        size_bytes=100, best=best, metrics={KEY: value},
                    )
                ],
            )  # fmt: skip

    assert on_disk(run) == [2, 3, 4]
    assert recording.checkpoint_for(run.pk, "best").step == 2


# --- page and API ---------------------------------------------------------------------------


def test_pin_and_unpin_on_the_page_and_over_http(trained, client: Client, commit):
    page = f"/runs/{trained.pk}/?tab=checkpoints"
    post = f"/runs/{trained.pk}/checkpoints/20/pin/"
    with commit():
        retention.apply(trained.pk)

    shown = client.get(page).content.decode()
    assert shown.count("removed by rule") == 4
    assert client.post(post, {"action": "pin"}).status_code == 422
    assert client.post(post.replace("/20/", "/40/"), {"action": "pin"}).status_code == 302
    assert "Unpin step 40" in client.get(page).content.decode()

    api = f"/api/v1/runs/{trained.pk}/checkpoints/"
    rows = {row["step"]: row for row in client.get(api).json()["results"]}
    assert rows[40]["why"] == ["best", "pinned"] and rows[40]["file"]
    assert rows[20]["removed_at"] and rows[20]["file"] is None and rows[20]["why"] == []
    assert client.delete(f"{api}40/pin/").status_code == 204
    assert client.post(f"{api}41/pin/").status_code == 404
    assert not CheckpointPin.objects.exists()


def test_who_looks_at_many_runs_asks_a_handful_of_queries(
    trained, make_run, django_assert_max_num_queries
):
    for _ in range(5):
        run = make_run(state=State.SUCCEEDED)
        for step in (1, 2, 3):
            add_checkpoint(run, step, {KEY: step / 10})

    with django_assert_max_num_queries(7):
        assert len(retention.with_too_many()) == 6
