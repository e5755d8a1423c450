"""One JSON object a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import Format, Row, Wanted, known_columns, text_lines
from mla_extend.errors import DataError


class Jsonl(Format):
    """Columns by name, whatever their case."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json")

    def rows(self, path: Path, wanted: Wanted) -> Iterator[Row]:
        """Give the rows; empty lines are left out."""
        return json_rows(path)


def json_rows(path: Path) -> Iterator[Row]:
    """Give the objects of a file with one a line, as rows.

    Raises:
        DataError: a line is no object; the message names it.
    """
    for line, text in text_lines(path):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {line}: not JSON ({error}). Each line must be one object.") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}, line {line}: {type(value).__name__}, not an object with named columns.")
        yield Row(line, known_columns(value))
