"""The approximate index: a graph over many vectors, kept by usearch.

Below `FEW` images every vector is compared, which takes less time there than anybody notices and finds exactly the
nearest. Above, the graph gives candidates, and these are compared exactly. What came after the graph was built is
compared besides, so that it need not be built for every image that is added.
"""

import errno
import os
import secrets
import threading
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend.extras import install, is_installed
from mla_extend.files import atomic_path
from mla_extend.progress import SILENT, Progress
from mla_extend.search.index.shards import Keys, Vectors, damaged
from mla_extend.search.index.store import Store

FEW = 50_000
"""Images up to which all vectors are compared: benchmarks/index.py."""
NEW = 0.2
"""Share of the images that may have come, or gone, since the graph was built."""
CONNECTIVITY = 16
EXPANSION_ADD = 64
EXPANSION_SEARCH = 256
CANDIDATES = 4
"""Times as many candidates as wanted hits are compared exactly: the graph holds vectors rounded to bfloat16."""


def refresh_graph(store: Store, progress: Progress = SILENT) -> None:
    """Build the graph of an index anew where it has few images of now or many of before; drop it where they are few.

    Without usearch there is none, and a note says so.
    """
    count, upto = store.count(), int(store.value("graph_upto") or 0)
    built = int(store.value("graph_count") or 0)
    covered = store.count(upto)
    if count <= FEW:
        if upto:
            store.tell({"graph": "", "graph_upto": "0", "graph_count": "0"})
            store.sweep()
        return
    if upto and covered >= (1 - NEW) * count and covered >= (1 - NEW) * built:
        return
    if not is_installed("usearch"):
        progress.note(
            f"All of the {count:,} vectors are compared in each search, since usearch is not installed: "
            f"{install('usearch')}, and run the same command again."
        )
        return
    progress.start("Building the graph", total=count)
    try:
        name, last = _build(store, progress)
    finally:
        progress.finish()
    store.tell({"graph": name, "graph_upto": str(last), "graph_count": str(count)})
    store.sweep()


def _build(store: Store, progress: Progress) -> tuple[str, int]:
    """Build a graph of all that counts, write it, and return its file's name and the last key."""
    assert store.about is not None, "an index of many images says its width"
    graph, last = new_graph(store.about.dimension), 0
    for keys, vectors in store.rows():
        graph.add(keys, np.ascontiguousarray(vectors))
        last = max(last, int(keys[-1])) if len(keys) else last
        progress.advance(len(keys))
    name = f"graph-{secrets.token_hex(8)}.usearch"
    with atomic_path(store.folder / name) as temporary:
        try:
            graph.save(str(temporary))
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if temporary.stat().st_size != graph.serialized_length:  # usearch takes no notice where its last bytes fail
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return name, last


class Graph:
    """A graph opened for searching, memory-mapped."""

    def __init__(self, path: Path, dimension: int) -> None:
        from usearch.index import Index  # noqa: PLC0415 - an extra

        try:
            path.stat()
            self._graph = Index.restore(str(path), view=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise damaged(path, error) from error
        if self._graph is None or self._graph.ndim != dimension:
            raise damaged(path, "it is not a graph of these vectors")
        self._graph.expansion_search = EXPANSION_SEARCH
        # One call at a time: calls with one thread each would share that thread's scratch memory.
        self._turn = threading.Lock()

    def candidates(self, vector: Vectors, wanted: int) -> Keys:
        """Return the keys of about `wanted` vectors near to one `[D]`."""
        with self._turn:
            self._graph.expansion_search = max(EXPANSION_SEARCH, wanted)
            keys: Keys = self._graph.search(vector, wanted, threads=1).keys.astype(np.int64)
        return keys


def new_graph(dimension: int) -> Any:
    """Return an empty graph over unit vectors of width `dimension`."""
    from usearch.index import Index  # noqa: PLC0415 - an extra

    return Index(
        ndim=dimension,
        metric="cos",
        dtype="bf16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
        enable_key_lookups=False,
    )
