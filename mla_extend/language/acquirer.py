"""The acquirers' arithmetic, free of PEFT: what one language adds to one block of the text tower.

Shapes: `B` batch, `T` tokens, `W` width of the text tower, `K` bottleneck or rank.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Undrawn(nn.Linear):
    """A linear layer whose numbers its owner draws: once, since many languages are loaded at a time.

    `skip_init` does the same by way of the meta device, which imports a second's worth of what a search does without.
    """

    def reset_parameters(self) -> None:
        """Leave the numbers as they are in memory."""


class Acquirer(nn.Module):
    """Add a bottleneck's output to a block's output: `LA(x) = x + W_up ReLU(W_down x + b_down) + b_up`.

    `W_up` and `b_up` start at zero, so that a new acquirer is the identity and the first step sees the native blocks
    as they are (the released code starts from the default init instead). Zhang, Hu, Jin 2022 (arXiv 2206.11091),
    section 3.1.

    Args:
        width: `W`.
        bottleneck: `K`.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = _Undrawn(width, bottleneck)
        self.up = _Undrawn(bottleneck, width)
        self.reset()

    def reset(self) -> None:
        """Start as the identity."""
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states `[..., W]` to `[..., W]` in their own dtype, whatever the acquirer's dtype is."""
        change: Tensor = self.up(F.relu(self.down(_inner(hidden, self.down.weight))))
        return hidden + change.to(hidden.dtype)


class LowRank(nn.Module):
    """Change one linear layer by a matrix of rank `K`: `y + B A x`, where `B` starts at zero.

    Hu et al. 2021 (arXiv 2106.09685), as PEFT computes it with `lora_alpha` equal to the rank.

    Args:
        inputs, outputs: of the linear layer.
        rank: `K`.
    """

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.lora_A = nn.Linear(inputs, rank, bias=False)
        self.lora_B = nn.Linear(rank, outputs, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, hidden: Tensor, entered: Tensor) -> Tensor:
        """Map a layer's input `[..., inputs]` and output `[..., outputs]` to a new output."""
        change: Tensor = self.lora_B(self.lora_A(_inner(entered, self.lora_A.weight)))
        return hidden + change.to(hidden.dtype)


class LoraAcquirer(nn.ModuleDict):
    """Hold one `LowRank` for each linear layer inside a block, in place of a bottleneck after it.

    Args:
        linears: the block's linear layers by name.
        rank: `K`.
    """

    def __init__(self, linears: Mapping[str, nn.Linear], rank: int) -> None:
        super().__init__({name: LowRank(one.in_features, one.out_features, rank) for name, one in linears.items()})


def _inner(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return hidden states in the dtype that an acquirer computes in; autocast decides it where it is on."""
    return hidden if torch.is_autocast_enabled(hidden.device.type) else hidden.to(weight.dtype)


def acquirer_parameters(width: int, bottleneck: int) -> int:
    """Return how many parameters one acquirer has."""
    return 2 * width * bottleneck + width + bottleneck
