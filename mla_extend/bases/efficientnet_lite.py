"""EfficientNet-Lite as an image tower: inverted bottlenecks with ReLU6, no squeeze-and-excitation (Tan and Le 2019).

Batch normalisation is folded into the convolutions when published weights are converted, so the tower holds
convolutions with biases and nothing else. Shapes: `B` batch, `C` channels, `H` height, `W` width, `D` features.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODEL_TYPE = "efficientnet-lite0"
LITE0_CONFIG: dict[str, Any] = {
    "model_type": MODEL_TYPE,
    "image_size": 224,
    "stem_width": 32,
    "stages": [  # of each: blocks, kernel size, stride of the first block, expansion, output channels
        [1, 3, 1, 1, 16],
        [2, 3, 2, 6, 24],
        [2, 5, 2, 6, 40],
        [3, 3, 2, 6, 80],
        [3, 5, 1, 6, 112],
        [4, 5, 2, 6, 192],
        [1, 3, 1, 6, 320],
    ],
    "features": 1280,
}
BATCH_NORM_EPSILON = 1e-3
"""What the published weights were trained with; folding needs it."""


class SameConv(nn.Conv2d):
    """Convolve with TensorFlow's 'same' padding: an odd pixel of padding goes to the right and the bottom.

    Args:
        channels: input channels.
        out: output channels.
        kernel: kernel size.
        stride: step in both directions.
        groups: `channels` for a depthwise convolution.
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # At stride 1 the padding is the same on all sides, and the convolution does it at no cost.
        super().__init__(channels, out, kernel, stride, padding=kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, H, W]` to `[B, C', ceil(H / stride), ceil(W / stride)]`."""
        if self.stride[0] > 1:
            bottom, right = (self._missing(size) for size in x.shape[-2:])
            x = F.pad(x, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))
        return super().forward(x)

    def _missing(self, size: int) -> int:
        kernel, stride = self.kernel_size[0], self.stride[0]
        return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class Block(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow it."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = SameConv(channels, inner, 1) if expansion != 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = SameConv(inner, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, H, W]` to `[B, C', H', W']`."""
        inner = x if self.expand is None else F.relu6(self.expand(x), inplace=not torch.is_grad_enabled())
        inner = F.relu6(self.depthwise(inner), inplace=not torch.is_grad_enabled())
        projected: Tensor = self.project(inner)
        return projected + x if self.residual else projected


class EfficientNetLite(nn.Module):
    """Map images to feature vectors: `[B, 3, H, W]`, normalised, to `[B, D]`, averaged over places.

    Args:
        config: `stem_width`, `stages` (see `LITE0_CONFIG`) and `features`; missing keys are those of Lite0.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        full = LITE0_CONFIG | dict(config)
        stages: Sequence[Sequence[int]] = full["stages"]
        self.features = int(full["features"])
        channels = int(full["stem_width"])
        self.stem = SameConv(3, channels, 3, 2)
        blocks = []
        for repeats, kernel, stride, expansion, out in stages:
            for i in range(repeats):
                blocks.append(Block(channels, out, kernel, stride if i == 0 else 1, expansion))
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(channels, self.features, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features `[B, D]`."""
        # Depthwise convolutions on a CPU are more than twice as fast with the channels innermost.
        x = F.relu6(self.stem(pixels.contiguous(memory_format=torch.channels_last)))
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.head(x)).mean(dim=(2, 3))


def convert_weights(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of `EfficientNetLite` from published PyTorch weights, batch normalisation folded in.

    The names are those of `efficientnet-lite-pytorch`: `_conv_stem` with `_bn0`, `_blocks.N._expand_conv` with
    `_bn0`, and so on; its classifier `_fc` is left out. Folding computes in float64:
    `w' = w g / sqrt(v + e)`, `b' = b - m g / sqrt(v + e)`.
    """
    state: dict[str, Tensor] = {}
    for name in published:
        if not name.endswith(".weight") or "_bn" in name or name.startswith("_fc"):
            continue
        place, _, conv = name.removesuffix(".weight").rpartition(".")
        # The first block has no expansion, yet its depthwise norm keeps its number.
        ours, norm = _NAMES[conv]
        prefix = f"{place}." if place else ""
        mean, variance, gain, bias = (
            published[f"{prefix}{norm}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = gain / torch.sqrt(variance + BATCH_NORM_EPSILON)
        target = f"{prefix.removeprefix('_')}{ours}"
        folded = (published[name].double() * scale[:, None, None, None]).float()
        state[f"{target}.weight"] = folded.contiguous()  # the published layout varies, and safetensors takes one
        state[f"{target}.bias"] = (bias - mean * scale).float()
    return state


_NAMES = {
    "_conv_stem": ("stem", "_bn0"),
    "_expand_conv": ("expand", "_bn0"),
    "_depthwise_conv": ("depthwise", "_bn1"),
    "_project_conv": ("project", "_bn2"),
    "_conv_head": ("head", "_bn1"),
}
