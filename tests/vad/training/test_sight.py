"""What stage 2 sees in training: the model's own view of clips, made once where it is dear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from conftest_training import World
from conftest_two_stage import TWO_STAGE
from torch import Tensor

from vad.data.clips import Clips, Wanted
from vad.data.manifest import load_manifest
from vad.models.two_stage import Architecture, TwoStage
from vad.training.sight import Sight
from vad.training_configs import TwoStageConfig

CPU = torch.device("cpu")


class Counted(Clips):
    """Remembers what was decoded."""

    def __init__(self, world: World) -> None:
        super().__init__(load_manifest(world.data), size=(32, 32))
        self.asked: list[list[str]] = []

    def ask(self, wanted: Wanted):
        self.asked.append([key for key, _ in wanted])
        return super().ask(wanted)


@pytest.fixture
def clips(clip_world: World) -> Iterator[Counted]:
    with Counted(clip_world) as opened:
        yield opened


def network(view: str) -> TwoStage:
    config = TwoStageConfig(**{**TWO_STAGE, "clip_view": view, "pruning": "none"})
    return TwoStage(Architecture.of(config, feature_dim=4))


def some(clips: Counted, *starts: int) -> list[tuple[str, np.ndarray]]:
    """Clips of 8 frames of the first videos."""
    keys = list(clips._videos)
    return [(keys[at % 3], start + np.arange(8)) for at, start in enumerate(starts)]


def straight(model: TwoStage, sight: Sight, clips: Counted, wanted: Wanted) -> Tensor:
    """The view without anything in between."""
    still = sight.backgrounds.of([key for key, _ in wanted])
    return model.view(torch.from_numpy(clips.get(wanted)), torch.from_numpy(still))


@pytest.mark.parametrize("view", ["rgb", "energy", "speed", "motion"])
def test_it_is_what_the_model_sees_also_the_second_time(clips: Counted, view: str) -> None:
    model = network(view)
    sight = Sight(model, clips, CPU)
    wanted = some(clips, 0, 8, 4)
    sight.ask(wanted[1:])()
    for _ in range(2):
        assert torch.equal(sight.ask(wanted)(), straight(model, sight, clips, wanted))


@pytest.mark.parametrize("view", ["speed", "motion"])
def test_what_is_dear_is_made_and_decoded_once(clips: Counted, view: str) -> None:
    sight = Sight(network(view), clips, CPU)
    first, second = some(clips, 0, 8), some(clips, 0, 9)
    sight.ask(first)()
    sight.ask(second)()
    sight.ask([*second, *first])()
    assert clips.asked == [[key for key, _ in first], [second[1][0]]]


def test_what_is_asked_for_twice_before_it_is_there_comes_twice(clips: Counted) -> None:
    sight = Sight(network("motion"), clips, CPU)
    (one,) = some(clips, 3)
    a, b = sight.ask([one, one]), sight.ask([one])
    both, alone = a(), b()
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[:1], alone)


def test_views_beyond_the_room_are_made_again(clips: Counted) -> None:
    model = network("motion")
    each = straight(model, Sight(model, clips, CPU), clips, some(clips, 0)).nbytes
    sight = Sight(model, clips, CPU, kept_bytes=each)
    for _ in range(2):
        sight.ask(some(clips, 0, 8))()
    assert [len(keys) for keys in clips.asked] == [2, 1]
