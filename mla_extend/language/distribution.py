"""Starts for pieces that no pair aligned, from text of the language alone.

Words that stand beside the same words mean alike: each piece gets a vector from the pieces around it (positive
pointwise mutual information, reduced by a truncated SVD; Levy and Goldberg 2014), and a ridge regression over the
aligned pieces maps those vectors to where the aligned ones start in the native table, as WECHSEL does by neighbours
(Minixhofer et al. 2022).

Shapes: `S` size of the language's vocabulary, `W` width of the text tower.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from mla_extend.language.alignment import CHUNK, Floats, Ids, Integers

WINDOW = 4
"""Pieces on each side that count, each by one over its distance."""
SMOOTHING = 0.75
"""Exponent of a context's frequency, without which rare contexts count too much."""
WIDTH = 128
RIDGE = 0.3
SURE = 20.0
"""Pairs from which on a piece's alignment counts no more in the regression."""


def distributional(ids: Ids, size: int) -> Floats:
    """Return a vector of each piece `[S, WIDTH]` of length 1 from text, by what stands around it; 0 where nothing does.

    Args:
        ids: of each sentence, without special tokens.
        size: `S`.
    """
    together = sparse.csr_array((size, size))
    for start in range(0, len(ids), CHUNK):
        together = together + _near(ids[start : start + CHUNK], size)
    counts = sparse.coo_array(together + together.T)
    rows = np.bincount(counts.row, weights=counts.data, minlength=size)
    contexts = rows**SMOOTHING
    mutual = np.log(counts.data * contexts.sum() / (rows[counts.row] * contexts[counts.col]))
    kept = mutual > 0
    width = min(WIDTH, size - 1)
    matrix = sparse.csr_array((mutual[kept], (counts.row[kept], counts.col[kept])), shape=(size, size))
    left, values, _ = svds(matrix, k=width, v0=np.ones(size))
    vectors: Floats = left * np.sqrt(values)
    vectors[rows == 0] = 0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return vectors


def mapped(vectors: Floats, table: NDArray[Any], counts: NDArray[Any]) -> Floats:
    """Map vectors of pieces to the native table's space: `[S, W]`.

    Args:
        vectors: `[S, WIDTH]`.
        table: `[S, W]`, where the aligned pieces start.
        counts: `[S]`, pairs that each piece's alignment rests on; 0 for those that are not aligned.
    """
    weights = np.minimum(counts, SURE)[:, None]
    whole = weights.sum()
    middle, place = (vectors * weights).sum(axis=0) / whole, (table * weights).sum(axis=0) / whole
    inputs, roots = vectors - middle, np.sqrt(weights)
    known = inputs * roots
    turned = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ ((table - place) * roots))
    result: Floats = inputs @ turned + place
    return result


def _near(ids: Ids, size: int) -> sparse.csr_array:
    """Return how often `[S, S]` one piece stands before another, within the window."""
    flat: Integers = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    owner = np.repeat(np.arange(len(ids)), [len(row) for row in ids])
    found = sparse.csr_array((size, size))
    for distance in range(1, WINDOW + 1):
        same = owner[:-distance] == owner[distance:]
        first, second = flat[:-distance][same], flat[distance:][same]
        found = found + sparse.csr_array((np.full(len(first), 1 / distance), (first, second)), shape=(size, size))
    return found
