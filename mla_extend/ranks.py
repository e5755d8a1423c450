"""Where the first correct item stands in a ranking, with ties counted against the system. NumPy only."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError

Vectors = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Relevant = npt.NDArray[Any] | Sequence[npt.ArrayLike]

# Equal vectors need not get equal scores: a BLAS treats the edge of a block with another kernel, which sums in
# another order. With the OpenBLAS kernels for Nehalem, Haswell, SkylakeX and Zen and widths 16 to 4096, scores of
# equal unit vectors differed by at most 4 epsilon; twice that is a cosine of 1e-6, below any difference that matters.
TIE = 8 * float(np.finfo(np.float32).eps)
CHUNK_BYTES = 128 << 20


def as_vectors(vectors: npt.ArrayLike, name: str) -> Vectors:
    """Return vectors as a float32 matrix that is known to be usable.

    Args:
        vectors: `[N, D]`, N vectors of width D.
        name: what to call them in an error.

    Raises:
        DataError: not a matrix of numbers, empty, or a value that is NaN or infinite (also in float32).
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(
            f"The {name} have the shape {list(array.shape)} and the type {array.dtype}; "
            "give real numbers as [vectors, width]."
        )
    if not array.size:
        raise DataError(f"The {name} are empty (shape {list(array.shape)}); give at least one vector.")
    with np.errstate(over="ignore"):
        result = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.asarray(np.isfinite(result).all(axis=1))
    if not finite.all():
        raise DataError(
            f"{np.count_nonzero(~finite)} of {len(finite)} {name} hold NaN or infinity, the first in row "
            f"{int(np.argmin(finite))}; the encoder overflowed or training diverged: encode in float32 to find out."
        )
    return result


def as_indices(values: npt.ArrayLike, name: str, length: int, below: int) -> Integers:
    """Return a list of indices as int64 `[length]`, each at least 0 and under `below`.

    Raises:
        DataError: another length or type, or an index out of range.
    """
    array = np.asarray(values)
    if array.shape != (length,) or array.dtype.kind not in "iu":
        raise DataError(
            f"{name} has the shape {list(array.shape)} and the type {array.dtype}; give {length} integers, one each."
        )
    result = array.astype(np.int64)
    wrong = np.flatnonzero((result < 0) | (result >= below))
    if wrong.size:
        raise DataError(
            f"{name} says {array[wrong[0]]} at position {wrong[0]}; indices go from 0 to {below - 1}: "
            "check that the lists belong together."
        )
    return result


def unit(vectors: Vectors) -> Vectors:
    """Return the vectors at length 1, so that a dot product is a cosine; a zero vector stays zero.

    A zero vector then scores 0 with everything: it ties, and ties count against it.
    """
    # Dividing by the largest entry first keeps the square of huge and of tiny entries within float32.
    largest: Vectors = np.abs(vectors).max(axis=1)
    scaled: Vectors = vectors / _divisor(largest)
    scaled /= _divisor(_lengths(scaled))
    return scaled


def ranks(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    relevant: Relevant,
    *,
    groups: npt.ArrayLike | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Integers:
    """Return, for each query, the pessimistic rank of its best correct item.

    With scores `s = q . g` and the best score `b` among the correct items of a query,

        rank = 1 + #{incorrect items with s >= b}

    which is the worst place that the first correct item can have over all orders of tied items. Other correct items
    never count: those that tie with the best would be the first correct item themselves. If all vectors are equal and
    m of G items are correct, every rank is 1 + G - m, which is in the top k only where any order would be.

    `s >= b` means `s >= b - 8 epsilon |q| |g|` (float32 epsilon, `g` the longest item of the gallery), because equal
    vectors may get scores that differ in the last bits.

    Args:
        queries: `[Q, D]`, Q queries of width D.
        gallery: `[G, D]`, G items. Scores are dot products: give unit vectors for cosines.
        relevant: the correct item of each query as integers `[Q]`, or Q lists of correct items.
        groups: `None`, or `[G]`: items with the same number in 0 to N - 1 become one item that scores as its best
            member; `relevant` then counts groups.
        chunk_bytes: about how many bytes the scores held at once may take; at least one row of G is held.

    Returns:
        int64 `[Q]`, from 1 to the number of items (or groups).

    Raises:
        DataError: shapes that do not fit, vectors that are empty or hold NaN, a query without a correct item, an item
            or group out of range, a group without items.
    """
    rows, items = as_vectors(queries, "queries"), as_vectors(gallery, "gallery vectors")
    if rows.shape[1] != items.shape[1]:
        raise DataError(
            f"Queries have width {rows.shape[1]} and gallery vectors {items.shape[1]}; encode both with one base."
        )
    starts: Integers | None = None
    if groups is not None:
        items, starts = _sorted_groups(items, groups)
    total = len(items) if starts is None else len(starts)
    owner, correct = _pairs(relevant, len(rows), total)
    slack = TIE * _lengths(rows) * _lengths(items).max()
    result = np.empty(len(rows), dtype=np.int64)
    step = max(1, chunk_bytes // (items.itemsize * len(items)))
    for low in range(0, len(rows), step):
        high = min(low + step, len(rows))
        scores = rows[low:high] @ items.T
        if starts is not None:
            scores = np.maximum.reduceat(scores, starts, axis=1)
        pairs = slice(*np.searchsorted(owner, [low, high]))
        result[low:high] = _ranks_of(scores, owner[pairs] - low, correct[pairs], slack[low:high])
    return result


def _divisor(values: Vectors) -> Vectors:
    return np.where(values > 0, values, 1).astype(np.float32)[:, None]


def _lengths(vectors: Vectors) -> Vectors:
    result: Vectors = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return result


def _ranks_of(scores: Vectors, owner: Integers, correct: Integers, slack: Vectors) -> Integers:
    first = np.searchsorted(owner, np.arange(len(scores)))
    own = scores[owner, correct]
    threshold = np.maximum.reduceat(own, first) - slack
    # Counting what is below, not what is at or above, lets a score that overflowed to NaN count against the query.
    below = np.count_nonzero(scores < threshold[:, None], axis=1)
    own_at_or_above = np.add.reduceat(~(own < threshold[owner]), first)
    result: Integers = 1 + scores.shape[1] - below - own_at_or_above
    return result


def _sorted_groups(items: Vectors, groups: npt.ArrayLike) -> tuple[Vectors, Integers]:
    """Return the items with each group's side by side, and where each group starts."""
    labels = as_indices(groups, "groups", len(items), len(items))
    order = np.argsort(labels)
    present, starts = np.unique(labels[order], return_index=True)
    if len(present) != present[-1] + 1:
        missing = int(np.setdiff1d(np.arange(present[-1]), present)[0])
        raise DataError(f"Group {missing} has no item; number the groups from 0 without a gap.")
    return items[order], starts.astype(np.int64)


def _pairs(relevant: Relevant, queries: int, total: int) -> tuple[Integers, Integers]:
    """Return every (query, correct item) once, ordered by query."""
    if isinstance(relevant, np.ndarray) and relevant.ndim == 1 and relevant.dtype != object:
        lists: list[npt.NDArray[Any]] = [relevant]
        counts = np.ones(len(relevant), dtype=np.int64)
    else:
        lists = [np.atleast_1d(np.asarray(one)) for one in relevant]
        counts = np.array([one.size for one in lists])
    if len(counts) != queries:
        raise DataError(f"There are {queries} queries and correct items for {len(counts)}; give them for each query.")
    if not counts.all():
        raise DataError(f"Query {int(np.argmin(counts))} has no correct item; leave such queries out.")
    flat = as_indices(np.concatenate(lists), "relevant", int(counts.sum()), total)
    # An item named twice must not be subtracted twice.
    key = np.unique(np.repeat(np.arange(queries), counts) * total + flat)
    return key // total, key % total
