from __future__ import annotations

import numpy as np
import pytest
import torch

from vad.errors import ConfigError, ShapeError
from vad.models.urdmu import UrDmu
from vad.training.choice import (
    choose_segments,
    chosen_features,
    rank_segments,
    segment_frames,
    segment_snippets,
)

NORMAL = torch.tensor([[4, 1, 9], [7, 0, 2]])
ABNORMAL = torch.tensor([[3, 8, 5], [6, 2, 1]])


def test_normal_videos_come_first() -> None:
    assert choose_segments(NORMAL, ABNORMAL).tolist() == [[4], [7], [3], [6]]
    assert choose_segments(NORMAL, ABNORMAL, "second").tolist() == [[1], [0], [8], [2]]
    several = choose_segments(NORMAL, ABNORMAL, "several", count=2)
    assert several.tolist() == [[4, 1], [7, 0], [3, 8], [6, 2]]


def test_several_of_one_is_the_top() -> None:
    one = choose_segments(NORMAL, ABNORMAL, "several", count=1)

    assert torch.equal(one, choose_segments(NORMAL, ABNORMAL, "top"))


def test_the_random_rank_is_common_to_all_videos_and_follows_the_generator() -> None:
    ranked = torch.cat([NORMAL, ABNORMAL])
    seen = set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        chosen = choose_segments(NORMAL, ABNORMAL, "random", generator=generator)
        (rank,) = [r for r in range(3) if torch.equal(ranked[:, r : r + 1], chosen)]
        seen.add(rank)

    assert seen == {0, 1, 2}


@pytest.mark.parametrize(("how", "count"), [("several", 4), ("several", 0), ("second", 3)])
def test_more_segments_than_were_ranked_are_refused(how: str, count: int) -> None:
    ranked = 1 if how == "second" else 3
    with pytest.raises(ConfigError, match="count"):
        choose_segments(NORMAL[:, :ranked], ABNORMAL[:, :ranked], how, count=count)  # type: ignore[arg-type]


def test_unequal_rankings_are_refused() -> None:
    with pytest.raises(ShapeError, match="abnormal"):
        choose_segments(NORMAL, ABNORMAL[:1])


def test_every_video_gets_its_own_features_averaged_over_crops() -> None:
    features = torch.arange(4 * 2 * 5, dtype=torch.float32).view(8, 5, 1)  # 4 videos of 2 crops
    chosen = torch.tensor([[0, 4], [1, 1], [2, 0], [3, 3]])
    got = chosen_features(features, chosen)

    by_hand = features.view(4, 2, 5).mean(1)
    expected = torch.stack([by_hand[i][chosen[i]] for i in range(4)])
    assert torch.equal(got[..., 0], expected)
    with pytest.raises(ShapeError, match="features"):
        chosen_features(features[:6], chosen)


def test_segments_are_ranked_by_memory_or_by_score_over_all_crops() -> None:
    torch.manual_seed(0)
    bags = torch.randn(2, 2, 3, 32, 8)  # two labels, two videos, three crops
    with torch.no_grad():
        out = UrDmu(8).eval().forward_bags(bags[0], bags[1])
    by_memory, by_score = rank_segments(out), rank_segments(out, "score")

    assert [v.shape for v in by_memory] == [(2, 3), (2, 3)]
    assert torch.equal(by_memory[0][:, 0], out.n_att.argmax(1))
    assert torch.equal(by_memory[1][:, 0], out.a_att.argmax(1))
    assert torch.equal(by_score[0][:, 0], out.normal_scores.argmax(1))


def test_a_segment_of_a_short_video_is_a_snippet_of_it() -> None:
    assert segment_snippets(10, 50, 200) == (2, 3)
    assert segment_frames(10, 50, 800)[[0, -1]].tolist() == [32, 47]


def test_the_last_segment_reaches_the_last_snippet() -> None:
    assert segment_snippets(199, 399, 200)[1] == 399


@pytest.mark.parametrize("num_frames", [1, 15, 16, 17, 805])
def test_every_window_is_whole_and_inside_the_video(num_frames: int) -> None:
    for segment in (0, 100, 199):
        frames = segment_frames(segment, max(1, num_frames // 16), num_frames, window=32)
        assert len(frames) == 32
        assert frames.min() >= 0 and frames.max() <= num_frames - 1
        assert (np.diff(frames) >= 0).all()


def test_a_random_snippet_stays_in_the_segment() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = {int(segment_frames(3, 800, 12800, generator=generator)[0]) for _ in range(40)}

    assert starts == {16 * snippet for snippet in range(12, 16)}


@pytest.mark.parametrize(("segment", "snippets", "frames"), [(200, 5, 80), (-1, 5, 80), (0, 0, 80)])
def test_segments_that_do_not_exist_are_refused(segment: int, snippets: int, frames: int) -> None:
    with pytest.raises(ConfigError, match="segment"):
        segment_frames(segment, snippets, frames)
