"""Watched bags: what is kept of them is what the network and its loss say, and nothing changes."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest_training import DIM, SETTINGS, Recorder, World, run

from vad import bags
from vad.data.features import FeatureStore
from vad.errors import VadError
from vad.loading import load_model
from vad.losses import AdWeights, ad_loss
from vad.models.urdmu import WIDTH, UrDmu
from vad.training import checkpoints
from vad.training.bag_watch import look, watched

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def found(whole: tuple[Path, Recorder]) -> bags.Bags:
    return bags.load(whole[0], 6)


def test_every_evaluation_leaves_the_bags(whole: tuple[Path, Recorder], found: bags.Bags) -> None:
    assert bags.steps(whole[0]) == [3, 6]
    assert found.labels == (0,) * 6 + (1,) * 6  # all that there are, though 8 were asked for
    assert found.scores.shape == (12, SETTINGS["num_segments"])
    assert found.top == 2
    assert all(key.startswith("train-") for key in found.keys)


def test_the_scores_are_those_of_the_checkpoint(
    world: World, whole: tuple[Path, Recorder], found: bags.Bags
) -> None:
    model, _ = load_model(whole[0] / checkpoints.name_of(6), CPU)
    segments = FeatureStore.open(world.features).segments(SETTINGS["num_segments"])
    rows = segments.data[segments.items_of(found.keys)]

    scored = model(torch.from_numpy(rows).float())

    np.testing.assert_allclose(found.scores, scored.scores.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(found.abnormal, scored.a_att.detach().numpy(), atol=1e-6)
    top = np.sort(found.abnormal_slots / 255, axis=2)[:, :, -4:].mean(axis=2)
    np.testing.assert_allclose(top, found.abnormal, atol=1 / 255)


def test_what_carried_the_loss_is_what_the_loss_depends_on(world: World) -> None:
    """Against the slope of the loss along each feature, by moving it a little."""
    torch.manual_seed(3)
    model = UrDmu(DIM)
    segments = FeatureStore.open(world.features).segments(16)
    normal, abnormal = ["train-0-0", "train-0-1"], ["train-1-0", "train-1-1"]
    found = look(model, segments, normal, abnormal, AdWeights(), step=1, device=CPU)
    model.eval()
    x = torch.from_numpy(segments.data[segments.items_of([*normal, *abnormal])]).float()
    noise = torch.zeros((2, 16, WIDTH))

    def loss(bags_: torch.Tensor) -> float:
        with torch.no_grad():
            return float(ad_loss(model.forward_bags(bags_[:2], bags_[2:], noise=noise))["total"])

    slopes = np.zeros((16, DIM))
    for segment in range(16):
        for at in range(DIM):
            moved = torch.zeros_like(x)
            moved[3, segment, at] = 0.01
            slopes[segment, at] = (loss(x + moved) - loss(x - moved)) / 0.02
    size = np.linalg.norm(slopes, axis=1)

    np.testing.assert_allclose(found.carried[3], size / size.sum(), atol=5e-3)
    np.testing.assert_allclose(found.carried.sum(axis=1), 1, atol=1e-5)


def test_watching_changes_nothing_in_the_run(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    plain = run(world, tmp_path, watched_bags=0)

    assert bags.steps(tmp_path) == []
    assert plain.losses() == whole[1].losses()
    held = [checkpoints.read(o / checkpoints.name_of(6)).tensors for o in (tmp_path, whole[0])]
    assert all(torch.equal(held[0][name], value) for name, value in held[1].items())


def test_a_stopped_run_leaves_the_same_bags(
    world: World, whole: tuple[Path, Recorder], tmp_path: Path
) -> None:
    run(world, tmp_path, stop_after=4)
    run(world, tmp_path)

    for step in (3, 6):
        own, other = (bags.path_of(o, step).read_bytes() for o in (tmp_path, whole[0]))
        assert own == other


def test_a_disk_that_refuses_them_does_not_end_the_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bags, "write_bytes", full)
    recorder = run(world, tmp_path)

    said = [r.message for r in recorder.records if type(r).__name__ == "Log"]
    assert [m for m in said if "bags" in m] == [
        "No bags are kept from step 3 on: [Errno 28] No space left on device"
    ]


def test_the_watched_videos_depend_on_the_seed_alone() -> None:
    keys = [f"video-{i}" for i in range(30)]

    found = watched(keys, 5, seed=1, name="normal")

    assert found == watched(keys, 5, seed=1, name="normal")
    assert found == sorted(found, key=keys.index)
    assert found != watched(keys, 5, seed=2, name="normal")
    assert watched(keys, 99, seed=1, name="normal") == keys


def test_a_long_run_is_thinned_evenly_and_keeps_its_newest() -> None:
    kept: list[int] = []
    for step in range(50, 3001, 50):
        kept.append(step)
        gone = bags.thinned(kept, 10)
        kept = [s for s in kept if s not in gone]

    assert len(kept) <= 10
    assert kept[-1] == 3000
    assert np.diff([0, *kept]).max() <= 400


def test_a_file_that_is_no_bag_is_refused_by_name(tmp_path: Path, found: bags.Bags) -> None:
    path = found.save(tmp_path)
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(VadError, match="is not a file of bags"):
        bags.load(tmp_path, 6)
    with pytest.raises(VadError, match="kept no bags at step 7"):
        bags.load(tmp_path, 7)
