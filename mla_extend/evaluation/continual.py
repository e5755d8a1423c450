"""What adding languages one after another does to those that are there: the continual matrix and its figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ContinualMatrix:
    """Hold the scores of each language after each language was added, and what is said of them.

    Row i is the model after language i was added, column j the score of language j; `scores[i]` holds columns 0 to i,
    since a language has no score before it is there. `average_accuracy`, `forgetting` and `backward_transfer` have a
    figure for each row; forgetting and backward transfer have none (`None`) in row 0, before which there was nothing.
    """

    languages: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    average_accuracy: tuple[float, ...]
    forgetting: tuple[float | None, ...]
    backward_transfer: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the matrix as JSON values, its rows filled up with `None`."""
        size = len(self.languages)
        return {
            "languages": list(self.languages),
            "scores": [[*row, *[None] * (size - len(row))] for row in self.scores],
            "average_accuracy": list(self.average_accuracy),
            "forgetting": list(self.forgetting),
            "backward_transfer": list(self.backward_transfer),
        }


def continual_matrix(scores: npt.ArrayLike, languages: Sequence[str]) -> ContinualMatrix:
    """Return the figures of continual learning.

    With `R[i][j]` the score on language j after language i was added:

        average accuracy   A_i = mean over j <= i of R[i][j]
        forgetting         F_i = mean over j < i of (max over j <= l < i of R[l][j]) - R[i][j]
        backward transfer  B_i = mean over j < i of R[i][j] - R[j][j]

    A and B are those of Lopez-Paz and Ranzato (2017), who give the last row alone; F is that of Chaudhry et al. (2018),
    who also give it for every row. F is against the best score so far, B against the first: F is below 0 only where
    every earlier score was exceeded on average, and F >= -B always.

    Args:
        scores: `[T, T]`, row 0 the model before anything was added and column 0 the base's own language; NaN above
            the diagonal.
        languages: T names, the base's own first.

    Raises:
        DataError: not a square matrix with a name for each row, a score on or below the diagonal that is NaN or
            infinite, or one above it that is not NaN.
    """
    matrix = _lower_triangle(scores, languages)
    forgetting: list[float | None] = [None]
    backward: list[float | None] = [None]
    first = np.diagonal(matrix)
    for row in range(1, len(matrix)):
        now, best = matrix[row, :row], np.nanmax(matrix[:row, :row], axis=0)
        forgetting.append(float(np.mean(best - now)))
        backward.append(float(np.mean(now - first[:row])))
    return ContinualMatrix(
        languages=tuple(languages),
        scores=tuple(tuple(map(float, values[: row + 1])) for row, values in enumerate(matrix)),
        average_accuracy=tuple(float(np.mean(values[: row + 1])) for row, values in enumerate(matrix)),
        forgetting=tuple(forgetting),
        backward_transfer=tuple(backward),
    )


def _lower_triangle(scores: npt.ArrayLike, languages: Sequence[str]) -> Matrix:
    size = len(languages)
    try:
        matrix = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The scores are no matrix of numbers ({error}). Fill rows up with NaN, not None.") from error
    if not size or matrix.shape != (size, size):
        raise DataError(
            f"The scores have the shape {list(matrix.shape)}, and there are {size} languages. Give a row and a column "
            "for each of at least one."
        )
    for row, column in np.ndindex(size, size):
        value, there = float(matrix[row, column]), column <= row
        if there and not math.isfinite(value):
            raise DataError(
                f"The score on {languages[column]!r} after {languages[row]!r} is {value}. Measure it first."
            )
        if not there and not math.isnan(value):
            raise DataError(
                f"The score on {languages[column]!r} after {languages[row]!r} is {value}, and {languages[column]!r} is "
                "added only later. Order rows and columns by when the languages were added; put NaN above the diagonal."
            )
    return matrix
