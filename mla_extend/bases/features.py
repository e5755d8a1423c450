"""The constants of a base and its data: vectors of native text and of images, encoded once and kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mla_extend.bases.base import Base
from mla_extend.bases.feature_cache import FeatureCache, Vectors, image_key, text_key
from mla_extend.cache import cache_folder
from mla_extend.processes import ALONE, Processes
from mla_extend.progress import SILENT, Progress

T = TypeVar("T")


def features_folder(fingerprint: str) -> Path:
    """Return where the vectors of a base are kept; another base, or the same with other weights, has another place."""
    return cache_folder() / "features" / fingerprint[:32]


class Features:
    """The cached vectors of one base: native text and images, unnormalised.

    Args:
        base: encodes what is not in the cache.
        progress: told of that.
        processes: ask for the same vectors at the same time, and share the work.
    """

    def __init__(self, base: Base, progress: Progress = SILENT, processes: Processes = ALONE) -> None:
        folder = features_folder(base.identity.fingerprint)
        self.base = base
        self.progress = progress
        self.processes = processes
        self._text = FeatureCache(folder / "text")
        self._images = FeatureCache(folder / "images")

    def text(self, texts: Sequence[str], *, quiet: bool = False) -> Vectors:
        """Return the base's own vectors `[N, D]` of native texts; `quiet` leaves a bar that is running alone."""

        def encode(part: list[str]) -> Vectors:
            return self.base.native_vectors(part).numpy()

        progress = SILENT if quiet else self.progress

        def cached(part: Sequence[str]) -> Vectors:
            return self._text.vectors(part, text_key, encode, task="Encoding native text", progress=progress, step=1024)

        return self._share(texts, cached)

    def images(self, paths: Sequence[Path]) -> Vectors:
        """Return the base's own vectors `[N, D]` of images."""

        def encode(part: list[Path]) -> Vectors:
            return self.base.image_vectors(part).numpy()

        def cached(part: Sequence[Path]) -> Vectors:
            return self._images.vectors(
                part, image_key, encode, task="Encoding images", progress=self.progress, step=64
            )

        return self._share(paths, cached)

    def lacks_text(self, texts: Sequence[str]) -> int:
        """Return how many different ones of some native texts would have to be encoded."""
        return self._text.lacks(texts, text_key)

    def lacks_images(self, paths: Sequence[Path]) -> int:
        """Return how many different ones of some images would have to be encoded."""
        return self._images.lacks(paths, image_key)

    def _share(self, items: Sequence[T], cached: Callable[[Sequence[T]], Vectors]) -> Vectors:
        """Return the vectors of items, of which each process has encoded its part into the cache."""
        if self.processes.count > 1:
            if own := items[self.processes.rank :: self.processes.count]:
                cached(own)
            self.processes.wait()
        return cached(items)
