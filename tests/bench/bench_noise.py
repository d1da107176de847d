"""What UR-DMU learns from bags in which there is nothing to learn.

    python tests/bench/bench_noise.py [--steps 300] [--seeds 1 2 3]

Normal and abnormal bags are random numbers of one distribution, drawn anew at each step, so a score
loss below chance comes from the network alone: from the noise that the published latent has for
normal bags only (`latent sampled`), and not with its mean. docs/training.md tells what follows.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from port_urdmu import WIDTH, PortedUrDmu, ported_loss, score_loss
from torch import Tensor, nn

from vad.losses import ad_loss
from vad.models.urdmu import UrDmu

BATCH, SEGMENTS, DIM, LR = 16, 32, 64, 1e-4
SHOWN = 20  # steps at the beginning and at the end whose mean is shown
# from bags [2, B, T, D] and noise [B, T, C]: the whole loss and the score loss
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Way = Callable[[], tuple[nn.Module, Step]]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = parser.parse_args()
    print(
        f"score loss of {BATCH}+{BATCH} bags of {SEGMENTS} random segments ({DIM}-d), mean of "
        f"{SHOWN} steps; chance is {math.log(2):.3f}"
    )
    for seed in args.seeds:
        for name, step in WAYS.items():
            losses = trained(step, args.steps, seed)
            first, last = (sum(part) / len(part) for part in (losses[:SHOWN], losses[-SHOWN:]))
            text = f"seed {seed}, {name}: {first:.3f}, after {len(losses)} steps {last:.3f}"
            if len(losses) < args.steps:
                text += "; then its gradient is no number"
            print(text, flush=True)
    return 0


def trained(way: Way, steps: int, seed: int) -> list[float]:
    """The score loss of each step, up to one whose gradient is not finite."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model, losses_of = way()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, weight_decay=5e-5)
    found = []
    for _ in range(steps):
        bags = torch.randn(2, BATCH, SEGMENTS, DIM, generator=generator)
        noise = torch.randn(BATCH, SEGMENTS, WIDTH, generator=generator)
        total, score = losses_of(bags, noise)
        optimizer.zero_grad()
        total.backward()
        found.append(score.item())
        if not all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None):
            break
        optimizer.step()
    return found


def port() -> tuple[nn.Module, Step]:
    model = PortedUrDmu(DIM, dropout=0.5)

    def losses(bags: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        out = model(bags.flatten(0, 1), noise)
        return ported_loss(out), score_loss(out["frame"])

    return model, losses


def ours(scale: float) -> tuple[nn.Module, Step]:
    model = UrDmu(DIM, dropout=0.5)

    def losses(bags: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        found = ad_loss(model.forward_bags(*bags, noise=noise * scale))
        return found["total"], found["att_loss"]

    return model, losses


WAYS: dict[str, Way] = {
    "the published step": port,
    "ours, latent sampled": lambda: ours(1.0),
    "ours, latent mean": lambda: ours(0.0),
}


if __name__ == "__main__":
    sys.exit(main())
