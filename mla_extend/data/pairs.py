"""What the readers give: parallel text, and images with text."""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.flat import Texts, evenly

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]
Small = NDArray[np.signedinteger[Any]]
"""Numbers that are held for each row, in as few bytes as they need."""

BLOCK_ROWS = 1 << 13
BLOCK_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class Part:
    """Say where rows come from: the source's name for messages, what its rows are counted in, and their weight."""

    name: str
    unit: str = "line"
    weight: float = 1.0


class _OfSources:
    """What texts of several sources have in common."""

    parts: tuple[Part, ...]
    part_of: Small
    rows: Small

    def __len__(self) -> int:
        """Return the number of pairs or texts, `N`."""
        return len(self.rows)

    @property
    def source(self) -> str:
        """Return the names of the sources."""
        return ", ".join(part.name for part in self.parts)

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Return each one's weight `[N]`, or `None` where all are alike."""
        weights = np.array([part.weight for part in self.parts])
        return None if (weights == weights[0]).all() else weights[self.part_of]

    def where(self, number: int) -> str:
        """Return where one stands, for messages: `corpus.tsv, line 5`."""
        part = self.parts[self.part_of[number]]
        return f"{part.name}, {part.unit} {self.rows[number]}"


@dataclass(frozen=True, eq=False)
class MonolingualText(_OfSources):
    """Hold N texts of the language alone, `rows` and the rest as in `ParallelText`."""

    parts: tuple[Part, ...]
    texts: Texts
    part_of: Small
    rows: Small

    def __post_init__(self) -> None:
        """Take a list too."""
        object.__setattr__(self, "texts", Texts.of(self.texts))

    def subset(self, mask: Mask) -> "MonolingualText":
        """Return the texts that a mask `[N]` names."""
        return replace(self, texts=self.texts.take(mask), part_of=self.part_of[mask], rows=self.rows[mask])


@dataclass(frozen=True, eq=False)
class ParallelText(_OfSources):
    """Hold N pairs: `native[i]` and `target[i]` say the same.

    Attributes:
        parts: the sources, in the order given.
        native: N texts of the base's language; empty ones are kept until the checks drop them.
        target: N texts of the language.
        part_of: `[N]`, the source of each pair.
        rows: `[N]`, its number in there.
    """

    parts: tuple[Part, ...]
    native: Texts
    target: Texts
    part_of: Small
    rows: Small

    def __post_init__(self) -> None:
        """Take lists too."""
        for side in ("native", "target"):
            object.__setattr__(self, side, Texts.of(getattr(self, side)))

    @property
    def texts(self) -> Texts:
        """Return the texts in the language."""
        return self.target

    def subset(self, which: Mask | Small) -> "ParallelText":
        """Return the pairs that a mask `[N]` or their numbers name."""
        native, target = self.native.take(which), self.target.take(which)
        return replace(self, native=native, target=target, part_of=self.part_of[which], rows=self.rows[which])

    def evenly(self, most: int) -> "ParallelText":
        """Return at most so many pairs, evenly taken, in their order."""
        return self if len(self) <= most else self.subset(evenly(len(self), most))


@dataclass(frozen=True, eq=False)
class ImageText(_OfSources):
    """Hold images and their texts.

    Attributes:
        parts: the sources, in the order given.
        images: I different files.
        texts: C texts in the language.
        image_of_text: C places in `images`.
        part_of: `[C]`, the source of each text.
        rows: `[C]`, its number in there.
        native: texts in the base's language on the same images, or `None`.
        native_image_of: their places in `images`, or `None` where `native[i]` translates `texts[i]`.
    """

    parts: tuple[Part, ...]
    images: list[Path]
    texts: list[str]
    image_of_text: list[int]
    part_of: Small
    rows: Small
    native: list[str] | None = None
    native_image_of: list[int] | None = None

    def where_image(self, number: int) -> str:
        """Return where an image stands first, for messages."""
        return self.where(self.image_of_text.index(number))

    def subset(self, mask: Mask) -> "ImageText":
        """Return the texts that a mask `[C]` names; every image stays, to be told from the right one."""
        kept = np.flatnonzero(mask)
        native, owners = self.native, self.native_image_of
        if native is not None and owners is None:
            native = [native[i] for i in kept]
        elif native is not None and owners is not None:
            there = {self.image_of_text[i] for i in kept}
            chosen = [i for i, owner in enumerate(owners) if owner in there]
            native, owners = [native[i] for i in chosen], [owners[i] for i in chosen]
        return replace(
            self,
            texts=[self.texts[i] for i in kept],
            image_of_text=[self.image_of_text[i] for i in kept],
            part_of=self.part_of[kept],
            rows=self.rows[kept],
            native=native,
            native_image_of=owners,
        )

    def with_images(self, mask: Mask) -> "ImageText":
        """Return the texts of the images that a mask `[I]` names, without the other images."""
        chosen = self.subset(mask[np.asarray(self.image_of_text, dtype=np.int64)])
        return chosen._renumbered(np.flatnonzero(mask).tolist(), (np.cumsum(mask) - 1).tolist())

    def joined(self, contents: Sequence[bytes]) -> "ImageText":
        """Return the same texts with pictures of the same content `[I]` as one picture."""
        first: dict[bytes, int] = {}
        for number, content in enumerate(contents):
            first.setdefault(content, number)
        place = {content: i for i, content in enumerate(first)}
        return self._renumbered(list(first.values()), [place[content] for content in contents])

    def _renumbered(self, images: Sequence[int], new: Sequence[int]) -> "ImageText":
        """Return this with some of its images, whose numbers become the new ones `[I]`."""
        owners = self.native_image_of
        return replace(
            self,
            images=[self.images[number] for number in images],
            image_of_text=[new[i] for i in self.image_of_text],
            native_image_of=None if owners is None else [new[i] for i in owners],
        )


class Sample:
    """Choose rows of a stream whose length nobody knows, each as likely as any other (reservoir sampling, Vitter 1985).

    Of ten million rows of which a million is wanted, 3.3 million are taken, most of them for a while.

    Args:
        most: how many rows are wanted at most; `None` takes all.
        seed: decides which.
    """

    def __init__(self, most: int | None = None, seed: int = 0) -> None:
        self.seen = 0
        self._most = most
        self._random = random.Random(seed)
        self._taken = 0
        self._chosen = array("l")

    def takes(self) -> bool:
        """Say of the next row whether it is to be taken: one of those before may no longer count then."""
        self.seen += 1
        if self._most is None:
            return True
        if len(self._chosen) < self._most:
            self._chosen.append(self._taken)
        elif (place := int(self._random.random() * self.seen)) < self._most:
            self._chosen[place] = self._taken
        else:
            return False
        self._taken += 1
        return True

    def of(self, taken: ParallelText) -> ParallelText:
        """Return what is chosen of the rows that were taken, in their order."""
        return taken if self._most is None else taken.subset(np.sort(np.array(self._chosen, dtype=np.int64)))


def join_parallel(texts: Sequence[ParallelText]) -> ParallelText:
    """Return the pairs of several sources as one."""
    return texts[0] if len(texts) == 1 else ParallelText(**_joined(texts, "native", "target"))


def join_texts(texts: Sequence[MonolingualText]) -> MonolingualText:
    """Return the texts of several sources as one."""
    return texts[0] if len(texts) == 1 else MonolingualText(**_joined(texts, "texts"))


def join_images(texts: Sequence[ImageText]) -> ImageText:
    """Return the images with text of several sources as one; a file that several name is one image.

    Native text is kept only if it stands beside each text of each source.
    """
    if len(texts) == 1:
        return texts[0]
    place: dict[Path, int] = {}
    owners = [place.setdefault(text.images[i], len(place)) for text in texts for i in text.image_of_text]
    for text in texts:
        for image in text.images:
            place.setdefault(image, len(place))
    aligned = all(text.native is not None and text.native_image_of is None for text in texts)
    columns = ("texts", "native") if aligned else ("texts",)
    return ImageText(images=list(place), image_of_text=owners, **_joined(texts, *columns))


def _joined(texts: Sequence[_OfSources], *columns: str) -> dict[str, Any]:
    """Return where the rows of several sources come from, and the named columns, one source after the other."""
    starts = accumulate((len(text.parts) for text in texts), initial=0)
    return {
        "parts": tuple(part for text in texts for part in text.parts),
        "part_of": np.concatenate([text.part_of + start for text, start in zip(texts, starts, strict=False)]),
        "rows": np.concatenate([text.rows for text in texts]),
        **{column: _chained([getattr(text, column) for text in texts]) for column in columns},
    }


def _chained(columns: Sequence[Any]) -> Any:
    first, *others = columns
    if isinstance(first, Texts):
        return reduce(Texts.followed_by, others, first)
    return [one for column in columns for one in column]


def blocks(target: Iterable[str], native: Iterable[str] | None) -> Iterator[tuple[int, list[str], list[str] | None]]:
    """Give texts in blocks of so many rows and characters, with the first one's number; a longer text stands alone."""
    start = size = 0
    texts: list[str] = []
    others: list[str] = []
    for text, other in zip(target, repeat("") if native is None else native, strict=False):
        length = len(text) + len(other)
        if texts and (len(texts) == BLOCK_ROWS or size + length > BLOCK_CHARACTERS):
            yield start, texts, None if native is None else others
            start, size, texts, others = start + len(texts), 0, [], []
        texts.append(text)
        others.append(other)
        size += length
    if texts:
        yield start, texts, None if native is None else others
