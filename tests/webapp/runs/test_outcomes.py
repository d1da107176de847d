"""What a finished run leaves: rows and files together, once, whatever is killed in between."""

from __future__ import annotations

import hashlib

import pytest

from vad.data.manifest import Manifest, Truth, Video, save_version
from vad.errors import VadError
from webapp.datasets.models import Dataset, DatasetVersion, FeatureSet
from webapp.evaluations.models import Evaluation
from webapp.runs import outcomes
from webapp.runs.claims import Outcome, Slot
from webapp.runs.lifecycle import claiming, ending
from webapp.runs.models import Checkpoint, State

SUMMARY = {
    "videos": 2, "snippets": 8, "rows": 8, "crops": [1], "dim": 32, "dtype": "float32",
    "size_bytes": 1024, "rule": {"rule": "hold", "snippet_len": 16}, "extractor": "motion",
    "settings": {}, "fingerprint": "f" * 64,
}  # fmt: skip


def write_version(run, keys=("a", "b")) -> dict:
    folder = run.folder / "version"
    folder.mkdir(parents=True)
    videos = tuple(
        Video(key=k, split="test", label=i % 2, classes=("Fight",) * (i % 2), num_frames=64)
        for i, k in enumerate(keys)
    )
    manifest = Manifest(name="a set", format="generic", videos=videos)
    truth = {k: Truth(intervals=((0, 16),)) for k in keys[1::2]}
    return {
        "fingerprint": save_version(folder, manifest, truth),
        "counts": {"videos": len(keys)},
        "notes": ["one note"],
        "rules": {},
        "features": None,
    }


def write_features(run) -> None:
    (run.folder / "features").mkdir(parents=True)
    (run.folder / "features" / "features.json").write_text(run.name)


def finish(run, worker, result) -> State:
    claim = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    assert claim is not None
    assert claim.run_id == run.pk
    state = ending.finish(claim, Outcome(kind="succeeded", result=result))
    run.refresh_from_db()
    return state


@pytest.fixture
def register(make_run):
    return make_run(kind="register")


def test_registering_makes_a_version_with_its_videos_and_files(register, worker):
    result = write_version(register)

    assert finish(register, worker, result) == State.SUCCEEDED

    version = DatasetVersion.objects.get()
    assert (str(version), register.version) == ("a set v1", version)
    assert register.result["version"] == str(version.pk)
    assert version.notes == ["one note"]
    assert (version.folder / "manifest.json").is_file()
    assert not (register.folder / "version").exists()
    listed = version.videos.order_by("key").values_list("key", "label", "classes", "num_frames")
    assert list(listed) == [("a", 0, [], 64), ("b", 1, ["Fight"], 64)]


def test_features_that_come_with_a_data_set_are_ready(make_run, worker):
    config = {"name": "a set", "root": "/data", "features": "/data/i3d"}
    run = make_run(kind="register", config=config)
    result = write_version(run) | {"features": SUMMARY}
    write_features(run)

    finish(run, worker, result)

    made = FeatureSet.objects.get()
    assert (made.ready, made.dim, made.video_count, made.name) == (True, 32, 2, "i3d")
    assert made.version == run.version
    assert made.produced_by == run
    assert (made.folder / "features.json").is_file()
    assert run.feature_set == made


def test_another_content_under_the_same_name_is_the_next_version(make_run, worker):
    for keys in (("a", "b"), ("a", "b", "c")):
        run = make_run(kind="register")
        finish(run, worker, write_version(run, keys))

    assert list(DatasetVersion.objects.order_by("number").values_list("number", flat=True)) == [
        1,
        2,
    ]
    assert Dataset.objects.count() == 1


def test_the_same_content_again_is_refused_with_what_there_is(make_run, worker):
    first, second = make_run(kind="register"), make_run(kind="register")
    finish(first, worker, write_version(first))

    assert finish(second, worker, write_version(second)) == State.FAILED

    assert second.error["code"] == "already-registered"
    assert "a set v1" in second.error["message"]
    assert DatasetVersion.objects.count() == 1
    assert (first.version.folder / "manifest.json").is_file()


def test_the_same_content_with_features_adds_them_to_the_version(make_run, worker):
    first = make_run(kind="register")
    finish(first, worker, write_version(first))
    config = {"name": "a set", "root": "/data", "features": "/data/i3d"}
    second = make_run(kind="register", config=config)
    result = write_version(second) | {"features": SUMMARY}
    write_features(second)

    assert finish(second, worker, result) == State.SUCCEEDED

    assert FeatureSet.objects.get().version == first.version
    assert DatasetVersion.objects.count() == 1


@pytest.mark.parametrize("again", ["the child works again", "only the finish is tried again"])
def test_a_crash_after_the_rename_leaves_one_version_in_the_end(
    register, worker, monkeypatch, again
):
    """The transaction is lost after the files have moved."""
    result = write_version(register)
    claim = claiming.claim_best(worker=worker, slot=Slot("cpu"))
    monkeypatch.setattr(
        ending, "_leave", lambda *a, **k: (_ for _ in ()).throw(SystemExit("killed"))
    )
    with pytest.raises(SystemExit):
        ending.finish(claim, Outcome(kind="succeeded", result=result))
    monkeypatch.undo()
    assert not DatasetVersion.objects.exists()
    assert not (register.folder / "version").exists()

    if again == "the child works again":
        write_version(register)
    ending.finish(claim, Outcome(kind="succeeded", result=result))

    version = DatasetVersion.objects.get()
    assert (version.folder / "manifest.json").is_file()
    assert [p.name for p in version.folder.parent.iterdir()] == [str(version.pk)]


def test_a_register_run_that_wrote_nothing_leaves_nothing(register, worker):
    result = {"fingerprint": "0" * 64, "features": None}

    assert finish(register, worker, result) == State.FAILED

    assert register.error["code"] == "file-missing"
    assert not Dataset.objects.exists()


def test_an_extract_run_makes_its_feature_set_ready(make_run, version, worker):
    run = make_run(kind="extract", version=version)
    waiting = FeatureSet.objects.create(version=version, name="motion", produced_by=run)
    write_features(run)

    finish(run, worker, SUMMARY)

    waiting.refresh_from_db()
    assert waiting.ready
    assert waiting.summary == SUMMARY
    assert (waiting.folder / "features.json").read_text() == run.name


def test_a_training_without_a_checkpoint_is_no_success(make_run, worker):
    run = make_run()

    assert finish(run, worker, {}) == State.FAILED
    assert run.error["code"] == "checkpoint-invalid"


@pytest.fixture
def evaluate(make_run, version, feature_set):
    training = make_run(state=State.SUCCEEDED, version=version, feature_set=feature_set)
    Checkpoint.objects.create(run=training, step=50, path="c", sha256="a", size_bytes=1)
    run = make_run(kind="evaluate", version=version, feature_set=feature_set, of_run=training)
    run.folder.mkdir(parents=True)
    (run.folder / "scores.safetensors").write_bytes(b"scores")
    return run


def evaluation_result(**changes):
    return {
        "scores": "scores.safetensors",
        "sha256": hashlib.sha256(b"scores").hexdigest(),
        "protocol": {"tail": "hold"},
        "fingerprint": "p" * 64,
        "selection": "validation",
        "checkpoint_step": 50,
        "metrics": {"auc": 0.91, "ap_step": 0.4, "far_normal": None, "odd": "nan"},
        "intervals": {"auc": [0.88, 0.93]},
        "per_class": [{"class": "Fight", "auc": 0.8, "videos": 3}],
        "counts": {"videos": 5},
    } | changes


def test_an_evaluation_keeps_its_numbers_protocol_and_checkpoint(evaluate, worker):
    finish(evaluate, worker, evaluation_result())

    found = Evaluation.objects.get()
    assert (found.frame_auc, found.frame_ap) == (0.91, 0.4)
    assert found.metrics == {"auc": 0.91, "ap_step": 0.4, "far_normal": None, "odd": None}
    assert found.checkpoint.step == 50
    assert "per_class" not in evaluate.result, "a run's row is read by every list"
    assert (found.of_run, found.selection) == (evaluate.of_run, "validation")


def test_scores_that_changed_on_the_disk_are_refused(evaluate, worker):
    state = finish(evaluate, worker, evaluation_result(sha256="0" * 64))

    assert (state, evaluate.error["code"]) == (State.FAILED, "scores-invalid")
    assert not Evaluation.objects.exists()


def test_a_result_without_its_parts_fails_the_run_not_the_worker(evaluate, worker):
    assert finish(evaluate, worker, {"sha256": hashlib.sha256(b"scores").hexdigest()}) == (
        State.FAILED
    )
    assert evaluate.error["code"] == "unexpected"


def test_a_folder_is_replaced_only_by_a_whole_one(tmp_path):
    target = tmp_path / "place" / "x"
    target.mkdir(parents=True)
    (target / "old").touch()
    with pytest.raises(VadError):
        outcomes._take(tmp_path / "none", tmp_path / "place" / "y")
    outcomes._take(tmp_path / "none", target)
    assert (target / "old").exists()

    new = tmp_path / "new"
    new.mkdir()
    (new / "new").touch()
    outcomes._take(new, target)
    assert [p.name for p in target.iterdir()] == ["new"]
