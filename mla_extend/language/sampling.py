"""Subword regularisation: cut text into pieces at random, the likelier ways more often (Kudo 2018, ACL, section 3).

SentencePiece draws from a generator of its own that cannot be set back. So it is asked for the likeliest ways alone,
and the draws are made here: what is drawn depends on the seed and on nothing that was drawn before.
"""

from bisect import bisect
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import sentencepiece

WAYS = 64
"""Ways to cut a word that are drawn from, as in the paper's larger setting."""
REMEMBERED = 50_000
"""Words whose ways are remembered."""

Way = tuple[int, ...]


class RandomCuts:
    """Cut texts at random, each word by itself.

    Args:
        pieces: a SentencePiece unigram model.
    """

    def __init__(self, pieces: bytes) -> None:
        self._pieces = sentencepiece.SentencePieceProcessor(model_proto=pieces)
        self._ways = lru_cache(maxsize=REMEMBERED)(self._find_ways)

    def __call__(self, texts: Sequence[str], alpha: float, seed: int) -> list[list[int]]:
        """Return each text's ids, without special tokens.

        Args:
            texts: to cut.
            alpha: how much the likelier ways are favoured: their probabilities are raised to it. 0 makes all alike.
            seed: decides the draws.
        """
        rows = [text.split() for text in texts]
        draws = iter(np.random.default_rng(seed).random(sum(map(len, rows))).tolist())
        return [[piece for word in row for piece in self._draw(word, alpha, next(draws))] for row in rows]

    def _draw(self, word: str, alpha: float, draw: float) -> Way:
        ways, ends = self._ways(word, alpha)
        return ways[min(bisect(ends, draw), len(ways) - 1)]

    def _find_ways(self, word: str, alpha: float) -> tuple[list[Way], list[float]]:
        """Return a word's likeliest ways, and where each one's share of [0, 1) ends."""
        found = self._pieces.nbest_encode(word, nbest_size=WAYS, return_type="proto").nbests
        scores = np.array([one.score for one in found])
        shares = np.exp(alpha * (scores - scores.max()))
        ends: list[float] = (np.cumsum(shares) / shares.sum()).tolist()
        return [tuple(piece.id for piece in one.pieces) for one in found], ends
