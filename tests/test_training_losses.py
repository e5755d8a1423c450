"""The losses by their closed forms, and in float32 whatever a step computes in."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mla_extend.training.losses import contrast_loss, mean_cosine, sigmoid_loss, transfer_loss

EYE = torch.eye(4)


def test_the_contrast_of_equal_vectors_is_log_b() -> None:
    same = torch.ones(7, 4)
    assert float(contrast_loss(same, same, 0.05)) == pytest.approx(math.log(7))


def test_the_contrast_is_the_mean_of_both_directions() -> None:
    """Cosines 1, 0 and 1, 0.6: rows and columns differ, and lengths do not matter."""
    text, other = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[5.0, 0.0], [0.6, 0.8]])
    cosines = [[1.0, 0.6], [0.0, 0.8]]

    def lost(own: float, not_own: float) -> float:
        return math.log1p(math.exp((not_own - own) / 0.5))

    rows = (lost(cosines[0][0], cosines[0][1]) + lost(cosines[1][1], cosines[1][0])) / 2
    columns = (lost(cosines[0][0], cosines[1][0]) + lost(cosines[1][1], cosines[0][1])) / 2
    assert float(contrast_loss(text, other, 0.5)) == pytest.approx((rows + columns) / 2)


def test_repeated_texts_are_no_negatives() -> None:
    """They are left out of both directions' sums, the pair itself never; the diagonal of `same` may be either."""
    text = EYE[[0, 0, 1, 2]]
    numbers = torch.tensor([0, 0, 1, 2])
    same = numbers.unsqueeze(0) == numbers.unsqueeze(1)
    others = 1 / (1 + 2 * math.exp(-2))
    with_three = 1 / (1 + 3 * math.exp(-2))
    twins = -math.log(others)
    expected = (2 * twins - 2 * math.log(with_three)) / 4
    for mask in (same, same & ~torch.eye(4, dtype=torch.bool)):
        assert float(contrast_loss(text, text, 0.5, mask)) == pytest.approx(expected)
    assert float(contrast_loss(text, text, 0.5)) > expected + 0.1


def test_the_sigmoid_contrast_counts_each_pair_by_itself() -> None:
    """Cosine 1 on the diagonal and 0 elsewhere, scale 2, bias -3: a row's sum, averaged over the rows."""
    scale, bias = torch.tensor(2.0), torch.tensor(-3.0)
    own, other = math.log1p(math.exp(1)), math.log1p(math.exp(-3))
    assert float(sigmoid_loss(3 * EYE, EYE, scale, bias)) == pytest.approx(own + 3 * other)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = True
    assert float(sigmoid_loss(EYE, EYE, scale, bias, same)) == pytest.approx(own + 11 / 4 * other)


def test_the_transfer_loss_is_zero_at_the_teacher() -> None:
    teacher = torch.randn(5, 6)
    assert float(transfer_loss(teacher, teacher, "raw")) == 0
    assert float(transfer_loss(teacher + 2, teacher, "raw")) == pytest.approx(4)
    assert float(transfer_loss(3 * teacher, teacher, "normalised")) == pytest.approx(0, abs=1e-6)
    assert float(transfer_loss(-teacher, teacher, "normalised")) == pytest.approx(4)
    assert float(transfer_loss(torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[0.0, 2], [2, 0]]), "normalised")) == 1


def test_mean_cosine_tells_a_collapse() -> None:
    assert mean_cosine(torch.ones(5, 3)) == pytest.approx(1)
    assert mean_cosine(torch.eye(5)) == pytest.approx(0, abs=1e-6)
    assert mean_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])) == pytest.approx(-1 / 3)
    assert mean_cosine(torch.tensor([[2.0, 0.0], [3.0, 0.0]])) == pytest.approx(1)
    assert mean_cosine(torch.ones(1, 3)) == 0


def _contrast(text: Tensor, other: Tensor) -> Tensor:
    return contrast_loss(text, other, 0.01)


def _sigmoid(text: Tensor, other: Tensor) -> Tensor:
    return sigmoid_loss(text, other, torch.tensor(100.0), torch.tensor(-10.0))


def _distance(text: Tensor, other: Tensor) -> Tensor:
    return transfer_loss(text, other, "normalised")


@pytest.mark.parametrize("loss", [_contrast, _sigmoid, _distance])
@pytest.mark.parametrize("noise", [1.0, 0.2], ids=["at random", "nearly solved"])
def test_autocast_changes_no_gradient_of_a_loss(loss: Callable[[Tensor, Tensor], Tensor], noise: float) -> None:
    """bf16 logits were off by a few per cent at temperature 0.01, and by a tenth where a batch is nearly solved."""
    generator = torch.Generator().manual_seed(0)
    other = F.normalize(torch.randn(64, 32, generator=generator), dim=-1)
    start = other + noise * F.normalize(torch.randn(64, 32, generator=generator), dim=-1)
    gradients = []
    for enabled in (False, True):
        text = start.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = loss(text, other)
        assert value.dtype is torch.float32
        value.backward()
        gradients.append(text.grad)
    expected, found = gradients
    assert expected is not None
    assert float(expected.norm()) > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_losses_of_half_precision_vectors_are_float32() -> None:
    half = torch.randn(8, 4).bfloat16()
    assert contrast_loss(half, half, 0.05).dtype is torch.float32
    assert float(contrast_loss(half, half, 0.05)) == float(contrast_loss(half.float(), half.float(), 0.05))
