"""Extraction as a run: progress, stop, resume, and inputs that are not there."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vad import results
from vad.configs import ExtractConfig
from vad.data.features import FeatureStore
from vad.data.manifest import Manifest, Video, save_version
from vad.errors import VadError
from vad.features.extract import extract
from vad.reporting import Reporter

CONFIG = ExtractConfig(resize=(32, 32), device="cpu")
LENGTHS = {"a": 20, "b": 33, "c": 16}


class Recorder(Reporter):
    """Keeps the records; asks for a stop once `stop_after` videos are done."""

    def __init__(self, stop_after: int = -1) -> None:
        super().__init__()
        self.records: list[results.Record] = []
        self.done: list[int] = []
        self.stop_after = stop_after

    def send(self, record: results.Record) -> None:
        self.records.append(record)

    def progress(self, done: int, total: int, unit: str, note: str = "") -> None:
        super().progress(done, total, unit, note)
        self.done.append(done)
        if done == self.stop_after:
            self.request_stop()

    def of(self, kind: type) -> list:
        return [r for r in self.records if isinstance(r, kind)]


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version of three frame folders."""
    rng = np.random.default_rng(0)
    for key, count in LENGTHS.items():
        (tmp_path / "media" / key).mkdir(parents=True)
        for i in range(count):
            picture = rng.integers(0, 255, (32, 40, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "media" / key / f"{i}.png")
    videos = tuple(
        Video(key=key, split="train", label=0, path=key, num_frames=count)
        for key, count in LENGTHS.items()
    )
    media = str(tmp_path / "media")
    manifest = Manifest(name="m", format="generic", videos=videos, media_root=media)
    (tmp_path / "version").mkdir()
    save_version(tmp_path / "version", manifest, {})
    return tmp_path / "version"


def run(version: Path, output: Path, reporter: Recorder) -> Recorder:
    extract(CONFIG, manifest_dir=version, output=output, reporter=reporter)
    return reporter


def test_a_run_ends_with_a_store_of_every_video(version, tmp_path):
    reporter = run(version, tmp_path / "run", Recorder())

    store = FeatureStore.open(tmp_path / "run" / "features")
    assert {key: store.shape(key)[:2] for key in LENGTHS} == {
        "a": (1, 2),
        "b": (1, 3),
        "c": (1, 1),
    }
    (result,) = reporter.of(results.Result)
    assert result.kind == "extract" and result.data == store.summary()
    assert json.loads(json.dumps(store.settings))["tail"]
    assert store.rule.to_dict() == {"rule": "hold", "snippet_len": 16}
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["features"]


def test_a_stopped_run_goes_on_behind_what_is_done_and_gives_the_same_store(version, tmp_path):
    run(version, tmp_path / "whole", Recorder())

    first = run(version, tmp_path / "run", Recorder(stop_after=2))
    second = run(version, tmp_path / "run", Recorder())

    assert first.of(results.Stopped) == [results.Stopped(step=2)]
    assert not first.of(results.Result)
    assert second.of(results.Started)[0].resumed_step == 2
    assert second.done[0] == 3
    whole, resumed = (
        FeatureStore.open(tmp_path / name / "features").fingerprint for name in ("whole", "run")
    )
    assert whole == resumed


def test_a_transport_stream_has_the_features_of_its_frames(tmp_path):
    """decord leaves out the first pictures of one with B-frames, and repeats the last instead."""
    media = tmp_path / "media"
    media.mkdir()
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (48, 8, 20, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    with av.open(str(media / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2"})
        stream.width, stream.height, stream.gop_size = 160, 64, 12
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(media / "video.mp4")) as source, av.open(str(media / "video.ts"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    keys = ("video.mp4", "video.ts")
    videos = tuple(Video(key=k, split="train", label=0, path=k, num_frames=48) for k in keys)
    manifest = Manifest(name="m", format="generic", videos=videos, media_root=str(media))
    (tmp_path / "version").mkdir()
    save_version(tmp_path / "version", manifest, {})

    run(tmp_path / "version", tmp_path / "run", Recorder())

    store = FeatureStore.open(tmp_path / "run" / "features")
    first, second = (np.array(store.get(key)) for key in keys)
    np.testing.assert_array_equal(first, second)


def test_a_run_that_was_killed_at_its_very_end_reports_its_store(version, tmp_path):
    first = run(version, tmp_path / "run", Recorder())
    again = run(version, tmp_path / "run", Recorder())

    assert again.of(results.Result) == first.of(results.Result)


def test_a_video_that_lost_frames_is_named_and_the_others_are_kept(version, tmp_path):
    (tmp_path / "media" / "b" / "32.png").unlink()

    with pytest.raises(VadError, match="b ends after 32 frames") as error:
        run(version, tmp_path / "run", Recorder())

    assert error.value.code == "video-truncated"
    assert len(list((tmp_path / "run").rglob("*.npy"))) == 1
    assert not (tmp_path / "run" / "features").exists()


def test_a_path_that_leaves_the_media_folder_is_not_opened(version, tmp_path):
    text = (version / "manifest.json").read_text().replace('"path":"a"', '"path":"../version"')
    (version / "manifest.json").write_text(text)

    with pytest.raises(VadError) as error:
        run(version, tmp_path / "run", Recorder())

    assert error.value.code == "path-outside-roots"


def test_videos_without_files_are_named_at_the_start(version, tmp_path):
    text = (version / "manifest.json").read_text().replace('"path":"b"', '"path":""')
    (version / "manifest.json").write_text(text)

    with pytest.raises(VadError) as error:
        run(version, tmp_path / "run", Recorder())

    assert error.value.code == "run-inputs-missing"
    assert error.value.problems == ("b: no video file",)
