"""Measure the image index: comparing every vector, usearch's graph, and faiss-cpu's inverted lists.

    python benchmarks/index.py [--write] [--rows 1000000]

The vectors are drawn: unit vectors of width 512 around 2,000 centres, with a spectrum that falls as that of a real
model's does. Queries are drawn alike from another seed. Either library gives 40 candidates, which are then compared
exactly, and recall@10 is the share of the true ten nearest that are found. Times are the median over the queries, each
searched by itself with one thread; what builds may use all cores.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import ROOT, machine, markdown, put, save

from mla_extend.progress import Silent
from mla_extend.search.index import ImageIndex
from mla_extend.search.index import graph as graphs
from mla_extend.search.index.about import About
from mla_extend.search.index.store import Item, writing

DIMENSION, CENTRES, DIRECTIONS = 512, 2000, 128
QUERIES, TOP, CANDIDATES = 200, 10, 40
SEED = 0
SIZES = (10_000, 25_000, 50_000, 100_000, 200_000)
"""Images of which all are compared, to see until when that does."""
BLOCK = 1 << 16
DOC = ROOT / "docs" / "search.md"
ABOUT = About("drawn", "0" * 64, "drawn", True, DIMENSION)

Array = Any


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="save benchmarks/results/index.json, and the table")
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, options.rows)
        result: dict[str, Any] = {"rows": options.rows, "dimension": DIMENSION, "queries": QUERIES, "seed": SEED}
        # Memory is that of a process, so each has one of its own.
        for part in PARTS:
            program = [sys.executable, __file__, "--part", part, "--folder", name]
            # One thread for numpy, which searches; the libraries are told by themselves how many build.
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            result[part] = json.loads(done.stdout.splitlines()[-1])
            print(json.dumps({part: result[part]}, indent=2), file=sys.stderr, flush=True)
        result["machine"] = machine()
    print(json.dumps(result, indent=2))
    if options.write:
        save("index", result)
        put_table(result)


def prepare(folder: Path, rows: int) -> None:
    """Write the vectors, the queries, and the true nearest."""
    stored = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (rows, DIMENSION))
    for start, block in draw(rows, 1):
        stored[start : start + len(block)] = block
    queries = np.concatenate([block for _, block in draw(QUERIES, 2)])
    scores = np.concatenate([stored[start : start + BLOCK] @ queries.T for start in range(0, rows, BLOCK)])
    truth = np.argpartition(-scores, TOP, axis=0)[:TOP].T
    np.savez(folder / "queries.npz", queries=queries, truth=truth)


def draw(rows: int, seed: int) -> Any:
    """Give places and unit vectors around centres that are the same for every seed."""
    fixed = np.random.default_rng(SEED)
    centres = fixed.standard_normal((CENTRES, DIRECTIONS // 2)).astype(np.float32)
    directions = np.linalg.qr(fixed.standard_normal((DIMENSION, DIRECTIONS)))[0].astype(np.float32).T
    spectrum = (1 / np.arange(1, DIRECTIONS + 1) ** 0.5).astype(np.float32)
    draws = np.random.default_rng((SEED, seed))
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        place = 0.6 * draws.standard_normal((count, DIRECTIONS), dtype=np.float32)
        place[:, : DIRECTIONS // 2] += centres[draws.integers(0, CENTRES, count)]
        vectors = (place * spectrum) @ directions + 0.02 * draws.standard_normal((count, DIMENSION), dtype=np.float32)
        yield start, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read(folder: Path) -> tuple[Array, Array, Array]:
    """Return vectors, queries and the true nearest."""
    arrays = np.load(folder / "queries.npz")
    return np.load(folder / "vectors.npy", mmap_mode="r"), arrays["queries"], arrays["truth"]


def all_compared(folder: Path) -> dict[str, Any]:
    """Return the time of comparing every vector, for several numbers of them."""
    vectors, queries, _ = read(folder)
    result = {}
    for size in (*(size for size in SIZES if size < len(vectors)), len(vectors)):
        index_folder = folder / f"exact-{size}"
        graphs.FEW = size
        store_vectors(index_folder, vectors[:size])
        index = ImageIndex.open(index_folder)
        result[str(size)] = milliseconds(lambda query, index=index: index.nearest(query[None], TOP), queries[:20])
        index.close()
        shutil.rmtree(index_folder)
    return result


def ours(folder: Path) -> dict[str, Any]:
    """Return build time, memory, query time and recall of the index as it is: usearch's graph from `FEW` images on."""
    vectors, queries, truth = read(folder)
    clock = Clock()
    store_vectors(folder / "ours", vectors)
    result = {"store_seconds": clock.wall(), "store_cpu_seconds": clock.cpu()}
    clock = Clock()
    graphs.FEW = min(graphs.FEW, len(vectors) // 2)
    peak = Peak()
    with writing(folder / "ours") as store:
        graphs.refresh_graph(store, peak)
    result |= {"build_seconds": clock.wall(), "build_cpu_seconds": clock.cpu()}
    result["build_memory_mb"] = round(peak.most / 1e6)
    file = next((folder / "ours").glob("graph-*.usearch"))
    result["file_mb"] = round(file.stat().st_size / 1e6)
    result["searches"] = []
    for expansion in (64, 128, 256, 512):
        graphs.EXPANSION_SEARCH = expansion
        index = ImageIndex.open(folder / "ours")
        found = [[key - 1 for key, _ in index.nearest(query[None], TOP)[0]] for query in queries]
        result["searches"].append(
            {
                "setting": f"expansion {expansion}",
                "milliseconds": milliseconds(lambda query, index=index: index.nearest(query[None], TOP), queries),
                "recall_at_10": recall(found, truth),
            }
        )
        index.close()
    return result


def faiss_lists(folder: Path) -> dict[str, Any]:
    """Return the same of faiss-cpu's inverted lists over vectors of 8 bits a number."""
    import faiss

    vectors, queries, truth = read(folder)
    before = own_memory()
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    lists = 1 << round(np.log2(4 * np.sqrt(len(vectors))))
    clock = Clock()
    index = faiss.index_factory(DIMENSION, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    chosen = np.sort(np.random.default_rng(SEED).choice(len(vectors), min(len(vectors), 40 * lists), replace=False))
    index.train(np.ascontiguousarray(vectors[chosen]))
    for start in range(0, len(vectors), BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
    result: dict[str, Any] = {"lists": lists, "build_seconds": clock.wall(), "build_cpu_seconds": clock.cpu()}
    result["build_memory_mb"] = round((own_memory() - before) / 1e6)
    faiss.write_index(index, str(folder / "lists.faiss"))
    result["file_mb"] = round((folder / "lists.faiss").stat().st_size / 1e6)
    faiss.omp_set_num_threads(1)

    def search(query: Array) -> Array:
        candidates = np.sort(index.search(query[None], CANDIDATES)[1][0])
        scores = vectors[candidates] @ query
        return candidates[np.argsort(-scores)[:TOP]]

    result["searches"] = []
    for probes in (16, 32, 64, 128, 256):
        index.nprobe = probes
        found = [search(query) for query in queries]
        result["searches"].append(
            {
                "setting": f"{probes} lists",
                "milliseconds": milliseconds(search, queries),
                "recall_at_10": recall(found, truth),
            }
        )
    return result


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "all_compared": all_compared,
    "usearch": ours,
    "faiss": faiss_lists,
}


class Peak(Silent):
    """Measure how far memory rises while a graph is built."""

    def __init__(self) -> None:
        self._before, self.most = own_memory(), 0

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Look at the memory."""
        self.most = max(self.most, own_memory() - self._before)


class Clock:
    """Measure seconds on the wall and of the processor, from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def wall(self) -> float:
        """Return seconds on the wall."""
        return round(time.perf_counter() - self._wall, 1)

    def cpu(self) -> float:
        """Return seconds of all threads together."""
        return round(time.process_time() - self._cpu, 1)


def store_vectors(folder: Path, vectors: Array) -> None:
    """Store vectors as the index does, without a graph; row 0 has the key 1."""
    with writing(folder) as store:
        shards = [store.write(np.asarray(vectors[start : start + BLOCK])) for start in range(0, len(vectors), BLOCK)]
        store.add([Item(f"{row}.jpg", False) for row in range(len(vectors))], shards, ABOUT)
        store.tidy()


def milliseconds(search: Callable[[Array], object], queries: Array) -> float:
    """Return the median time of a query."""
    times = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - began))
    return round(float(np.median(times)), 2)


def recall(found: list[Any], truth: Array) -> float:
    """Return the mean share of the true nearest that were found."""
    shares = [len(set(map(int, one)) & set(map(int, right))) / TOP for one, right in zip(found, truth, strict=True)]
    return round(float(np.mean(shares)), 4)


def own_memory() -> int:
    """Return the memory of this process that is no file's."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def put_table(result: dict[str, Any]) -> None:
    """Put the tables into docs/search.md."""
    rows = []
    for part, name in (("usearch", "usearch, graph in bfloat16"), ("faiss", "faiss-cpu, inverted lists in 8 bits")):
        one = result[part]
        for search in one["searches"]:
            rows.append(
                [
                    f"{name}, {search['setting']}",
                    f"{one['build_seconds']:.0f} s ({one['build_cpu_seconds']:.0f} s)",
                    f"{one['build_memory_mb']:,} MB",
                    f"{one['file_mb']:,} MB",
                    f"{search['milliseconds']:.1f} ms",
                    f"{search['recall_at_10']:.3f}",
                ]
            )
    head = ["", "build (processor)", "memory", "file", "one query", "recall@10"]
    sizes = ", ".join(f"{int(size):,}: {took:.1f} ms" for size, took in result["all_compared"].items())
    text = (
        f"{result['rows']:,} vectors of width {result['dimension']}, {result['queries']} queries, seed "
        f"{result['seed']}, {result['machine']}:\n\n{markdown(head, rows)}\n\nComparing every vector, by the number of "
        f"images: {sizes}."
    )
    put("index", text, DOC)


if __name__ == "__main__":
    main()
