"""Vectors that never change are computed once: a cache of encoded texts and images, addressed by content.

A cache holds shards, each a pair of files: `NAME.npy` with vectors `[N, D]`, memory-mapped, and `NAME.keys` with the
SHA-256 of each row's content. A shard exists once its keys do, and those are renamed into place last; so whatever
dies in between costs the rows of one shard and leaves nothing false. Several processes may write at once.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.video import is_video, video_key
from mla_extend.files import atomic_path, sha256_file
from mla_extend.progress import SILENT, Progress

T = TypeVar("T")
Vectors = NDArray[np.float32]

KEY_BYTES = 32
SHARD = 20_000
"""Rows after which what has been encoded is kept: what an interruption may cost."""


def text_key(text: str) -> bytes:
    """Return the key of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def image_key(path: Path) -> bytes:
    """Return the key of an image or video: the hash of its bytes, wherever it lies, and how frames are taken of it."""
    content = sha256_file(path)
    return video_key(content) if is_video(path) else bytes.fromhex(content)


class FeatureCache:
    """Hold the vectors of one kind (text or images) for one base.

    Args:
        folder: its place; one a kind and base fingerprint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[bytes, tuple[Vectors, int]] = {}
        self._known: set[str] = set()

    def vectors(
        self,
        items: Sequence[T],
        key: Callable[[T], bytes],
        encode: Callable[[list[T]], Vectors],
        *,
        task: str = "Encoding",
        progress: Progress = SILENT,
        step: int = 256,
    ) -> Vectors:
        """Return the vectors `[N, D]` of items in their order, encoding those that are not held yet.

        Args:
            items: texts or paths.
            key: returns an item's content key.
            encode: returns unnormalised vectors `[n, D]` of some items.
            task: what the progress is called.
            progress: told of what is encoded.
            step: items handed to `encode` at a time.
        """
        keys = [key(item) for item in items]
        missing = self._missing(keys, items)
        if missing:
            self._encode(list(missing.items()), encode, task=task, progress=progress, step=step)
        first, _ = self._places[keys[0]]
        result = np.empty((len(keys), first.shape[1]), dtype=np.float32)
        for row, k in enumerate(keys):
            shard, place = self._places[k]
            result[row] = shard[place]
        return result

    def lacks(self, items: Sequence[T], key: Callable[[T], bytes]) -> int:
        """Return how many different ones of some items would have to be encoded."""
        return len(self._missing([key(item) for item in items], items))

    def add(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Keep vectors that were encoded elsewhere with the same base."""
        name = secrets.token_hex(8)
        with atomic_path(self.folder / f"{name}.npy") as path, path.open("wb") as file:
            np.save(file, np.asarray(vectors, dtype=np.float32))
        with atomic_path(self.folder / f"{name}.keys") as path:
            path.write_bytes(b"".join(keys))
        self._refresh()

    def _missing(self, keys: Sequence[bytes], items: Sequence[T]) -> dict[bytes, T]:
        """Return the items that are not held, by key."""
        self._refresh()
        return {k: item for k, item in zip(keys, items, strict=True) if k not in self._places}

    def _encode(
        self,
        missing: list[tuple[bytes, T]],
        encode: Callable[[list[T]], Vectors],
        *,
        task: str,
        progress: Progress,
        step: int,
    ) -> None:
        progress.start(task, total=len(missing))
        try:
            for start in range(0, len(missing), SHARD):
                shard = missing[start : start + SHARD]
                parts = []
                for inner in range(0, len(shard), step):
                    part = [item for _, item in shard[inner : inner + step]]
                    parts.append(encode(part))
                    progress.advance(len(part))
                self.add([k for k, _ in shard], np.concatenate(parts))
        finally:
            progress.finish()

    def _refresh(self) -> None:
        """Learn of shards that have come since."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.keys")):
            if path.name in self._known:
                continue
            content = path.read_bytes()
            vectors = np.load(path.with_suffix(".npy"), mmap_mode="r")
            for row in range(len(vectors)):
                self._places[content[row * KEY_BYTES : (row + 1) * KEY_BYTES]] = (vectors, row)
            self._known.add(path.name)
