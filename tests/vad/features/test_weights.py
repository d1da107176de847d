"""Published weights: found, hashed, read without running code, fitted or refused."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from vad.errors import VadError
from vad.features import i3d, videomae, weights
from vad.features.videomae import Variant, VideoMae
from vad.features.weights import Weights, find, read_state

TINY = Variant(
    image_size=28, patch=14, width=44, depth=2, heads=4, hidden=192, frames=8, num_classes=7
)


def saved(folder: Path, state: object, name: str = "weights.pt", **options: object) -> Weights:
    torch.save(state, folder / name, **options)
    return Weights(path=folder / name, sha256="", checked=False)


def tiny_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {k: torch.randn_like(v) for k, v in VideoMae(TINY).state_dict().items()}


@pytest.fixture(scope="module")
def i3d_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return i3d.I3D().state_dict()


def hassony(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the names of model_rgb.pth."""
    branches = {"b0": "branch_0", "b1a": "branch_1.0", "b1b": "branch_1.1"}
    branches |= {"b2a": "branch_2.0", "b2b": "branch_2.1", "b3b": "branch_3.1", "bn": "batch3d"}
    renamed = {}
    for name, tensor in state.items():
        first, *parts = name.split(".")
        first = "conv3d_0c_1x1" if first == "logits" else first[0].lower() + first[1:]
        renamed[".".join([first, *(branches.get(p, p) for p in parts)])] = tensor
    return renamed


def refusal(state: object, folder: Path) -> VadError:
    with pytest.raises(VadError) as caught:
        videomae.load(saved(folder, state), TINY)
    assert caught.value.code == "checkpoint-invalid"
    assert "weights.pt" in caught.value.message
    return caught.value


def test_an_absent_file_is_named_with_its_publisher_and_its_place(tmp_path):
    with pytest.raises(VadError) as caught:
        find(tmp_path, "vit_g_hybrid_pt_1200e_k710_ft.pth")

    assert caught.value.code == "weights-missing"
    assert "vit_g_hybrid_pt_1200e_k710_ft.pth" in caught.value.message
    assert "VideoMAEv2 project of OpenGVLab" in caught.value.hint
    assert str(tmp_path / "vit_g_hybrid_pt_1200e_k710_ft.pth") in caught.value.hint


def test_without_a_weights_folder_the_file_is_still_named():
    with pytest.raises(VadError, match=r"rgb_imagenet\.pt.*no weights folder") as caught:
        find(None, "rgb_imagenet.pt")

    assert caught.value.code == "weights-missing"


@pytest.mark.parametrize("name", ["", "..", "../weights.pt", "/etc/hostname", "a/b.pt"])
def test_a_name_that_leaves_the_folder_is_refused(name, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"x")
    (tmp_path / "inside").mkdir()

    with pytest.raises(VadError) as caught:
        find(tmp_path / "inside", name)

    assert caught.value.code == "weights-missing"


def test_the_hash_that_was_found_is_recorded_and_checked_when_it_is_known(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"some weights")
    digest = hashlib.sha256(b"some weights").hexdigest()

    assert find(tmp_path, path.name) == Weights(path=path, sha256=digest, checked=False)

    for text in (f"{digest.upper()}\n", f"{'0' * 64}  other.pt\n{digest} *weights.pt\n"):
        (tmp_path / "weights.pt.sha256").write_text(text)
        assert find(tmp_path, path.name) == Weights(path=path, sha256=digest, checked=True)
    assert digest in str(find(tmp_path, path.name))


@pytest.mark.parametrize("text", ["0" * 64, "", "not a hash", "0" * 64 + "  another.pt"])
def test_a_file_that_its_hash_does_not_describe_is_refused(text, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"some weights")
    (tmp_path / "weights.pt.sha256").write_text(text)

    with pytest.raises(VadError) as caught:
        find(tmp_path, "weights.pt")

    assert caught.value.code == "checkpoint-invalid"


def test_both_published_layouts_of_i3d_give_the_same_network(i3d_state, tmp_path):
    without_counts = {k: v for k, v in i3d_state.items() if not k.endswith("num_batches_tracked")}
    files = {
        "rgb_imagenet.pt": (without_counts, {"_use_new_zipfile_serialization": False}),
        "model_rgb.pth": (hassony(i3d_state), {}),
    }
    for name, (state, options) in files.items():
        model = i3d.load(saved(tmp_path, state, name, **options), eps=i3d.EPS_URDMU)

        loaded = model.state_dict()
        assert list(loaded) == list(i3d_state)
        assert all(torch.equal(loaded[k], v) for k, v in i3d_state.items())
        assert not model.training
        assert model.Mixed_5c.b0.bn.eps == i3d.EPS_URDMU


def test_an_i3d_with_another_classifier_is_refused(i3d_state, tmp_path):
    state = {**i3d_state, "logits.conv3d.bias": torch.zeros(157)}

    with pytest.raises(VadError) as caught:
        i3d.load(saved(tmp_path, state))

    assert caught.value.problems == ("logits.conv3d.bias: has shape [157], expected [400]",)


@pytest.mark.parametrize("wrap", ["model", "module", None])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "encoder.", "_orig_mod.backbone."])
def test_videomae_is_unwrapped_and_its_prefixes_go(wrap, prefix, tmp_path):
    expected = tiny_state()
    state: dict = {prefix + k: v for k, v in expected.items()}

    model = videomae.load(saved(tmp_path, {wrap: state, "epoch": 3} if wrap else state), TINY)

    loaded = model.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in expected.items())
    # what is not in the file is there all the same
    torch.testing.assert_close(model.pos_embed, videomae.position_table(16, 44))


def test_half_precision_files_become_float32(tmp_path):
    state = {k: v.half() for k, v in tiny_state().items()}

    model = videomae.load(saved(tmp_path, state), TINY)

    assert {v.dtype for v in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.head.weight, state["head.weight"].float())


def test_every_parameter_that_does_not_fit_is_listed(tmp_path):
    state = tiny_state()
    del state["blocks.0.attn.q_bias"]
    state["head.bias"] = torch.zeros(8)
    state["norm.weight"] = torch.zeros(44)
    state["fc_norm.bias"] = torch.zeros(44, dtype=torch.int64)
    state["fc_norm.weight"][3] = float("nan")

    problems = " | ".join(refusal(state, tmp_path).problems)

    assert "blocks.0.attn.q_bias: missing" in problems
    assert "head.bias: has shape [8], expected [7]" in problems
    assert "norm.weight: unknown" in problems
    assert "fc_norm.bias: holds torch.int64" in problems
    assert "fc_norm.weight: holds values that are infinite or not a number" in problems


def test_two_tensors_for_one_parameter_are_refused(tmp_path):
    state = tiny_state()
    state["backbone.head.bias"] = torch.ones(7)

    assert "a second tensor for head.bias" in refusal(state, tmp_path).problems[0]


def test_weights_of_another_network_are_refused_in_a_few_lines(i3d_state, tmp_path):
    error = refusal(i3d_state, tmp_path)

    assert len(error.problems) == weights._LISTED_PROBLEMS + 1
    assert "more" in error.problems[-1]


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused_and_does_not_run_it(zipped, tmp_path):
    sprung = tmp_path / "sprung"
    saved(tmp_path, {"model": Trap(sprung)}, _use_new_zipfile_serialization=zipped)

    with pytest.raises(VadError) as caught:
        read_state(tmp_path / "weights.pt")

    assert caught.value.code == "checkpoint-invalid"
    assert not sprung.exists()


def test_a_damaged_file_is_refused(tmp_path):
    whole = saved(tmp_path, tiny_state()).path.read_bytes()
    for content in (
        b"",
        b"not weights",
        whole[: len(whole) // 2],
        pickle.dumps({"a": 1}, protocol=2),
    ):
        (tmp_path / "weights.pt").write_bytes(content)
        with pytest.raises(VadError) as caught:
            read_state(tmp_path / "weights.pt")
        assert caught.value.code == "checkpoint-invalid"


@pytest.mark.parametrize("data", [[1, 2], {}, {"a": 1}, {"model": {"a": "text"}}])
def test_a_file_without_a_dictionary_of_tensors_is_refused(data, tmp_path):
    saved(tmp_path, data)

    with pytest.raises(VadError) as caught:
        read_state(tmp_path / "weights.pt")

    assert caught.value.code == "checkpoint-invalid"
