"""Which native tokens a language's tokens translate, read from parallel text without training a network.

It begins with counts: two tokens belong together when they occur in the same pairs and seldom apart, by the Dice
coefficient of their occurrence, `2 n(s, t) / (n(s) + n(t))`, squared so that the best partners outweigh the many weak
ones. All counts come from one sparse product, so that a million pairs take a minute. Counts cannot tell a word from
what usually stands beside it; a few rounds of expectation maximisation can (the first of the IBM models, Brown et al.
1993, in both directions): each token of a sentence shares itself out among its partners there, by how well they
explain it, and what was shared out is counted again.

Shapes: `S` size of the language's vocabulary, `V` of the native one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CHUNK = 50_000
"""Pairs counted at a time."""
KEPT = 8_000_000
"""Token pairs at most that are kept, those that belong together most: with what is counted beside, they take 1 GB."""
ROUNDS = 5
"""Rounds of expectation maximisation; more changes little."""
LINKS = 8_000_000
"""Token pairs at most that those rounds go over (40,000 captions), which bounds their memory to about 0.5 GB."""

Ids = Sequence[Sequence[int]]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Alignment:
    """Hold weights `[S, V]`: row `s` says of which native tokens token `s` is made; rows sum to 1, or to 0."""

    weights: sparse.csr_array

    @property
    def aligned(self) -> NDArray[np.bool_]:
        """Say which tokens `[S]` have a partner at all."""
        return np.diff(self.weights.indptr) > 0

    def joined(self, other: "Alignment", counts: Integers) -> "Alignment":
        """Return it with another's word beside it, which counts as one occurrence more of each token.

        Args:
            other: of the same two vocabularies.
            counts: `[S]`, how often each token occurs in what this one was read from.
        """
        own = np.where(self.aligned, counts, 0)
        total = np.maximum(own + other.aligned, 1)
        one, more = sparse.diags_array(own / total), sparse.diags_array(1.0 / total)
        return Alignment(sparse.csr_array(one @ self.weights + more @ other.weights))


def align(
    target: Ids,
    native: Ids,
    target_size: int,
    native_size: int,
    *,
    power: float = 2.0,
    best: int = 8,
    rounds: int = ROUNDS,
) -> Alignment:
    """Align two vocabularies over parallel text.

    Args:
        target: ids of each target sentence, without special tokens.
        native: ids of each native sentence, in the same order.
        target_size: `S`, size of the language's vocabulary.
        native_size: `V`, size of the native vocabulary.
        power: exponent of the Dice coefficient.
        best: native tokens kept a token, the strongest first.
        rounds: of expectation maximisation; 0 for the counts alone.
    """
    together: Any = sparse.csr_array((target_size, native_size), dtype=np.float32)
    target_counts = np.zeros(target_size)
    native_counts = np.zeros(native_size)
    for start in range(0, len(target), CHUNK):
        occurs_target = occurrence(target[start : start + CHUNK], target_size)
        occurs_native = occurrence(native[start : start + CHUNK], native_size)
        together = together + occurs_target.T @ occurs_native
        target_counts += np.asarray(occurs_target.sum(axis=0)).ravel()
        native_counts += np.asarray(occurs_native.sum(axis=0)).ravel()
        if together.nnz > 2 * KEPT:
            together = pruned(together, target_counts, native_counts)
    if together.nnz > KEPT:
        together = pruned(together, target_counts, native_counts)
    together.sort_indices()
    counts = sparse.coo_array(together)
    values = share_out(
        target,
        native,
        counts.row,
        counts.col,
        _dice(counts, target_counts, native_counts) ** power,
        native_size,
        rounds,
    )
    return Alignment(strongest(counts.row, counts.col, values, (target_size, native_size), best))


def pruned(together: sparse.csr_array, target_counts: Floats, native_counts: Floats) -> sparse.csr_array:
    """Return the `KEPT` token pairs that belong together most, and beside them the best of each target token.

    Args:
        together: `[S, V]`, in how many pairs two tokens occur together.
        target_counts: `[S]`, in how many each target token does.
        native_counts: `[V]`.
    """
    counts = sparse.coo_array(together)
    dice = _dice(counts, target_counts, native_counts).astype(np.float32)
    least = np.partition(dice, len(dice) - KEPT)[len(dice) - KEPT]
    best = np.zeros(together.shape[0], dtype=np.float32)
    np.maximum.at(best, counts.row, dice)
    kept = (dice >= least) | (dice == best[counts.row])
    return sparse.csr_array((counts.data[kept], (counts.row[kept], counts.col[kept])), shape=together.shape)


def _dice(counts: sparse.coo_array, target_counts: Floats, native_counts: Floats) -> Floats:
    dice: Floats = 2 * counts.data / (target_counts[counts.row] + native_counts[counts.col])
    return dice


def share_out(
    target: Ids,
    native: Ids,
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    values: Floats,
    native_size: int,
    rounds: int,
) -> Floats:
    """Return the values of token pairs after rounds of expectation maximisation in both directions, summed.

    Args:
        target: ids of each target sentence.
        native: ids of each native sentence.
        rows: target tokens of the different token pairs, of all or of those that are kept, ordered by row and column.
        columns: their native tokens.
        values: where the rounds begin; what is returned for tokens that the sample of sentences does not hold.
        native_size: `V`.
        rounds: how many; 0 returns `values`.
    """
    if not rounds or not len(rows):
        return values
    every = max(1, -(-int(_lengths(target) @ _lengths(native)) // LINKS))  # evenly spread
    links = _Links(target[::every], native[::every], rows, columns, native_size)
    to_native, to_target = values, values
    for _ in range(rounds):
        native_shares = links.counts(to_native, links.native_place)
        target_shares = links.counts(to_target, links.target_place)
        to_native = native_shares / _sums(rows, native_shares)
        to_target = target_shares / _sums(columns, target_shares)
    found = native_shares + target_shares
    return np.where(np.bincount(rows, weights=found)[rows] > 0, found, values)


class _Links:
    """Each target token of each sentence with each native token of it: which token pair it is, and whose."""

    def __init__(
        self, target: Ids, native: Ids, rows: NDArray[np.int32], columns: NDArray[np.int32], native_size: int
    ) -> None:
        target_lengths, native_lengths = _lengths(target), _lengths(native)
        target_ids, native_ids = _joined(target), _joined(native)
        partners = np.repeat(native_lengths, target_lengths)  # of each target token
        first = np.repeat(np.cumsum(native_lengths) - native_lengths, target_lengths)
        self.target_place = np.repeat(np.arange(len(target_ids)), partners)
        self.native_place = np.arange(len(self.target_place)) + np.repeat(
            first - (np.cumsum(partners) - partners), partners
        )
        keys = target_ids[self.target_place] * native_size + native_ids[self.native_place]
        known = rows.astype(np.int64) * native_size + columns
        self.pair = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        there = known[self.pair] == keys  # all but those of token pairs that were not kept
        self.pair, self.target_place, self.native_place = (
            each[there] for each in (self.pair, self.target_place, self.native_place)
        )
        self.pairs = len(rows)

    def counts(self, values: Floats, place: Integers) -> Floats:
        """Let the token at each place share itself out by the values of its pairs; return what each pair got."""
        shares = values[self.pair]
        shares /= np.maximum(np.bincount(place, weights=shares), np.finfo(np.float64).tiny)[place]
        return np.asarray(np.bincount(self.pair, weights=shares, minlength=self.pairs), dtype=np.float64)


def _lengths(rows: Ids) -> Integers:
    return np.fromiter(map(len, rows), np.int64)


def _joined(rows: Ids) -> Integers:
    return np.fromiter(chain.from_iterable(rows), np.int64)


def _sums(groups: NDArray[np.int32], values: Floats) -> Floats:
    sums: Floats = np.maximum(np.bincount(groups, weights=values), np.finfo(np.float64).tiny)[groups]
    return sums


def occurrence(rows: Ids, size: int) -> sparse.csr_array:
    """Return a matrix `[pairs, size]` that is 1 where a token occurs in a sentence, however often."""
    indices = _joined(rows)
    matrix = sparse.csr_array(
        (np.ones(len(indices), dtype=np.float32), indices, np.concatenate([[0], np.cumsum(_lengths(rows))])),
        shape=(len(rows), size),
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def strongest(
    rows: NDArray[np.int32], columns: NDArray[np.int32], values: Floats, shape: tuple[int, int], best: int
) -> sparse.csr_array:
    """Keep the `best` entries of each row and scale them to sum to 1."""
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(shape[0]))
    keep = np.arange(len(rows)) - starts[rows] < best
    rows, columns, values = rows[keep], columns[keep], values[keep]
    matrix = sparse.csr_array((values / np.bincount(rows, weights=values)[rows], (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix
