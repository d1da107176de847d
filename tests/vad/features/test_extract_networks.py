"""Extraction runs with published networks: small random weights in the published layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vad import results
from vad.configs import ExtractConfig
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Video, save_version
from vad.errors import VadError
from vad.features import i3d, videomae
from vad.features.extract import extract
from vad.features.videomae import Variant, VideoMae
from vad.reporting import Reporter

LENGTHS = {"long": 37, "short": 6, "whole": 16}
TINY = Variant(
    image_size=32, patch=16, width=24, depth=2, heads=2, hidden=48, frames=16, num_classes=5
)
FILE = videomae.VARIANTS["small"][1].file
CONFIG = ExtractConfig(extractor="videomae", videomae_variant="small", batch_size=3, device="cpu")


class Record(Reporter):
    """Keeps what was said, and asks for a stop after some videos."""

    def __init__(self, stop_after: int = 10**9) -> None:
        super().__init__()
        self.records: list[results.Record] = []
        self.stop_after = stop_after

    def send(self, record: results.Record) -> None:
        self.records.append(record)
        if isinstance(record, results.Progress) and record.done >= self.stop_after:
            self.request_stop()

    def of(self, kind: type) -> list:
        return [r for r in self.records if isinstance(r, kind)]


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos as folders of frames."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    for key, length in LENGTHS.items():
        (root / "videos" / key).mkdir(parents=True)
        for i in range(length):
            coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse.repeat(8, 0).repeat(8, 1))
            picture.save(root / "videos" / key / f"{i:03}.png")
    videos = tuple(
        Video(key=key, split="train", label=0, path=key, num_frames=length)
        for key, length in LENGTHS.items()
    )
    folder = root / "version"
    folder.mkdir()
    manifest = Manifest(
        name="tiny", format="generic", videos=videos, media_root=str(root / "videos")
    )
    save_version(folder, manifest, {})
    return folder


def write_tiny(folder: Path, seed: int = 0) -> None:
    torch.manual_seed(seed)
    state = {k: torch.randn_like(v) * 0.3 for k, v in VideoMae(TINY).state_dict().items()}
    torch.save({"module": state}, folder / FILE)


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    published = videomae.VARIANTS["small"][1]
    monkeypatch.setitem(videomae.VARIANTS, "small", (TINY, published))
    folder = tmp_path / "weights"
    folder.mkdir()
    write_tiny(folder)
    return folder


def test_a_store_of_videomae_features_says_where_they_come_from(version, weights_dir, tmp_path):
    report = Record()
    output = tmp_path / "run"

    extract(CONFIG, manifest_dir=version, output=output, reporter=report, weights_dir=weights_dir)

    store = FeatureStore.open(output / "features")
    assert {key: store.shape(key) for key in store.keys()} == {  # noqa: SIM118
        "long": (1, 2, 24),  # its last 5 frames have no snippet
        "short": (1, 1, 24),
        "whole": (1, 1, 24),
    }
    assert store.extractor == "videomae"
    assert store.settings["weights"] == FILE
    assert store.settings["normalise"] is False
    (result,) = report.of(results.Result)
    assert result.data["fingerprint"] == store.fingerprint
    digest = store.settings["weights_sha256"]
    assert any(digest in log.message for log in report.of(results.Log))


def test_an_i3d_store_has_its_crops_and_completed_tails(version, tmp_path):
    torch.manual_seed(0)
    torch.save(i3d.I3D().state_dict(), tmp_path / "rgb_imagenet.pt")
    one = tmp_path / "one"
    one.mkdir()
    manifest = Manifest(
        name="one",
        format="generic",
        videos=(Video(key="short", split="train", label=0, path="short", num_frames=6),),
        media_root=str(version.parent / "videos"),
    )
    save_version(one, manifest, {})

    extract(
        ExtractConfig(extractor="i3d", crops=5, segment_length=9, batch_size=3, device="cpu"),
        manifest_dir=one,
        output=tmp_path / "run",
        reporter=Reporter(),
        weights_dir=tmp_path,
    )

    rows = FeatureStore.open(tmp_path / "run" / "features").get("short")
    assert rows.shape == (5, 1, 1024)
    assert len(np.unique(rows, axis=0)) == 5


@pytest.mark.parametrize("folder", [None, "empty"])
def test_missing_weights_end_the_run_at_its_start(folder, version, tmp_path, monkeypatch):
    monkeypatch.delenv("VADLAB_WEIGHTS_DIR", raising=False)
    report = Record()
    weights = tmp_path / folder if folder else None

    with pytest.raises(VadError, match="vit_s_k710_dl_from_giant") as caught:
        extract(
            CONFIG,
            manifest_dir=version,
            output=tmp_path / "run",
            reporter=report,
            weights_dir=weights,
        )

    assert caught.value.code == "weights-missing"
    assert not report.of(results.Progress)


def test_a_stopped_run_goes_on_to_the_same_store(version, weights_dir, tmp_path):
    options = {"manifest_dir": version, "weights_dir": weights_dir}
    extract(CONFIG, output=tmp_path / "whole", reporter=Reporter(), **options)

    first, second = Record(stop_after=1), Record()
    extract(CONFIG, output=tmp_path / "run", reporter=first, **options)
    extract(CONFIG, output=tmp_path / "run", reporter=second, **options)

    assert first.of(results.Stopped) == [results.Stopped(step=1)]
    assert second.of(results.Started)[0].resumed_step == 1
    whole = FeatureStore.open(tmp_path / "whole" / "features")
    assert FeatureStore.open(tmp_path / "run" / "features").fingerprint == whole.fingerprint


def test_a_run_never_mixes_the_features_of_two_files_of_weights(version, weights_dir, tmp_path):
    options = {"manifest_dir": version, "weights_dir": weights_dir}
    extract(CONFIG, output=tmp_path / "run", reporter=Record(stop_after=1), **options)
    write_tiny(weights_dir, seed=9)
    extract(CONFIG, output=tmp_path / "run", reporter=Reporter(), **options)

    extract(CONFIG, output=tmp_path / "whole", reporter=Reporter(), **options)

    whole = FeatureStore.open(tmp_path / "whole" / "features")
    assert FeatureStore.open(tmp_path / "run" / "features").fingerprint == whole.fingerprint
