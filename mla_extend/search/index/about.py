"""What an index says of itself, read before it is opened."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from mla_extend.errors import BaseMismatchError, DataError
from mla_extend.search.index.shards import (
    damaged,
)

FILE = "index.sqlite"
SCHEMA = 1
WAIT = 60.0
"""Seconds that a reader or writer waits for a transaction of another process."""


@dataclass(frozen=True)
class About:
    """Say what an index was made with.

    Attributes:
        name: the base's name.
        fingerprint: the base's fingerprint.
        source: where the base was opened from.
        stated: whether the base is known: it encoded everything, or somebody named it for vectors that were taken in.
        dimension: `D`.
        preparation: what else decides the vectors of pictures; empty where that was not written down.
        prepared_since: the first key whose vector was made so. Those before are older.
    """

    name: str
    fingerprint: str
    source: str
    stated: bool
    dimension: int
    preparation: str = ""
    prepared_since: int = 1


def connect(folder: Path) -> sqlite3.Connection:
    """Open the database of an index that is there, for several threads that take turns."""
    # Also a reader may write: it undoes the transaction of a writer that died.
    address = f"{(folder / FILE).absolute().as_uri()}?mode=rw"
    database = sqlite3.connect(address, uri=True, timeout=WAIT, check_same_thread=False)
    database.execute("PRAGMA synchronous = EXTRA")  # else power could bring back the journal of what was done
    return database


def read_about(folder: Path) -> About:
    """Read what an index was made with.

    Raises:
        DataError: there is no index, it is damaged, or a later version of this package made it.
    """
    if not (folder / FILE).is_file():
        raise DataError(f"There is no image index at {folder}. Make one: mla-extend index FOLDER --index {folder}")
    try:
        with contextlib.closing(connect(folder)) as database:
            values = dict(database.execute("SELECT name, value FROM about").fetchall())
        if values["schema"] != str(SCHEMA):
            raise DataError(
                f"{folder / FILE} has schema {values['schema']}, and this version reads {SCHEMA}. Upgrade: pip install "
                "--upgrade mla-extend"
            )
        return About(
            values["base_name"],
            values["base_fingerprint"],
            values["base_source"],
            values["stated"] == "1",
            int(values["dimension"]),
            values.get("preparation", ""),
            int(values.get("prepared_since", "1")),
        )
    except (sqlite3.Error, KeyError, ValueError) as error:
        raise damaged(folder / FILE, error) from error


def check_base(folder: Path, about: About, name: str, fingerprint: str) -> None:
    """Check that a base is the one that an index was made with.

    Raises:
        BaseMismatchError: it is another; the message names both.
    """
    if about.fingerprint != fingerprint:
        raise BaseMismatchError(
            f"The index {folder} was made with the base {about.name!r} (fingerprint {about.fingerprint[:16]}), and "
            f"this is {name!r} ({fingerprint[:16]}): their vectors cannot be compared. Use that base, or make another "
            "index: mla-extend index FOLDER --index DIR"
        )
