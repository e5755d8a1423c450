"""Comma-separated text (CSV), also with semicolons or tabs."""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Fault, Format, Row, by_position, repeats, text_lines
from mla_extend.errors import DataError

DELIMITERS = ",;\t"
LONGEST_CELL = 1 << 20
"""In characters. A cell beyond that is a quotation mark that nobody closed."""


class Csv(Format):
    """Columns as in a TSV; a quoted cell may hold delimiters and line ends.

    The delimiter is the one that makes a header of the first line; without a header it is a tab where there is one,
    else a semicolon where that makes two cells and a comma does not.
    """

    name = "csv"
    suffixes = (".csv",)

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows, numbered by the line that they begin in; empty lines are left out.

        Raises:
            DataError: quotation marks that do not close.
        """
        lines = text_lines(path, mapping.language)
        head: list[tuple[int, str]] = []
        for line in lines:
            head.append(line)
            if line[1].strip():
                break
        delimiter = _delimiter(head[-1][1] if head else "", mapping)
        yield from quoted_rows(path, chain(head, lines), delimiter, mapping)


def quoted_rows(path: Path, lines: Iterator[tuple[int, str]], delimiter: str, mapping: ColumnMapping) -> Iterator[Row]:
    """Give the rows of numbered lines whose cells may be quoted, numbered by the line that they begin in.

    Raises:
        DataError: quotation marks that do not close, which may take in any number of lines.
    """
    # The limit is one for the whole process, and other readers may need theirs: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_CELL))
    reader = csv.reader((f"{text}\n" for _, text in lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    above: tuple[int, list[str]] | None = None
    width = 0
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{path}, line {start}: not CSV ({error}). A cell that begins with a quotation mark must end with "
                "one, and those within must be doubled."
            ) from error
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if not width:
            width = len(cells)
            if mapping.is_header(cells):
                header, above = _names(cells), (start, cells)
                continue
        if above is not None and repeats(above[1], cells):
            header = []
            yield Row(above[0], by_position(header, above[1]))
        above = None
        if any(cells[width:]):
            what = f"{path}, line {start}: {len(cells)} cells, and the first line has {width}"
            yield Row(start, {}, Fault(what, f"Put a text that holds {delimiter!r} between quotation marks."))
        elif len(cells) < 2:
            yield one_column(path, start, cells[0], repr(delimiter))
        else:
            yield Row(start, by_position(header, cells))


def one_column(path: Path, line: int, text: str, delimiter: str) -> Row:
    """Return what stands for a line without a delimiter."""
    remedy = f"Each line needs two columns with {delimiter} between them; fix or delete the line."
    return Row(line, {}, Fault(f"{path}, line {line}: one column, {text[:60]!r}", remedy))


def _delimiter(line: str, mapping: ColumnMapping) -> str:
    cells = {delimiter: _cells(line, delimiter) for delimiter in DELIMITERS}
    for delimiter, found in cells.items():
        if mapping.is_header(found):
            return delimiter
    if len(cells["\t"]) > 1:
        return "\t"
    return ";" if len(cells[";"]) == 2 != len(cells[","]) else ","


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []  # reading the line says what is wrong with it


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]
