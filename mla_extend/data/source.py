"""A source of data: opened once, it gives a stream of rows, what they are, and the licence."""

import functools
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.data.cells import Cells, native_texts, native_value, size, without_bytes
from mla_extend.data.columns import IMAGES, LABELLED, SAMPLE, check_pairs_read, kind_of
from mla_extend.data.formats.format import ColumnMapping, Format, Row
from mla_extend.data.formats.sentences import Sentences
from mla_extend.data.licences import is_noncommercial
from mla_extend.data.pairs import ImageText, MonolingualText, ParallelText, Part, Sample
from mla_extend.data.specification import parse_specification
from mla_extend.errors import DataError
from mla_extend.files import is_there, user_path
from mla_extend.flat import TextWriter

TRAINING_SPLITS = ("train", "training", "restval")
LEAST = 2
MISSING = 0.1
"""Share of a source's images up to which those that are missing cost their rows alone."""
LOOKED_AT_FIRST = 20
"""Rows by which it is told whether a source names images."""
LOOKED_AT_MOST = 1 << 28
"""Bytes of the first rows that are held to choose columns by."""


@dataclass(eq=False)
class Source:
    """Hold one source of data.

    Attributes:
        text: as the user wrote it, for cards and messages.
        path: of a file or folder; for data sets of the hub, the name behind `hf:`.
        format: reads it.
        mapping: the languages and columns looked for, and the split to read, where it has splits.
        weight: how often its rows are trained on, beside those of other sources.
        stated_licence: what the user says of it; `None` takes what the data says of itself.
    """

    text: str
    path: Path
    format: Format
    mapping: ColumnMapping
    weight: float = 1.0
    stated_licence: str | None = None

    def with_split(self, preferred: Sequence[str] = TRAINING_SPLITS) -> "Source":
        """Return it with the split that is to be read: the one it names, its only one, or a preferred one.

        Raises:
            DataError: there is no such split, or there are several and none is preferred.
        """
        there, named = self.format.splits(self.path, self.mapping), self.mapping.split
        if not there:
            raise DataError(
                f"{self.path} holds nothing for the language {self.mapping.language!r} (read as {self.format.name}). "
                "Check the language code and the layout."
            )
        if named is not None and named not in there:
            known = f"Its splits: {', '.join(there)}." if there != ("",) else "It has no splits."
            raise DataError(f"{self.path} has no split {named!r}. {known}")
        if named is not None:
            return self
        name = there[0] if len(there) == 1 else next((name for name in preferred if name in there), None)
        if name is None:
            raise DataError(f"{self.path} has several splits. Say which: {self.path}#{there[0]} ({', '.join(there)}).")
        return self._of_split(name)

    def test_splits(self) -> dict[str, "Source"]:
        """Return its splits to evaluate on: the one it names, else all but those that are there to train on.

        Raises:
            DataError: there is no such split, or nothing else than several to train on.
        """
        there = self.format.splits(self.path, self.mapping) if self.mapping.split is None else ()
        if names := [name for name in there if name not in TRAINING_SPLITS]:
            return {name or "test": self._of_split(name) for name in names}
        chosen = self.with_split(())
        return {chosen.mapping.split or "test": chosen}

    def _of_split(self, name: str) -> "Source":
        return replace(self, mapping=replace(self.mapping, split=name or None))

    @functools.cached_property
    def licence(self) -> str | None:
        """Return the licence that was given, or else the one that the data says of itself."""
        return self.stated_licence or self.format.licence(self.path)

    @functools.cached_property
    def digest(self) -> str:
        """Return a SHA-256, in hexadecimal, that changes with the data."""
        return self.format.digest(self.path, self.mapping)

    @functools.cached_property
    def name(self) -> str:
        """Return what messages call it: its one file, or its folder."""
        files = self.format.files(self.path, self.mapping)
        return str(files[0]) if len(files) == 1 else str(self.path)

    @property
    def part(self) -> Part:
        """Return where its rows come from."""
        return Part(self.name, self.format.unit, self.weight)

    @property
    def folder(self) -> Path:
        """Return the folder that paths of images are relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    @functools.cached_property
    def first(self) -> list[dict[str, Any]]:
        """Return the values of the first rows, by which columns are chosen, without pictures that lie in them."""
        rows = self.format.rows(self.path, self.mapping)
        first: list[Row] = []
        held = 0
        while len(first) < SAMPLE and held < LOOKED_AT_MOST and (row := next(rows, None)) is not None:
            first.append(row)
            held += size(row.values)
        self._unread: Iterator[Row] | None = chain(first, rows)
        return [without_bytes(row.values) for row in first if row.fault is None]

    def rows(self) -> Iterator[Row]:
        """Give the rows. The stream that the first rows came from is read on; only a second reading opens another."""
        _ = self.first
        unread, self._unread = self._unread, None
        return self.format.rows(self.path, self.mapping) if unread is None else unread

    @property
    def has_images(self) -> bool:
        """Say whether the first rows have an image column, so that it serves both stages."""
        first = self.first[:LOOKED_AT_FIRST]
        if not first:
            return False
        if any(name in first[0] for name in self.mapping.names("image") if name != "0"):
            return True
        # A file without a header has images if a column names some, there or not.
        unnamed = [[row.get(name) for row in first] for name in first[0] if name.isdigit()]
        one = first[0].get("0")
        there = isinstance(one, str) and bool(one) and is_there(self.folder / one)
        return there or any(kind_of(cells) == IMAGES for cells in unnamed)

    @property
    def has_native(self) -> bool:
        """Say whether the first row names the native text of its text, so that it is parallel text too."""
        return bool(self.first) and isinstance(native_value(self.mapping, self.first[0]), str)

    def parallel(self, sample: Sample | None = None) -> ParallelText:
        """Read parallel text, or the rows of it that a sample takes.

        Columns are found by name (`english`/`non_english`, `source`/`target`, the two language codes, or what the user
        named), else the first is the native one and the second the target. Pairs with an empty side are kept, and a
        line with a fault is one; the checks of `data/doctor.py` count and drop them.

        Raises:
            DataError: the source or a row cannot be used; the message names it.
        """
        cells, sample = Cells(self, "native", "target"), sample or Sample()
        natives, targets, numbers = TextWriter(), TextWriter(), array("i")
        complete = read = 0
        for row in self.rows():
            native = target = ""
            if cells.whole(row):
                native, target = cells.text(row, "native", "native text"), cells.text(row, "target", "target text")
            read += 1
            complete += bool(native and target)
            if sample.takes():
                natives.append(native)
                targets.append(target)
                numbers.append(row.number)
        cells.refuse_odd(read)
        pairs = ParallelText((self.part,), natives.done(), targets.done(), *_places(numbers))
        if numbers:
            check_pairs_read(self.name, cells.chosen, pairs.native, pairs.target, self.mapping, cells.remedy)
        if complete < LEAST:
            raise DataError(f"{self.name} holds {complete} pair(s) of text. Give a file with pairs, one per line.")
        return pairs

    def captions(self, *, missing: float = MISSING) -> ImageText:
        """Read images with their texts.

        A text is a string or a list of strings; relative paths are relative to the source. Images that lie in the
        source itself (parquet, tar) are unpacked into the cache. Native text, where each captioned image has some, is
        kept for comparison.

        Args:
            missing: share of the images that may be missing: the caller tells of them with those that cannot be read.

        Raises:
            DataError: the source or a row cannot be used, or images do not exist; the message names one.
        """
        cells = Cells(self, "image", "text")
        images: dict[Path, int] = {}
        texts: list[str] = []
        owners: list[int] = []
        numbers: list[int] = []
        natives: list[str] = []
        native_owners: list[int] = []
        apart = False
        for row in self.rows():
            found = [text for text in cells.texts(row) if text] if cells.whole(row) else []
            if not found:
                continue  # an image without a text teaches nothing and is not looked for
            place = images.setdefault(cells.image(row), len(images))
            texts += found
            owners += [place] * len(found)
            numbers += [row.number] * len(found)
            value = native_value(self.mapping, row.values)
            beside = native_texts(value, len(found))
            apart |= not isinstance(value, str)
            natives += beside
            native_owners += [place] * len(beside)
        cells.refuse_odd(len(numbers))
        if (kind := kind_of(texts)) and kind != LABELLED:  # names of classes are labels, and texts
            raise DataError(
                f"{self.name}: what was read as the images' text holds {kind} ({texts[0][:40]!r}). {cells.remedy()}"
            )
        if len(texts) < LEAST:
            raise DataError(
                f"{self.name} holds {len(texts)} image(s) with text. Give a file with one image and its text per line."
            )
        self._check_images(images, owners, numbers, missing)
        complete = set(native_owners) == set(owners)
        return ImageText(
            parts=(self.part,),
            images=list(images),
            texts=texts,
            image_of_text=owners,
            part_of=np.zeros(len(texts), dtype=np.int16),
            rows=np.array(numbers),
            native=natives if complete else None,
            # A string translates the row's text; a list holds captions that somebody wrote for the image on their own.
            native_image_of=native_owners if complete and (apart or native_owners != owners) else None,
        )

    def sentences(self) -> MonolingualText:
        """Read text of the language alone."""
        texts, numbers = TextWriter(), array("i")
        for row in self.rows():
            texts.append(" ".join(row.values["target"].split()))
            numbers.append(row.number)
        return MonolingualText((self.part,), texts.done(), *_places(numbers))

    def record(self, role: str, rows: int, **more: Any) -> dict[str, Any]:
        """Return what the card says of it."""
        record = {
            "role": role,
            "path": self.text,
            "format": self.format.name,
            "sha256": self.digest,
            "pairs": rows,
            **more,
            "licence": self.licence,
        }
        if self.mapping.split:
            record["split"] = self.mapping.split
        if self.weight != 1:
            record["weight"] = self.weight
        if is_noncommercial(self.licence):
            record["noncommercial"] = True
        return record

    def _check_images(
        self, images: Mapping[Path, int], owners: Sequence[int], numbers: Sequence[int], tolerated: float
    ) -> None:
        """Refuse a source of which many images are missing: its paths are wrong.

        A few are told of with what is broken.
        """
        missing = [(place, image) for image, place in images.items() if not is_there(image)]
        if len(missing) > tolerated * len(images):
            place, image = missing[0]
            raise DataError(
                f"{self.name}, {self.format.unit} {numbers[owners.index(place)]}: the image {image} does not exist"
                + (f" (nor do {len(missing) - 1} others)" if len(missing) > 1 else "")
                + f". Paths are relative to {self.folder}; fix the path or take the line out."
            )


def _places(numbers: "array[int]") -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Return the part and the number of each row of one source."""
    return np.zeros(len(numbers), dtype=np.int16), np.array(numbers, dtype=np.int32)


def parse_source(text: str | Path, mapping: ColumnMapping, format_name: str | None = None) -> Source:
    """Return what the user gave, as `parse_specification` reads it, with the split that it names, if any."""
    path, reader, split, weight = parse_specification(str(text), mapping, format_name)
    return Source(str(text).strip(), path, reader, replace(mapping, split=split or mapping.split), weight)


def open_source(
    text: str | Path, mapping: ColumnMapping, format_name: str | None = None, licence: str | None = None
) -> Source:
    """Return what the user gave, as `parse_source` does, to be trained on: of several splits, the training one."""
    return replace(parse_source(text, mapping, format_name).with_split(), stated_licence=licence)


def open_sentences(text: str | Path, mapping: ColumnMapping, licence: str | None = None) -> Source:
    """Return a file of text of the language, a sentence a line.

    Raises:
        DataError: there is nothing there.
    """
    name = str(text).strip()
    path = user_path(name)
    reader = Sentences()
    reader.check(path)
    return Source(name, path, reader, mapping, stated_licence=licence)
