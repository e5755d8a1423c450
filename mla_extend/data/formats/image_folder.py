"""A folder of images with a metadata file, as the `datasets` library lays it out."""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from mla_extend.data.formats.format import (
    ColumnMapping,
    Format,
    Row,
    by_position,
    check_file,
    check_folder,
    known_columns,
    text_lines,
)
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
        files = self.files(path, mapping)
        if len(files) != 1:
            splits = ", ".join(self.splits(path, mapping))
            raise DataError(f"{path} has the splits {splits}, not {mapping.split!r}. Name one of them.")
        (file,) = files
        column = mapping.columns.get("image", "file_name")
        others = {*mapping.names("image")} - {column}
        folder, inside = file.parent, file.parent.resolve()
        for row in _metadata_rows(file, mapping):
            where = f"{file}, line {row.number}"
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
    return Parquet().rows(file, mapping) if file.suffix == ".parquet" else _csv_rows(file)


def _csv_rows(file: Path) -> Iterator[Row]:
    """Give the rows of a CSV file with a header, numbered by their first lines."""
    reader = csv.reader((text + "\n" for _, text in text_lines(file)), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = cells
            elif cells and len(cells) != len(header):
                raise DataError(
                    f"{file}, line {line}: {len(cells)} cells under a header of {len(header)}. Texts with a comma "
                    "stand in quotation marks; mend or delete the line."
                )
            elif cells:
                yield Row(line, known_columns(by_position(header, cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{file}, line {line}: not CSV ({error}). Mend or delete the line.") from error


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
        raise DataError(f"{where}: the path of the image is {name!r}. Mend or delete the line.")
    image = folder / name.strip()
    absolute = PurePosixPath(name.strip()).is_absolute() or PureWindowsPath(name.strip()).is_absolute()
    try:
        refused = absolute or not image.resolve().is_relative_to(inside)
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, or no path at all
        raise DataError(f"{where}: {name[:80]!r} is no path of an image ({error}). Mend or delete the line.") from error
    if refused:
        raise DataError(
            f"{where}: the image {name[:80]!r} lies outside of {folder}. Move it there and name it from there."
        )
    return image
