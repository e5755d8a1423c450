"""How close a language's texts come to the native teacher's vectors, for test sets without images."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError
from mla_extend.evaluation.intervals import Interval, wilson
from mla_extend.ranks import as_indices, as_vectors, ranks, unit


@dataclass(frozen=True)
class TextTransfer:
    """Hold the figures of text-only transfer; accuracies are fractions from 0 to 1.

    `to_native_accuracy` is how often a sentence finds its native translation first among `native_candidates`,
    `from_native_accuracy` how often a native sentence finds one of its translations first among `candidates`, each
    with its Wilson interval. `floor_to_native_accuracy` is that of the base fed the language directly, `None` where it
    was not measured. Chance is 1 over the number of candidates.
    """

    pairs: int
    to_native_accuracy: float
    to_native_ci95: Interval
    from_native_accuracy: float
    from_native_ci95: Interval
    mse: float
    cosine: float
    native_candidates: int
    candidates: int
    floor_to_native_accuracy: float | None
    chance_to_native_accuracy: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values, the names of the fields as keys."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def text_transfer(
    vectors: npt.ArrayLike,
    native_vectors: npt.ArrayLike,
    native_of: npt.ArrayLike | None = None,
    *,
    native_distractors: npt.ArrayLike | None = None,
    floor_vectors: npt.ArrayLike | None = None,
) -> TextTransfer:
    """Compare translations with the native sentences that they translate.

    `mse` is the mean over pairs and entries of the squared difference, on the vectors as given (what native language
    transfer minimises); `cosine` is the mean of the pairs' cosines; the accuracies are R@1 by cosine with ties counted
    against.

    Args:
        vectors: `[N, D]`, N sentences of the language, width D.
        native_vectors: `[M, D]`, M different native sentences.
        native_of: `[N]`, the native sentence of each; `None`: the one in the same place.
        native_distractors: `[K, D]` further native sentences among the candidates of `to_native_accuracy`, different
            from the M, or `None`.
        floor_vectors: `[N, D]`, the same sentences fed to the base directly, or `None`.

    Raises:
        DataError: shapes that do not fit, empty or NaN vectors, a native sentence without a translation.
    """
    ours, theirs = as_vectors(vectors, "text vectors"), as_vectors(native_vectors, "native vectors")
    if ours.shape[1] != theirs.shape[1] or (native_of is None and len(ours) != len(theirs)):
        raise DataError(
            f"Text vectors have the shape {list(ours.shape)} and native vectors {list(theirs.shape)}; "
            "give one native vector for each sentence, from one base."
        )
    owner = np.arange(len(ours)) if native_of is None else as_indices(native_of, "native_of", len(ours), len(theirs))
    gallery = unit(theirs)
    if native_distractors is not None:
        more = as_vectors(native_distractors, "native distractors")
        if more.shape[1] != theirs.shape[1]:
            raise DataError(
                f"The native distractors have width {more.shape[1]}, not {theirs.shape[1]}; encode them with one base."
            )
        gallery = np.concatenate([gallery, unit(more)])
    own, teachers = unit(ours), gallery[: len(theirs)]
    translations = [np.flatnonzero(owner == number) for number in range(len(theirs))]
    there = ranks(own, gallery, owner) == 1
    back = ranks(teachers, own, translations) == 1
    floor = None
    if floor_vectors is not None:
        floor = float(np.mean(ranks(unit(as_vectors(floor_vectors, "floor vectors")), gallery, owner) == 1))
    difference = ours - theirs[owner]
    return TextTransfer(
        pairs=len(ours),
        to_native_accuracy=float(there.mean()),
        to_native_ci95=wilson(int(there.sum()), len(there)),
        from_native_accuracy=float(back.mean()),
        from_native_ci95=wilson(int(back.sum()), len(back)),
        mse=float(np.einsum("nd,nd->n", difference, difference).mean(dtype=np.float64) / ours.shape[1]),
        cosine=float(np.einsum("nd,nd->n", own, teachers[owner]).mean(dtype=np.float64)),
        native_candidates=len(gallery),
        candidates=len(own),
        floor_to_native_accuracy=floor,
        chance_to_native_accuracy=1 / len(gallery),
    )
