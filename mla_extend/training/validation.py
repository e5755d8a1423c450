"""Score a language on the slice that is held out of training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mla_extend.language.model import MultilingualModel
from mla_extend.ranks import ranks, unit
from mla_extend.training.forward import Ids, encode_ids
from mla_extend.training.losses import mean_cosine

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]
CUTOFFS = (1, 5, 10)
GALLERY = 5_000
"""Images that held-out captions look among during training, with others beside theirs unless they are as many."""
SENTENCES = 2_000
"""Native sentences that held-out ones look among, with others beside them unless they are as many by themselves: each
has to be encoded before the first step."""


@dataclass(frozen=True)
class Score:
    """Say how a language does on the held-out slice.

    `score` is the mean of R@1, R@5 and R@10 in both directions (a fraction), `chance` what a random ranking reads,
    `mean_cosine` that between different texts' vectors (near 1: collapsed), `error` the score's standard error.
    """

    score: float
    chance: float
    mean_cosine: float
    error: float


class Validation(Protocol):
    """Score a language on held-out rows."""

    def __call__(self, model: MultilingualModel) -> Score:
        """Return the score of the model's active language."""


class TransferValidation:
    """Held-out pairs: each target sentence looks for its native one among many, and each native one for its target."""

    def __init__(self, ids: Ids, native: Sequence[str], teacher: Vectors, others: Vectors) -> None:
        self.ids = ids
        first = {text: i for i, text in reversed(list(enumerate(native)))}
        different = list(dict.fromkeys(native))
        self.gallery = unit(np.concatenate([teacher[[first[text] for text in different]], others]))
        number = {text: i for i, text in enumerate(different)}
        self.native_of_text = np.array([number[text] for text in native])
        self.texts_of_native = [np.flatnonzero(self.native_of_text == i) for i in range(len(different))]

    def __call__(self, model: MultilingualModel) -> Score:
        """Score the active language."""
        vectors = encode_ids(model, self.ids)
        texts = unit(vectors.numpy())
        there = ranks(texts, self.gallery, self.native_of_text)
        back = ranks(self.gallery[: len(self.texts_of_native)], texts, self.texts_of_native)
        chance = (_chance(len(self.gallery)) + _chance(len(texts))) / 2
        return _score(there, back, chance, vectors)


class ExposureValidation:
    """Held-out captions: each looks for its image among many, and each of their images for a caption."""

    def __init__(self, ids: Ids, texts: Sequence[str], image_of_text: Rows, images: Vectors) -> None:
        different = list(dict.fromkeys(texts))
        number = {text: i for i, text in enumerate(different)}
        first = {text: i for i, text in reversed(list(enumerate(texts)))}
        self.ids = [ids[first[text]] for text in different]
        wanted = np.unique(image_of_text)
        others = np.setdiff1d(np.arange(len(images)), wanted)[: max(0, GALLERY - len(wanted))]
        self.gallery = unit(images[np.concatenate([wanted, others])])
        place = {int(image): i for i, image in enumerate(wanted)}
        pairs = sorted({(number[text], place[int(image)]) for text, image in zip(texts, image_of_text, strict=True)})
        self.images_of_text = [[i for t, i in pairs if t == text] for text in range(len(different))]
        self.texts_of_image = [[t for t, i in pairs if i == image] for image in range(len(wanted))]

    def __call__(self, model: MultilingualModel) -> Score:
        """Score the active language."""
        vectors = encode_ids(model, self.ids)
        texts = unit(vectors.numpy())
        there = ranks(texts, self.gallery, self.images_of_text)
        back = ranks(self.gallery[: len(self.texts_of_image)], texts, self.texts_of_image)
        chance = (_chance(len(self.gallery)) + _chance(len(texts))) / 2
        return _score(there, back, chance, vectors)


def _score(there: Rows, back: Rows, chance: float, vectors: Tensor) -> Score:
    score = (_recall(there) + _recall(back)) / 2
    # As if each text were one draw: the cutoffs and the two directions of a text rise and fall together.
    error = math.sqrt(max(score * (1 - score), 1e-4) / len(there))
    return Score(score, chance, mean_cosine(vectors), error)


def _recall(places: Rows) -> float:
    return float(np.mean([(places <= k).mean() for k in CUTOFFS]))


def _chance(gallery: int) -> float:
    return float(np.mean([min(1.0, k / gallery) for k in CUTOFFS]))
