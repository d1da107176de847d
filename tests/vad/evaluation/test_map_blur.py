"""Maps made smoother over patches and over time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from vad.evaluation.map_blur import Blur, blurred

ROWS, COLUMNS = 5, 7


def maps(snippets: int, tubelets: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    scores = rng.random((snippets, tubelets, ROWS * COLUMNS), dtype=np.float32)
    return scores, np.ones_like(scores, dtype=bool)


def of(scores: np.ndarray, kept: np.ndarray, *sigmas: float) -> np.ndarray:
    return blurred(scores, kept, Blur(*sigmas), rows=ROWS, columns=COLUMNS)


def test_inside_the_mean_is_that_of_scipy():
    scores, kept = maps(30)
    sigmas = (0.9, 0.5, 0.5)
    theirs = ndimage.gaussian_filter(scores[:, 0].reshape(-1, ROWS, COLUMNS), sigmas, truncate=4)

    found = of(scores, kept, 0.5, 0.9).reshape(-1, ROWS, COLUMNS)

    np.testing.assert_allclose(found[4:-4, 2:-2, 2:-2], theirs[4:-4, 2:-2, 2:-2], rtol=1e-5)


@pytest.mark.parametrize("sigmas", [(0.7, 0.0), (0.0, 2.0), (3.0, 40.0)])
def test_a_map_of_one_value_stays_as_it_is_up_to_its_edges(sigmas):
    scores = np.full((6, 2, ROWS * COLUMNS), 0.3, dtype=np.float32)

    found = of(scores, np.ones_like(scores, dtype=bool), *sigmas)

    np.testing.assert_array_equal(found, scores)
    assert found.dtype == np.float32


def test_time_runs_through_the_tubelets_of_a_snippet():
    scores, _ = maps(8, tubelets=2)
    as_snippets = scores.reshape(16, 1, -1)

    found = of(scores, np.ones_like(scores, dtype=bool), 0.0, 0.5)
    alone = of(as_snippets, np.ones_like(as_snippets, dtype=bool), 0.0, 1.0)

    np.testing.assert_array_equal(found.reshape(16, 1, -1), alone)


def test_a_direction_without_deviation_is_left_as_it_is():
    scores, kept = maps(6)
    moved = scores.copy()
    moved[3] = 0

    found, other = (of(s, kept, 0.8, 0.0) for s in (scores, moved))

    np.testing.assert_array_equal(found[:3], other[:3])
    assert (found[3] != other[3]).all()
    np.testing.assert_array_equal(of(scores, kept, 0.0, 0.0), scores)


def test_a_pruned_patch_keeps_its_score():
    scores, kept = maps(4)
    kept[2, 0, 5] = False
    scores[~kept] = 0

    found = of(scores, kept, 1.0, 1.0)

    assert found[2, 0, 5] == 0
    assert (found[kept] > 0).all()


def test_one_snippet_has_no_neighbours_in_time():
    scores, kept = maps(1)

    np.testing.assert_array_equal(of(scores, kept, 0.0, 3.0), scores)


def test_a_blur_says_what_it_is():
    assert not Blur()
    assert str(Blur(0.5, 0.0)) == "blurred by 0.5 patches"
    assert str(Blur(0.5, 1.0)) == "blurred by 0.5 patches and 1 snippets"
