"""The image index on disk: vectors in shards, everything else in SQLite.

    image-index/
        index.sqlite            base, entries (name, size, time, hash, pixels), which shards count, and the graph's name
        vectors/NAME.npy        a shard: unit vectors `[N, D]` in float32, memory-mapped, never changed; then CRC-32
        graph-NAME.usearch      an approximate index of the older entries, where there are many

A shard counts once a transaction names it, and is on the disk before that; what no transaction names is swept away by
the next writer. So whatever dies leaves the index as it was after the last batch. An entry's key is never given to
another, and its vector never changes.
"""

import contextlib
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend.errors import DataError
from mla_extend.files import atomic_path
from mla_extend.search.index.about import FILE, SCHEMA, About, check_base, connect, read_about
from mla_extend.search.index.shards import (
    CHUNK,
    SMALL,
    VECTORS,
    Keys,
    Vectors,
    _rows,
    damaged,
    open_shards,
    write_shard,
)

LOCK = ".lock"
PART = re.compile(r"\..+\.part(-journal)?")
"""Names of files that are not yet whole."""
LOCK_WAIT = 5.0
MANY = 16
"""Small shards from which they are joined."""
STALE = 0.2
"""Share of a shard's rows that may be dropped before it is written anew."""

TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE shards (name TEXT PRIMARY KEY, keys BLOB NOT NULL);
CREATE TABLE entries (
    key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, is_file INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, hash BLOB, width INTEGER NOT NULL, height INTEGER NOT NULL
);
CREATE INDEX entries_by_hash ON entries (hash) WHERE hash IS NOT NULL;
CREATE TABLE dropped (key INTEGER PRIMARY KEY);
CREATE TABLE origins (name TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
"""
SOURCES = "CREATE TABLE IF NOT EXISTS sources (name TEXT PRIMARY KEY) WITHOUT ROWID"
"""The folders and files that were named; indexes of before have no such table."""


@dataclass(frozen=True)
class Item:
    """Hold what is kept of an image besides its vector: its absolute path, or its name where it is no file here."""

    name: str
    is_file: bool
    size: int = 0
    mtime_ns: int = 0
    hash: bytes | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Same:
    """Hold what a file shares with others of the same bytes: its vector `[D]`, and the picture's width and height."""

    vector: Vectors
    width: int
    height: int


@dataclass(frozen=True)
class Known:
    """Hold what tells whether a file has changed."""

    key: int
    size: int
    mtime_ns: int
    hash: bytes | None


class Store:
    """An index opened for writing; made by `writing`."""

    def __init__(self, folder: Path, about: About | None) -> None:
        self.folder = folder
        self.about = about
        self.database: sqlite3.Connection | None = None if about is None else connect(folder)
        self._shards: dict[str, tuple[Keys, Vectors]] = {}

    def check(self, name: str, fingerprint: str) -> None:
        """Check that vectors of a base may be added; raises as `check_base`."""
        if self.about is not None:
            check_base(self.folder, self.about, name, fingerprint)

    def known(self, name: str) -> Known | None:
        """Return what is known of a name."""
        row = self._one("SELECT key, size, mtime_ns, hash FROM entries WHERE name = ?", name)
        return Known(*row) if row else None

    def is_older(self, key: int) -> bool:
        """Say whether a vector was made by an older preparation than the index's."""
        return self.about is not None and key < self.about.prepared_since

    def prepare(self, preparation: str) -> str | None:
        """Let vectors be made by another preparation from now on: return the former, `None` where it is the same."""
        if self.about is None or self.about.preparation == preparation:
            return None
        before = self.about.preparation
        self.tell({"preparation": preparation, "prepared_since": self.value("next_key")})
        return before

    def count_older(self, *, files: bool) -> int:
        """Return how many vectors of files, or of what has no file here, are of an older preparation."""
        since = self.about.prepared_since if self.about else 0
        row = self._one("SELECT count(*) FROM entries WHERE key < ? AND is_file = ?", since, files)
        return int(row[0]) if row else 0

    def name_source(self, name: str) -> None:
        """Remember a folder or file that was named."""
        if self.database is not None:
            with self._change(self.database):
                self.database.execute(SOURCES)
                self.database.execute("INSERT OR IGNORE INTO sources VALUES (?)", (name,))

    def sources(self) -> list[str]:
        """Return the folders and files that were named."""
        if self._one("SELECT 1 FROM sqlite_master WHERE name = 'sources'") is None or self.database is None:
            return []
        return [name for (name,) in self.database.execute("SELECT name FROM sources")]

    def same_content(self, hash_: bytes) -> Same | None:
        """Return what is kept of a file with the same bytes, of the index's preparation."""
        since = self.about.prepared_since if self.about else 0
        row = self._one("SELECT key, width, height FROM entries WHERE hash = ? AND key >= ?", hash_, since)
        if row is None:
            return None
        for keys, vectors in self._opened().values():
            place = int(np.searchsorted(keys, row[0]))
            if place < len(keys) and keys[place] == row[0]:
                return Same(np.asarray(vectors[place]), *row[1:])
        return None

    def below(self, folder: Path) -> list[str]:
        """Return the names of files below a folder."""
        if self.database is None:
            return []
        prefix = str(folder).rstrip("/\\")
        # The character after the separator bounds what begins with it.
        found = []
        for separator in dict.fromkeys("/\\"):
            found += self.database.execute(
                "SELECT name FROM entries WHERE is_file AND name >= ? AND name < ?",
                (prefix + separator, prefix + chr(ord(separator) + 1)),
            ).fetchall()
        return [name for (name,) in found]

    def write(self, vectors: Vectors) -> tuple[str, int]:
        """Write unit vectors `[N, D]` as a shard, and return its name and `N` for `add`, which makes it count."""
        rows, dimension = vectors.shape
        return write_shard(self.folder, [vectors], rows, dimension), rows

    def add(
        self, items: Sequence[Item], shards: Sequence[tuple[str, int]], about: About, origin: Item | None = None
    ) -> None:
        """Add images whose vectors are written, in one step; a name that is there already is replaced.

        Args:
            items: what is kept of each; no name twice.
            shards: names and rows of the shards that hold their vectors, in the same order.
            about: what the index says of itself, if it is yet to be made.
            origin: the file of vectors that they were taken from, to be known again.
        """
        database = self._database(about)
        names = [(item.name,) for item in items]
        with self._change(database):
            (first,) = database.execute("SELECT value FROM about WHERE name = 'next_key'").fetchone()
            keys = np.arange(int(first), int(first) + len(items), dtype=np.int64)
            database.executemany("INSERT INTO dropped SELECT key FROM entries WHERE name = ?", names)
            database.executemany("DELETE FROM entries WHERE name = ?", names)
            database.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (int(key), item.name, item.is_file, item.size, item.mtime_ns, item.hash, item.width, item.height)
                    for key, item in zip(keys, items, strict=True)
                ),
            )
            end = 0
            for shard, rows in shards:
                database.execute("INSERT INTO shards VALUES (?, ?)", (shard, keys[end : end + rows].tobytes()))
                end += rows
            _tell(database, {"next_key": str(int(first) + len(items))})
            if origin is not None:
                database.execute(
                    "INSERT OR REPLACE INTO origins VALUES (?, ?, ?)", (origin.name, origin.size, origin.mtime_ns)
                )
        self.about = read_about(self.folder)

    def is_taken(self, origin: Item) -> bool:
        """Say whether a file of vectors was taken in as it is now."""
        row = self._one("SELECT size, mtime_ns FROM origins WHERE name = ?", origin.name)
        return row is not None and tuple(row) == (origin.size, origin.mtime_ns)

    def touch(self, files: Iterable[tuple[int, int]]) -> None:
        """Set the times of files whose content is as it was: pairs of time in nanoseconds and key."""
        if self.database is not None:
            with self._change(self.database):
                self.database.executemany("UPDATE entries SET mtime_ns = ? WHERE key = ?", files)

    def drop(self, names: Iterable[str]) -> int:
        """Take names out in one step; return how many were there."""
        if self.database is None:
            return 0
        before = self.count()
        rows = [(name,) for name in names]
        with self._change(self.database):
            self.database.executemany("INSERT INTO dropped SELECT key FROM entries WHERE name = ?", rows)
            self.database.executemany("DELETE FROM entries WHERE name = ?", rows)
        return before - self.count()

    def count(self, upto: int | None = None) -> int:
        """Return how many images the index holds, or how many with a key up to one."""
        row = self._one("SELECT count(*) FROM entries WHERE ?1 IS NULL OR key <= ?1", upto)
        return int(row[0]) if row else 0

    def tidy(self) -> None:
        """Join small shards, write those anew of which much was dropped, and delete what nothing names."""
        if self.database is None or self.about is None:
            return
        dropped = dropped_keys(self.database)
        opened = self._opened()
        small = {name for name, (keys, _) in opened.items() if len(keys) < SMALL}
        stale = {name for name, (keys, _) in opened.items() if np.isin(keys, dropped).mean() > STALE}
        joined = stale | (small if len(small) >= MANY else set())
        if joined:
            parts = [opened[name] for name in sorted(joined)]
            places = np.concatenate(
                [np.stack([keys, np.full(len(keys), i), np.arange(len(keys))]) for i, (keys, _) in enumerate(parts)], 1
            )
            gone = np.isin(places[0], dropped)
            kept = places[:, ~gone]
            kept = kept[:, np.argsort(kept[0])]
            vectors = [vectors for _, vectors in parts]
            count = kept.shape[1]
            shard = write_shard(self.folder, _rows(vectors, kept[1:]), count, self.about.dimension) if count else None
            with self._change(self.database):
                self.database.executemany("DELETE FROM shards WHERE name = ?", [(name,) for name in joined])
                if shard is not None:
                    self.database.execute("INSERT INTO shards VALUES (?, ?)", (shard, kept[0].tobytes()))
                self.database.executemany("DELETE FROM dropped WHERE key = ?", [(int(key),) for key in places[0, gone]])
        self.sweep()

    def tell(self, values: dict[str, str]) -> None:
        """Set values of what the index says of itself."""
        if self.database is not None:
            with self._change(self.database):
                _tell(self.database, values)
            self.about = read_about(self.folder)

    def rows(self) -> Iterator[tuple[Keys, Vectors]]:
        """Give keys `[N]` and vectors `[N, D]` of what counts, some at a time."""
        if self.database is None:
            return
        dropped = dropped_keys(self.database)
        for keys, vectors in self._opened().values():
            for start in range(0, len(keys), CHUNK):
                alive = ~np.isin(keys[start : start + CHUNK], dropped)
                yield keys[start : start + CHUNK][alive], vectors[start : start + CHUNK][alive]

    def value(self, name: str) -> str:
        """Return what the index says of itself, empty where it says nothing."""
        row = self._one("SELECT value FROM about WHERE name = ?", name)
        return str(row[0]) if row else ""

    def sweep(self) -> None:
        """Delete what no transaction names: shards and graphs of before, and what a writer that died left."""
        if self.database is None:
            return
        kept = {f"{name}.npy" for (name,) in self.database.execute("SELECT name FROM shards")} | {self.value("graph")}
        parts = [path for path in self.folder.iterdir() if PART.fullmatch(path.name)]
        left = [*(self.folder / VECTORS).iterdir(), *self.folder.glob("graph-*"), *parts]
        for path in left:
            if path.name not in kept:
                # Where an open file cannot be deleted, the next writer does.
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._shards = {name: shard for name, shard in self._shards.items() if f"{name}.npy" in kept}

    def close(self) -> None:
        """Close the database."""
        if self.database is not None:
            self.database.close()
            self.database = None

    @contextlib.contextmanager
    def _change(self, database: sqlite3.Connection) -> Iterator[None]:
        """Make changes count together or not at all."""
        with database:
            database.execute("BEGIN IMMEDIATE")
            yield

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        if self.database is None:
            return None
        row: tuple[Any, ...] | None = self.database.execute(query, values).fetchone()
        return row

    def _opened(self) -> dict[str, tuple[Keys, Vectors]]:
        if self.database is None or self.about is None:
            return {}
        self._shards = open_shards(self.folder, self.database, self.about.dimension, self._shards, every=True)
        return self._shards

    def _database(self, about: About) -> sqlite3.Connection:
        """Return the database, which is made in one step when there is something to keep."""
        if self.database is None:
            with atomic_path(self.folder / FILE) as temporary:
                made = sqlite3.connect(temporary)
                with contextlib.closing(made), made:
                    # Nothing of it counts before it is renamed, so that it needs no journal, which a kill would leave.
                    made.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; {TABLES}")
                    values = {
                        "schema": str(SCHEMA),
                        "base_name": about.name,
                        "base_fingerprint": about.fingerprint,
                        "base_source": about.source,
                        "stated": str(int(about.stated)),
                        "dimension": str(about.dimension),
                        "preparation": about.preparation,
                        "next_key": "1",
                    }
                    _tell(made, values)
            self.database = connect(self.folder)
        return self.database


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Store]:
    """Open an index for writing, or one that is yet to be made, and keep other writers out while the context lasts.

    Raises:
        DataError: the folder holds other things or cannot be written, the index is damaged, or another process
            writes it.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - reading need not wait for it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir() if path.name != LOCK]
    except OSError as error:
        raise DataError(
            f"The index {folder} cannot be written ({error.strerror or error}). Give another folder: --index DIR."
        ) from error
    if FILE not in others and [name for name in others if name != VECTORS and not PART.fullmatch(name)]:
        raise DataError(
            f"{folder} is not an image index and contains other files ({', '.join(sorted(others)[:3])}). Give a new "
            "folder: --index DIR."
        )
    held = FileLock(folder / LOCK)
    try:
        held.acquire(timeout=LOCK_WAIT)
    except Timeout as error:
        raise DataError(
            f"Another process is writing the index {folder}. Let it finish, or end it, and try again."
        ) from error
    except OSError as error:
        raise DataError(
            f"The index {folder} cannot be written ({error.strerror or error}). Make it writable, or give another: "
            "--index DIR."
        ) from error
    try:
        store = Store(folder, read_about(folder) if (folder / FILE).exists() else None)
        try:
            yield store
        finally:
            store.close()
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.OperationalError):
            raise damaged(folder / FILE, error) from error
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"The index {folder} cannot be written ({reason}). Its earlier content is intact. Free some space, or make "
            "it writable, and run the same command again."
        ) from error
    finally:
        held.release()


def dropped_keys(database: sqlite3.Connection) -> Keys:
    """Return the keys of rows that count no longer, ascending."""
    return np.array([key for (key,) in database.execute("SELECT key FROM dropped ORDER BY key")], dtype=np.int64)


def _tell(database: sqlite3.Connection, values: dict[str, str]) -> None:
    database.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", list(values.items()))
