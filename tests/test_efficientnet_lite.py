"""The image tower: shapes, 'same' padding, and the folding of batch normalisation."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mla_extend.bases.efficientnet_lite import (
    BATCH_NORM_EPSILON,
    LITE0_CONFIG,
    EfficientNetLite,
    SameConv,
    convert_weights,
)

TINY = {"stem_width": 4, "stages": [[1, 3, 1, 1, 4], [2, 5, 2, 2, 6]], "features": 8}

PARTS = {"stem": "_conv_stem _bn0", "head": "_conv_head _bn1", "expand": "_expand_conv _bn0"}
PARTS |= {"depthwise": "_depthwise_conv _bn1", "project": "_project_conv _bn2"}


def published(tower: EfficientNetLite) -> tuple[dict[str, torch.Tensor], dict[str, nn.BatchNorm2d]]:
    """Return weights named as the published ones, and each convolution's norm, by the convolution's own name."""
    torch.manual_seed(0)
    weights, norms = {}, {}
    for name, module in tower.named_modules():
        if isinstance(module, SameConv):
            place, _, last = name.rpartition(".")
            prefix = f"_{place}." if place else ""
            conv, bn = PARTS[last].split()
            norm = nn.BatchNorm2d(module.out_channels, eps=BATCH_NORM_EPSILON).eval()
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.copy_(torch.randn_like(tensor))
            norm.running_var.copy_(torch.rand_like(norm.running_var) + 0.1)
            weights[f"{prefix}{conv}.weight"] = module.weight.detach().clone()
            weights |= {f"{prefix}{bn}.{key}": value for key, value in norm.state_dict().items()}
            norms[name] = norm
    weights["_fc.weight"] = torch.zeros(3, 8)
    weights["_fc.bias"] = torch.zeros(3)
    return weights, norms


def test_features_have_the_width_of_the_config() -> None:
    tower = EfficientNetLite(TINY).eval()
    assert tower(torch.zeros(2, 3, 16, 16)).shape == (2, 8)


def test_lite0_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        tower = EfficientNetLite(LITE0_CONFIG)
    convolutions = sum(p.numel() for name, p in tower.named_parameters() if name.endswith("weight"))
    assert convolutions == 3_328_992


@pytest.mark.parametrize("size", [7, 8, 15, 16])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_puts_the_odd_pixel_last(size: int, kernel: int) -> None:
    conv = SameConv(1, 1, kernel, 2)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)
    x = torch.rand(1, 1, size, size)
    out = -(-size // 2)
    total = max((out - 1) * 2 + kernel - size, 0)
    expected = F.conv2d(F.pad(x, (total // 2, total - total // 2) * 2), conv.weight, stride=2)
    assert conv(x).shape == (1, 1, out, out)
    torch.testing.assert_close(conv(x), expected)


def test_folded_weights_compute_what_convolution_and_norm_compute() -> None:
    tower = EfficientNetLite(TINY).eval()
    weights, norms = published(tower)
    folded = EfficientNetLite(TINY).eval()
    folded.load_state_dict(convert_weights(weights))
    for module in tower.modules():
        if isinstance(module, SameConv):
            nn.init.zeros_(module.bias)
    for name, norm in norms.items():
        tower.get_submodule(name).register_forward_hook(lambda module, inputs, output, norm=norm: norm(output))
    pixels = torch.randn(2, 3, 17, 17)
    with torch.inference_mode():
        torch.testing.assert_close(folded(pixels), tower(pixels), rtol=1e-4, atol=1e-5)


def test_no_tensor_is_left_over() -> None:
    tower = EfficientNetLite(TINY)
    weights, _ = published(tower)
    assert convert_weights(weights).keys() == tower.state_dict().keys()


def test_gradients_flow_through_the_tower() -> None:
    pixels = torch.randn(1, 3, 16, 16, requires_grad=True)
    EfficientNetLite(TINY)(pixels).sum().backward()
    assert pixels.grad is not None
