"""Tab-separated text. A quotation mark is a character like any other."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import (
    IMAGE_COLUMNS,
    NATIVE_COLUMNS,
    TARGET_COLUMNS,
    TEXT_COLUMNS,
    Format,
    Row,
    text_lines,
)
from mla_extend.errors import DataError

NAMES = frozenset(NATIVE_COLUMNS + TARGET_COLUMNS + IMAGE_COLUMNS + TEXT_COLUMNS)


class Tsv(Format):
    """Columns by number; a first line whose cells are all names of known columns is a header."""

    name = "tsv"
    suffixes = (".tsv", ".tab")

    def rows(self, path: Path) -> Iterator[Row]:
        """Give the rows; empty lines are left out."""
        header: list[str] | None = None
        for line, text in text_lines(path):
            if not text.strip():
                continue
            cells = text.split("\t")
            if header is None:
                names = [cell.strip().lower() for cell in cells]
                if len(cells) > 1 and NAMES.issuperset(names):
                    header = names
                    continue
                header = []
            if len(cells) < 2:
                raise DataError(
                    f"{path}, line {line}: one column, {text[:60]!r}. Each line needs two columns with a tab between "
                    "them; mend or delete the line."
                )
            keys = header if len(header) >= len(cells) else header + [str(i) for i in range(len(header), len(cells))]
            yield Row(line, dict(zip(keys, cells, strict=False)))
