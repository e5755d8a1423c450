"""Test sets: images with captions, or parallel text alone, in one part or several."""

from dataclasses import dataclass, replace
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.given import TRAINING_SPLITS, Given, parse_given, split_of
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.read import has_images, read_image_text, read_parallel
from mla_extend.errors import DataError


@dataclass(frozen=True)
class TestSet:
    """Hold a test set's splits by name."""

    __test__ = False  # pytest would take it for a class of tests

    name: str
    splits: dict[str, ImageText | ParallelText]

    @property
    def rows(self) -> int:
        """Return how many texts its splits hold together."""
        return sum(len(split) for split in self.splits.values())


def read_test_set(source: Given | Path | str, mapping: ColumnMapping, name: str | None = None) -> TestSet:
    """Read a test set: images with text, or parallel text where there is no image column.

    A source without parts is one split, called `test`; of one with parts it is the one named, else all but those that
    are there to train on.

    Raises:
        DataError: there is nothing to read, or something cannot be used.
    """
    given = source if isinstance(source, Given) else parse_given(str(source), mapping)
    there = given.format.splits(given.path, mapping) if given.split is None else ()
    names = tuple(name for name in there if name not in TRAINING_SPLITS) or (split_of(given, mapping) or "",)
    splits = {split or "test": _split(given, replace(mapping, split=split or None)) for split in names}
    return TestSet(name or given.path.stem, splits)


def _split(given: Given, mapping: ColumnMapping) -> ImageText | ParallelText:
    if has_images(given, mapping):
        return read_image_text(given, mapping, missing=0)
    data = read_parallel(given, mapping)
    empty = next((i for i, pair in enumerate(zip(data.native, data.target, strict=True)) if not all(pair)), None)
    if empty is not None:
        raise DataError(f"{data.where(empty)}: one side is empty. A test set has none: mend or delete the line.")
    return data
