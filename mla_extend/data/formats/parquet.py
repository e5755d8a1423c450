"""Parquet, read a few rows at a time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import ROLES, Format, Row, Wanted, known_columns
from mla_extend.errors import DataError

BATCH = 64
"""Rows held at once: of images of 1 MB, 64 MB."""
BUFFER = 1 << 20
"""Bytes read at once of each column, in place of all of it in a group of rows."""


class Parquet(Format):
    """Columns by name, whatever their case. Images are bytes, `{bytes, path}`, or paths; texts are one or a list."""

    name = "parquet"
    suffixes = (".parquet",)
    unit = "row"

    def rows(self, path: Path, wanted: Wanted) -> Iterator[Row]:
        """Give the rows, with the values of columns that can matter."""
        try:
            import pyarrow  # noqa: PLC0415 - slow, and optional
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as error:
            raise DataError("Parquet files need pyarrow: pip install 'mla-extend[parquet]'") from error
        try:
            with parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
                names = file.schema_arrow.names
                columns = known_names(names, wanted, path)
                batches = file.iter_batches(BATCH, columns=columns, use_threads=False)
                yield from batch_rows(batches, names, path)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"{path} cannot be read as parquet ({one_line(error)}). If it is parquet, copy or fetch it again."
            ) from error


def known_names(names: Sequence[str], wanted: Wanted, source: Path) -> list[str]:
    """Return the columns that can matter.

    Raises:
        DataError: there are none.
    """
    keys = [name.strip().lower() for name in names]
    known = {name for role in ROLES for name in wanted.candidates(role, keys)} | {"translation"}
    chosen = [name for name, key in zip(names, keys, strict=True) if key in known]
    if not chosen:
        raise DataError(f"{source} has the columns {list(names)}, none of a known name. Name them with --columns.")
    return chosen


def batch_rows(batches: Iterable[Any], names: Sequence[str], source: Path) -> Iterator[Row]:
    """Give the rows of Arrow batches, numbered from 1.

    Args:
        batches: Arrow record batches or tables.
        names: all columns, in order; those that were not read are named with `None`, so that a message about a missing
            column lists them.
        source: for messages.

    Raises:
        DataError: a text is not UTF-8.
    """
    unread = known_columns(dict.fromkeys(names))
    number = 0
    for batch in batches:
        try:
            records = batch.to_pylist()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{source}, rows {number + 1} to {number + batch.num_rows}: not UTF-8 (byte "
                f"0x{error.object[error.start]:02x}). Write the file again with its texts as UTF-8."
            ) from error
        for record in records:
            number += 1
            yield Row(number, {**unread, **known_columns(record)})


def one_line(error: BaseException) -> str:
    """Return an error's text as one line that is not too long for a message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
