from __future__ import annotations

import numpy as np
import pytest
import torch

from vad import scoring
from vad.data.feature_writer import StoreWriter
from vad.data.features import FeatureStore
from vad.models.urdmu import UrDmu
from vad.scoring import score_videos
from vad.timeline import SnippetRule

DIM = 6
LENGTHS = {"a": 9, "b": 4, "c": 9, "d": 5, "e": 40, "f": 12, "g": 1}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    rng = np.random.default_rng(2)
    folder = tmp_path_factory.mktemp("scoring") / "store"
    with StoreWriter(folder, dim=DIM, rule=SnippetRule(), extractor="test") as writer:
        for key, length in LENGTHS.items():
            writer.add(key, rng.normal(size=(3, length, DIM)).astype(np.float32))
        return writer.close()


@pytest.fixture(scope="module")
def model() -> UrDmu:
    torch.manual_seed(3)
    return UrDmu(DIM)


def test_every_video_is_scored_once_at_its_own_length(model: UrDmu, store: FeatureStore):
    found = list(score_videos(model, store, LENGTHS, CPU))

    assert sorted(key for key, _ in found) == sorted(LENGTHS)
    assert {key: len(values) for key, values in found} == LENGTHS
    assert model.training  # as it was before


@pytest.mark.parametrize(("limit", "stretch"), [(1, 1.0), (60, 2.0), (100_000, 2.0)])
def test_how_videos_are_put_together_does_not_matter(
    model: UrDmu,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    stretch: float,
):
    expected = {
        key: model.eval()(torch.from_numpy(store.get(key).copy())[None].float())
        .scores[0]
        .detach()
        .numpy()
        for key in LENGTHS
    }
    monkeypatch.setitem(scoring.BATCH_SNIPPETS, "cpu", limit)
    monkeypatch.setitem(scoring.STRETCH, "cpu", stretch)

    for key, values in score_videos(model, store, LENGTHS, CPU):
        np.testing.assert_allclose(values, expected[key], rtol=1e-4, atol=1e-6)


def test_a_batch_holds_no_more_than_it_may(store: FeatureStore):
    batches = list(scoring._batches(LENGTHS, store, limit=60, stretch=2.0))

    assert [sorted(batch) for batch in batches] == [["g"], ["b", "d"], ["a", "c"], ["f"], ["e"]]
