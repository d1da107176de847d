from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vad.errors import ConfigError, ShapeError
from vad.models.grid import ClipGrid
from vad.models.motion_embed import (
    TubeletEmbedding,
    hard_motion_loss,
    motion_score,
    variance_score,
)
from vad.models.pruning import (
    default_ratio_weight,
    keep_ratio_loss,
    kept_count,
    policy_softmax,
    scatter_scores,
    straight_through,
    top_of_tubelets,
)
from vad.models.tubelet_vit import TubeletVit

GRID = ClipGrid(height=16, width=24, frames=8, patch=8, num_tubelet=4)  # 4 tubelets of 6 patches


def encoder(**options: Any) -> TubeletVit:
    torch.manual_seed(0)
    options = {"dim": 12, "depth": 4, "heads": 2, "locations": (1, 2, 3), **options}
    model = TubeletVit(options.pop("grid", GRID), **options)
    for p in model.parameters():
        if p.requires_grad and p.ndim > 1:
            torch.nn.init.normal_(p, std=0.3)
    return model.eval()


def clips(count: int = 2, *, grid: ClipGrid = GRID) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, grid.frames, grid.height, grid.width, generator=generator)


def test_keeping_all_equals_no_pruning() -> None:
    plain, pruned = encoder(pruning="none"), encoder(token_ratio=(1.0, 1.0, 1.0))
    missing = plain.load_state_dict(pruned.state_dict(), strict=False)
    assert all(key.startswith("score_predictor.") for key in missing.unexpected_keys)

    with torch.no_grad():
        expected, got = plain(clips()), pruned(clips())
    assert torch.equal(got.index, expected.index)
    torch.testing.assert_close(got.tokens, expected.tokens, rtol=1e-5, atol=1e-5)


def test_each_tubelet_keeps_its_share_of_all_patches_in_raster_order() -> None:
    with torch.no_grad():
        out = encoder(token_ratio=(0.9, 0.5, 0.34))(clips())

    assert [d.sum(-1).unique().tolist() for d in out.decisions] == [[5.0], [3.0], [2.0]]
    assert out.tokens.shape == (2, 4 * 2, GRID.patch_values)
    assert (out.index.diff(dim=1) > 0).all()
    assert torch.equal(out.decisions[-1].flatten(1).nonzero()[:, 1].view(2, -1), out.index)


def test_pruned_patches_come_back_at_their_place() -> None:
    with torch.no_grad():
        out = encoder(token_ratio=(0.9, 0.5, 0.34))(clips())
    scores, kept = scatter_scores(out.index.float(), out.index, GRID, fill=-1.0)

    assert scores.shape == kept.shape == (2, 4, 2, 3)
    assert torch.equal(kept.flatten(2), out.decisions[-1] > 0)
    place = torch.arange(GRID.tokens, dtype=torch.float32).view(4, 2, 3).expand(2, -1, -1, -1)
    assert torch.equal(scores, torch.where(kept, place, -1.0))


def test_scores_that_are_not_one_for_each_token_are_refused() -> None:
    with pytest.raises(ShapeError, match="scores"):
        scatter_scores(torch.zeros(1, 5), torch.zeros(1, 6, dtype=torch.int64), GRID, fill=0.0)


def test_a_tie_goes_to_the_first_patch() -> None:
    scores = torch.tensor([[0.5, 0.5, 0.9, 0.5, 0.1, 0.1, 0.1, 0.1]])

    assert top_of_tubelets(scores, 2, 2).tolist() == [[0, 2, 4, 5]]


@pytest.mark.parametrize(
    ("patches", "ratio", "count"), [(100, 0.57, 57), (64, 0.7, 44), (64, 0.5, 32), (64, 0.3, 19)]
)
def test_the_kept_count_is_safe_against_binary_rounding(
    patches: int, ratio: float, count: int
) -> None:
    assert kept_count(patches, ratio) == count


def test_an_empty_tubelet_gives_finite_numbers_and_gradients() -> None:
    model = encoder(motion="time-reversal").train()
    keep = torch.ones(2, GRID.tokens)
    keep[:, : GRID.patches] = 0
    out = model(clips(), keep=[keep, torch.zeros_like(keep), keep])
    (out.tokens.sum() + out.motion_loss).backward()

    assert out.tokens.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_soft_pruning_survives_an_empty_mask() -> None:
    model = encoder(pruning="soft")
    with torch.no_grad():
        for predictor in model.score_predictor:
            predictor.out_conv[-1].bias.copy_(torch.tensor([-50.0, 50.0]))
        out = model(clips())

    assert not out.decisions[-1].any()
    assert out.tokens.isfinite().all()


def test_soft_pruning_removes_nothing_and_never_raises_a_mask() -> None:
    for training in (False, True):
        out = encoder(pruning="soft").train(training)(clips())
        assert out.tokens.shape[1] == GRID.tokens
        assert (torch.stack(out.decisions).diff(dim=0) <= 0).all()


def test_what_was_dropped_is_invisible_to_what_was_kept() -> None:
    model = encoder(locations=(0, 1, 2)).train()
    clip, keep = clips(1), torch.ones(1, GRID.tokens)
    keep[:, 0] = 0
    other = clip.clone()
    other[:, :, :2, :8, :8] = 0
    before, after = (model(c, keep=[keep] * 3).tokens for c in (clip, other))

    torch.testing.assert_close(before[:, 1:], after[:, 1:], rtol=1e-4, atol=1e-4)
    assert (before[:, 0] - after[:, 0]).abs().max() > 1e-2


def test_samples_come_from_the_generator_alone() -> None:
    model = encoder().train()

    def decisions(seed: int) -> Tensor:
        torch.manual_seed(torch.seed() % 2**31)
        out = model(clips(), generator=torch.Generator().manual_seed(seed))
        return torch.stack(out.decisions)

    assert torch.equal(decisions(1), decisions(1))
    assert not torch.equal(decisions(1), decisions(2))


def test_decisions_are_exactly_zero_or_one_and_never_taken_back() -> None:
    decisions = torch.stack(encoder().train()(clips(4)).decisions)

    assert set(decisions.unique().tolist()) == {0.0, 1.0}
    assert (decisions.diff(dim=0) <= 0).all()


def test_decisions_pass_their_gradient_to_the_predictors() -> None:
    model = encoder().train()
    keep_ratio_loss(model(clips()).decisions, (0.5, 0.25, 0.1)).backward()

    assert all(predictor.out_conv[-1].bias.grad.any() for predictor in model.score_predictor)


@pytest.mark.parametrize("kind", ["hard", "soft", "none"])
@pytest.mark.parametrize("training", [False, True])
def test_decisions_are_made_in_float32_at_any_precision(kind: Any, training: bool) -> None:
    model = encoder(pruning=kind, motion="time-reversal").train(training)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(clips())
    reduced = model.bfloat16()(clips().bfloat16())

    for out in (mixed, reduced):
        assert out.tokens.isfinite().all()
        assert all(d.dtype == torch.float32 for d in out.decisions)


def test_straight_through_keeps_the_numbers_exactly() -> None:
    soft = torch.tensor([0.3, 1e-9, 0.7], requires_grad=True)
    hard = torch.tensor([0.0, 1.0, 1.0])

    assert torch.equal(straight_through(hard, soft), hard)


def test_rows_of_the_policy_softmax_add_up_to_one() -> None:
    torch.manual_seed(0)
    weights = policy_softmax(30 * torch.randn(2, 3, 5, 5), torch.zeros(2, 5))

    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))


def test_a_clip_that_is_still_inside_every_tubelet_has_no_motion() -> None:
    embed = TubeletEmbedding(GRID, 12)
    clip = clips()[:, :, :4].repeat_interleave(GRID.tubelet_frames, dim=2)
    tokens = embed(clip)
    still = motion_score("time-reversal", embed, clip, tokens, reference=False)
    published = motion_score("time-reversal", embed, clip, tokens, reference=True)

    assert still.abs().max() < 1e-5
    assert published.mean() > 1e-2


def test_variance_fits_any_number_of_tubelets() -> None:
    tokens = torch.zeros(1, 8, 3)
    tokens[:, 2:4, 0] = 3.0  # the second of four tubelets of two patches

    assert variance_score(tokens, 4).tolist() == [[3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 0.0, 0.0]]


@pytest.mark.parametrize("reference", [False, True])
def test_the_motion_score_is_trained_in_the_published_form_only(reference: bool) -> None:
    decision = torch.ones(2, 6, requires_grad=True)
    score = torch.rand(2, 6, requires_grad=True)
    hard_motion_loss(decision, score, reference=reference).backward()

    assert decision.grad is not None
    assert (score.grad is not None) is reference


def test_motion_loss_does_not_grow_with_the_batch() -> None:
    model = encoder(motion="time-reversal").train()
    keep = torch.ones(2, GRID.tokens)
    one = model(clips(1).expand(2, -1, -1, -1, -1), keep=[keep] * 3).motion_loss
    two = model(
        clips(1).expand(4, -1, -1, -1, -1), keep=[torch.ones(4, GRID.tokens)] * 3
    ).motion_loss

    assert one < 0
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("options", [{"pruning": "none"}, {"pruning": "soft"}, {}])
def test_motion_loss_is_zero_without_pruning_or_training(options: dict[str, Any]) -> None:
    model = encoder(motion="time-reversal", **options)
    if options.get("pruning") == "none":
        model.train()

    assert model(clips()).motion_loss == 0


def test_the_ratio_loss_is_zero_on_target() -> None:
    decisions = [torch.tensor([[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]])]

    assert keep_ratio_loss(decisions, [0.75]) == 0
    assert keep_ratio_loss(decisions * 2, [0.75, 0.25]) == 0.125
    assert default_ratio_weight([1.0, 0.9]) == 2.0
    assert default_ratio_weight([1.0, 1.0]) == 0.0
    with pytest.raises(ConfigError, match="token_ratio"):
        keep_ratio_loss(decisions, [0.7, 0.5])


def test_both_ways_to_give_the_tubelets_mean_what_they_say() -> None:
    by_number = ClipGrid(height=16, width=16, num_tubelet=8)
    by_size = ClipGrid(height=16, width=16, tubelet_size=8)

    assert (by_number.tubelets, by_number.tubelet_frames) == (8, 2)
    assert (by_size.tubelets, by_size.tubelet_frames) == (2, 8)


@pytest.mark.parametrize(
    ("sizes", "field"),
    [
        ({"height": 100, "tubelet_size": 8}, "height"),
        ({"width": 100, "tubelet_size": 8}, "width"),
        ({"tubelet_size": 3}, "tubelet_size"),
        ({"num_tubelet": 5}, "num_tubelet"),
        ({"num_tubelet": 0}, "num_tubelet"),
        ({"num_tubelet": 2, "tubelet_size": 8}, "tubelet_size"),
        ({}, "tubelet_size"),
    ],
)
def test_clips_that_cannot_be_cut_evenly_are_refused(sizes: dict[str, int], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClipGrid(**{"height": 128, "width": 128, **sizes})

    assert set(caught.value.fields) == {field}


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"heads": 5}, {"heads"}),
        ({"dim": 20}, {"dim"}),
        ({"depth": 3}, {"locations"}),
        ({"locations": (2, 1, 3)}, {"locations"}),
        ({"locations": (1, 2)}, {"token_ratio"}),
        ({"token_ratio": (0.5, 0.7, 0.3)}, {"token_ratio"}),
        ({"token_ratio": (0.5, 0.5, 0.1)}, {"token_ratio"}),
        ({"token_ratio": (1.5, 0.5, 0.5)}, {"token_ratio"}),
        ({"token_ratio": (float("nan"), 0.5, 0.5)}, {"token_ratio"}),
        ({"pruning": "medium"}, {"pruning"}),
        ({"motion": "reversal"}, {"motion"}),
        (
            {"motion": "variance", "grid": ClipGrid(height=32, width=32, num_tubelet=1)},
            {"motion"},
        ),
        (
            {"motion": "time-reversal", "grid": ClipGrid(height=32, width=32, tubelet_size=1)},
            {"motion"},
        ),
        ({"heads": 5, "depth": 3}, {"heads", "locations"}),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(
    options: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        encoder(**options)

    assert set(caught.value.fields) == fields


def test_soft_pruning_needs_no_ratios() -> None:
    assert len(encoder(pruning="soft", locations=(1,)).score_predictor) == 1


def test_a_clip_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[B, 3, 8, 16, 24\]"):
        encoder()(torch.zeros(1, 3, 9, 16, 24))


def test_decisions_may_be_given_in_training_only() -> None:
    keep = [torch.ones(2, GRID.tokens)] * 3
    with pytest.raises(ConfigError, match="keep"):
        encoder()(clips(), keep=keep)
    with pytest.raises(ConfigError, match="keep"):
        encoder().train()(clips(), keep=keep[:2])
    with pytest.raises(ShapeError, match=r"keep\[0\]"):
        encoder().train()(clips(3), keep=keep)
