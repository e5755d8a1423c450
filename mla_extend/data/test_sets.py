"""Test sets: images with captions, in one file or in a folder with a file a split."""

from dataclasses import dataclass
from pathlib import Path

from mla_extend.data.pairs import ImageText
from mla_extend.data.read import read_image_text
from mla_extend.errors import DataError


@dataclass(frozen=True)
class TestSet:
    """Hold a test set's splits by name."""

    __test__ = False  # pytest would take it for a class of tests

    name: str
    source: Path
    splits: dict[str, ImageText]


def read_test_set(path: Path, language: str, native: str, name: str | None = None) -> TestSet:
    """Read a test set: a file of images with text is one split, called `test`; a folder has one a file, by its name.

    Raises:
        DataError: there is nothing to read, or a file cannot be used.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix == ".jsonl")
        if not files:
            raise DataError(f"The folder {path} holds no .jsonl file, so no test set. Give a file of images with text.")
        splits = {file.stem: read_image_text(file, language, native) for file in files}
    else:
        splits = {"test": read_image_text(path, language, native)}
    return TestSet(name or path.stem, path, splits)
