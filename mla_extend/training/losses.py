"""The losses, and the checks that a run is one. Shapes: `B` batch, `D` width of the shared space.

Each is computed in float32 from whatever it is given, under autocast as well: bf16 keeps three digits of a cosine, and
a low temperature multiplies what is lost by a hundred.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(compute: Callable[P, R]) -> Callable[P, R]:
    """Let a function of tensors take them in float32, and compute in it whatever autocast says."""

    @wraps(compute)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next(value.device.type for value in args if isinstance(value, Tensor))
        full: list[Any] = [_float(value) for value in args]
        with torch.autocast(device, enabled=False):
            return compute(*full, **kwargs)

    return run


def _float(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@in_float32
def transfer_loss(target: Tensor, teacher: Tensor, of: str) -> Tensor:
    """Return the distance of sentence vectors `[B, D]` to the teacher's `[B, D]`.

    `raw` is the paper's mean squared error of unnormalised vectors (section 3.2); `normalised` is `2 - 2 cos`, which
    asks for the direction alone, as retrieval does.
    """
    if of == "raw":
        return F.mse_loss(target, teacher)
    return (2 - 2 * F.cosine_similarity(target, teacher, dim=-1)).mean()


@in_float32
def contrast_loss(text: Tensor, other: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Return the symmetric InfoNCE between text `[B, D]` and what it goes with `[B, D]` (paper, section 3.2).

    Args:
        text: vectors of any length.
        other: vectors of any length, row `i` with row `i`.
        temperature: what cosines are divided by.
        same: `[B, B]`, true where row `i` goes with column `j` as well (the same text, or the same image, twice): such
            pairs are no negatives. The diagonal may be either.

    Equal vectors everywhere give `log B`.
    """
    logits = F.normalize(text, dim=-1) @ F.normalize(other, dim=-1).T / temperature
    if same is not None:
        others = same & ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(others, float("-inf"))
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


@in_float32
def sigmoid_loss(text: Tensor, other: Tensor, scale: Tensor, bias: Tensor, same: Tensor | None = None) -> Tensor:
    """Return the sigmoid contrast between text `[B, D]` and what it goes with `[B, D]` (SigLIP): each pair by itself.

    Args:
        text: vectors of any length.
        other: vectors of any length, row `i` with row `i`.
        scale: what cosines are multiplied by.
        bias: what is added to that; negative, since most pairs do not go together.
        same: as in `contrast_loss`.

    The sum over a row's pairs, averaged over the rows.
    """
    cosines = F.normalize(text, dim=-1) @ F.normalize(other, dim=-1).T
    own = torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
    logits = cosines * scale + bias
    losses = F.softplus(torch.where(own, -logits, logits))
    if same is not None:
        losses = losses.masked_fill(same & ~own, 0)
    return losses.sum(dim=1).mean()


@in_float32
def mean_cosine(vectors: Tensor) -> float:
    """Return the mean cosine between different rows of `[B, D]`: near 1 means that all vectors are alike."""
    count = len(vectors)
    if count < 2:
        return 0.0
    total = F.normalize(vectors, dim=-1).sum(dim=0)
    return float((total @ total - count) / (count * (count - 1)))
