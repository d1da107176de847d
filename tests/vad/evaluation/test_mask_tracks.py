from __future__ import annotations

import numpy as np
import pytest

from vad.evaluation.components import components
from vad.evaluation.mask_tracks import mask_boxes, tracks_from_masks


def boxes_by_propagation(mask: np.ndarray) -> set[tuple[int, int, int, int]]:
    """The same by another way: labels that spread until nothing changes."""
    labels = components(mask[None])[0]
    found = set()
    for label in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == label)
        found.add((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return found


@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9])
def test_regions_are_those_of_connected_pixels(density: float) -> None:
    rng = np.random.default_rng(int(density * 10))
    for _ in range(30):
        mask = rng.random((9, 13)) < density
        boxes = mask_boxes(mask)
        expected = boxes_by_propagation(mask)

        assert {tuple(b) for b in boxes} == expected
        assert len(boxes) == len(set(np.unique(components(mask[None])[components(mask[None]) > 0])))


def test_nothing_is_abnormal_in_an_empty_mask() -> None:
    assert mask_boxes(np.zeros((4, 5), dtype=bool)) == []
    assert tracks_from_masks([np.zeros((4, 5), dtype=bool)] * 3) == ()


def frames(*places: list[tuple[int, int]]) -> list[np.ndarray]:
    """Masks with a square of four pixels at each place (row, column) of a frame."""
    made = []
    for squares in places:
        mask = np.zeros((12, 20), dtype=bool)
        for row, column in squares:
            mask[row : row + 4, column : column + 4] = True
        made.append(mask)
    return made


def test_regions_that_overlap_from_frame_to_frame_are_one_track() -> None:
    tracks = tracks_from_masks(frames([(0, 0), (6, 10)], [(0, 1), (6, 9)], [(0, 2)]))

    assert [(t.start_frame, t.end_frame) for t in tracks] == [(0, 3), (0, 2)]
    assert tracks[0].keyframes[2] == (2, 2.0, 0.0, 6.0, 4.0)


def test_a_region_that_jumps_or_was_away_begins_a_new_track() -> None:
    jumps = tracks_from_masks(frames([(0, 0)], [(0, 12)]))
    away = tracks_from_masks(frames([(0, 0)], [], [(0, 0)]))

    assert [(t.start_frame, t.end_frame) for t in jumps] == [(0, 1), (1, 2)]
    assert [(t.start_frame, t.end_frame) for t in away] == [(0, 1), (2, 3)]
