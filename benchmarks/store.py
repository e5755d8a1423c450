"""Measure the store of vectors: writes, finds, memory a key, descriptors.

    python benchmarks/store.py [--writes 5000] [--rows 32] [--width 384]

Run it below `ulimit -n 256` to see that a thousand runs over one cache open as few files as one.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from mla_extend.vector_store import VectorStore


def main() -> None:
    """Write, open again, find everything, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=5_000)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--width", type=int, default=384)
    asked = parser.parse_args()
    keys = [
        number.to_bytes(32, "big")
        for number in np.random.default_rng(0).permutation(asked.writes * asked.rows).tolist()
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = VectorStore(Path(folder), "text", {"base": "benchmark"})
        started = time.monotonic()
        for start in range(0, len(keys), asked.rows):
            store.add(keys[start : start + asked.rows], _vectors(keys[start : start + asked.rows], asked.width))
        written = time.monotonic() - started
        store.close()
        process = psutil.Process()
        before = process.memory_info().rss
        started = time.monotonic()
        store = VectorStore(Path(folder), "text", {"base": "benchmark"})
        equal = True
        for start in range(0, len(keys), 512):
            part = keys[start : start + 512]
            found = store.find(part)
            equal &= all(
                np.array_equal(found[key], vector)
                for key, vector in zip(part, _vectors(part, asked.width), strict=True)
            )
        seconds = time.monotonic() - started
        files = list(Path(folder).iterdir())
        print(
            json.dumps(
                {
                    "keys": len(keys),
                    "equal": bool(equal),
                    "seconds_a_write": round(written / asked.writes, 5),
                    "microseconds_a_key_found": round(1e6 * seconds / len(keys), 1),
                    "bytes_a_key_in_memory": round((process.memory_info().rss - before) / len(keys), 1),
                    "files": len(files),
                    "descriptors": psutil.Process().num_fds(),
                    "bytes_on_disk_a_key": round(sum(path.stat().st_size for path in files) / len(keys)),
                }
            )
        )


def _vectors(keys: list[bytes], width: int) -> np.ndarray:
    return np.array([np.full(width, int.from_bytes(key, "big"), dtype=np.float32) for key in keys])


if __name__ == "__main__":
    main()
