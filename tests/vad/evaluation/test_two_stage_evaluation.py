"""The `evaluate` run of a checkpoint of both stages, from video files to the result."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vad import evaluating, looking, results
from vad.configs import EvaluateConfig
from vad.data import formats, synthetic
from vad.data.feature_writer import StoreWriter
from vad.data.manifest import Truth, Video, load_manifest, load_truth, save_version
from vad.errors import ConfigError, VadError
from vad.evaluating import PATCHES, evaluate_run, fuse
from vad.evaluation.map_blur import Blur, blurred
from vad.evaluation.patch import PATCH_METRICS
from vad.evaluation.patch_protocol import PatchProtocol
from vad.evaluation.patch_scores import PatchScores
from vad.evaluation.protocol import Protocol
from vad.evaluation.scores import ScoreSet
from vad.models.grid import ClipGrid
from vad.models.two_stage import Architecture, TwoStage
from vad.models.urdmu import UrDmu
from vad.reporting import Reporter
from vad.timeline import SnippetRule
from vad.training import checkpoints

DIM = 12
GRID = ClipGrid(height=32, width=48, frames=16, patch=16, num_tubelet=2)
ARCHITECTURE = Architecture(
    feature_dim=DIM,
    memory_slots=20,
    grid=GRID,
    dim=12,
    depth=2,
    heads=2,
    pruning="hard",
    places=(1,),
    token_ratio=(0.7,),
    cross_attention=False,
)


@dataclass(frozen=True)
class World:
    """A small synthetic data set, its features, and checkpoints with random weights."""

    data: Path
    features: Path
    both: Path
    stage1: Path


class Recorder(Reporter):
    def __init__(self, stop_at: str = "") -> None:
        super().__init__()
        self.records: list[results.Record] = []
        self._stop_at = stop_at

    def send(self, record: results.Record) -> None:
        self.records.append(record)

    def progress(self, done: int, total: int, unit: str, note: str = "") -> None:
        self.send(results.Progress(done=done, total=total, unit=unit, note=note))
        if note and note == self._stop_at:
            self.request_stop()

    @property
    def last(self) -> results.Record:
        return self.records[-1]


def checkpoint(path: Path, model: torch.nn.Module, architecture: dict[str, Any]) -> Path:
    tensors = {checkpoints.MODEL + k: v for k, v in model.state_dict().items()}
    metadata = {"kind": "test", "architecture": architecture}
    checkpoints.write(path, 3, tensors, metadata, relative_to=path.parent)
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("both")
    synthetic.make(folder / "made", preset="thumbnail", processes=1)
    manifest, truth = formats.read("synthetic", folder / "made")
    (folder / "data").mkdir()
    save_version(folder / "data", manifest, truth)
    rng = np.random.default_rng(4)
    with StoreWriter(folder / "features", dim=DIM, rule=SnippetRule(), extractor="test") as writer:
        for video in manifest.split("test"):
            rows = rng.normal(size=(1, video.num_frames // 16, DIM)).astype(np.float32)
            writer.add(video.key, rows)
        writer.close()
    torch.manual_seed(1)
    both = checkpoint(folder / "both.safetensors", TwoStage(ARCHITECTURE), ARCHITECTURE.to_dict())
    stage1 = checkpoint(
        folder / "stage1.safetensors",
        UrDmu(DIM, memory_slots=20),
        {"name": "urdmu", "feature_dim": DIM, "memory_slots": 20},
    )
    return World(folder / "data", folder / "features", both, stage1)


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """The networks have fixed widths, 100 MB: most of a test's time would be reading them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluating, "load_model", functools.cache(evaluating.load_model))
        yield


def evaluate(
    world: World,
    output: Path,
    *,
    data: Path | None = None,
    file: Path | None = None,
    reporter: Recorder | None = None,
    **settings: Any,
) -> Recorder:
    recorder = reporter or Recorder()
    evaluate_run(
        EvaluateConfig(**{"bootstrap_samples": 40, "device": "cpu", **settings}),
        manifest_dir=data or world.data,
        features_dir=world.features,
        checkpoint=file or world.both,
        output=output,
        reporter=recorder,
    )
    return recorder


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An evaluation with the defaults: its folder and its result."""
    output = tmp_path_factory.mktemp("whole")
    record = evaluate(world, output).last
    assert isinstance(record, results.Result)
    return output, dict(record.data)


def other_version(
    world: World, folder: Path, change: Any, truth_of: Any = lambda key, truth: truth
) -> Path:
    """The data set with other videos or another truth."""
    manifest = load_manifest(world.data)
    truth = {k: truth_of(k, t) for k, t in load_truth(world.data, "test").items()}
    folder.mkdir()
    videos = tuple(change(video) for video in manifest.videos)
    save_version(folder, dataclasses.replace(manifest, videos=videos), truth)
    return folder


def test_the_result_is_plain_json_and_its_files_are_the_ones_it_names(whole):
    output, data = whole

    json.dumps(data, allow_nan=False)
    for part in (data, data["patch"]):
        content = (output / part["scores"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
    assert sorted(p.name for p in output.iterdir()) == [
        "patches.safetensors",
        "scores.safetensors",
    ]


def test_every_snippet_of_every_test_video_has_a_map(world: World, whole):
    output, data = whole
    scores = ScoreSet.load(output / "scores.safetensors")
    patches = PatchScores.open(output / "patches.safetensors")

    assert (
        patches.keys == scores.keys == tuple(v.key for v in load_manifest(world.data).split("test"))
    )
    assert (patches.rows, patches.columns, patches.tubelets) == (2, 3, 2)
    for video, maps in zip(scores.videos(), patches.videos(), strict=True):
        assert len(maps.maps) == len(video.scores) == video.num_frames // 16
        np.testing.assert_array_equal(maps.frames, video.frames)
        assert maps.kept.any(axis=2).all()
        assert not maps.kept.all()
    assert data["left_out"] == data["damaged"] == {}
    assert patches.metadata["patch"]["fingerprint"] == data["patch"]["fingerprint"]


def test_with_both_stages_the_mean_of_both_is_evaluated_and_each_is_reported(whole):
    output, data = whole
    scores = ScoreSet.load(output / "scores.safetensors")
    patches = PatchScores.open(output / "patches.safetensors")

    for video in patches.videos():
        np.testing.assert_allclose(
            scores.video(video.key).scores, (video.stage1 + video.stage2) / 2, rtol=1e-6
        )
    assert data["evaluated"] == "fused"
    assert data["protocol"]["score"] == "mean of stage 1 and stage 2"
    assert list(data["stages"]) == ["stage1", "stage2", "fused"]
    for name in ("auc", "ap_step"):
        assert data["stages"]["fused"][name] == data["metrics"][name]
        assert data["stages"]["fused"]["intervals"][name] == data["intervals"][name]
        assert data["stages"]["stage2"][name] is not None


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"score": "stage1"}, "stage1"),
        ({"score": "stage2"}, "stage2, highest patch"),
        ({"fusion": "max"}, "higher of stage 1 and stage 2"),
        ({"fusion": "product"}, "product of stage 1 and stage 2"),
    ],
)
def test_the_protocol_says_what_was_evaluated(world: World, whole, tmp_path, settings, text):
    data = evaluate(world, tmp_path, bootstrap_samples=0, **settings).last.data

    assert data["protocol"]["score"] == text
    assert data["metrics"]["auc"] == data["stages"][data["evaluated"]]["auc"]
    assert data["stages"]["stage1"]["auc"] == whole[1]["stages"]["stage1"]["auc"]
    assert data["fingerprint"] != whole[1]["fingerprint"]
    assert data["patch"]["fingerprint"] != whole[1]["patch"]["fingerprint"]  # another gate


def test_patches_are_measured_in_the_model_s_grid_with_intervals_and_a_fingerprint(whole):
    patch = whole[1]["patch"]

    assert list(patch["metrics"]) == list(PATCH_METRICS)
    assert patch["metrics"]["patch_auc"] is not None
    assert patch["metrics"]["rbdc"] is not None
    assert patch["intervals"]["patch_auc"] is None  # two normal videos are too few
    assert (patch["grid"], patch["tubelets"], patch["patch_size"]) == ([2, 3], 2, 16)
    assert (patch["videos"], patch["unlocated"], patch["why"]) == (7, 0, "")
    assert patch["frames"] == whole[1]["counts"]["frames"]
    assert [row["key"] for row in patch["per_video"]] == [
        row["key"] for row in whole[1]["per_video"]
    ]
    stored = PatchProtocol.from_dict(json.loads(json.dumps(patch["protocol"])))
    assert stored.fingerprint == patch["fingerprint"]
    assert stored.frame == Protocol.from_dict(whole[1]["protocol"])


def test_tubelets_may_keep_their_own_frames(world: World, whole, tmp_path):
    data = evaluate(world, tmp_path, tubelet_maps="each", bootstrap_samples=0).last.data

    assert data["fingerprint"] == whole[1]["fingerprint"]
    assert data["patch"]["fingerprint"] != whole[1]["patch"]["fingerprint"]
    assert data["patch"]["frames"] == whole[1]["patch"]["frames"]


def test_blurred_maps_are_what_is_stored_measured_and_named(world: World, whole, tmp_path):
    folder, plain = whole
    data = evaluate(world, tmp_path, map_blur=0.5, map_smoothing=1, bootstrap_samples=0).last.data

    before = PatchScores.open(folder / PATCHES)
    after = PatchScores.open(tmp_path / PATCHES)
    for video in before.videos():
        found = after.video(video.key)
        mean = blurred(video.maps, video.kept, Blur(0.5, 1.0), rows=2, columns=3)
        np.testing.assert_array_equal(found.maps, mean)
        np.testing.assert_array_equal(found.stage2, mean.max(axis=(1, 2)))
    text = "maps blurred by 0.5 patches and 1 snippets"
    assert data["stages"]["stage2"]["score"] == f"stage2, highest patch of {text}"
    assert data["protocol"]["score"] == f"mean of stage 1 and stage 2, {text}"
    assert data["stages"]["stage1"]["auc"] == plain["stages"]["stage1"]["auc"]
    assert data["patch"]["protocol"]["merge"] == f"highest of the tubelets, {text[5:]}"


def test_a_blur_leaves_the_frame_scores_of_stage_1_comparable(world: World, whole, tmp_path):
    settings = {"score": "stage1", "bootstrap_samples": 0}
    plain, soft = (
        evaluate(world, tmp_path / str(blur), map_blur=blur, **settings).last.data
        for blur in (0, 1)
    )

    assert plain["fingerprint"] == soft["fingerprint"]
    assert plain["patch"]["fingerprint"] != soft["patch"]["fingerprint"]


def test_patches_cover_the_frames_that_the_frame_metrics_cover(world: World, whole, tmp_path):
    data = evaluate(world, tmp_path, tail="cut", bootstrap_samples=0).last.data

    assert data["patch"]["frames"] == data["counts"]["frames"] < whole[1]["patch"]["frames"]


def test_an_abnormal_video_without_a_place_is_left_out_of_the_patches_alone(
    world: World, whole, tmp_path
):
    gone = next(v.key for v in load_manifest(world.data).split("test", 1))

    def without(key: str, truth: Truth) -> Truth:
        return dataclasses.replace(truth, tracks=()) if key == gone else truth

    data = other_version(world, tmp_path / "data", lambda v: v, without)
    found = evaluate(world, tmp_path / "out", data=data, bootstrap_samples=0).last.data

    assert (found["patch"]["videos"], found["patch"]["unlocated"]) == (6, 1)
    assert found["patch"]["unlocated_videos"] == [gone]
    assert found["counts"] == whole[1]["counts"]


def test_without_any_place_there_are_maps_but_no_patch_metrics(world: World, tmp_path):
    data = other_version(
        world,
        tmp_path / "data",
        lambda v: v,
        lambda key, truth: dataclasses.replace(truth, tracks=()),
    )

    found = evaluate(world, tmp_path / "out", data=data, bootstrap_samples=0).last.data

    assert found["patch"]["metrics"] == {}
    assert "boxes or masks" in found["patch"]["why"]
    assert len(PatchScores.open(tmp_path / "out" / found["patch"]["scores"])) == 7


def test_a_video_that_cannot_be_looked_at_is_left_out_of_everything_and_named(
    world: World, tmp_path
):
    test = load_manifest(world.data).split("test")

    def without_file(video: Video) -> Video:
        return dataclasses.replace(video, path="") if video.key == test[0].key else video

    data = other_version(world, tmp_path / "data", without_file)
    recorder = evaluate(world, tmp_path / "out", data=data, bootstrap_samples=0)

    found = recorder.last.data
    assert list(found["left_out"]) == [test[0].key]
    assert found["counts"]["videos"] == found["patch"]["videos"] == len(test) - 1
    assert found["protocol"]["num_videos"] == len(test) - 1
    assert any(r.level == "warning" for r in recorder.records if isinstance(r, results.Log))


def test_without_any_video_to_look_at_the_run_fails_and_says_so(world: World, tmp_path):
    data = other_version(world, tmp_path / "data", lambda v: dataclasses.replace(v, path=""))

    with pytest.raises(VadError, match="can look at none") as refused:
        evaluate(world, tmp_path / "out", data=data)

    assert refused.value.code == "run-inputs-missing"
    assert len(refused.value.problems) == 7


def test_a_stopped_run_goes_on_with_the_videos_it_has_not_seen_and_ends_the_same(
    world: World, whole, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    keys = [v.key for v in load_manifest(world.data).split("test")]
    stopped = evaluate(world, tmp_path, reporter=Recorder(stop_at=keys[2]))
    assert stopped.last == results.Stopped(step=3)
    seen = []
    score = looking.score_patches

    def counting(*args: Any) -> Any:
        seen.append(args[3])
        return score(*args)

    monkeypatch.setattr(looking, "score_patches", counting)

    found = evaluate(world, tmp_path).last

    assert seen == keys[3:]
    assert dict(found.data) == whole[1]


def test_what_was_kept_of_another_checkpoint_is_not_used(tmp_path):
    maps = looking.VideoMaps(np.ones((1, 1, 2), np.float32), np.ones((1, 1, 2), bool))
    looking.KeptMaps(tmp_path / "part", "one").put("a", maps, "")

    assert looking.KeptMaps(tmp_path / "part", "one").get("a") is not None
    assert looking.KeptMaps(tmp_path / "part", "two").get("a") is None


def test_what_goes_wrong_with_a_video_while_it_is_looked_at_is_noted_and_outlives_a_stop(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    clips = SimpleNamespace(damaged={"torn": "torn has 3 frames."})
    maps = looking.VideoMaps(np.ones((1, 1, 2), np.float32), np.ones((1, 1, 2), bool))

    def scored(_model: Any, _store: Any, _clips: Any, key: str) -> looking.VideoMaps:
        if key == "dead":
            raise VadError("video-unreadable", "dead cannot be decoded.")
        return maps

    monkeypatch.setattr(looking, "score_patches", scored)

    for _ in range(2):
        kept = looking.KeptMaps(tmp_path / "part", "one")
        nothing: Any = None
        recorder = Recorder()
        found = looking.look(nothing, nothing, clips, ["good", "dead", "torn"], kept, recorder)
        clips.damaged = {}  # another process has seen nothing yet

        assert list(found.maps) == ["good", "torn"]
        assert found.left_out == {"dead": "dead cannot be decoded."}
        assert found.damaged == {"torn": "torn has 3 frames."}


@pytest.mark.parametrize("score", ["stage2", "fused"])
def test_a_checkpoint_of_stage_1_has_no_score_of_stage_2(world: World, tmp_path, score):
    with pytest.raises(ConfigError, match="of stage 1 alone") as refused:
        evaluate(world, tmp_path, file=world.stage1, score=score)

    assert list(refused.value.fields) == ["score"]


def test_a_checkpoint_of_stage_1_is_evaluated_as_ever(world: World, tmp_path):
    data = evaluate(world, tmp_path, file=world.stage1).last.data

    assert data["protocol"]["score"] == "stage1"
    assert not {"patch", "stages"} & data.keys()
    assert [p.name for p in tmp_path.iterdir()] == ["scores.safetensors"]


def test_the_fingerprint_of_stage_1_evaluations_never_changes():
    videos = (
        Video(key="a", split="test", label=1, num_frames=64),
        Video(key="b", split="test", label=0, num_frames=48),
    )
    protocol = Protocol.of(
        dataset="d" * 64,
        videos=videos,
        truth={"a": Truth(intervals=((3, 9),))},
        rule=SnippetRule(),
    )

    assert (
        protocol.fingerprint == "f2c67d6dd44af041d350ca8f1853d7da91853464119c51bd92f16eafed44f274"
    )


@pytest.mark.parametrize(
    ("fusion", "expected"),
    [("mean", [0.5, 0.375]), ("max", [0.75, 0.5]), ("product", [0.1875, 0.125])],
)
def test_scores_are_fused_as_the_name_says(fusion, expected):
    found = fuse(np.array([0.25, 0.5], np.float32), np.array([0.75, 0.25], np.float32), fusion)

    assert found.dtype == np.float32
    assert found.tolist() == expected


def test_a_damaged_architecture_is_refused(world: World, tmp_path):
    architecture = {**ARCHITECTURE.to_dict(), "grid": {"height": 33, "width": 48, "num_tubelet": 2}}
    file = checkpoint(tmp_path / "odd.safetensors", TwoStage(ARCHITECTURE), architecture)

    with pytest.raises(VadError, match="cannot be used") as refused:
        evaluate(world, tmp_path / "out", file=file)

    assert refused.value.code == "checkpoint-invalid"
