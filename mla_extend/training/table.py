"""Adam over a token table of which a step reads few rows: as over all of it, for the price of what is read.

Adam moves a row without a gradient, too: by what its moments still hold of earlier ones, less with each step. So a row
is left as it is until a step reads it, and is then brought up to date at once. With moments `m` and `v` as they were,
`k` steps of rates `a_1 ... a_k`, bias corrections included, move it by

    sum_j a_j m b1^j / (sqrt(v b2^j) + e_j)  =  m sum_j p_j / (sqrt(v) + e_j / sqrt(b2)^j),  p_j = a_j (b1 / sqrt(b2))^j

where the sums depend on the step at which the row was left alone. Epsilon is taken at its mean over the `p_j`: exact to
its first order. The running average of the weights follows them in the meantime, and is brought up with them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adamw import adamw

from mla_extend.bases.base import on_device
from mla_extend.language.peft_method import OwnTable
from mla_extend.language.pieces import PAD_ID
from mla_extend.training.forward import Ids
from mla_extend.training.recipe import StageRecipe

SETTLED = 1024
"""Rows that are brought up to date together where all are."""

Rows = NDArray[np.int64]


class TableAdam:
    """Step over the rows of a language's own table that are read, and keep the rest as if they had been stepped over.

    Args:
        table: the table; its weights are up to date after `settle`, or in the rows that are lent.
        average: their running average, if there is one; likewise.
        recipe: betas, epsilon and the largest rate.
        fused: see `fuses_adam`.
    """

    def __init__(self, table: OwnTable, average: Tensor | None, recipe: StageRecipe, *, fused: bool) -> None:
        weight = table.weight.detach()
        self.peak = recipe.embedding_learning_rate
        self.rate = 0.0
        self._table = table
        self._betas, self._epsilon, self._fused = recipe.betas, recipe.epsilon, fused
        self._held = [weight, torch.zeros_like(weight), torch.zeros_like(weight)]  # `m` and `v`
        self._held += [] if average is None else [average]
        self._step = torch.zeros((), device=weight.device if fused else "cpu")
        self._steps = 0
        self._left_at = np.zeros(len(weight), dtype=np.int64)
        """The step, counted from the last time that all were up to date, that each row was left at."""
        self._since = _nothing_since()
        """For each such step what the rows left at it lack: see `_advance`."""
        self._room: list[Tensor] = []
        self._places = torch.zeros(len(weight), dtype=torch.long, device=weight.device)
        self._lent: tuple[Rows, list[Tensor]] = self._left_at[:0], []

    @contextmanager
    def lend(self, reads: Iterable[Ids]) -> Iterator[Tensor]:
        """Let the table look up, while the context lasts, copies of the rows that are read: these take the gradients.

        Args:
            reads: all ids that will be looked up; ids beyond the table are native rows.
        """
        ids = np.fromiter(chain(*(chain.from_iterable(rows) for rows in reads), (PAD_ID,)), dtype=np.int64)
        size = len(self._left_at)
        rows = np.flatnonzero(np.bincount(ids.clip(max=size - 1), minlength=size))  # as the table clips them
        index = self._index(rows)
        weight, *others = self._brought_up(rows, index)
        leaf = weight.requires_grad_()
        self._lent = rows, [leaf, *others]
        self._places[index] = torch.arange(len(index), device=index.device)
        self._table.lent = (leaf, self._places)
        try:
            yield leaf
        finally:
            self._table.lent = None

    @torch.no_grad()
    def step(self, decay: float) -> None:
        """Step over the rows that were lent last, by their gradients; the average keeps `decay` of itself."""
        rows, tensors = self._lent
        weight, mean, square, *average = tensors
        assert weight.grad is not None
        adamw(
            [weight], [weight.grad], [mean], [square], [], [self._step], fused=self._fused, amsgrad=False,
            beta1=self._betas[0], beta2=self._betas[1], lr=self.rate, weight_decay=0.0, eps=self._epsilon,
            maximize=False,
        )  # fmt: skip
        for one in average:
            one.lerp_(weight, 1 - decay)
        self._put(rows, tensors)
        self._advance(decay)
        self._left_at[rows] = self._since.shape[1] - 1

    @torch.no_grad()
    def settle(self) -> None:
        """Bring all rows up to date."""
        for start in range(0, len(self._left_at), SETTLED):
            rows = np.arange(start, min(start + SETTLED, len(self._left_at)))
            index = self._index(rows)
            self._put(rows, self._brought_up(rows, index))
        self._left_at[:] = 0
        self._since = _nothing_since()

    def state(self) -> dict[str, Tensor]:
        """Return what is kept of a run besides the weights and their average."""
        return {
            "exp_avg": self._held[1],
            "exp_avg_sq": self._held[2],
            "step": torch.tensor(self._steps),
            "left_at": torch.from_numpy(self._left_at),
            "since": torch.from_numpy(self._since),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned; the weights and their average are put back by their owner."""
        state = {**self.state(), **state}  # Adam over the whole table leaves no row behind
        self._held[1].copy_(state["exp_avg"])
        self._held[2].copy_(state["exp_avg_sq"])
        self._steps = int(state["step"])
        self._step.fill_(self._steps)
        self._left_at, self._since = state["left_at"].numpy().copy(), state["since"].numpy().copy()

    def _index(self, rows: Rows) -> Tensor:
        return on_device(torch.from_numpy(rows), self._places.device)

    @torch.no_grad()
    def _brought_up(self, rows: Rows, index: Tensor) -> list[Tensor]:
        """Return rows of the weights, the moments and the average as they are by now."""
        if not self._room or len(index) > len(self._room[0]):
            # Kept, as the system gives fresh memory a page at a time.
            width = self._held[0].shape[1]
            self._room = [self._held[0].new_empty(len(index), width) for _ in range(len(self._held) + 1)]
        *found, unit = (tensor[: len(index)] for tensor in self._room)
        for tensor, some in zip(self._held, found, strict=True):
            torch.index_select(tensor, 0, index, out=some)
        weight, mean, square, *average = found
        left_at = self._left_at[rows]
        _, _, moved, damped, behind, kept = self._since[:, left_at]
        steps = self._since.shape[1] - 1 - left_at
        epsilon = np.divide(damped, moved, out=np.full_like(moved, self._epsilon), where=moved > 0)
        first, second = (beta**steps for beta in self._betas)
        factors = np.stack([moved, epsilon, first, second, kept, 1 - kept, moved - behind])
        move, eps, first, second, keep, take, follow = on_device(
            torch.from_numpy(factors).to(weight.dtype), index.device
        ).unsqueeze(-1)
        torch.div(mean, torch.sqrt(square, out=unit).add_(eps), out=unit)
        for one in average:
            one.mul_(keep).addcmul_(weight, take).addcmul_(unit, follow, value=-1)
        weight.addcmul_(unit, move, value=-1)
        mean.mul_(first)
        square.mul_(second)
        return [weight, mean, square, *average]

    def _put(self, rows: Rows, found: list[Tensor]) -> None:
        for tensor, some in zip(self._held, found, strict=True):
            if tensor.device.type == "cpu":
                tensor.numpy()[rows] = some.detach().numpy()  # in a third of the time that torch takes
            else:
                tensor.index_copy_(0, self._index(rows), some)

    def _advance(self, decay: float) -> None:
        """Count a step, and add to what the rows lack that were left at any step before.

        For each: `(b1 / sqrt(b2))^j`, `(b1 / b2)^j`, the sum of `p_j`, that of epsilons times `p_j`, by how much of
        the first sum the average is behind the weights, and what it keeps of itself.
        """
        self._steps += 1
        b1, b2 = self._betas
        root = math.sqrt(1 - b2**self._steps)
        rate = self.rate * root / (1 - b1**self._steps)
        slower, raised, moved, damped, behind, kept = self._since
        slower *= b1 / math.sqrt(b2) if b1 else 0.0
        raised *= b1 / b2 if b1 else 0.0
        moved += rate * slower
        damped += rate * raised * self._epsilon * root
        behind += rate * slower
        behind *= decay
        kept *= decay
        self._since = np.concatenate([self._since, _nothing_since()], axis=1)


def _nothing_since() -> NDArray[np.float64]:
    return np.array([[1.0], [1.0], [0.0], [0.0], [0.0], [1.0]])
