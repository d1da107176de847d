"""Linear maps through oneDNN give what torch's own give, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vad.models import products
from vad.models.products import Linear, linear

ROWS, WIDTH, OUT = (6, 50), 96, 80  # 2.3 million multiplications


@pytest.fixture
def drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def through_onednn(out: Tensor) -> bool:
    return "OneDnn" in type(out.grad_fn).__name__


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", ["plain", "transposed", "part of a wider one"])
def test_values_and_gradients_are_those_of_torch(
    drawn: torch.Generator, layout: str, bias: bool
) -> None:
    x = torch.randn(*ROWS, WIDTH, generator=drawn, dtype=torch.float64)
    weight = {
        "plain": torch.randn(OUT, WIDTH, generator=drawn, dtype=torch.float64),
        "transposed": torch.randn(WIDTH, OUT, generator=drawn, dtype=torch.float64).t(),
        "part of a wider one": torch.randn(OUT, 2 * WIDTH, generator=drawn).double()[:, :WIDTH],
    }[layout]
    b = torch.randn(OUT, generator=drawn, dtype=torch.float64) if bias else None
    asked = torch.randn(*ROWS, OUT, generator=drawn, dtype=torch.float64)

    def both(dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...]]:
        parts = [t.to(dtype).requires_grad_() for t in (x, weight, b) if t is not None]
        out = linear(*parts)
        assert through_onednn(out) == (dtype == torch.float32)
        return out, torch.autograd.grad(out, parts, asked.to(dtype))

    wanted, got = both(torch.float64), both(torch.float32)
    torch.testing.assert_close(wanted[0], F.linear(x, weight, b))
    for exact, close in zip((wanted[0], *wanted[1]), (got[0], *got[1]), strict=True):
        torch.testing.assert_close(close.double(), exact, rtol=1e-5, atol=1e-4)


def test_a_gradient_that_nobody_wants_is_not_made(drawn: torch.Generator) -> None:
    x = torch.randn(*ROWS, WIDTH, generator=drawn)
    layer = Linear(WIDTH, OUT)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()  # of a gradient that is one number, spread
    torch.testing.assert_close(layer.bias.grad, torch.full((OUT,), 300.0))
    assert layer.weight.grad is None


def test_a_small_product_is_torchs_own(drawn: torch.Generator) -> None:
    layer = Linear(WIDTH, OUT)
    assert not through_onednn(layer(torch.randn(4, WIDTH, generator=drawn)))
    assert through_onednn(layer(torch.randn(*ROWS, WIDTH, generator=drawn)))


def test_a_layer_starts_as_torchs_does() -> None:
    torch.manual_seed(0)
    ours = Linear(WIDTH, OUT).state_dict()
    torch.manual_seed(0)
    theirs = nn.Linear(WIDTH, OUT).state_dict()
    assert {k: v.tolist() for k, v in ours.items()} == {k: v.tolist() for k, v in theirs.items()}


def test_without_onednn_torchs_own_is_taken(
    drawn: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products.torch.backends.mkldnn, "is_available", lambda: False)
    assert not through_onednn(Linear(WIDTH, OUT)(torch.randn(*ROWS, WIDTH, generator=drawn)))


def test_torchs_compiler_gets_a_plain_linear_map(drawn: torch.Generator) -> None:
    """It takes a graph apart that calls oneDNN by hand, and fails."""
    called: list[object] = []

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> torch.fx.GraphModule:
        called.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    layer = Linear(WIDTH, OUT)
    x = torch.randn(*ROWS, WIDTH, generator=drawn)
    out = torch.compile(layer, backend=backend, fullgraph=True)(x)
    assert called == [F.linear]
    torch.testing.assert_close(out, layer(x), rtol=1e-5, atol=1e-5)
