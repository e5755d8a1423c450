"""The teacher's vectors, encoded a few steps before they are needed, so that training starts at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.language.model import MultilingualModel

FIRST, MOST = 8, 32
"""Steps whose vectors are encoded together: few at first, so that training starts, then more, so that it is seldom."""
CACHED = 500_000
"""Pairs up to which the vectors stay in the feature cache for the next epoch. Over more pairs there are few epochs, and
encoding again costs less than a cache of many gigabytes."""

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]


class Teacher:
    """Give the native sentence vectors of training pairs; in memory are only those of the next steps.

    Args:
        model: whose native path encodes, whatever language is in training in it.
        features: of the same base; encodes and caches.
        texts: N native sentences.
    """

    def __init__(self, model: MultilingualModel, features: Features, texts: Sequence[str]) -> None:
        self._model = model
        self._features = features
        self._texts = texts
        self._rows: Rows = np.empty(0, dtype=np.int64)
        self._vectors: Vectors = np.empty((0, 0), dtype=np.float32)

    def prepare(self, rows: Rows) -> None:
        """Encode the rows of the next steps, those of earlier ones are let go; equal sentences are one."""
        self._rows = np.unique(rows)
        texts = [self._texts[i] for i in self._rows]
        with self._model.native_path():
            self._vectors = self._features.text(texts, quiet=True, cached=len(self._texts) <= CACHED)

    def __getitem__(self, rows: Rows) -> Vectors:
        """Return the vectors `[n, D]` of n rows that have been prepared."""
        places = np.searchsorted(self._rows, rows)
        assert np.array_equal(self._rows[places], rows)
        found: Vectors = self._vectors[places]
        return found


def encoded_with(step: int) -> tuple[int, int]:
    """Return the range of steps, the end excluded, whose vectors are encoded with those of a step.

    It depends on the step alone: a vector's last bits depend on the sentences that it was encoded beside, and a run
    that was interrupted must go on with the same ones.
    """
    first, count = 0, FIRST
    while step >= first + count:
        first += count
        count = min(2 * count, MOST)
    return first, first + count
