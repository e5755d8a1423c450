"""Text of one language, one sentence per line."""

from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, text_lines


class Sentences(Format):
    """Lines of text, which may be gzipped. It is no format of pairs or captions, and so not among `FORMATS`."""

    name = "sentences"

    def check(self, path: Path) -> None:
        """Check that it is a file with something in it."""
        check_file(path, "a file of text, one sentence per line")

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the lines under the name `target`."""
        return (Row(number, {"target": text}) for number, text in text_lines(path, mapping.language))
