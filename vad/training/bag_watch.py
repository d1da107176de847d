"""What training makes of a few bags, for people to look at. It changes nothing in the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vad.bags import Bags
from vad.data.segments import Segments
from vad.losses import AdWeights, ad_loss
from vad.models.memory import slot_weights
from vad.models.urdmu import WIDTH, UrDmu
from vad.training.determinism import derive


def watched(keys: Sequence[str], count: int, *, seed: int, name: str) -> list[str]:
    """At most `count` of these videos, chosen by the seed alone, in their order."""
    order = np.random.default_rng(derive(seed, "bags", name)).permutation(len(keys))
    return [keys[i] for i in sorted(order[:count].tolist())]


def look(
    model: UrDmu,
    segments: Segments,
    normal: Sequence[str],
    abnormal: Sequence[str],
    weights: AdWeights,
    *,
    step: int,
    device: torch.device,
) -> Bags:
    """Run the watched bags through the network, in evaluation mode and without noise.

    Of a video with several crops the first is taken. Gradients are of the watched bags' loss as if
    they were one batch; the network's own gradients are not touched.

    Args:
        normal, abnormal: video keys, as many of each.
    """
    keys = (*normal, *abnormal)
    rows = torch.from_numpy(segments.data[np.array([segments.keys.index(key) for key in keys])])
    x = rows.to(device).float().requires_grad_()
    was_training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            half = len(normal)
            noise = torch.zeros((half, x.shape[1], WIDTH), device=device)
            out = model.forward_bags(x[:half], x[half:], noise=noise)
            loss = ad_loss(out, weights)["total"]
            (gradient,) = torch.autograd.grad(loss, x)
        with torch.no_grad():
            encoded = model.encode(x)
            slots = [
                slot_weights(encoded, memory.memory_block)
                for memory in (model.Amemory, model.Nmemory)
            ]
    finally:
        model.train(was_training)
    size = gradient.norm(dim=-1)
    total = size.sum(dim=1, keepdim=True)
    carried = torch.where(total > 0, size / total.clamp_min(1e-38), torch.zeros_like(size))
    return Bags(
        step=step,
        keys=tuple(keys),
        labels=(0,) * half + (1,) * len(abnormal),
        top=out.a_index.shape[-1],
        scores=_numpy(torch.cat([out.normal_scores, out.abnormal_scores])),
        abnormal=_numpy(torch.cat([out.a_natt, out.a_att])),
        normal=_numpy(torch.cat([out.n_att, out.n_aatt])),
        carried=_numpy(carried),
        abnormal_slots=_bytes(slots[0]),
        normal_slots=_bytes(slots[1]),
    )


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()


def _bytes(weights: Tensor) -> np.ndarray:
    return (weights.detach().float() * 255).round().to(torch.uint8).cpu().numpy()
