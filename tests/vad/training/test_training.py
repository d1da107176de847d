from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest_training import DIM, SETTINGS, Recorder, World, make_world, run

from vad import results
from vad.configs import UrdmuConfig
from vad.data.manifest import Manifest, load_manifest, save_version
from vad.errors import VadError
from vad.training import checkpoints, urdmu
from vad.training.urdmu import split_videos


def weights(output: Path, step: int = SETTINGS["num_epochs"]) -> str:
    """Digest of weights and optimiser state after a step."""
    return checkpoints.read_metadata(output / checkpoints.name_of(step))["digest"]


@pytest.mark.long
def test_training_finds_the_abnormal_snippets(world: World, tmp_path: Path) -> None:
    recorder = run(
        world, tmp_path, num_epochs=40, batch_size=6, eval_every=20, checkpoint_every=100, lr=3e-4
    )
    data = recorder.of(results.Result)[0].data

    assert data["metrics"]["test/frame_auc"] > 0.9
    assert data["selection"] == "validation"


def test_every_step_is_reported_once_with_all_terms(whole: tuple[Path, Recorder]) -> None:
    _, recorder = whole
    found = recorder.losses()
    terms = {"total", "att_loss", "A_loss", "N_Aatt", "N_loss", "A_Nloss", "triplet"}
    terms |= {"kl_loss", "distance"}

    assert list(found) == [1, 2, 3, 4, 5, 6]
    assert all({f"loss/{t}" for t in terms} <= set(values) for values in found.values())
    evaluated = [step for step, values in found.items() if "test/frame_auc" in values]
    assert evaluated == [3, 6]
    assert {"validation/video_auc", "test/frame_ap"} <= set(found[6])


def test_the_result_names_checkpoints_that_are_there(whole: tuple[Path, Recorder]) -> None:
    output, recorder = whole
    data = recorder.of(results.Result)[0].data

    for part in (data["best"], data["last"]):
        assert checkpoints.file_record(output, part["step"]).sha256 == part["sha256"]
    assert data["last"]["step"] == 6
    assert data["videos"] == {
        "train_normal": 6,
        "train_abnormal": 6,
        "validation_normal": 2,
        "validation_abnormal": 2,
        "test": 6,
    }


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_stopped_run_goes_on_as_if_nothing_happened(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path, stop_after: int
) -> None:
    first = run(world, tmp_path, stop_after=stop_after)
    assert first.records[-1] == results.Stopped(step=stop_after)
    second = run(world, tmp_path)

    start = second.of(results.Started)[0].resumed_step
    kept = {step: values for step, values in first.losses().items() if step <= start}
    assert kept | second.losses() == whole[1].losses()
    assert weights(tmp_path) == weights(whole[0])


def test_a_finished_run_only_repeats_its_result(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    again = run(world, tmp_path)

    assert again.of(results.Result) == whole[1].of(results.Result)
    # those that are there, for a listener that forgot all after the resumed step; no new ones
    written = {c.sha256 for c in whole[1].of(results.CheckpointWritten)}
    assert {c.sha256 for c in again.of(results.CheckpointWritten)} <= written


def test_a_damaged_checkpoint_is_passed_over(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    run(world, tmp_path, stop_after=5)
    path = tmp_path / checkpoints.name_of(5)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    second = run(world, tmp_path)

    warnings = [r.message for r in second.of(results.Log) if r.level == "warning"]
    assert any("step-000005" in text and "digest" in text for text in warnings)
    assert any("goes on after step 4" in r.message for r in second.of(results.Log))
    assert weights(tmp_path) == weights(whole[0])


def test_a_full_disk_ends_the_run_and_harms_no_checkpoint(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world, tmp_path, stop_after=2)
    before = weights(tmp_path, 2)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(VadError) as caught:
            run(world, tmp_path)
    assert caught.value.code == "disk-full"
    assert weights(tmp_path, 2) == before
    assert not list((tmp_path / "checkpoints").glob(".*"))

    run(world, tmp_path)
    assert weights(tmp_path) == weights(whole[0])


def test_a_loss_that_is_not_finite_names_the_step(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = urdmu.UrdmuTask.losses

    def losses(self, step, generator):
        found = real(self, step, generator)
        if step == 4:
            found["triplet"] = found["triplet"] * float("nan")
            found["total"] = found["total"] + found["triplet"]
        return found

    monkeypatch.setattr(urdmu.UrdmuTask, "losses", losses)
    with pytest.raises(VadError, match=r"triplet.* at step 4") as caught:
        run(world, tmp_path)
    assert caught.value.code == "loss-not-finite"
    assert checkpoints.newest(tmp_path, lambda *_: None).step == 3


def test_a_gradient_that_is_not_finite_names_step_and_parameter(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = urdmu.UrdmuTask.losses

    def losses(self, step, generator):
        found = real(self, step, generator)
        # finite, with an infinite slope at zero
        found["total"] = found["total"] + (self.model.cls_head.mlp[2].bias * 0).sqrt().sum()
        return found

    monkeypatch.setattr(urdmu.UrdmuTask, "losses", losses)
    with pytest.raises(VadError, match=r"gradient of cls_head\.mlp\.2\.bias .* at step 1"):
        run(world, tmp_path)


def test_temporal_truth_of_training_videos_plays_no_part(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    (data / "truth-train.json").write_bytes(b"\xff no json \x00")
    opened: list[str] = []
    real = Path.open

    def noted(self: Path, *args, **kwargs):
        opened.append(self.name)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", noted)
    run(World(data, world.features), tmp_path / "corrupt")
    (data / "truth-train.json").unlink()
    run(World(data, world.features), tmp_path / "missing")

    assert weights(tmp_path / "corrupt") == weights(tmp_path / "missing") == weights(whole[0])
    assert "truth-test.json" in opened  # the net does catch such a file
    assert "truth-train.json" not in opened


def test_a_run_folder_of_another_run_is_refused(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    with pytest.raises(VadError, match=r"lr: 0.0001, now 0.01") as caught:
        run(world, tmp_path, lr=0.01)
    assert caught.value.code == "checkpoint-invalid"


def test_a_finished_run_can_be_made_longer(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    run(world, tmp_path, num_epochs=8)
    run(world, tmp_path / "at once", num_epochs=8)

    assert weights(tmp_path, 8) == weights(tmp_path / "at once", 8)


def test_kept_are_the_newest_the_one_before_and_the_best_of_each(
    whole: tuple[Path, Recorder],
) -> None:
    output, recorder = whole
    files = {p.name for p in (output / "checkpoints").iterdir()}
    best = recorder.of(results.Result)[0].data["best"]["step"]

    # step 3 was the best of the evaluations that step 4 knew of
    assert files == {f"step-{s:06d}.safetensors" for s in (3, 4, 6, best)}


def test_crops_are_items_of_their_own_and_averaged_when_scoring(tmp_path: Path) -> None:
    world = make_world(tmp_path / "crops", crops=3)
    recorder = run(world, tmp_path / "run", num_epochs=2)

    assert recorder.of(results.Result)


@pytest.mark.parametrize("selection", ["last", "test"])
def test_the_checkpoint_is_chosen_by_the_rule(world: World, tmp_path: Path, selection: str) -> None:
    recorder = run(world, tmp_path, selection=selection, validation_share=0.0)
    data = recorder.of(results.Result)[0].data
    curve = {s: v.get("test/frame_auc", -1) for s, v in recorder.losses().items()}

    best = max(curve, key=lambda step: (curve[step], step)) if selection == "test" else 6
    assert data["best"]["step"] == best
    assert data["selection"] == selection


def test_a_label_without_videos_is_refused(tmp_path: Path, world: World) -> None:
    manifest = load_manifest(world.data)
    normal = tuple(v for v in manifest.videos if v.split == "test" or v.label == 0)
    data = tmp_path / "data"
    data.mkdir()
    save_version(data, Manifest(name="calm", format="generic", videos=normal), {})
    with pytest.raises(VadError, match="calm has 0 abnormal training videos") as caught:
        run(World(data, world.features), tmp_path / "run")
    assert caught.value.code == "too-few-videos"


def test_validation_takes_a_share_of_each_label_by_the_seed_alone(world: World) -> None:
    videos = load_manifest(world.data).split("train")
    first = split_videos(videos, share=0.25, seed=1, name="tiny")
    shuffled = split_videos(videos[::-1], share=0.25, seed=1, name="tiny")
    other = split_videos(videos, share=0.25, seed=2, name="tiny")

    assert first == shuffled
    assert [v.label for v in first.validation] == [0, 0, 1, 1]
    assert first.validation != other.validation
    keys = {v.key for v in first.validation}
    assert not keys & {*first.normal, *first.abnormal}
    assert len(keys) + len(first.normal) + len(first.abnormal) == len(videos)


def test_videos_without_features_are_named_and_left_out(tmp_path: Path, world: World) -> None:
    manifest = load_manifest(world.data)
    extra = dataclasses.replace(manifest.videos[0], key="never-extracted")
    data = tmp_path / "data"
    data.mkdir()
    save_version(data, dataclasses.replace(manifest, videos=(*manifest.videos, extra)), {})
    recorder = run(World(data, world.features), tmp_path / "run", num_epochs=1)
    texts = [r.message for r in recorder.of(results.Log)]

    assert any("never-extracted" in text for text in texts)


def test_rows_are_read_alike_from_memory_and_from_the_memory_map(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urdmu, "HELD_IN_MEMORY_BYTES", 0)
    run(world, tmp_path)

    assert weights(tmp_path) == weights(whole[0])


def test_training_leaves_the_random_state_of_its_caller_alone(world: World, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    run(world, tmp_path, num_epochs=1)

    assert torch.equal(torch.get_rng_state(), state)


def test_a_missing_gpu_is_named(world: World, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(VadError, match="GPU") as caught:
        run(world, tmp_path, device="cuda")
    assert caught.value.code == "device-missing"


def test_the_width_of_the_features_is_that_of_the_network(whole: tuple[Path, Recorder]) -> None:
    found = checkpoints.read(whole[0] / checkpoints.name_of(6))

    assert found.metadata["architecture"]["feature_dim"] == DIM
    assert found.metadata["config"] == UrdmuConfig(**SETTINGS).to_dict()


def test_with_keep_all_every_checkpoint_stays_and_is_told_again_after_a_resume(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    first = run(world, tmp_path, stop_after=4, keep_all=True)
    second = run(world, tmp_path, keep_all=True)
    told = {r.step: r for r in [*first.of(results.CheckpointWritten)]}
    again = {r.step: r for r in [*second.of(results.CheckpointWritten)]}

    assert [p.name for p in sorted((tmp_path / "checkpoints").iterdir())] == [
        f"step-{s:06d}.safetensors" for s in sorted(again)
    ]
    assert {s: again[s] for s in told} == told
    assert weights(tmp_path) == weights(whole[0])


def test_a_checkpoint_says_what_was_measured_at_it(whole: tuple[Path, Recorder]) -> None:
    curve = whole[1].losses()

    for record in whole[1].of(results.CheckpointWritten):
        expected = {k: v for k, v in curve[record.step].items() if not k.startswith("loss/")}
        assert record.metrics == expected
