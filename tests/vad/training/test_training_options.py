"""Options of a training run: where it starts, how its rate changes, in what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest_training import DIM, Recorder, World, run

from vad import results
from vad.data.features import FeatureStore
from vad.data.manifest import load_manifest, load_truth
from vad.errors import ConfigError, VadError
from vad.evaluation.scores import ScoreSet
from vad.evaluation.sweep import Sweep
from vad.loading import load_model
from vad.models.urdmu import UrDmu
from vad.scoring import score_videos
from vad.training import checkpoints

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def weights(output: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoints.read(output / checkpoints.name_of(step)).part(checkpoints.MODEL)


def totals(recorder: Recorder) -> list[float]:
    return [values["loss/total"] for values in recorder.losses().values()]


def published(path: Path, dim: int = DIM) -> UrDmu:
    """A checkpoint file as UR-DMU's authors save theirs; the network in it."""
    torch.manual_seed(11)
    model = UrDmu(dim)
    torch.save(model.state_dict(), path)
    return model


def test_a_factor_of_zero_leaves_the_weights_as_they_were(world: World, tmp_path: Path) -> None:
    run(world, tmp_path, num_epochs=2, checkpoint_every=1, lr_schedule="1:0 2:1")

    first, second = weights(tmp_path, 1), weights(tmp_path, 2)
    run(world, tmp_path / "other", num_epochs=1, checkpoint_every=1, lr_schedule="1:0 2:1")
    untrained = published(tmp_path / "x.pkl").state_dict().keys()

    assert first.keys() == untrained
    assert any(not torch.equal(first[k], second[k]) for k in first)
    assert all(torch.equal(first[k], v) for k, v in weights(tmp_path / "other", 1).items())


def test_a_run_with_a_schedule_resumes_to_the_bit(world: World, tmp_path: Path) -> None:
    schedule = "0:0.1 3:1 6:0.2"
    run(world, tmp_path / "whole", lr_schedule=schedule)
    run(world, tmp_path / "cut", lr_schedule=schedule, stop_after=3)
    run(world, tmp_path / "cut", lr_schedule=schedule)

    whole, cut = weights(tmp_path / "whole", 6), weights(tmp_path / "cut", 6)
    assert all(torch.equal(whole[k], cut[k]) for k in whole)


def test_the_kept_weights_are_the_average_over_the_steps(world: World, tmp_path: Path) -> None:
    steps = []
    for step in range(1, 4):  # a run removes older checkpoints, so each is made anew
        run(world, tmp_path / f"to-{step}", num_epochs=step, selection="last")
        steps.append(weights(tmp_path / f"to-{step}", step))
    run(world, tmp_path / "untrained", num_epochs=1, lr_schedule="1:0 2:1")
    expected = {k: v.double() for k, v in weights(tmp_path / "untrained", 1).items()}
    for step, held in enumerate(steps, start=1):
        decay = min(0.3, step / (step + 9))
        expected = {k: decay * v + (1 - decay) * held[k] for k, v in expected.items()}

    recorder = run(world, tmp_path / "mean", num_epochs=3, ema_decay=0.3, selection="last")
    found = checkpoints.read(tmp_path / "mean" / checkpoints.name_of(3))
    for name, value in found.part(checkpoints.MODEL).items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    trained = found.part(checkpoints.TRAINED)
    assert all(torch.equal(trained[k], v) for k, v in steps[-1].items())
    assert recorder.losses()[3]["test/frame_auc"] == frame_auc(world, found.path)


def frame_auc(world: World, checkpoint: Path) -> float | None:
    """Of the test split, by the weights that a checkpoint gives to whoever loads it."""
    cpu = torch.device("cpu")
    store = FeatureStore.open(world.features)
    videos = load_manifest(world.data).split("test")
    model, _ = load_model(checkpoint, cpu)
    scores = dict(score_videos(model, store, [v.key for v in videos], cpu))
    truth = load_truth(world.data, "test")
    return Sweep.of(ScoreSet.build(scores, videos=videos, truth=truth, rule=store.rule)).auc()


def test_an_averaged_run_resumes_to_the_bit(world: World, tmp_path: Path) -> None:
    run(world, tmp_path / "whole", ema_decay=0.9)
    run(world, tmp_path / "cut", ema_decay=0.9, stop_after=3)
    run(world, tmp_path / "cut", ema_decay=0.9)

    whole, cut = (
        checkpoints.read(tmp_path / name / checkpoints.name_of(6)).tensors
        for name in ("whole", "cut")
    )
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[k], cut[k]) for k in whole)


def test_a_setting_younger_than_the_checkpoint_counts_as_its_default(
    world: World, tmp_path: Path
) -> None:
    run(world, tmp_path, stop_after=3)
    path = tmp_path / checkpoints.name_of(3)
    found = checkpoints.read(path)
    metadata = {k: v for k, v in found.metadata.items() if k not in ("digest", "version", "step")}
    del metadata["config"]["ema_decay"]
    checkpoints.save(tmp_path, 3, found.tensors, metadata)

    with pytest.raises(VadError, match=r"ema_decay: 0\.0, now 0\.9"):
        run(world, tmp_path, ema_decay=0.9)
    assert run(world, tmp_path).of(results.Started)[0].total == 6


def test_a_run_starts_from_a_published_checkpoint(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADLAB_WEIGHTS_DIR", str(tmp_path))
    model = published(tmp_path / "ucf_trans_2022.pkl")
    settings: dict[str, Any] = {"num_epochs": 1, "lr_schedule": "1:0 2:1"}

    recorder = run(world, tmp_path / "a", pretrained_point="ucf_trans_2022.pkl", **settings)

    found = weights(tmp_path / "a", 1)
    assert all(torch.equal(found[k], v) for k, v in model.state_dict().items())
    assert any("SHA-256" in r.message for r in recorder.of(results.Log))


def test_a_run_starts_from_a_checkpoint_of_ours_by_its_path(world: World, tmp_path: Path) -> None:
    run(world, tmp_path / "a")
    start = tmp_path / "a" / checkpoints.name_of(6)

    run(world, tmp_path / "b", num_epochs=1, lr_schedule="1:0 2:1", pretrained_point=str(start))

    found = weights(tmp_path / "b", 1)
    assert all(torch.equal(found[k], v) for k, v in weights(tmp_path / "a", 6).items())


def test_weights_of_another_feature_size_are_refused_by_name(world: World, tmp_path: Path) -> None:
    published(tmp_path / "wide.pkl", dim=DIM + 1)

    with pytest.raises(VadError, match=r"wide\.pkl .*embedding") as caught:
        run(world, tmp_path / "a", pretrained_point=str(tmp_path / "wide.pkl"))
    assert caught.value.code == "checkpoint-invalid"


def test_missing_weights_are_named_with_where_to_put_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VADLAB_WEIGHTS_DIR", str(tmp_path))

    with pytest.raises(VadError, match=r"needs gone\.pkl") as caught:
        run(world, tmp_path / "a", pretrained_point="gone.pkl")
    assert str(tmp_path / "gone.pkl") in caught.value.hint


def test_a_run_does_not_go_on_from_another_start(world: World, tmp_path: Path) -> None:
    published(tmp_path / "start.pkl")
    run(world, tmp_path / "a", stop_after=2)

    with pytest.raises(VadError, match="another run"):
        run(world, tmp_path / "a", pretrained_point=str(tmp_path / "start.pkl"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_reduced_precision_without_a_gpu_is_refused(
    world: World, tmp_path: Path, precision: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run(world, tmp_path, precision=precision, device="auto")
    assert "needs a GPU" in caught.value.fields["precision"]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [({}, 1e-4), ({"precision": "tf32"}, 1e-2), ({"precision": "bfloat16"}, 5e-2)],
)
def test_a_gpu_computes_the_loss_of_the_cpu(
    world: World, tmp_path: Path, settings: dict[str, str], tolerance: float
) -> None:
    """Without dropout, and with the noise of the first step the same size: other generators."""
    fixed: dict[str, Any] = {"num_epochs": 1, "dropout": 0.0, "kl_weight": 0.0}
    on_cpu = run(world, tmp_path / "cpu", device="cpu", **fixed).losses()[1]
    on_gpu = run(world, tmp_path / "gpu", device="cuda", **fixed, **settings).losses()[1]

    for term in ("A_loss", "N_loss", "A_Nloss", "N_Aatt", "triplet", "kl_loss"):
        key = f"loss/{term}"
        assert on_gpu[key] == pytest.approx(on_cpu[key], rel=tolerance, abs=tolerance)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_on_a_gpu_resumes_with_the_same_losses(
    world: World, tmp_path: Path, precision: str
) -> None:
    settings: dict[str, Any] = {"device": "cuda", "precision": precision}
    whole = run(world, tmp_path / "whole", **settings)
    first = run(world, tmp_path / "cut", stop_after=3, **settings)
    second = run(world, tmp_path / "cut", **settings)

    assert totals(first) == pytest.approx(totals(whole)[:3], rel=1e-3)
    assert totals(second)[-3:] == pytest.approx(totals(whole)[-3:], rel=1e-3)


@pytest.mark.gpu
@needs_gpu
def test_a_compiled_network_learns_the_same(world: World, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"device": "cuda", "dropout": 0.0}
    plain = run(world, tmp_path / "plain", **settings)
    compiled = run(world, tmp_path / "compiled", compile=True, **settings)

    assert totals(compiled) == pytest.approx(totals(plain), rel=1e-3)
