"""Published networks as extractors: same features whatever the batch, and as by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vad.configs import ExtractConfig
from vad.errors import ConfigError, VadError
from vad.features import i3d, videomae
from vad.features.networks import Network, check_weights, extract_videos, open_network
from vad.features.videomae import Variant, VideoMae
from vad.features.weights import Weights
from vad.video.reader import VideoReader

CPU = torch.device("cpu")
TINY = Variant(
    image_size=32, patch=16, width=24, depth=2, heads=2, hidden=48, frames=16, num_classes=5
)


class Memory(VideoReader):
    """A video that is an array; counts how many are open."""

    opened = 0

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        type(self).opened += 1

    def frames(self, start: int, stop: int) -> np.ndarray:
        assert stop <= len(self.array)
        return self.array[start:stop]

    def close(self) -> None:
        type(self).opened -= 1


def footage(frames: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (frames, 6, 8, 3), dtype=np.uint8)
    return coarse.repeat(height // 6, axis=1).repeat(width // 8, axis=2)


def queue(*videos: np.ndarray) -> list[tuple[str, int, Callable[[], VideoReader]]]:
    return [(f"v{i}", len(v), partial(Memory, v)) for i, v in enumerate(videos)]


class Mean(torch.nn.Module):
    """A stand-in for a network: the clip's mean, and its first and last frame's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((1, 2, 3)), x[:, 0].mean((1, 2)), x[:, -1].mean((1, 2))], 1)


def stand_in(crops: int = 2, complete_tail: bool = True) -> Network:
    def prepare(frames: np.ndarray) -> list[torch.Tensor]:
        frames = np.pad(frames, ((0, 4 - len(frames)), (0, 0), (0, 0), (0, 0)), mode="edge")
        x = torch.from_numpy(frames).float().mean(-1)
        return [x + n for n in range(crops)]

    return Network(
        name="mean",
        weights=Weights(path=Path("none"), sha256="", checked=False),
        dim=3,
        crops=crops,
        snippet_len=4,
        complete_tail=complete_tail,
        settings={},
        module=Mean(),
        prepare=prepare,
        finish=lambda x: x,
        device=CPU,
        precision="float32",
    )


@pytest.mark.parametrize("read_ahead", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_features_do_not_depend_on_the_batch(batch_size, read_ahead):
    videos = [footage(n, seed=n) for n in (9, 4, 1, 30, 3)]
    sizes: list[int] = []

    found = list(
        extract_videos(
            stand_in(),
            queue(*videos),
            batch_size=batch_size,
            read_ahead=read_ahead,
            on_batch=sizes.append,
        )
    )

    assert [key for key, _ in found] == ["v0", "v1", "v2", "v3", "v4"]
    for video, (_, rows) in zip(videos, found, strict=True):
        grey = video.astype(np.float64).mean((1, 2, 3))
        snippets = [grey[i : i + 4] for i in range(0, len(grey), 4)]
        snippets = [np.append(s, [s[-1]] * (4 - len(s))) for s in snippets]
        expected = np.array([[s.mean(), s[0], s[-1]] for s in snippets])
        np.testing.assert_allclose(rows, np.stack([expected, expected + 1]), rtol=1e-4)
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert sum(sizes) == 2 * (3 + 1 + 1 + 8 + 1)
    assert Memory.opened == 0


def test_a_partial_snippet_is_left_out_where_the_published_script_does():
    found = dict(
        extract_videos(
            stand_in(1, complete_tail=False), queue(footage(9), footage(3)), batch_size=2
        )
    )

    assert found["v0"].shape == (1, 2, 3)  # the ninth frame has no snippet
    assert found["v1"].shape == (1, 1, 3)  # but a short video has one


@pytest.mark.parametrize(("read_ahead", "snippets"), [(False, 12), (True, 16)])
def test_only_what_a_batch_needs_is_decoded_ahead(read_ahead, snippets):
    decoded = []

    class Watched(Memory):
        def frames(self, start: int, stop: int) -> np.ndarray:
            decoded.append(start)
            return super().frames(start, stop)

    videos = [(i, 40, partial(Watched, footage(40))) for i in range(100)]
    found = extract_videos(stand_in(), videos, batch_size=8, read_ahead=read_ahead)
    next(found)
    found.close()

    # 10 snippets of the first video, 2 that filled its last batch, and at most a batch in advance
    assert 12 <= len(decoded) <= snippets
    assert Watched.opened == 0


@pytest.mark.parametrize("read_ahead", [False, True])
def test_a_video_that_breaks_ends_the_run_with_its_own_error(read_ahead):
    class Broken(Memory):
        def frames(self, start: int, stop: int) -> np.ndarray:
            raise VadError("video-truncated", "It ends.")

    videos = [("v0", 8, partial(Memory, footage(8))), ("v1", 8, partial(Broken, footage(8)))]
    found = extract_videos(stand_in(), videos, batch_size=1, read_ahead=read_ahead)

    assert next(found)[0] == "v0"
    with pytest.raises(VadError) as caught:
        list(found)
    assert caught.value.code == "video-truncated"
    assert Broken.opened == 0


def test_a_full_device_is_named_with_what_to_lower():
    class Full(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    network = replace(stand_in(), module=Full())
    with pytest.raises(VadError) as caught:
        list(extract_videos(network, queue(footage(8)), batch_size=1))

    assert caught.value.code == "memory-exhausted"
    assert "batch_size" in caught.value.hint


@pytest.fixture(scope="module")
def i3d_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    model = i3d.I3D()
    for part in model.modules():
        if isinstance(part, torch.nn.Conv3d):  # torch's own start would fade to 1e-6 by the end
            torch.nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
    torch.save(model.state_dict(), folder / "rgb_imagenet.pt")
    return folder


def i3d_clip(video: np.ndarray, left: int, top: int, mirrored: bool = False) -> torch.Tensor:
    """One crop of a snippet by way of Pillow alone: [1, 3, 16, 224, 224]."""
    cuts = []
    for frame in [*video, *[video[-1]] * (16 - len(video))]:
        image = Image.fromarray(frame).resize((340, 256), Image.Resampling.BILINEAR)
        if mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        box = (left, top, left + 224, top + 224)
        cuts.append(np.asarray(image.crop(box), dtype=np.float32))
    return torch.from_numpy(np.stack(cuts)).permute(3, 0, 1, 2)[None] * 2 / 255 - 1


@torch.inference_mode()
def test_i3d_from_frames_to_features_as_by_hand(i3d_folder):
    video = footage(20)
    network = open_network(
        ExtractConfig(extractor="i3d", crops=1), weights_dir=i3d_folder, device=CPU
    )

    ((_, rows),) = extract_videos(network, queue(video), batch_size=2)

    assert rows.shape == (1, 2, 1024)
    model = i3d.I3D().eval()
    model.load_state_dict(torch.load(i3d_folder / "rgb_imagenet.pt"))
    expected = model(i3d_clip(video[16:], 58, 16))[0].numpy()
    np.testing.assert_allclose(rows[0, 1], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(rows[0, 0] - rows[0, 1]).max() > 1e-3
    assert network.settings["weights_sha256"] == network.weights.sha256
    assert len(network.settings["weights_sha256"]) == 64


def test_i3d_cuts_its_ten_crops_in_the_order_asked_for(i3d_folder):
    video = footage(5)
    places = [(0, 0), (116, 0), (58, 16), (0, 32), (116, 32)]
    for order, centre in (("urdmu", 2), ("published", 0)):
        config = ExtractConfig(extractor="i3d", crop_order=order)
        network = open_network(config, weights_dir=i3d_folder, device=CPU)

        got = network.finish(torch.stack(network.prepare(video)))

        first = [p for p in places if p != (58, 16)]
        first.insert(centre, (58, 16))
        assert got.shape == (10, 3, 16, 224, 224)
        for n, clip in enumerate(got):
            torch.testing.assert_close(clip[None], i3d_clip(video, *first[n % 5], n >= 5))


@pytest.fixture
def tiny_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    published = videomae.VARIANTS["small"][1]
    monkeypatch.setitem(videomae.VARIANTS, "small", (TINY, published))
    torch.manual_seed(2)
    state = {k: torch.randn_like(v) * 0.3 for k, v in VideoMae(TINY).state_dict().items()}
    torch.save({"module": state}, tmp_path / published.file)
    return tmp_path


def attend(x: torch.Tensor, p: dict[str, torch.Tensor], heads: int) -> torch.Tensor:
    """A block's attention written out, head by head."""
    width = x.shape[-1]
    size = width // heads
    q, k, v = (x @ p["attn.qkv.weight"].T).split(width, dim=-1)
    q, v = q + p["attn.q_bias"], v + p["attn.v_bias"]
    parts = []
    for h in range(heads):
        at = slice(h * size, (h + 1) * size)
        weight = (q[:, at] / size**0.5 @ k[:, at].T).softmax(-1)
        parts.append(weight @ v[:, at])
    return torch.cat(parts, -1) @ p["attn.proj.weight"].T + p["attn.proj.bias"]


def by_hand(clip: torch.Tensor, state: dict[str, torch.Tensor], shape: Variant) -> torch.Tensor:
    """The feature of one clip [3, F, H, W], from the published description alone."""
    norm = partial(torch.nn.functional.layer_norm, normalized_shape=(shape.width,), eps=1e-6)
    tokens, p, tube = [], shape.patch, shape.tubelet
    kernel = state["patch_embed.proj.weight"].flatten(1)
    for t in range(0, shape.frames, tube):
        for row in range(0, shape.image_size, p):
            for column in range(0, shape.image_size, p):
                cube = clip[:, t : t + tube, row : row + p, column : column + p]
                tokens.append(kernel @ cube.flatten() + state["patch_embed.proj.bias"])
    x = torch.stack(tokens)
    n, j = torch.arange(len(x)).double()[:, None], torch.arange(shape.width).double()
    angle = n / 10000 ** (2 * torch.floor(j / 2) / shape.width)
    x = x + torch.where(j % 2 == 0, angle.sin(), angle.cos()).float()
    for i in range(shape.depth):
        b = {k.removeprefix(f"blocks.{i}."): v for k, v in state.items() if f"blocks.{i}." in k}
        x = x + attend(norm(x, weight=b["norm1.weight"], bias=b["norm1.bias"]), b, shape.heads)
        h = norm(x, weight=b["norm2.weight"], bias=b["norm2.bias"])
        h = h @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"]
        h = h * 0.5 * (1 + torch.erf(h / 2**0.5))
        x = x + h @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"]
    return norm(x.mean(0), weight=state["fc_norm.weight"], bias=state["fc_norm.bias"])


@pytest.mark.parametrize("normalised", [False, True])
def test_videomae_from_frames_to_features_as_by_hand(normalised, tiny_folder):
    video = footage(37, height=60, width=64)
    config = ExtractConfig(extractor="videomae", videomae_variant="small", normalise=normalised)
    network = open_network(config, weights_dir=tiny_folder, device=CPU)

    ((_, rows),) = extract_videos(network, queue(video), batch_size=config.batch_size)

    assert rows.shape == (1, 2, 24)
    state = torch.load(tiny_folder / "vit_s_k710_dl_from_giant.pth")["module"]
    for snippet in (0, 1):
        pixels = torch.from_numpy(video[16 * snippet : 16 * snippet + 16]).permute(3, 0, 1, 2) / 255
        clip = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear")
        if normalised:
            for c, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
                clip[c] = (clip[c] - mean) / std
        expected = by_hand(clip, state, TINY).numpy()
        np.testing.assert_allclose(rows[0, snippet], expected, rtol=1e-4, atol=1e-5)
    assert network.settings["normalise"] is normalised


def test_missing_weights_are_named_before_anything_is_loaded(tmp_path):
    for config, file in (
        (ExtractConfig(extractor="i3d"), "rgb_imagenet.pt"),
        (ExtractConfig(extractor="i3d", weights="model_rgb.pth"), "model_rgb.pth"),
        (
            ExtractConfig(extractor="videomae", videomae_variant="giant"),
            "vit_g_hybrid_pt_1200e_k710_ft.pth",
        ),
    ):
        with pytest.raises(VadError, match=file) as caught:
            check_weights(config, tmp_path)
        assert caught.value.code == "weights-missing"
    check_weights(ExtractConfig(extractor="motion"), None)


def test_reduced_precision_without_a_gpu_is_refused(tiny_folder):
    config = ExtractConfig(extractor="videomae", videomae_variant="small", precision="bfloat16")

    with pytest.raises(ConfigError, match="needs a GPU"):
        open_network(config, weights_dir=tiny_folder, device=CPU)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"extractor": "videomae", "segment_length": 8}, "segment_length"),
        ({"extractor": "i3d", "segment_length": 8}, "segment_length"),
        ({"crops": 3}, "crops"),
        ({"weights": "../other.pt"}, "weights"),
        ({"batch_norm_eps": 1e-4}, "batch_norm_eps"),
    ],
)
def test_settings_that_a_network_cannot_take_are_refused(fields, named):
    with pytest.raises(ConfigError) as caught:
        ExtractConfig(**fields)

    assert set(caught.value.fields) == {named}
