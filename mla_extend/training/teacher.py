"""The teacher's vectors, encoded a few steps before they are needed, so that training starts at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.language.model import MultilingualModel

FIRST, MOST = 8, 32
"""Steps whose vectors are encoded together: few at first, so that training starts, then more, so that it is seldom."""


class Teacher:
    """Hold the native sentence vectors `[N, D]` of training pairs; what is in the feature cache is not encoded again.

    Args:
        model: whose native path encodes, whatever language is in training in it.
        features: of the same base; encodes and caches.
        texts: N native sentences.
    """

    def __init__(self, model: MultilingualModel, features: Features, texts: Sequence[str]) -> None:
        self._model = model
        self._features = features
        self._texts = texts
        self._there = np.zeros(len(texts), dtype=np.bool_)
        self._vectors: NDArray[np.float32] | None = None

    def prepare(self, rows: NDArray[np.int64]) -> None:
        """Encode rows that have not been; equal sentences are one."""
        missing = np.unique(rows[~self._there[rows]])
        if not missing.size:
            return
        with self._model.native_path():
            vectors = self._features.text([self._texts[i] for i in missing], quiet=True)
        if self._vectors is None:
            self._vectors = np.empty((len(self._texts), vectors.shape[1]), dtype=np.float32)
        self._vectors[missing] = vectors
        self._there[missing] = True

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors `[n, D]` of n rows that have been prepared."""
        assert self._vectors is not None
        assert self._there[rows].all()
        found: NDArray[np.float32] = self._vectors[rows]
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
