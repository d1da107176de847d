"""Both stages trained together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest_training import Recorder, World, run
from conftest_two_stage import TWO_STAGE, run_both

from vad import results
from vad.configs import ProxiesConfig
from vad.data.manifest import load_manifest, save_version
from vad.errors import ConfigError, VadError
from vad.models.stpvad import PatchHead
from vad.models.urdmu import UrDmu
from vad.reporting import Reporter
from vad.training import checkpoints
from vad.video.proxy_build import build

CHOICES: list[dict[str, Any]] = [
    {"token_ratio": (0.7, 0.5, 0.3), "motion": "time-reversal"},
    {"snippet_choice": "several", "choice_count": 2, "ranking": "score", "cross_attention": True},
    {"clip_view": "motion", "patch_context": "patch", "patch_top": 2, "patch_latent": "mean"},
]
MORE_CHOICES: list[dict[str, Any]] = [
    {"pruning": "soft", "motion": "variance", "random_snippet": True},
    {"clip_view": "energy", "view_cell": 4, "patch_context": "patch", "validation_clips": 0},
    {"snippet_choice": "random", "num_segments": 32, "tubelet_size": 8, "num_tubelet": 0},
    {"clip_view": "speed", "patch_context": "patch", "random_snippet": True, "ranking": "score"},
]


def weights(output: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoints.read(output / checkpoints.name_of(step)).part(checkpoints.MODEL)


def digest(output: Path, step: int = TWO_STAGE["num_epochs"]) -> str:
    """Of weights and optimiser state after a step."""
    return checkpoints.read_metadata(output / checkpoints.name_of(step))["digest"]


@pytest.mark.parametrize(
    "options",
    [*CHOICES, *(pytest.param(each, marks=pytest.mark.long) for each in MORE_CHOICES)],
    ids=lambda o: " ".join(map(str, o)),
)
def test_a_stopped_run_goes_on_as_if_nothing_happened(
    clip_world: World, tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = run_both(clip_world, tmp_path / "whole", **options)
    first = run_both(clip_world, tmp_path / "cut", stop_after=3, **options)
    second = run_both(clip_world, tmp_path / "cut", **options)

    start = second.of(results.Started)[0].resumed_step
    kept = {step: values for step, values in first.losses().items() if step <= start}
    assert kept | second.losses() == whole.losses()
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")


def test_every_step_reports_the_terms_of_both_stages(clip_world: World, tmp_path: Path) -> None:
    found = run_both(clip_world, tmp_path, token_ratio=(0.7, 0.5, 0.3)).losses()

    terms = {"total", "stage1", "stage2", "stage1_att_loss", "stage2_att_loss", "stage2_ratio"}
    assert {f"loss/{term}" for term in terms} <= found[1].keys()
    one = found[1]
    parts = one["loss/stage1"] + one["loss/stage2"] + one["loss/stage2_ratio"]
    assert one["loss/total"] == pytest.approx(parts, rel=1e-5)
    assert {"validation/patch_video_auc", "validation/fused_video_auc"} <= found[2].keys()


def test_the_checkpoint_is_chosen_by_both_stages_unless_no_clips_are_looked_at(
    clip_world: World, tmp_path: Path
) -> None:
    with_clips = run_both(clip_world, tmp_path / "a", num_epochs=2)
    without = run_both(clip_world, tmp_path / "b", num_epochs=2, validation_clips=0)

    def key(recorder: Recorder) -> str:
        best = recorder.of(results.Result)[0].data["best"]["path"]
        folder = tmp_path / ("a" if recorder is with_clips else "b")
        return checkpoints.read_metadata(folder / best)["best_key"]

    assert key(with_clips) == "validation/fused_video_auc"
    assert key(without) == "validation/video_auc"


def test_stage_1_trains_as_it_does_alone(clip_world: World, tmp_path: Path) -> None:
    """Without cross-attention the stages share nothing, and a step is the sum of two."""
    shared = ("num_epochs", "batch_size", "num_segments", "validation_share", "eval_every")
    settings = {name: TWO_STAGE[name] for name in (*shared, "checkpoint_every", "device", "seed")}
    run(clip_world, tmp_path / "one", dropout=0.0, **settings)
    run_both(clip_world, tmp_path / "both", dropout=0.0)

    alone = weights(tmp_path / "one", 4)
    both = weights(tmp_path / "both", 4)
    for name, value in alone.items():
        # They begin with other random weights only where stage 2's are drawn in between.
        torch.testing.assert_close(both[f"stage1.{name}"], value)


@pytest.mark.parametrize(("stage1", "stage2"), [("sampled", "mean"), ("mean", "sampled")])
def test_each_stage_draws_its_latent_or_takes_the_mean(
    clip_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage1: str, stage2: str
) -> None:
    drawn: dict[bool, set[bool]] = {False: set(), True: set()}
    forward = UrDmu.forward_bags

    def noted(self: UrDmu, *bags: torch.Tensor, noise: torch.Tensor, **others: Any) -> Any:
        assert noise.shape == (*bags[0].shape[:-1], 512)
        if self.training:  # watched bags are looked at without noise
            drawn[isinstance(self, PatchHead)].add(bool(noise.any()))
        return forward(self, *bags, noise=noise, **others)

    monkeypatch.setattr(UrDmu, "forward_bags", noted)
    run_both(clip_world, tmp_path, num_epochs=2, latent=stage1, patch_latent=stage2)

    assert drawn == {False: {stage1 == "sampled"}, True: {stage2 == "sampled"}}


def test_a_frozen_stage_1_stays_as_it_started(clip_world: World, tmp_path: Path) -> None:
    run(clip_world, tmp_path / "one", num_epochs=2)
    start = tmp_path / "one" / checkpoints.name_of(2)
    run_both(clip_world, tmp_path / "both", start=start, stage1="frozen", cross_attention=True)

    alone, both = weights(tmp_path / "one", 2), weights(tmp_path / "both", 4)
    assert all(torch.equal(both[f"stage1.{name}"], value) for name, value in alone.items())
    begun = weights(tmp_path / "both", 2)
    assert any(not torch.equal(begun[k], v) for k, v in both.items() if k.startswith("encoder."))


def test_a_frozen_stage_1_needs_weights(clip_world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs weights"):
        run_both(clip_world, tmp_path, stage1="frozen")


def test_both_stages_start_from_a_run_of_both(clip_world: World, tmp_path: Path) -> None:
    run_both(clip_world, tmp_path / "first", num_epochs=1)
    start = tmp_path / "first" / checkpoints.name_of(1)
    run_both(clip_world, tmp_path / "second", num_epochs=1, start=start, lr_schedule="1:0 2:1")

    first, second = weights(tmp_path / "first", 1), weights(tmp_path / "second", 1)
    assert all(torch.equal(first[name], value) for name, value in second.items())


def test_a_video_that_cannot_be_looked_at_is_left_out_and_named(
    clip_world: World, tmp_path: Path
) -> None:
    manifest = load_manifest(clip_world.data)
    bad = next(v for v in manifest.split("train") if v.label == 0)
    media = Path(manifest.media_root)
    copy = tmp_path / "footage"
    shutil.copytree(media, copy)
    (copy / bad.path).write_bytes(b"no video")
    moved = manifest.__class__(**{**manifest.__dict__, "media_root": str(copy)})
    (tmp_path / "version").mkdir()
    save_version(tmp_path / "version", moved, {})
    recorder = run_both(
        World(tmp_path / "version", clip_world.features), tmp_path / "out", num_epochs=1
    )

    data = recorder.of(results.Result)[0].data
    assert list(data["left_out"]) == [bad.key]
    warnings = [r.message for r in recorder.of(results.Log) if r.level == "warning"]
    assert any(Path(bad.path).name in text for text in warnings)


@pytest.mark.parametrize("clip_size", [(32, 32), (32, 48)])
def test_proxies_without_copies_of_the_clips_size_do_and_the_log_says_what_is_quicker(
    clip_world: World, tmp_path: Path, clip_size: tuple[int, int]
) -> None:
    config = ProxiesConfig(clip_size=clip_size)
    build(config, manifest_dir=clip_world.data, output=tmp_path, reporter=Reporter())

    said = run_both(clip_world, tmp_path / "run", proxies=tmp_path / "proxies", num_epochs=1)

    hints = [line.message for line in said.of(results.Log) if "clip_size 32 32" in line.message]
    assert len(hints) == (clip_size != (32, 32))
    assert list(said.losses()) == [1]


def test_training_without_video_files_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(VadError) as caught:
        run_both(world, tmp_path)
    assert caught.value.code in ("too-few-videos", "run-inputs-missing")


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(
    clip_world: World, tmp_path: Path
) -> None:
    losses = [
        run_both(clip_world, tmp_path / name, num_epochs=1, seed=seed).losses()[1]["loss/total"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert losses[0] == losses[1] != losses[2]
    assert np.isfinite(losses).all()
