"""The acquirers' arithmetic, free of PEFT: what one language adds to one block of the text tower.

Shapes: `B` batch, `T` tokens, `W` width of the text tower, `K` bottleneck.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Undrawn(nn.Linear):
    """A linear layer whose numbers its owner draws: once, since many languages are loaded at a time."""

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
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states `[..., W]` to `[..., W]` in their own dtype, whatever the acquirer's dtype is."""
        # Autocast, where it is on, decides the dtype that is computed in.
        inner = hidden if torch.is_autocast_enabled(hidden.device.type) else hidden.to(self.down.weight.dtype)
        change: Tensor = self.up(F.relu(self.down(inner)))
        return hidden + change.to(hidden.dtype)
