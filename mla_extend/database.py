"""SQLite files that hold what can be made again: opened by several processes at once, one that is damaged begun anew.

A process that is killed loses what it had not committed and nothing else; a machine that loses its power may lose the
last commits too. The folder must be on a local disk, as SQLite's write-ahead log asks for.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mla_extend.errors import CacheError

WAIT_SECONDS = 60
"""How long one process waits for another's commit."""
PAGE_BYTES = 16_384
"""Several vectors lie on a page of this size, and one of 4,096 numbers in float32 fits."""
CACHE_KIB = 4_096
ASKED_AT_ONCE = 500
"""Values in one question: SQLite's oldest limit is 999."""
SIDES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by the end of the name."""


class Database:
    """Hold one SQLite file, open: at most three descriptors, however much it holds.

    Args:
        path: the file; it is made where it is not there.
        schema: statements that make the tables, each `IF NOT EXISTS`.

    Raises:
        CacheError: the file cannot be opened or made.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._schema = schema
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._told():
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                self._begin_anew(error)

    def read(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a question; of a file that turns out to be damaged, none."""
        with self._told():
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as error:
                self._begin_anew(error)
                return []

    def write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row, all in one commit."""
        kept = list(rows)
        with self._told():
            try:
                with self._connection:
                    self._connection.executemany(statement, kept)
            except sqlite3.DatabaseError as error:
                self._begin_anew(error)
                with self._connection:
                    self._connection.executemany(statement, kept)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.executescript(self._schema)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        """Begin with an empty file where this one is damaged; raise what is another fault (locked, full, read-only)."""
        if type(error) is not sqlite3.DatabaseError:
            raise error
        with suppress(AttributeError):  # there is none where opening failed
            self._connection.close()
        remove_database(self.path)
        self._connection = self._open()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite raises into a sentence."""
        try:
            yield
        except sqlite3.Error as error:
            raise CacheError(
                f"{self.path} cannot be used ({error}). It holds only what can be made again: free some space there, "
                "make it writable, or move the cache with MLA_EXTEND_CACHE."
            ) from error


def remove_database(path: Path) -> None:
    """Delete a database and what SQLite keeps beside it."""
    for one in (path, *(path.with_name(f"{path.name}{side}") for side in SIDES)):
        one.unlink(missing_ok=True)


def in_use(path: Path) -> bool:
    """Say whether a process has a database open; a file that is no database is not in use."""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0)
    except sqlite3.Error:
        return False
    try:
        # Leaving the write-ahead log needs the file for oneself.
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:
        return False
    finally:
        connection.close()
    return False
