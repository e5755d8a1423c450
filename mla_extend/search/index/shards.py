"""The vectors of an index: files of rows, mapped into memory, each with its checksum."""

import secrets
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mla_extend.errors import DataError
from mla_extend.files import atomic_path

Vectors = NDArray[np.float32]
Keys = NDArray[np.int64]
VECTORS = "vectors"
SMALL = 1 << 18
"""Rows from which a shard is left alone when small ones are joined: 512 MB at 512 columns."""
CHUNK = 1 << 14
"""Rows copied at a time."""
SUMMED = "sum-"
"""What the name of a shard begins with that ends with a checksum; those of before have none."""


def open_shards(
    folder: Path,
    database: sqlite3.Connection,
    dimension: int,
    before: dict[str, tuple[Keys, Vectors]],
    *,
    every: bool = False,
) -> dict[str, tuple[Keys, Vectors]]:
    """Return the keys `[N]`, ascending, and the memory-mapped vectors `[N, D]` of each shard, by their first keys.

    Args:
        folder: of the index.
        database: of the index.
        dimension: `D`.
        before: shards that are open already.
        every: whether the checksum of large shards is checked too, which takes a second for each million images.

    Raises:
        DataError: a shard is missing or damaged.
    """
    found = {}
    names = [name for (name,) in database.execute("SELECT name FROM shards")]
    for name in names:
        if name in before:
            found[name] = before[name]
            continue
        row = database.execute("SELECT keys FROM shards WHERE name = ?", (name,)).fetchone()
        if row is None:
            continue
        keys = np.frombuffer(row[0], dtype=np.int64)
        path = folder / VECTORS / f"{name}.npy"
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise damaged(path, error) from error
        if vectors.shape != (len(keys), dimension) or vectors.dtype != np.float32:
            raise damaged(path, f"{vectors.dtype} {vectors.shape} in place of float32 {(len(keys), dimension)}")
        if name.startswith(SUMMED) and (every or len(keys) < SMALL):
            with path.open("rb") as file:
                file.seek(vectors.offset + vectors.nbytes)
                if file.read() != _checksum(zlib.crc32(vectors)):
                    raise damaged(path, "its bytes are not those that were written")
        found[name] = (keys, vectors.view(np.ndarray))
    return dict(sorted(found.items(), key=lambda shard: int(shard[1][0][0])))


def write_shard(folder: Path, parts: Iterable[Vectors], rows: int, dimension: int) -> str:
    """Write a shard's vectors and return its name; nothing counts it yet."""
    name, crc = f"{SUMMED}{secrets.token_hex(8)}", 0
    with atomic_path(folder / VECTORS / f"{name}.npy") as temporary, temporary.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            content = np.ascontiguousarray(part, dtype="<f4").data
            crc = zlib.crc32(content, crc)
            file.write(content)
        file.write(_checksum(crc))
    return name


def _checksum(crc: int) -> bytes:
    return crc.to_bytes(4, "little")


def damaged(path: Path, error: object) -> DataError:
    """Return the error over a damaged file of an index."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{path} is damaged ({reason}). Take it from a backup, or delete the index and make it again.")


def _rows(shards: Sequence[Vectors], places: Keys) -> Iterator[Vectors]:
    """Give the rows at places `[2, N]` (shard and row) of shards, some at a time."""
    for start in range(0, places.shape[1], CHUNK):
        which, rows = places[:, start : start + CHUNK]
        part = np.empty((len(rows), shards[0].shape[1]), dtype=np.float32)
        for shard in np.unique(which):
            part[which == shard] = shards[shard][rows[which == shard]]
        yield part
