"""I3D (Inception-v1 inflated to 3-d, RGB stream): one 1024-vector per clip.

Source: Carreira, Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, in the form of the
PyTorch ports pytorch-i3d (piergiaj) and kinetics_i3d_pytorch (hassony2). Parameter names are those
of pytorch-i3d, so its checkpoint loads as it is; the other port's names are translated.

Shapes: B clips, F frames, H, W; values in [-1, 1], RGB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vad.errors import ShapeError
from vad.features.weights import Weights, build

FEATURE_DIM = 1024
NUM_CLASSES = 400  # Kinetics-400
POOL = (2, 7, 7)
MIN_FRAMES = 9  # time is halved three times, rounding up, and pooled over 2
EPS_TENSORFLOW = 1e-3  # of the original model and of pytorch-i3d
EPS_URDMU = 1e-5  # torch's default, which the extractor shipped with UR-DMU uses

# out channels of branch 0; of branch 1 (1x1x1, 3x3x3); of branch 2 (1x1x1, 3x3x3); of branch 3
_MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_BRANCHES = {  # hassony2: piergiaj
    "branch_0": "b0",
    "branch_1.0": "b1a",
    "branch_1.1": "b1b",
    "branch_2.0": "b2a",
    "branch_2.1": "b2b",
    "branch_3.1": "b3b",
}
Triple = tuple[int, int, int]


def same_padding(size: Triple, kernel: Triple, stride: Triple) -> list[tuple[int, int]]:
    """Zeros in front of and behind each axis, by TensorFlow's SAME rule.

    It depends on the input's size where a stride is above 1, hence is worked out for each input.
    """
    padding = []
    for length, k, step in zip(size, kernel, stride, strict=True):
        total = max(k - (length % step or step), 0)
        padding.append((total // 2, total - total // 2))
    return padding


def _pad(x: Tensor, kernel: Triple, stride: Triple) -> tuple[Tensor, Triple]:
    """The input, and the padding that is left to the operation (equal on both sides)."""
    padding = same_padding((x.shape[2], x.shape[3], x.shape[4]), kernel, stride)
    if all(front == back for front, back in padding):
        return x, (padding[0][0], padding[1][0], padding[2][0])
    flat = [n for front_back in reversed(padding) for n in front_back]
    return F.pad(x, flat), (0, 0, 0)


class Unit(nn.Module):
    """Conv3d without bias, batch norm, ReLU; or, as the classifier, Conv3d with bias alone."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        *,
        eps: float = EPS_TENSORFLOW,
        classifier: bool = False,
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(channels_in, channels_out, kernel, stride, bias=classifier)
        if not classifier:
            self.bn = nn.BatchNorm3d(channels_out, eps=eps)
        self.kernel, self.stride, self.classifier = kernel, stride, classifier

    def forward(self, x: Tensor) -> Tensor:
        x, padding = _pad(x, self.kernel, self.stride)
        x = F.conv3d(x, self.conv3d.weight, self.conv3d.bias, self.stride, padding)
        return x if self.classifier else F.relu(self.bn(x), inplace=True)


class Pool(nn.Module):
    """Max pooling with SAME padding.

    The published padding holds zeros; after a ReLU nothing is below zero, so torch's own padding
    with minus infinity gives the same.
    """

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        x, padding = _pad(x, self.kernel, self.stride)
        return F.max_pool3d(x, self.kernel, self.stride, padding)


class Mixed(nn.Module):
    """Inception block. Branch 2 is 3x3x3, not 5x5x5, as in every published I3D."""

    def __init__(self, channels_in: int, widths: tuple[int, ...], eps: float) -> None:
        super().__init__()
        w0, w1a, w1b, w2a, w2b, w3 = widths
        point, cube = (1, 1, 1), (3, 3, 3)
        self.b0 = Unit(channels_in, w0, point, eps=eps)
        self.b1a = Unit(channels_in, w1a, point, eps=eps)
        self.b1b = Unit(w1a, w1b, cube, eps=eps)
        self.b2a = Unit(channels_in, w2a, point, eps=eps)
        self.b2b = Unit(w2a, w2b, cube, eps=eps)
        self.b3a = Pool(cube, point)
        self.b3b = Unit(channels_in, w3, point, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(branches, 1)


class I3D(nn.Module):
    """The network. Its children up to `logits` are the published end points, in order.

    Args:
        eps: of batch norm, `EPS_TENSORFLOW` or `EPS_URDMU`.
        num_classes: of the classifier, which features do not pass through.
    """

    def __init__(self, *, eps: float = EPS_TENSORFLOW, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, (7, 7, 7), (2, 2, 2), eps=eps)
        self.MaxPool3d_2a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64, 64, (1, 1, 1), eps=eps)
        self.Conv3d_2c_3x3 = Unit(64, 192, (3, 3, 3), eps=eps)
        self.MaxPool3d_3a_3x3 = Pool((1, 3, 3), (1, 2, 2))
        pools = {
            "Mixed_4b": ("MaxPool3d_4a_3x3", Pool((3, 3, 3), (2, 2, 2))),
            "Mixed_5b": ("MaxPool3d_5a_2x2", Pool((2, 2, 2), (2, 2, 2))),
        }
        channels = 192
        for name, widths in _MIXED.items():
            if name in pools:
                self.add_module(*pools[name])
            self.add_module(name, Mixed(channels, widths, eps))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = Unit(channels, num_classes, (1, 1, 1), classifier=True)

    def end_points(self, x: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Name and map of every end point, in order.

        Args:
            x: [B, 3, F, H, W], in [-1, 1].
        """
        if x.ndim != 5 or x.shape[1] != 3:
            raise ShapeError("clips", expected="[B, 3, F, H, W]", got=tuple(x.shape))
        for name, module in self.named_children():
            if module is not self.logits:
                x = module(x)
                yield name, x

    def pooled(self, x: Tensor) -> Tensor:
        """Average over 2x7x7 positions, stride 1: [B, 1024, F', H', W'].

        Raises:
            ShapeError: the clips leave less than 2x7x7 positions, so they are below 9 frames of
                193x193.
        """
        ((_, last),) = deque(self.end_points(x), maxlen=1)  # earlier maps are let go
        if any(n < k for n, k in zip(last.shape[2:], POOL, strict=True)):
            raise ShapeError(
                "clips",
                expected=f"[B, 3, {MIN_FRAMES} or more, 193 or more, 193 or more]",
                got=tuple(x.shape),
            )
        return F.avg_pool3d(last, POOL, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """The feature of each clip: [B, 1024].

        A clip of 16x224x224 leaves one pooled position; a larger one has its positions averaged.
        """
        return self.pooled(x).mean(dim=(2, 3, 4))

    def classify(self, x: Tensor) -> Tensor:
        """Class scores before the softmax, one vector per pooled time step: [B, classes, F'].

        The classifier's dropout is left out: this network is used, not trained.
        """
        return self.logits(self.pooled(x)).mean(dim=(3, 4))


def load(weights: Weights, *, eps: float = EPS_TENSORFLOW) -> I3D:
    """The network with published weights, in evaluation mode, on the CPU.

    Args:
        weights: in the layout of `rgb_imagenet.pt` or of `model_rgb.pth`.
        eps: of batch norm.

    Raises:
        VadError: `checkpoint-invalid`, with every parameter that is missing, unknown or of another
            shape. Only `num_batches_tracked` may be absent: files of torch 0.3 lack it.
    """
    return build(lambda: I3D(eps=eps), weights, rename=published_names, what="I3D")


def published_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Name in the file to name in pytorch-i3d, for either published layout."""
    if not any(name.startswith("conv3d_1a_7x7.") for name in state):
        return {name: name for name in state}
    return {name: _from_hassony(name) for name in state}


def _from_hassony(name: str) -> str:
    end_point, _, rest = name.partition(".")
    if end_point == "conv3d_0c_1x1":
        return f"logits.{rest}"
    for theirs, ours in _BRANCHES.items():
        if rest.startswith(f"{theirs}."):
            rest = ours + rest.removeprefix(theirs)
            break
    parts = ["bn" if part == "batch3d" else part for part in rest.split(".")]
    return ".".join([end_point[:1].upper() + end_point[1:], *parts])
