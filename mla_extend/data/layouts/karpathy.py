"""Karpathy's splits of Flickr8K, Flickr30K and COCO: one JSON file with images and their sentences."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, suffix_of
from mla_extend.data.layouts.common import Images, field, is_one_object, json_object, peek, records
from mla_extend.errors import DataError

KEYS = (b'"images"', b'"sentences"', b'"filename"', b'"split"')
WHAT = "a file such as dataset_flickr30k.json, or the folder that it lies in"


class Karpathy(Format):
    """The captions are in one language, which the file does not name: it is taken to be the one that is asked for."""

    name = "karpathy"
    unit = "image"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take such a file, or a folder with one."""
        return bool(_found(path))

    def check(self, path: Path) -> None:
        """Check that there is one such file."""
        _file(path)

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the file."""
        return [_file(path)]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the splits, `restval` among them, in the order of the file."""
        return tuple(dict.fromkeys(field(image, "split", str, where) for where, image in _images(_file(path))))

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images of the split."""
        file = _file(path)
        images = Images(file.parent)
        for number, (where, image) in enumerate(_images(file), start=1):
            if field(image, "split", str, where) != mapping.split:
                continue
            name = field(image, "filename", str, where)
            names = [f"{image['filepath']}/{name}", name] if image.get("filepath") else [name]
            captions = [field(one, "raw", str, where) for one in records(image, "sentences", where)]
            yield Row(number, {"image": images.path(*names), "caption": captions})


def _images(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, image in enumerate(records(json_object(file), "images", str(file)), start=1):
        yield f"{file}, image {number}", image


def _found(path: Path) -> list[Path]:
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [file for file in files if suffix_of(file) == ".json" and _is_karpathy(peek(file))]


def _is_karpathy(content: bytes) -> bool:
    return is_one_object(content) and all(key in content for key in KEYS)


def _file(path: Path) -> Path:
    """Return the file at a path, or the one in a folder.

    Raises:
        DataError: there is none, or several.
    """
    if not path.is_dir():
        check_file(path, WHAT)
        return path
    files = _found(path)
    if len(files) != 1:
        there = (
            f"several: {', '.join(file.name for file in files)}. Give one of them" if files else f"none. Give {WHAT}"
        )
        raise DataError(f"Of files with Karpathy's splits, {path} holds {there}.")
    return files[0]
