"""Our Adam against torch's, and what its use spares."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from vad.training.adam import Adam

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device"))]  # fmt: skip


def network(device: str) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv1d(6, 40, 3), nn.ReLU(), nn.Conv1d(40, 3, 1)).to(device)


def learn(model: nn.Module, step: int) -> None:
    """Gradients of a step; the last layer's bias has none in every third."""
    torch.manual_seed(step)
    model.zero_grad(set_to_none=True)
    model(torch.randn(4, 6, 9, device=next(model.parameters()).device)).square().mean().backward()
    if step % 3 == 0:
        model[2].bias.grad = None


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_torch_s_to_the_bit_at_changing_rates_and_after_a_resume(device: str) -> None:
    ours, theirs = network(device), network(device)
    mine = Adam(ours.named_parameters(), weight_decay=5e-4)
    other = torch.optim.Adam(theirs.parameters(), weight_decay=5e-4, fused=True)
    for step in range(1, 13):
        lr = 0.01 / step
        learn(ours, step)
        mine.step(lr)
        learn(theirs, step)
        other.param_groups[0]["lr"] = lr
        other.step()
        if step == 5:
            held = {k: v.cpu().clone() for k, v in mine.tensors().items()}
            mine = Adam(ours.named_parameters(), weight_decay=5e-4)
            mine.load(held)

    for name, parameter in theirs.named_parameters():
        assert torch.equal(ours.get_parameter(name), parameter)
        for moment, value in other.state[parameter].items():
            assert torch.equal(mine.tensors()[f"{moment}.{name}"], value), (moment, name)


def test_a_missing_moment_is_named() -> None:
    optimizer = Adam(network("cpu").named_parameters(), weight_decay=0)
    held = optimizer.tensors()
    del held["exp_avg.2.bias"]

    with pytest.raises(KeyError, match=r"exp_avg\.2\.bias"):
        optimizer.load(held)


def test_training_does_not_load_the_compiler() -> None:
    code = (
        "import sys, torch; from torch import nn; from vad.training import urdmu, two_stage\n"
        "from vad.training.adam import Adam\n"
        "model = nn.Linear(2, 2); optimizer = Adam(model.named_parameters(), weight_decay=0)\n"
        "model(torch.ones(1, 2)).sum().backward(); optimizer.step(0.1)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
