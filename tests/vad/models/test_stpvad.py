from __future__ import annotations

import pytest
import torch

from vad.errors import ShapeError
from vad.losses import ad_loss
from vad.models.stpvad import FUSED, PatchHead


def test_the_clip_decides_which_snippets_are_seen() -> None:
    head = PatchHead(8).eval()
    tokens, snippets = torch.randn(1, 6, 8).expand(2, -1, -1), torch.randn(2, 3, FUSED)
    with torch.no_grad():
        both = head(tokens, snippets=snippets).scores
        swapped = head(tokens, snippets=snippets.flip(0)).scores

    torch.testing.assert_close(both, swapped.flip(0))
    assert not torch.allclose(both[0], both[1])


def test_one_snippet_leaves_the_query_nothing_to_learn() -> None:
    block = PatchHead(8).cross_attention.eval()
    block(torch.randn(2, 6, FUSED), torch.randn(2, 1, FUSED)).square().sum().backward()

    assert not block.cross_attn.to_q.weight.grad.any()
    assert block.cross_attn.to_kv.weight.grad.any()


def test_features_are_what_the_classifier_saw() -> None:
    head = PatchHead(8).eval()
    tokens, snippets = torch.randn(2, 6, 8), torch.randn(2, 1, FUSED)
    with torch.no_grad():
        for given in (None, snippets):
            out = head(tokens, snippets=given, with_features=True)
            scores = head.cls_head.mlp(out.snippet_features).sigmoid().squeeze(-1)
            torch.testing.assert_close(scores, out.scores)
            assert head(tokens, snippets=given).snippet_features is None


def test_noise_comes_from_the_generator_alone() -> None:
    head = PatchHead(8, dropout=0.0)
    bags, snippets = torch.randn(2, 2, 6, 8), torch.randn(4, 1, FUSED)

    def scores(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        out = head.forward_bags(bags[0], bags[1], snippets=snippets, generator=generator)
        return out.normal_scores

    assert torch.equal(scores(1), scores(1))
    assert not torch.equal(scores(1), scores(2))


@pytest.mark.parametrize("top", [1, 3, None])
def test_the_highest_patches_stand_for_the_clip(top: int | None) -> None:
    head = PatchHead(8, dropout=0.0)
    normal, abnormal = torch.randn(2, 3, 20, 8)
    snippets = torch.randn(6, 1, FUSED)
    generator = torch.Generator().manual_seed(0)

    out = head.forward_bags(normal, abnormal, snippets=snippets, generator=generator, top=top)
    losses = ad_loss(out)

    count = top or 2  # of 20 patches, as published
    clips = torch.cat([out.normal_scores, out.abnormal_scores]).sort(dim=1).values[:, -count:]
    labels = torch.tensor([0.0, 0, 0, 1, 1, 1])
    expected = torch.nn.functional.binary_cross_entropy(clips.mean(1), labels)
    torch.testing.assert_close(losses["att_loss"], expected)
    memory = out.a_att.sort(dim=1).values[:, -count:].mean(1)
    torch.testing.assert_close(losses["A_loss"], -memory.log().mean())
    assert out.a_index.shape == out.n_index.shape == out.p_index.shape == (3, count)


@pytest.mark.parametrize("shape", [(1, 3, FUSED), (2, 0, FUSED), (2, 3, 512), (2, FUSED)])
def test_snippets_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="snippets"):
        PatchHead(8)(torch.zeros(2, 6, 8), snippets=torch.zeros(shape))


def test_tokens_with_crops_are_refused() -> None:
    with pytest.raises(ShapeError, match="normal"):
        PatchHead(8).forward_bags(torch.zeros(2, 10, 6, 8), torch.zeros(2, 10, 6, 8))
