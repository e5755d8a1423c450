"""A folder of images with a metadata file, as the `datasets` library lays it out."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from mla_extend.data.formats.comma_separated import Csv
from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, check_folder
from mla_extend.data.formats.jsonl import json_rows
from mla_extend.data.formats.parquet import Parquet
from mla_extend.errors import DataError

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
SPLITS = ("train", "validation", "test")
WHAT = f"a folder of images with a {METADATA[0]} (or .jsonl, .parquet) in it or in its {', '.join(SPLITS)}"


class ImageFolder(Format):
    """Images named in the column `file_name`, relative to the metadata file; sub-folders with one are splits."""

    name = "imagefolder"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder with a metadata file in it, or in a split's sub-folder."""
        return path.is_dir() and bool(_all_metadata(path))

    def check(self, path: Path) -> None:
        """Check that there is one metadata file a folder, with something in it."""
        check_folder(path, WHAT)
        files = self.files(path, ColumnMapping())
        if not files:
            raise DataError(f"The folder {path} holds no metadata file. Give {WHAT}.")
        for file in files:
            if others := [other.name for other in _metadata(file.parent) if other != file]:
                raise DataError(f"{file.parent} holds {file.name} and {' and '.join(others)}. Keep one of them.")
            check_file(file, "a metadata file")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the metadata file of the split, or all."""
        files = _all_metadata(path)
        if not mapping.split or self.splits(path, mapping) == ("",):
            return files
        return [file for file in files if file.parent.name == mapping.split]

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the sub-folders with a metadata file; one beside them stands for all."""
        if _metadata(path):
            return ("",)
        return tuple(dict.fromkeys(file.parent.name for file in _all_metadata(path)))

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows of the metadata file, their images relative to the folder.

        Raises:
            DataError: the metadata cannot be read, or a row names no image, or one outside its folder.
        """
        (file,) = self.files(path, mapping)
        column = mapping.columns.get("image", "file_name")
        others = {*mapping.names("image")} - {column}
        folder, inside = file.parent, file.parent.resolve()
        # A first line with the column of images is a header.
        for row in _metadata_rows(file, replace(mapping, columns={**mapping.columns, "image": column})):
            where = f"{file}, line {row.number}"
            if row.fault is not None:
                yield row
                continue
            if column not in row.values:
                raise DataError(f"{where}: no column {column!r} with the image's path. It has {sorted(row.values)}.")
            image = _image(folder, inside, row.values[column], where)
            values = {name: value for name, value in row.values.items() if name not in others}
            yield Row(row.number, {**values, column: str(image.relative_to(path))})


def _metadata(folder: Path) -> list[Path]:
    return [folder / name for name in METADATA if (folder / name).is_file()]


def _all_metadata(path: Path) -> list[Path]:
    """Return the metadata files beside the images, else those of the splits."""
    return _metadata(path) or [file for split in SPLITS for file in _metadata(path / split)]


def _metadata_rows(file: Path, mapping: ColumnMapping) -> Iterator[Row]:
    """Give the rows of a metadata file."""
    if file.suffix == ".jsonl":
        return json_rows(file)
    return (Parquet() if file.suffix == ".parquet" else Csv()).rows(file, mapping)


def _image(folder: Path, inside: Path, name: Any, where: str) -> Path:
    """Return an image's path.

    Args:
        folder: the metadata's, which names are relative to.
        inside: the same with links followed.
        name: as the metadata has it.
        where: the row, for messages.

    Raises:
        DataError: it is no path, or with links followed it lies elsewhere.
    """
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where}: the path of the image is {name!r}. Fix or delete the line.")
    image = folder / name.strip()
    absolute = PurePosixPath(name.strip()).is_absolute() or PureWindowsPath(name.strip()).is_absolute()
    try:
        refused = absolute or not image.resolve().is_relative_to(inside)
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, or no path at all
        raise DataError(f"{where}: {name[:80]!r} is not an image path ({error}). Fix or delete the line.") from error
    if refused:
        raise DataError(
            f"{where}: the image {name[:80]!r} lies outside of {folder}. Move it there and name it from there."
        )
    return image
