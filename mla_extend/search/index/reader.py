"""Open an image index and find the nearest images in it.

Shapes: `Q` queries, `N` images, `D` the width of a vector.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mla_extend.errors import DataError
from mla_extend.extras import is_installed
from mla_extend.search.index import store
from mla_extend.search.index.about import FILE, About, check_base, connect, read_about
from mla_extend.search.index.graph import CANDIDATES, Graph
from mla_extend.search.index.preparation import is_todays
from mla_extend.search.index.shards import Keys, Vectors, damaged, open_shards

BLOCK = 1 << 16
"""Rows compared at a time."""
ATTEMPTS = 5
"""Times that an index is opened whose writer tidies it meanwhile."""


@dataclass(frozen=True)
class Entry:
    """Describe an indexed image or video.

    Attributes:
        key: its number in the index, never given to another.
        path: its file; `None` where it was taken in under a name that is no file here.
        name: what it is called: the path, or what the taken-in list said.
        width: pixels; 0 where unknown.
        height: pixels; 0 where unknown.
        bytes: size of the file; 0 where unknown.
    """

    key: int
    path: Path | None
    name: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True)
class _View:
    """Hold an index as one transaction left it.

    Attributes:
        shards: keys, vectors, and which rows count, of each shard.
        count: images.
        graph: of the keys up to `upto`; `None` where all are compared.
        upto: the last key in the graph, 0 without one.
        graph_name: the file of the graph.
    """

    shards: dict[str, tuple[Keys, Vectors]]
    dropped: Keys
    count: int
    graph: Graph | None
    upto: int
    graph_name: str


class ImageIndex:
    """An image index opened for reading: memory-mapped, safe to use from several threads.

    What another process adds or drops meanwhile is seen by the next call.

    Attributes:
        folder: where it lies.
        base_name: the base that its vectors are of.
        base_fingerprint: that base's fingerprint.
        base_source: where that base was opened from.
        base_stated: whether the base is known; false where vectors were taken in and nobody said whose they are.
        dimension: `D`.
    """

    def __init__(self, folder: Path, about: About) -> None:
        self.folder = folder
        self.base_name = about.name
        self.base_fingerprint = about.fingerprint
        self.base_source = about.source
        self.base_stated = about.stated
        self.dimension = about.dimension
        self._about = about
        self._database = connect(folder)
        self._turn = threading.Lock()
        self._version = -1
        self._view = _View({}, np.empty(0, dtype=np.int64), 0, None, 0, "")

    @classmethod
    def open(cls, folder: Path) -> "ImageIndex":
        """Open an index.

        Raises:
            DataError: there is none, it is damaged, or a later version of this package made it.
        """
        opened = cls(folder, read_about(folder))
        try:
            opened._current()
        except BaseException:
            opened.close()
            raise
        return opened

    @property
    def count(self) -> int:
        """Return how many images it holds."""
        return self._current().count

    def is_older(self) -> bool:
        """Say whether it holds images that were prepared otherwise than today's, so that indexing them again helps."""
        about = read_about(self.folder)
        today = is_todays(about.preparation)
        try:
            with self._turn:
                query = "SELECT 1 FROM entries WHERE is_file AND (key < ? OR ?) LIMIT 1"
                found = self._database.execute(query, (about.prepared_since, not today)).fetchone()
        except sqlite3.Error as error:
            raise damaged(self.folder / FILE, error) from error
        return found is not None

    def check_base(self, name: str, fingerprint: str) -> None:
        """Check that queries of a base can be searched here.

        Raises:
            BaseMismatchError: it is another base; the message names both.
        """
        check_base(self.folder, self._about, name, fingerprint)

    def nearest(self, vectors: Vectors, top: int) -> list[list[tuple[int, float]]]:
        """Return for each row of unit vectors `[Q, D]` the keys and cosines of the nearest images, best first.

        Images with the same cosine come in the order in which they were added.

        Raises:
            DataError: the vectors have another width, or the index is damaged.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise DataError(
                f"The index {self.folder} holds vectors of width {self.dimension}, and the queries have the shape "
                f"{queries.shape}. Give an array of queries by {self.dimension}."
            )
        view = self._current()
        found: list[list[tuple[int, float]]] = []
        for query in queries:
            hits = self._near(view, query, top) if view.graph is not None else []
            # Where much of a graph was dropped, its candidates may not do.
            found.append(hits if len(hits) == min(top, view.count) else _compare(view, query, top).hits())
        return found

    @staticmethod
    def _near(view: "_View", query: Vectors, top: int) -> list[tuple[int, float]]:
        """Return the nearest of the graph's candidates and of all that came after it."""
        assert view.graph is not None
        best = _compare(view, query, top, after=view.upto)
        candidates = view.graph.candidates(query, CANDIDATES * top)
        for keys, shard in view.shards.values():
            rows = np.minimum(np.searchsorted(keys, candidates), len(keys) - 1)
            rows = rows[keys[rows] == candidates]
            best.add(keys[rows], shard[rows] @ query, view.dropped)
        return best.hits()

    def entry(self, key: int) -> Entry:
        """Return what is known of an image.

        Raises:
            DataError: there is none of that key, or no longer.
        """
        found = self.entries([key])
        if key not in found:
            raise DataError(f"The index {self.folder} has no image {key}, or no longer has it. Search again.")
        return found[key]

    def entries(self, keys: Sequence[int]) -> dict[int, Entry]:
        """Return what is known of images, by their keys; those that are not there, or no longer, are left out."""
        found = {}
        query = "SELECT name, is_file, width, height, size FROM entries WHERE key = ?"
        try:
            with self._turn:
                for key in keys:
                    row = self._database.execute(query, (key,)).fetchone()
                    if row is not None:
                        name, is_file, width, height, size = row
                        found[key] = Entry(key, Path(name) if is_file else None, name, width, height, size)
        except sqlite3.Error as error:
            raise damaged(self.folder / FILE, error) from error
        return found

    def close(self) -> None:
        """Close the index."""
        with self._turn:
            self._database.close()

    def _current(self) -> _View:
        """Return the index as it is now; what is open already stays so."""
        with self._turn:
            try:
                (version,) = self._database.execute("PRAGMA data_version").fetchone()
                if version != self._version:
                    self._view = self._read()
                    self._version = version
            except sqlite3.Error as error:
                raise damaged(self.folder / FILE, error) from error
            return self._view

    def _read(self) -> _View:
        for attempt in range(ATTEMPTS):
            try:
                with self._snapshot():
                    return self._read_once()
            except DataError as error:
                # Between the list and the file it names, a writer may have joined shards.
                if attempt == ATTEMPTS - 1 or not isinstance(error.__cause__, FileNotFoundError):
                    raise
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.rollback()

    def _read_once(self) -> _View:
        values = dict(self._database.execute("SELECT name, value FROM about").fetchall())
        shards = open_shards(self.folder, self._database, self.dimension, self._view.shards)
        dropped = store.dropped_keys(self._database)
        name = values.get("graph", "")
        if name == self._view.graph_name:
            graph = self._view.graph
        else:
            graph = Graph(self.folder / name, self.dimension) if name and is_installed("usearch") else None
        rows = sum(len(keys) for keys, _ in shards.values())
        upto = int(values.get("graph_upto", "0")) if graph else 0
        return _View(shards, dropped, rows - len(dropped), graph, upto, name)


def _compare(view: _View, query: Vectors, top: int, after: int = 0) -> "_Best":
    """Compare a query `[D]` with all that has a key after one."""
    best = _Best(top)
    for keys, shard in view.shards.values():
        for start in range(int(np.searchsorted(keys, after, side="right")), len(keys), BLOCK):
            best.add(keys[start : start + BLOCK], shard[start : start + BLOCK] @ query, view.dropped)
    return best


class _Best:
    """Keep the best of what is compared.

    Args:
        top: how many.
    """

    def __init__(self, top: int) -> None:
        self.top = top
        self.keys = np.empty(0, dtype=np.int64)
        self.scores = np.empty(0, dtype=np.float32)

    def add(self, keys: Keys, scores: Vectors, dropped: Keys) -> None:
        """Add images `[N]`, without those that were dropped."""
        if len(scores) > self.top + len(dropped):
            chosen = np.argpartition(-scores, self.top + len(dropped) - 1)[: self.top + len(dropped)]
            # Equal scores at the edge: whichever was added first.
            edge = scores[chosen].min()
            chosen = np.flatnonzero(scores >= edge)
            keys, scores = keys[chosen], scores[chosen]
        if len(dropped):
            alive = ~np.isin(keys, dropped)
            keys, scores = keys[alive], scores[alive]
        self.keys = np.concatenate([self.keys, keys])
        self.scores = np.concatenate([self.scores, scores])
        order = np.lexsort((self.keys, -self.scores))[: self.top]
        self.keys, self.scores = self.keys[order], self.scores[order]

    def hits(self) -> list[tuple[int, float]]:
        """Return keys and cosines, best first."""
        return [(int(key), float(score)) for key, score in zip(self.keys, self.scores, strict=True)]
