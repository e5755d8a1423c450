"""Subword regularisation: cut text into pieces at random, the likelier ways more often (Kudo 2018, ACL, section 3).

Ways are drawn from all that the vocabulary allows, exactly and in time that grows with the length alone: sums over the
ways to the end are taken backwards, pieces are drawn forwards. What is drawn depends on the texts and the seed alone.
"""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import exp, log

import numpy as np
from tokenizers import Tokenizer

REMEMBERED, SHORT = 10_000, 24
"""Words whose ways are remembered, if they have at most so many characters. Text without spaces is one long word, which
does not come again."""
UNKNOWN = 10.0
"""A character that no piece spells is rarer than the rarest piece by so many nats, as in the `tokenizers` library."""

Ids = tuple[int, ...]
Fork = tuple[list[float], list[tuple[Ids, int]]]
"""The pieces that can begin at a place: the weight of the ways that go on with each, and its ids and its own end."""


class RandomCuts:
    """Cut texts at random, each between the places where its tokenizer parts words, and as it spells them.

    Args:
        content: a `tokenizer.json` with a unigram model.
        own: how many of its pieces are the language's own; those after them are not drawn.
    """

    def __init__(self, content: str, own: int | None = None) -> None:
        self._tokenizer = Tokenizer.from_str(content)
        vocabulary = [(piece, score) for piece, score in json.loads(content)["model"]["vocab"][:own]]
        self._unknown = min(score for _, score in vocabulary) - UNKNOWN
        self._bytes = {piece: i for i, (piece, score) in enumerate(vocabulary) if score == 0}
        self._pieces: dict[str, tuple[Ids, float] | tuple[()]] = {}
        """Of each piece its ids and score; of what only begins one, nothing."""
        for i, (piece, score) in enumerate(vocabulary):
            if score < 0:  # special pieces and bytes have none
                self._pieces[piece] = (i,), score
                for end in range(1, len(piece)):
                    self._pieces.setdefault(piece[:end], ())
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._forks)

    def __call__(self, texts: Sequence[str], alpha: float, seed: int) -> list[list[int]]:
        """Return each text's ids, without special tokens.

        Args:
            texts: to cut.
            alpha: how much the likelier ways are favoured: their probabilities are raised to it. 0 makes all alike.
            seed: decides the draws.
        """
        normaliser, parter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        rows = [[word for word, _ in parter.pre_tokenize_str(normaliser.normalize_str(text))] for text in texts]
        draws = iter(np.random.default_rng(seed).random(sum(len(word) for row in rows for word in row)).tolist())
        return [[piece for word in row for piece in self._draw(word, alpha, draws)] for row in rows]

    def _draw(self, word: str, alpha: float, draws: Iterator[float]) -> list[int]:
        forks = (self._remembered if len(word) <= SHORT else self._forks)(word, alpha)
        drawn: list[int] = []
        place = 0
        while place < len(word):
            weights, pieces = forks[place]
            rest, chosen = next(draws) * sum(weights), 0
            while chosen < len(weights) - 1 and rest >= weights[chosen]:
                rest -= weights[chosen]
                chosen += 1
            ids, place = pieces[chosen]
            drawn += ids
        return drawn

    def _forks(self, word: str, alpha: float) -> list[Fork]:
        """Return a word's forks, one for each of its characters."""
        find, length = self._pieces.get, len(word)
        forks: list[Fork] = [([], [])] * length
        to_end = [0.0] * (length + 1)
        """Logarithm of the sum over all ways from each place to the end."""
        for place in range(length - 1, -1, -1):
            pieces, weights = [], []
            for end in range(place + 1, length + 1):
                found = find(word[place:end])
                if found is None:
                    break
                if found:
                    pieces.append((found[0], end))
                    weights.append(alpha * found[1] + to_end[end])
            if not pieces or pieces[0][1] != place + 1:
                pieces.append((tuple(self._bytes[f"<0x{byte:02X}>"] for byte in word[place].encode()), place + 1))
                weights.append(alpha * self._unknown + to_end[place + 1])
            if len(weights) == 1:
                to_end[place] = weights[0]
                forks[place] = ([1.0], pieces)
            else:
                largest = max(weights)
                relative = [exp(weight - largest) for weight in weights]
                to_end[place] = largest + log(sum(relative))
                forks[place] = (relative, pieces)
        return forks
