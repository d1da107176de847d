from __future__ import annotations

import math

import pytest
import torch

from vad.errors import ShapeError
from vad.models import transformer
from vad.models.transformer import Dropout, add_local, distance_matrix
from vad.models.urdmu import UrDmu


@pytest.mark.parametrize("length", [130, 513, 700])
def test_the_banded_form_equals_the_full_matrix(length: int) -> None:
    x = torch.randn(2, length, 8, generator=torch.Generator().manual_seed(length))
    full = distance_matrix(length, x.device, torch.float64) @ x.double()

    torch.testing.assert_close(transformer._banded(x).double(), full, rtol=1e-5, atol=1e-5)


def test_long_videos_make_no_square_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a T x T matrix was made")

    monkeypatch.setattr(transformer, "distance_matrix", refuse)
    x = torch.zeros(1, transformer.DENSE_UP_TO + 1, 4)

    assert add_local(x, x).shape == x.shape


def test_padding_changes_no_score() -> None:
    torch.manual_seed(4)
    model = UrDmu(8).eval()
    videos = [torch.randn(2, length, 8) for length in (1, 16, 150, 200)]
    padded = torch.zeros(len(videos), 2, 200, 8)
    for place, video in zip(padded, videos, strict=True):
        place[:, : video.shape[1]] = video

    together = model.score_padded(padded, torch.tensor([v.shape[1] for v in videos])).scores

    for row, video in zip(together, videos, strict=True):
        alone = model(video[None]).scores[0]
        torch.testing.assert_close(row[: len(alone)], alone, rtol=1e-5, atol=1e-6)


def test_one_snippet_is_enough() -> None:
    model = UrDmu(8).eval()

    assert model(torch.randn(3, 1, 8)).scores.shape == (3, 1)


def test_bags_of_zeros_give_finite_gradients() -> None:
    model = UrDmu(8)
    bags = torch.zeros(2, 20, 8)
    out = model.forward_bags(bags, bags, noise=torch.zeros(2, 20, 512))
    (out.triplet + out.distance + out.kl).backward()

    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_zero_vector_is_normalised_to_zero_not_nan() -> None:
    model = UrDmu(8)
    for p in model.parameters():
        torch.nn.init.zeros_(p)
    bags = torch.zeros(1, 4, 8)

    assert model.forward_bags(bags, bags, noise=torch.zeros(1, 4, 512)).triplet == 1.0


def test_noise_comes_from_the_generator_alone() -> None:
    model = UrDmu(8, dropout=0.0)
    bags = torch.randn(2, 2, 20, 8)

    def scores(seed: int) -> torch.Tensor:
        torch.manual_seed(torch.seed() % 2**31)
        generator = torch.Generator().manual_seed(seed)
        return model.forward_bags(bags[0], bags[1], generator=generator).normal_scores

    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))


def test_nothing_but_the_noise_tells_equal_bags_of_both_labels_apart() -> None:
    model = UrDmu(8, dropout=0.0)
    bags = torch.randn(3, 20, 8)

    mean = model.forward_bags(bags, bags, noise=torch.zeros(3, 20, 512))
    sampled = model.forward_bags(bags, bags, noise=torch.randn(3, 20, 512))

    torch.testing.assert_close(mean.normal_scores, mean.abnormal_scores)
    torch.testing.assert_close(sampled.abnormal_scores, mean.abnormal_scores)
    assert (sampled.normal_scores - mean.normal_scores).abs().max() > 1e-3


def test_bags_of_different_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match="abnormal"):
        UrDmu(8).forward_bags(torch.zeros(2, 20, 8), torch.zeros(2, 21, 8))


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ShapeError, match="1024"):
        UrDmu(1024)(torch.zeros(1, 5, 2048))


@pytest.mark.parametrize("p", [0.5, 0.3, 0.95])
def test_dropout_drops_the_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 500)
    dropped = Dropout(p)(x)
    sigma = math.sqrt(p * (1 - p) / x.numel())

    assert abs((dropped == 0).float().mean().item() - p) < 5 * sigma + 1 / 65536
    assert abs(dropped.mean().item() - 1) < 5 * sigma / (1 - p)
    assert torch.equal(Dropout(p).eval()(x), x)


def test_dropout_follows_the_seed() -> None:
    x = torch.ones(3, 7)
    torch.manual_seed(3)
    first = Dropout(0.5)(x)
    torch.manual_seed(3)

    assert torch.equal(Dropout(0.5)(x), first)
