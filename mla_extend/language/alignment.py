"""Which native tokens a language's tokens translate, read from parallel text without training anything.

Two tokens belong together when they occur in the same pairs and seldom apart: the Dice coefficient of their occurrence,
`2 n(s, t) / (n(s) + n(t))`, squared so that the best partners outweigh the many weak ones. All counts come from one
sparse product, so that a million pairs take a minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CHUNK = 200_000
"""Pairs counted at a time: what bounds memory is the number of different token pairs, not of sentences."""


@dataclass(frozen=True)
class Alignment:
    """Hold weights `[S, V]`: row `s` says of which native tokens token `s` is made; rows sum to 1, or to 0."""

    weights: sparse.csr_array

    @property
    def aligned(self) -> NDArray[np.bool_]:
        """Say which tokens `[S]` have a partner at all."""
        return np.diff(self.weights.indptr) > 0


def align(
    target: Sequence[Sequence[int]],
    native: Sequence[Sequence[int]],
    target_size: int,
    native_size: int,
    *,
    power: float = 2.0,
    best: int = 8,
) -> Alignment:
    """Align two vocabularies over parallel text.

    Args:
        target: ids of each target sentence, without special tokens.
        native: ids of each native sentence, in the same order.
        target_size: `S`, size of the language's vocabulary.
        native_size: `V`, size of the native vocabulary.
        power: exponent of the Dice coefficient.
        best: native tokens kept a token, the strongest first.
    """
    together = sparse.csr_array((target_size, native_size), dtype=np.float32)
    target_counts = np.zeros(target_size)
    native_counts = np.zeros(native_size)
    for start in range(0, len(target), CHUNK):
        occurs_target = occurrence(target[start : start + CHUNK], target_size)
        occurs_native = occurrence(native[start : start + CHUNK], native_size)
        together = together + occurs_target.T @ occurs_native
        target_counts += np.asarray(occurs_target.sum(axis=0)).ravel()
        native_counts += np.asarray(occurs_native.sum(axis=0)).ravel()
    counts = sparse.coo_array(together)
    dice = 2 * counts.data / (target_counts[counts.row] + native_counts[counts.col])
    return Alignment(strongest(counts.row, counts.col, dice**power, (target_size, native_size), best))


def occurrence(rows: Sequence[Sequence[int]], size: int) -> sparse.csr_array:
    """Return a matrix `[pairs, size]` that is 1 where a token occurs in a sentence, however often."""
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    indices = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(lengths.sum()))
    matrix = sparse.csr_array(
        (np.ones(len(indices), dtype=np.float32), indices, np.concatenate([[0], np.cumsum(lengths)])),
        shape=(len(rows), size),
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def strongest(
    rows: NDArray[np.int32], columns: NDArray[np.int32], values: NDArray[np.float64], shape: tuple[int, int], best: int
) -> sparse.csr_array:
    """Keep the `best` entries of each row and scale them to sum to 1."""
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(shape[0]))
    keep = np.arange(len(rows)) - starts[rows] < best
    rows, columns, values = rows[keep], columns[keep], values[keep]
    sums = np.bincount(rows, weights=values, minlength=shape[0])
    matrix = sparse.csr_array((values / sums[rows], (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix
