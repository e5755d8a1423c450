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
TEXT_BATCH = 4_096
"""Rows of text read at once: each batch copies the dictionary of its column."""
NESTED_BATCH = 8
"""The same where a column holds lists or objects, whose values cannot be counted before they are decoded."""
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
                schema = file.schema_arrow
                columns = known_names(schema.names, mapping, path)
                kinds = [(name, kind) for name, kind in zip(schema.names, schema.types, strict=True) if name in columns]
            # Few values may be long and named often: decoded, each would stand there as often. The library reads them
            # once in flat columns alone.
            types = pyarrow.types
            texts = [name for name, kind in kinds if types.is_string(kind) or types.is_large_string(kind)]
            files = [name for name, kind in kinds if types.is_binary(kind) or types.is_large_binary(kind)]
            nested = any(types.is_nested(kind) for _, kind in kinds)
            rows = NESTED_BATCH if nested else BATCH if files else TEXT_BATCH
            with parquet.ParquetFile(
                path, buffer_size=BUFFER, pre_buffer=False, read_dictionary=[*texts, *files]
            ) as file:
                batches = file.iter_batches(rows, columns=columns, use_threads=False)
                parts = (batch.slice(start, BATCH) for batch in batches for start in range(0, len(batch), BATCH))
                yield from batch_rows(parts, schema.names, Unfolding(path))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read as parquet ({one_line(error)}). If it is parquet, copy or fetch it again."
            ) from error


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
            values = [_decoded(column).to_pylist() for column in batch.columns]
        except UnicodeDecodeError as error:
            raise DataError(
                f"{rows}: not UTF-8 (byte 0x{error.object[error.start]:02x}). Write the file again with its texts as "
                "UTF-8."
            ) from error
        except (ValueError, OverflowError) as error:  # a date beyond the year 9999
            raise DataError(f"{rows}: a value cannot be read ({one_line(error)}). Write it as text.") from error
        for row in zip(*values, strict=True):
            number += 1
            yield Row(number, {**unread, **known_columns(dict(zip(batch.schema.names, row, strict=True)))})


def _decoded(column: Any) -> Any:
    """Return a column with each value where it stands, which becomes Python's objects far sooner."""
    return column if getattr(column, "dictionary", None) is None else column.dictionary_decode()


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
