"""Tab-separated text. A quotation mark is a character like any other, unless a writer of tables put them."""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from mla_extend.data.formats.comma_separated import one_column, quoted_rows
from mla_extend.data.formats.format import ColumnMapping, Format, Row, by_position, repeats, text_lines

QUOTED = 100
"""Lines at the start by which it is told whether cells are quoted."""


class Tsv(Format):
    """Columns by number; a first line whose cells are names of columns is a header.

    Cells are taken out of quotation marks where each cell of the first lines is within them, numbers apart, or where
    one holds doubled marks within its own.
    """

    name = "tsv"
    suffixes = (".tsv", ".tab")

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows; empty lines are left out."""
        lines = text_lines(path, mapping.language)
        first = list(islice(lines, QUOTED))
        if all(_is_quoted(text) for _, text in first if text.strip()):
            yield from quoted_rows(path, chain(first, lines), "\t", mapping)
            return
        header: list[str] | None = None
        for line, text in chain(first, lines):
            if not text.strip():
                continue
            cells = [_bare(cell) for cell in text.split("\t")]
            if header is None:
                below = next((text.split("\t") for number, text in first if number > line and text.strip()), [])
                named = mapping.is_header(cells) and not repeats(cells, below)
                header = [cell.strip().lower() for cell in cells] if named else []
                if header:
                    continue
            yield Row(line, by_position(header, cells)) if len(cells) > 1 else one_column(path, line, text, "a tab")


def _is_quoted(line: str) -> bool:
    """Say whether a line's cells are all within quotation marks, those of numbers apart."""
    cells = line.split("\t")
    within = [_within(cell) for cell in cells]
    return any(within) and all(
        inner or (not any(map(str.isalpha, cell)) and '"' not in cell)
        for cell, inner in zip(cells, within, strict=True)
    )


def _within(cell: str) -> bool:
    """Say whether a cell stands within quotation marks, with those in it doubled."""
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _bare(cell: str) -> str:
    """Return a cell without the marks that a writer of tables put around it since it holds some: they are doubled."""
    return cell[1:-1].replace('""', '"') if '""' in cell[1:-1] and _within(cell) else cell
