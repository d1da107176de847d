"""UR-DMU, its parts and its loss against numbers that the published code computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from einops import rearrange
from vectors import FORWARD, GRADIENT, KL, SCALAR, TERMS, cases, close, fill, given, rule, vector

from vad.data.segments import resample, segment_bounds
from vad.losses import ad_loss
from vad.models.memory import MemoryUnit
from vad.models.transformer import Attention, Transformer, distance_matrix
from vad.models.urdmu import BagOutput, UrDmu


def test_the_weight_rule_is_understood() -> None:
    v = vector("weights_probe")
    for i, (name, shape) in enumerate(zip(v["names"], v["shapes"], strict=True)):
        sizes = tuple(int(n) for n in str(shape).strip("()[]").replace(",", " ").split())
        values = rule(str(name), sizes, int(v["weight_seed"]))
        np.testing.assert_array_equal(values.reshape(-1)[:6], v[f"first{i}"])
        np.testing.assert_allclose(values.astype(np.float64).sum(), v[f"sum{i}"], rtol=1e-9)


def test_memory_unit() -> None:
    v = vector("memory_unit")
    for i in cases(v, "x"):
        x = torch.from_numpy(v[f"x{i}"])
        unit = fill(MemoryUnit(int(v[f"nums{i}"]), x.shape[-1]))
        score, augmentation = unit(x)
        close(score, v[f"att{i}"], FORWARD)
        close(augmentation, v[f"aug{i}"], FORWARD)


def test_transformer() -> None:
    v = vector("gl_transformer")
    for i in cases(v, "x"):
        dim, depth, heads, head_dim, mlp_dim = v[f"cfg{i}"].tolist()
        x = torch.from_numpy(v[f"x{i}"])
        close(fill(Transformer(dim, depth, heads, head_dim, mlp_dim))(x), v[f"out{i}"], FORWARD)
        close(fill(Attention(dim, heads, head_dim))(x), v[f"attn_only{i}"], FORWARD)
    matrix = v["local_matrix"]
    close(distance_matrix(len(matrix), torch.device("cpu"), torch.float32), matrix, FORWARD)


def test_training_forward_loss_and_gradient() -> None:
    v = vector("urdmu_train")
    for i in cases(v, "A_att"):
        x, noise = given(v, f"x{i}"), given(v, f"noise{i}")
        normal, abnormal = x.chunk(2)
        model = fill(UrDmu(x.shape[-1]))
        out = model.forward_bags(normal, abnormal, noise=noise, with_features=True)

        close(torch.cat([out.normal_scores, out.abnormal_scores]), v[f"frame{i}"], FORWARD)
        for ours, theirs in (
            (out.a_att, "A_att"),
            (out.n_att, "N_att"),
            (out.a_natt, "A_Natt"),
            (out.n_aatt, "N_Aatt"),
        ):
            close(ours, v[f"{theirs}{i}"], FORWARD)
        for index, theirs in ((out.a_index, "A"), (out.n_index, "N"), (out.p_index, "P")):
            np.testing.assert_array_equal(index.numpy(), v[f"{theirs}_index{i}"])
        assert out.snippet_features is not None
        close(out.snippet_features[:, ::9, ::64], v[f"snippet_features{i}"], FORWARD)
        close(out.triplet, v[f"triplet_margin{i}"], SCALAR)
        close(out.kl, v[f"kl_loss{i}"], KL)
        close(out.distance, v[f"distance{i}"], SCALAR)

        losses = ad_loss(out)
        for ours, theirs in TERMS.items():
            tolerance = KL if ours in ("kl_loss", "total") else SCALAR
            close(losses[ours], v[f"loss_{theirs}{i}"], tolerance)
        losses["total"].backward()
        gradients = {k: p.grad.norm().item() for k, p in model.named_parameters()}
        names = [str(name) for name in v["grad_names"]]
        assert set(names) == set(gradients)
        got = np.array([gradients[name] for name in names])
        np.testing.assert_allclose(got, v[f"grad_norm{i}"], **GRADIENT)


def test_testing_forward() -> None:
    v = vector("urdmu_eval")
    for i in cases(v, "frame"):
        x = given(v, f"x{i}")
        model = fill(UrDmu(x.shape[-1]))
        out = model(x, with_features=True)
        flat = x if x.ndim == 3 else rearrange(x, "b n t d -> (b n) t d")
        embedded = model.embedding(flat)

        close(out.scores, v[f"frame{i}"], FORWARD)
        close(embedded[:, ::7, ::32], v[f"embedding{i}"], FORWARD)
        close(model.selfatt(embedded)[:, ::7, ::32], v[f"selfatt{i}"], FORWARD)
        close(out.a_att, v[f"amem_att{i}"], FORWARD)
        close(out.n_att, v[f"nmem_att{i}"], FORWARD)
        close(out.snippet_features[:, ::7, ::32], v[f"snippet_features{i}"], FORWARD)


def test_loss_of_given_tensors() -> None:
    v = vector("ad_loss")
    for i in cases(v, "frame"):
        normal, abnormal = torch.from_numpy(v[f"frame{i}"]).chunk(2)
        tensors = {
            ours: torch.from_numpy(np.asarray(v[f"{theirs}{i}"]))
            for ours, theirs in (
                ("a_att", "A_att"),
                ("n_att", "N_att"),
                ("a_natt", "A_Natt"),
                ("n_aatt", "N_Aatt"),
                ("triplet", "triplet_margin"),
                ("kl", "kl_loss"),
                ("distance", "distance"),
            )
        }
        none = torch.zeros(0, dtype=torch.int64)
        losses = ad_loss(
            BagOutput(
                normal_scores=normal,
                abnormal_scores=abnormal,
                a_index=none,
                n_index=none,
                p_index=none,
                **tensors,
            )
        )
        for ours, theirs in TERMS.items():
            tolerance = KL if ours in ("kl_loss", "total") else SCALAR
            close(losses[ours], v[f"loss_{theirs}{i}"], tolerance)


def test_segments() -> None:
    v = vector("segments")
    results = [name for name in v if name.startswith("T") and name.endswith("_out")]
    assert results
    for name in results:
        length, segments, _ = name.split("_")
        rows, count = v[f"{length}_in"], int(segments[1:])
        np.testing.assert_array_equal(
            segment_bounds(len(rows), count), v[f"{length}_{segments}_bounds"]
        )
        np.testing.assert_allclose(resample(rows, count), v[name], **FORWARD)
    for name in v:
        if name.startswith("int_bounds_"):
            length, segments = name.removeprefix("int_bounds_").split("_S")
            np.testing.assert_array_equal(segment_bounds(int(length), int(segments)), v[name])


@pytest.mark.parametrize("feature_dim", [1024, 1408])
def test_parameters_are_the_published_ones(feature_dim: int) -> None:
    state = UrDmu(feature_dim).state_dict()
    sizes = {"embedding.conv_1.0.weight": (512, feature_dim, 3), "embedding.conv_1.0.bias": (512,)}
    sizes |= {"cls_head.mlp.0.weight": (128, 1024), "cls_head.mlp.0.bias": (128,)}
    sizes |= {"cls_head.mlp.2.weight": (1, 128), "cls_head.mlp.2.bias": (1,)}
    sizes |= {f"{m}memory.memory_block": (60, 512) for m in "AN"}
    for layer in (0, 1):
        attention, mlp = f"selfatt.layers.{layer}.0", f"selfatt.layers.{layer}.1"
        sizes |= {f"{p}.norm.{k}": (512,) for p in (attention, mlp) for k in ("weight", "bias")}
        sizes |= {
            f"{attention}.fn.to_qkv.weight": (2048, 512),
            f"{attention}.fn.to_out.0.weight": (512, 1024),
            f"{attention}.fn.to_out.0.bias": (512,),
        }
        for n in (0, 3):
            sizes |= {f"{mlp}.fn.net.{n}.weight": (512, 512), f"{mlp}.fn.net.{n}.bias": (512,)}
    for encoder in ("encoder_mu", "encoder_var"):
        sizes |= {f"{encoder}.0.weight": (512, 512), f"{encoder}.0.bias": (512,)}

    assert {k: tuple(v.shape) for k, v in state.items()} == sizes
    assert len(sizes) == 34
    assert sum(v.numel() for v in state.values()) == {1024: 6_492_929, 1408: 7_082_753}[feature_dim]
