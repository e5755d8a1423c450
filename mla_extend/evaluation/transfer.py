"""How near a language's texts come to the English teacher's vectors, for when there are no images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError
from mla_extend.evaluation.ranks import Vectors, as_vectors, ranks, unit


@dataclass(frozen=True)
class TextTransfer:
    """Hold the figures of text-only transfer; accuracies are fractions from 0 to 1.

    `to_english` is how often a sentence finds its English translation first among all, `from_english` the reverse.
    Chance is 1 over the number of candidates.
    """

    mse: float
    cosine: float
    to_english: float
    from_english: float
    pairs: int
    english_candidates: int
    candidates: int


def text_transfer(
    vectors: npt.ArrayLike,
    teacher: npt.ArrayLike,
    *,
    english_distractors: npt.ArrayLike | None = None,
    distractors: npt.ArrayLike | None = None,
) -> TextTransfer:
    """Compare translations with the English sentences that they translate.

    `mse` is the mean over sentences and entries of the squared difference, on the vectors as given (what native
    language transfer minimises); `cosine` is the mean of the pairs' cosines; the accuracies are R@1 by cosine with
    ties counted against. A sentence that occurs twice ties with itself: drop repetitions before.

    Args:
        vectors: `[N, D]`, N sentences of the language, width D.
        teacher: `[N, D]`, the English sentence of each.
        english_distractors: `[M, D]` further English sentences among the candidates of `to_english`, or `None`.
        distractors: `[M, D]` further sentences of the language among those of `from_english`, or `None`.

    Raises:
        DataError: shapes that do not fit, empty or NaN vectors.
    """
    ours, theirs = as_vectors(vectors, "text vectors"), as_vectors(teacher, "teacher vectors")
    if ours.shape != theirs.shape:
        raise DataError(
            f"Text vectors have the shape {list(ours.shape)} and teacher vectors {list(theirs.shape)}; "
            "give one English vector for each sentence, from one base."
        )
    english = _candidates(theirs, english_distractors, "English distractors")
    own = _candidates(ours, distractors, "distractors")
    right = np.arange(len(ours))
    difference = ours - theirs
    return TextTransfer(
        mse=float(np.einsum("nd,nd->n", difference, difference).mean(dtype=np.float64) / ours.shape[1]),
        cosine=float(np.einsum("nd,nd->n", own[: len(ours)], english[: len(ours)]).mean(dtype=np.float64)),
        to_english=float(np.mean(ranks(own[: len(ours)], english, right) == 1)),
        from_english=float(np.mean(ranks(english[: len(ours)], own, right) == 1)),
        pairs=len(ours),
        english_candidates=len(english),
        candidates=len(own),
    )


def _candidates(vectors: Vectors, distractors: npt.ArrayLike | None, name: str) -> Vectors:
    if distractors is None:
        return unit(vectors)
    more = as_vectors(distractors, name)
    if more.shape[1] != vectors.shape[1]:
        raise DataError(f"The {name} have width {more.shape[1]}, not {vectors.shape[1]}; encode them with one base.")
    return unit(np.concatenate([vectors, more]))
