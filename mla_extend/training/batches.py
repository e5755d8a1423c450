"""Batches of like length, in an order that depends on the seed and the epoch alone.

Nothing is remembered between batches: the batch of step `n` is a function of `n`, so that a run continues after an
interruption exactly as it would have gone on.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

POOL = 32
"""Batches whose rows are sorted by length together: enough for little padding, few enough to stay well mixed."""


class BucketedBatches:
    """Cut rows into batches of `size` rows of like length.

    Args:
        lengths: tokens of each row `[N]`.
        size: rows a batch, N at most; the last rows of an epoch that fill no batch wait for another epoch's order.
        seed: decides every epoch's order.
        weights: `[N]`, how often a row is drawn beside the others; an epoch still has N rows. `None`: once each.
    """

    def __init__(
        self, lengths: NDArray[np.int64], size: int, seed: int, weights: NDArray[np.float64] | None = None
    ) -> None:
        self.lengths = lengths
        self.weights = weights
        self.size = size
        self.seed = seed
        self.per_epoch = len(lengths) // size
        self._epoch = lru_cache(maxsize=2)(self._order)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return the row numbers of the batch of a step, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        return self._epoch(epoch)[place]

    def _order(self, epoch: int) -> list[NDArray[np.int64]]:
        generator = np.random.default_rng([self.seed, epoch])
        order = self._draw(generator)[: self.per_epoch * self.size]
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), POOL * self.size):
            pool = order[start : start + POOL * self.size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[i : i + self.size] for i in range(0, len(pool), self.size)]
        return [batches[i] for i in generator.permutation(len(batches))]

    def _draw(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return N rows in random order, each as often as its weight says, rounded up or down at random.

        Systematic sampling: one offset for all rows, so that the number of draws of a row never strays by more than 1.
        """
        order = generator.permutation(len(self.lengths))
        if self.weights is None:
            return order
        ends = np.cumsum(self.weights[order])
        ticks = (np.arange(len(order)) + generator.random()) * (ends[-1] / len(order))
        # The last end can fall short of the last tick by a rounding error.
        return generator.permutation(order[np.minimum(np.searchsorted(ends, ticks, side="right"), len(order) - 1)])
