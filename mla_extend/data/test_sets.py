"""Test sets: images with captions, or parallel text alone, in one part or several."""

from dataclasses import dataclass

from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.source import Source
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


def read_test_set(source: Source, name: str | None = None) -> TestSet:
    """Read a test set: images with text, or parallel text where there is no image column.

    A source without parts is one split, called `test`; of one with parts it is the one named, else all but those that
    are there to train on.

    Raises:
        DataError: there is nothing to read, or something cannot be used.
    """
    splits = {split: _read(part) for split, part in source.test_splits().items()}
    return TestSet(name or source.path.stem, splits)


def _read(source: Source) -> ImageText | ParallelText:
    if source.has_images:
        return source.captions(missing=0)
    data = source.parallel()
    empty = next((i for i, pair in enumerate(zip(data.native, data.target, strict=True)) if not all(pair)), None)
    if empty is not None:
        raise DataError(f"{data.where(empty)}: one side is empty. Fix or delete the line.")
    return data
