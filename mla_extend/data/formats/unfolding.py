"""How much a file may hold beside what it takes on the disk: one of a few kilobytes can be made to fill all memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from mla_extend.errors import DataError

FREE = 1 << 28
"""Bytes that any file may unfold to."""
TIMES = 100
"""Bytes for each byte on the disk beyond that: packed text takes a third to a tenth of itself."""
ROW = 100
"""Bytes that a row is counted as beside its text: what Python takes for it, at least."""


class Unfolding:
    """Count what is read of a file, packed or not."""

    def __init__(self, path: Path, stored: int | None = None) -> None:
        """Begin with nothing.

        Args:
            path: of the file, for messages and its size.
            stored: its size, where it is no plain file.
        """
        self.path, self.stored = path, path.stat().st_size if stored is None else stored
        self.taken = 0

    def take(self, size: int) -> None:
        """Count some bytes more.

        Raises:
            DataError: it is more than any text or picture can be packed into.
        """
        self.taken += size
        if self.taken > max(FREE, TIMES * self.stored):
            raise DataError(
                f"{self.path} takes {self.stored:,} bytes and expands to over {max(FREE, TIMES * self.stored):,}. No "
                "text or picture compresses so well: fetch the file again, from where it was published."
            )

    def lines(self, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        """Give numbered lines, counting them."""
        for number, line in lines:
            self.take(len(line) + ROW)
            yield number, line
