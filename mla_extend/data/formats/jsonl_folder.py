"""A folder with one JSONL file a split."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_folder
from mla_extend.data.formats.jsonl import json_rows
from mla_extend.errors import DataError


class JsonlFolder(Format):
    """Each file is a split of its name; image paths are relative to the folder."""

    name = "jsonl-folder"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a folder with a JSONL file in it."""
        return path.is_dir() and any(path.glob("*.jsonl"))

    def check(self, path: Path) -> None:
        """Check that it is a folder with a JSONL file in it."""
        check_folder(path, "a folder with a .jsonl file per split")
        if not any(path.glob("*.jsonl")):
            raise DataError(f"The folder {path} holds no .jsonl file. Give a folder with one per split.")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the file of the split, or all."""
        return [path / f"{mapping.split}.jsonl"] if mapping.split else sorted(path.glob("*.jsonl"))

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the files."""
        return tuple(sorted(file.stem for file in path.glob("*.jsonl")))

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows of the split's file."""
        return json_rows(path / f"{mapping.split}.jsonl", mapping.language)
