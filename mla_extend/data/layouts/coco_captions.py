"""Captions as COCO publishes them: one JSON file a split, with a list of images and a list of annotations."""

import re
from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, suffix_of
from mla_extend.data.layouts.common import Images, field, is_one_object, json_object, peek, records
from mla_extend.errors import DataError

LISTS = re.compile(rb'"(images|annotations)"\s*:\s*\[')
KEYS = (b'"image_id"', b'"caption"', b'"file_name"')
PLACES = ("", "annotations")
YEAR = re.compile(r"(train|val|test)20\d\d")
WHAT = "a file such as captions_val2014.json, or a folder with such files in it or in annotations/"


class CocoCaptions(Format):
    """The captions are in one language, which no file names: it is taken to be the one that is asked for.

    Where a folder has files in several languages, give the file instead.
    """

    name = "coco"
    unit = "image"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take such a file, or a folder with one."""
        return bool(_found(path))

    def check(self, path: Path) -> None:
        """Check that there is such a file."""
        if not path.is_dir():
            check_file(path, WHAT)
        elif not _found(path):
            raise DataError(f"The folder {path} holds no file with COCO captions. Give {WHAT}.")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the file, that of the split, or all."""
        if not path.is_dir():
            return [path]
        return [file for file in _found(path) if mapping.split in (None, file.stem)]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the files without their suffixes; a file has no splits."""
        return tuple(file.stem for file in _found(path)) if path.is_dir() else ("",)

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the images that have captions, in the order of the file."""
        for file in self.files(path, mapping):
            yield from _rows(file, path if path.is_dir() else path.parent)


def _rows(file: Path, root: Path) -> Iterator[Row]:
    content = json_object(file)
    pictures = records(content, "images", str(file))
    captions: dict[str, list[str]] = {}
    for number, annotation in enumerate(records(content, "annotations", str(file)), start=1):
        text = field(annotation, "caption", str, f"{file}, annotation {number}")
        captions.setdefault(str(annotation.get("image_id")), []).append(text)
    images = Images(root)
    for number, picture in enumerate(pictures, start=1):
        name = field(picture, "file_name", str, f"{file}, image {number}")
        if texts := captions.pop(str(picture.get("id")), None):
            year = YEAR.search(name) or YEAR.search(file.name)
            yield Row(number, {"image": images.path(name, *([f"{year[0]}/{name}"] if year else [])), "caption": texts})
    if captions:
        raise DataError(
            f"{file} has captions of {len(captions)} images that it does not list, such as "
            f"{next(iter(captions))}. Fetch the file again."
        )


def _found(path: Path) -> list[Path]:
    files = [file for place in PLACES for file in sorted((path / place).glob("*.json"))] if path.is_dir() else [path]
    found = [file for file in files if suffix_of(file) == ".json" and _is_coco(peek(file))]
    return list({file.stem: file for file in reversed(found)}.values())[::-1]


def _is_coco(content: bytes) -> bool:
    return is_one_object(content) and bool(LISTS.search(content)) and all(key in content for key in KEYS)
