"""Vectors that never change are computed once: a store of encoded texts or images, found again by their content.

A store is one SQLite file, whatever it holds: a row a vector, its key the SHA-256 of the content, with a checksum. What
else decides a vector (base, preparation, libraries) is in the file's name and in its table `about`, so that vectors
that were made otherwise are never mixed in.
"""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mla_extend.database import ASKED_AT_ONCE, Database
from mla_extend.errors import Interrupted
from mla_extend.progress import SILENT, Progress
from mla_extend.stop import StopRequest

T = TypeVar("T")
Vectors = NDArray[np.float32]

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL);
"""
SUFFIX = ".vectors"
KEY_BYTES = 32
LOOKED_UP = 4_096
"""Items whose keys are held at a time."""


@dataclass(frozen=True)
class StoreSummary:
    """Say what a store holds: whose vectors, how many, and how they were made."""

    name: str
    count: int
    space: dict[str, str]


def summarise(path: Path) -> StoreSummary | None:
    """Return what a store's file holds, or `None` if it is damaged; nothing is written."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
    except sqlite3.Error:
        return None
    try:
        about = dict(connection.execute("SELECT name, value FROM about"))
        (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
        return StoreSummary(str(about.get("name", "")), int(count), dict(json.loads(about["space"])))
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()


def text_key(text: str) -> bytes:
    """Return the key of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def space_id(space: Mapping[str, str]) -> str:
    """Return the short name of what decides vectors."""
    return hashlib.sha256(json.dumps(dict(space), sort_keys=True).encode()).hexdigest()[:16]


def store_name(kind: str, space: Mapping[str, str]) -> str:
    """Return the name of a store's file."""
    return f"{kind}-{space_id(space)}{SUFFIX}"


class VectorStore:
    """Hold the vectors of one kind (text or images) that one base makes in one way. Several processes may share it.

    Args:
        folder: where the file lies.
        kind: `text` or `images`.
        space: all that decides a vector beside the content.
        name: of the base, for people.
    """

    def __init__(self, folder: Path, kind: str, space: Mapping[str, str], name: str = "") -> None:
        self.path = folder / store_name(kind, space)
        self.space = dict(space)
        self.name = name

    @cached_property
    def _database(self) -> Database:
        database = Database(self.path, SCHEMA)
        if not database.read("SELECT 1 FROM about"):
            database.write(
                "INSERT OR REPLACE INTO about VALUES (?, ?)", [("space", json.dumps(self.space)), ("name", self.name)]
            )
        with suppress(OSError):
            os.utime(self.path)  # says when it was last used
        return database

    def vectors(
        self,
        items: Sequence[T],
        key: Callable[[Sequence[T]], Sequence[bytes]],
        encode: Callable[[list[T]], Vectors],
        *,
        task: str = "Encoding",
        progress: Progress = SILENT,
        step: int = 256,
        keep: int = 256,
        stop: StopRequest | None = None,
    ) -> Vectors:
        """Return the vectors `[N, D]` of items in their order, encoding those that are not held yet.

        Args:
            items: texts.
            key: returns the content keys of some items.
            encode: returns unnormalised vectors `[n, D]` of some items.
            task: what the progress is called.
            progress: told of what is encoded.
            step: items handed to `encode` at a time; between two steps a stop is heard.
            keep: items after which what was encoded is written: what a kill may cost.
            stop: says when the user wants to stop.

        Raises:
            Interrupted: the user asked to stop; what was encoded is kept.
            CacheError: the store cannot be read or written.
        """
        result = np.empty((0, 0), dtype=np.float32)
        rows: list[int] = []
        absent = bytearray()
        for start in range(0, len(items), LOOKED_UP):
            keys = key(items[start : start + LOOKED_UP])
            found = self.find(keys)
            for row, k in enumerate(keys, start):
                vector = found.get(k)
                if vector is None:
                    rows.append(row)
                    absent += k
                    continue
                result = _room(result, len(items), vector)
                result[row] = vector
        if not rows:
            return result
        missing = np.array(rows)
        _, first, same = np.unique(np.frombuffer(absent, dtype=f"V{KEY_BYTES}"), return_index=True, return_inverse=True)
        order = np.sort(first)  # as they came, each once
        progress.start(task, total=len(order))
        try:
            for start in range(0, len(order), keep):
                part = order[start : start + keep]
                made = self._encode([items[i] for i in missing[part]], encode, progress, step, stop)
                done = len(made)
                self.add([bytes(absent[i * KEY_BYTES : (i + 1) * KEY_BYTES]) for i in part[:done]], made)
                if done < len(part):
                    remedy = "" if stop is None else stop.remedy
                    raise Interrupted(
                        f"Stopped while encoding, with {start + done} of {len(order)} done and kept. {remedy}"
                    )
                result = _room(result, len(items), made[0])
                result[missing[part]] = made
        finally:
            progress.finish()
        result[missing] = result[missing[first[same.reshape(-1)]]]
        return result

    def _encode(
        self,
        items: list[T],
        encode: Callable[[list[T]], Vectors],
        progress: Progress,
        step: int,
        stop: StopRequest | None,
    ) -> list[Vectors]:
        """Return the vector `[D]` of each of the items that were gone through before the user asked to stop."""
        made: list[Vectors] = []
        for start in range(0, len(items), step):
            if stop is not None and stop.requested:
                break
            vectors = encode(items[start : start + step])
            made += list(vectors)
            progress.advance(len(vectors))
        return made

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Return the vectors `[D]` that are held, by key; one whose checksum is wrong is not held."""
        if not self.path.is_file():
            return {}
        found: dict[bytes, Vectors] = {}
        different = list(dict.fromkeys(keys))
        for start in range(0, len(different), ASKED_AT_ONCE):
            asked = different[start : start + ASKED_AT_ONCE]
            marks = ",".join("?" * len(asked))
            rows = self._database.read(f"SELECT key, vector, checksum FROM vectors WHERE key IN ({marks})", asked)
            for k, vector, checksum in rows:
                if zlib.crc32(vector, zlib.crc32(k)) == checksum:
                    found[k] = np.frombuffer(vector, dtype="<f4")
        return found

    def lacks(self, items: Sequence[T], key: Callable[[Sequence[T]], Sequence[bytes]]) -> int:
        """Return how many different ones of some items would have to be encoded."""
        lacking: set[bytes] = set()
        for start in range(0, len(items), LOOKED_UP):
            keys = key(items[start : start + LOOKED_UP])
            lacking.update(set(keys) - self.find(keys).keys())
        return len(lacking)

    def add(self, keys: Sequence[bytes], vectors: Vectors | Sequence[Vectors]) -> None:
        """Keep vectors `[n, D]`, in one commit."""
        contents = [np.asarray(row, dtype="<f4").tobytes() for row in vectors]
        self._database.write(
            "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
            [(k, row, zlib.crc32(row, zlib.crc32(k))) for k, row in zip(keys, contents, strict=True)],
        )

    def close(self) -> None:
        """Close the file."""
        if "_database" in vars(self):
            self._database.close()
            del self._database


def _room(result: Vectors, rows: int, vector: Vectors) -> Vectors:
    """Return the array for all vectors, made once their width is known."""
    return result if result.size else np.full((rows, len(vector)), np.nan, dtype=np.float32)
