"""Tab-separated text. A quotation mark is a character like any other."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import Format, Row, Wanted, by_position, text_lines
from mla_extend.errors import DataError


class Tsv(Format):
    """Columns by number; a first line whose cells are all names of known columns or codes of the two is a header."""

    name = "tsv"
    suffixes = (".tsv", ".tab")

    def rows(self, path: Path, wanted: Wanted) -> Iterator[Row]:
        """Give the rows; empty lines are left out."""
        header: list[str] | None = None
        for line, text in text_lines(path):
            if not text.strip():
                continue
            cells = text.split("\t")
            if header is None:
                names = [cell.strip().lower() for cell in cells]
                if len(cells) > 1 and is_header(names, wanted):
                    header = names
                    continue
                header = []
            if len(cells) < 2:
                raise DataError(
                    f"{path}, line {line}: one column, {text[:60]!r}. Each line needs two columns with a tab between "
                    "them; mend or delete the line."
                )
            yield Row(line, by_position(header, cells))


def is_header(names: list[str], wanted: Wanted) -> bool:
    """Say whether a first line's lower-cased cells are names of columns, or one of them a name that the user gave."""
    chosen = {name for name in wanted.columns.values() if not name.isdigit()}
    return wanted.header_names.issuperset(names) or not chosen.isdisjoint(names)
