"""What the readers give: parallel text, and images with text. And the rule by which a slice of it is held out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ParallelText:
    """Hold pairs: `native[i]` and `target[i]` say the same. `source` is the file they came from."""

    source: Path
    native: list[str]
    target: list[str]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.target)


@dataclass(frozen=True)
class ImageText:
    """Hold images and their texts.

    `images` are different files; text `i` belongs to `images[image_of_text[i]]` and stands in line `lines[i]` of
    `source`; `native[i]` says the same in the base's language where the file has such a column, else `native` is None.
    """

    source: Path
    images: list[Path]
    texts: list[str]
    image_of_text: list[int]
    lines: list[int]
    native: list[str] | None = None

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)


def held_out_texts(texts: Sequence[str], fraction: float, largest: int) -> set[str]:
    """Choose the texts of a language that training does not see, by their hash alone.

    The same sentence is chosen whichever file it stands in, so that parallel text and captions agree on it.

    Args:
        texts: all target texts of the training data, repetitions included.
        fraction: share of the different texts.
        largest: how many at most; at least 2 are chosen.
    """
    different = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return set(different[: max(2, min(round(fraction * len(different)), largest))])


def held_out_mask(texts: Sequence[str], held_out: set[str]) -> NDArray[np.bool_]:
    """Say for each text whether it is held out."""
    return np.fromiter((text in held_out for text in texts), dtype=np.bool_, count=len(texts))
