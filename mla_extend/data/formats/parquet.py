"""Parquet, read a few rows at a time."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import ROLES, ColumnMapping, Format, Row, known_columns
from mla_extend.data.formats.unfolding import ROW, Unfolding
from mla_extend.errors import DataError
from mla_extend.extras import optional

BATCH = 64
"""Rows held at once: of images of 1 MB, 64 MB."""
LARGEST = 1 << 28
"""Bytes of the rows that are held at once."""
FEW = 4 << 20
"""Bytes of a column's part with a dictionary, from which on its values are not unfolded before they are counted."""
BUFFER = 1 << 20
"""Bytes read at once of each column, in place of all of it in a group of rows."""


class Parquet(Format):
    """Columns by name, whatever their case. Images are bytes, `{bytes, path}`, or paths; texts are one or a list."""

    name = "parquet"
    suffixes = (".parquet",)
    unit = "row"

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows, with the values of columns that can matter."""
        pyarrow, parquet = optional("pyarrow", str(path)), optional("pyarrow.parquet", str(path))
        try:
            with parquet.ParquetFile(path) as file:
                names = file.schema_arrow.names
                columns = known_names(names, mapping, path)
                folded = _folded(file, columns)
            with parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False, read_dictionary=folded) as file:
                batches = file.iter_batches(BATCH, columns=columns, use_threads=False)
                yield from batch_rows(batches, names, Unfolding(path))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read as parquet ({one_line(error)}). If it is parquet, copy or fetch it again."
            ) from error


def _folded(file: Any, columns: Sequence[str]) -> list[str]:
    """Return the columns whose values may be few and long: decoded, each would stand there as often as it is named."""
    paths = {place: file.schema.column(place).path for place in range(len(file.schema))}
    leaves = [place for place, path in paths.items() if path.partition(".")[0] in columns]
    found: set[str] = set()
    for number in range(file.metadata.num_row_groups):
        # Over a column's damaged metadata the library raises where it reads, and ends the process where it is asked.
        next(file.iter_batches(1, row_groups=[number], columns=columns, use_threads=False), None)
        group = file.metadata.row_group(number)
        for place in leaves:
            one = group.column(place)
            if one.has_dictionary_page and one.total_uncompressed_size > FEW:
                found.add(paths[place])
    return sorted(found)


def known_names(names: Sequence[str], mapping: ColumnMapping, source: Path) -> list[str]:
    """Return the columns that can matter.

    Raises:
        DataError: there are none.
    """
    keys = [name.strip().lower() for name in names]
    known = {name for role in ROLES for name in mapping.candidates(role, keys)} | {"translation"}
    chosen = [name for name, key in zip(names, keys, strict=True) if key in known]
    if not chosen:
        raise DataError(f"{source} has the columns {list(names)}, none of a known name. Name them with --columns.")
    return chosen


def batch_rows(batches: Iterable[Any], names: Sequence[str], unfolding: Unfolding) -> Iterator[Row]:
    """Give the rows of Arrow batches, numbered from 1.

    Args:
        batches: Arrow record batches or tables.
        names: all columns, in order; those that were not read are named with `None`, so that a message about a missing
            column lists them.
        unfolding: counts them.

    Raises:
        DataError: a text is not UTF-8.
    """
    unread = known_columns(dict.fromkeys(names))
    number = 0
    for batch in batches:
        rows = f"{unfolding.path}, rows {number + 1} to {number + batch.num_rows}"
        size = sum(map(_bytes_of, batch.columns))
        if size > LARGEST:
            raise DataError(
                f"{rows}: {size:,} bytes, over {LARGEST:,}. No sentence or picture is so large: take them out."
            )
        unfolding.take(size + batch.num_rows * ROW)
        try:
            records = batch.to_pylist()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{rows}: not UTF-8 (byte 0x{error.object[error.start]:02x}). Write the file again with its texts as "
                "UTF-8."
            ) from error
        except (ValueError, OverflowError) as error:  # a date beyond the year 9999
            raise DataError(f"{rows}: a value cannot be read ({one_line(error)}). Write it as text.") from error
        for record in records:
            number += 1
            yield Row(number, {**unread, **known_columns(record)})


def _bytes_of(column: Any) -> int:
    """Return the bytes of a column's values, each counted as often as it stands there."""
    own = getattr(column, "dictionary", None)
    if own is None:
        return int(column.nbytes)
    return len(column) * int(own.nbytes) // max(1, len(own))


def one_line(error: BaseException) -> str:
    """Return an error's text as one line that is not too long for a message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
