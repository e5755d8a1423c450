"""The constants of a base and its data: vectors of native text and of images, encoded once and kept."""

from collections.abc import Sequence
from pathlib import Path

from mla_extend.bases.base import Base
from mla_extend.bases.feature_cache import FeatureCache, Vectors, image_key, text_key
from mla_extend.cache import cache_folder
from mla_extend.progress import SILENT, Progress


def features_folder(fingerprint: str) -> Path:
    """Return where the vectors of a base are kept; another base, or the same with other weights, has another place."""
    return cache_folder() / "features" / fingerprint[:32]


class Features:
    """The cached vectors of one base: native text and images, unnormalised."""

    def __init__(self, base: Base, progress: Progress = SILENT) -> None:
        folder = features_folder(base.identity.fingerprint)
        self.base = base
        self.progress = progress
        self._text = FeatureCache(folder / "text")
        self._images = FeatureCache(folder / "images")

    def text(self, texts: Sequence[str], *, quiet: bool = False) -> Vectors:
        """Return the base's own vectors `[N, D]` of native texts; `quiet` leaves a bar that is running alone."""

        def encode(part: list[str]) -> Vectors:
            return self.base.native_vectors(part).numpy()

        progress = SILENT if quiet else self.progress
        return self._text.vectors(texts, text_key, encode, task="Encoding native text", progress=progress, step=1024)

    def images(self, paths: Sequence[Path]) -> Vectors:
        """Return the base's own vectors `[N, D]` of images."""

        def encode(part: list[Path]) -> Vectors:
            return self.base.image_vectors(part).numpy()

        return self._images.vectors(paths, image_key, encode, task="Encoding images", progress=self.progress, step=64)
