"""The constants of a base and its data: vectors of native text and of images, encoded once and kept."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mla_extend.bases.base import Base
from mla_extend.bases.encoding import image_encoding, text_encoding
from mla_extend.bases.source import DEMO
from mla_extend.cache import FEATURES, cache_folder
from mla_extend.errors import ImageError, Interrupted
from mla_extend.images.contents import image_keys
from mla_extend.images.stored import Stored, stored_pictures
from mla_extend.processes import ALONE, Processes
from mla_extend.progress import SILENT, Progress
from mla_extend.stop import StopRequest
from mla_extend.vector_store import Vectors, VectorStore, text_key

T = TypeVar("T")

TEXT_STEP = 1024
"""Texts between two looks at whether the user wants to stop."""
TEXTS_KEPT = 20_000
"""Texts that are kept at a time. A batch's teachers are fewer: they are kept together or not at all, since a vector's
last bits depend on the texts that it was encoded beside, and a run goes on as if it had not been interrupted."""


def features_folder(fingerprint: str) -> Path:
    """Return where the vectors of a base are kept; another base, or the same with other weights, has another place."""
    return cache_folder() / FEATURES / fingerprint[:32]


class Features:
    """The stored vectors of one base: native text and images, unnormalised.

    Args:
        base: encodes what is not in the store.
        progress: told of that.
        processes: ask for the same vectors at the same time, and share the work.
        stop: says when the user wants to stop.
    """

    def __init__(
        self,
        base: Base,
        progress: Progress = SILENT,
        processes: Processes = ALONE,
        stop: StopRequest | None = None,
    ) -> None:
        self.base = base
        self.progress = progress
        self.processes = processes
        self.stop = stop
        self._image_store: VectorStore | None = None

    @cached_property
    def _text(self) -> VectorStore:
        return self._store("text", text_encoding(self.base))

    @property
    def _images(self) -> VectorStore:
        if self._image_store is None:
            self._image_store = self._store("images", image_encoding(self.base))
            if self.base.identity.source == DEMO:
                from mla_extend.demo.base import remember_images  # noqa: PLC0415 - only the demo needs its packages

                remember_images(self)
        return self._image_store

    def _store(self, kind: str, space: Mapping[str, str]) -> VectorStore:
        identity = self.base.identity
        return VectorStore(features_folder(identity.fingerprint), kind, space, identity.name)

    def text(self, texts: Sequence[str], *, quiet: bool = False, cached: bool = True) -> Vectors:
        """Return the base's own vectors `[N, D]` of native texts.

        Args:
            texts: N texts.
            quiet: leave a bar that is running alone.
            cached: look them up in the store, and keep them there.
        """
        if not cached:
            different = list(dict.fromkeys(texts))
            place = {text: i for i, text in enumerate(different)}
            own = different[self.processes.share(len(different))]
            made = self.base.native_vectors(own or different[:1])[: len(own)].to(self.base.device)
            vectors: Vectors = self.processes.join(made, len(different)).cpu().numpy()
            return vectors[[place[text] for text in texts]]

        def encode(part: list[str]) -> Vectors:
            return self.base.native_vectors(part).numpy()

        def stored(part: Sequence[str]) -> Vectors:
            return self._text.vectors(
                part,
                _text_keys,
                encode,
                task="Encoding native text",
                progress=SILENT if quiet else self.progress,
                step=TEXT_STEP,
                keep=TEXTS_KEPT,
                stop=None if quiet else self.stop,
            )

        return self._share(texts, stored)

    def images(self, paths: Sequence[Path]) -> Vectors:
        """Return the base's own vectors `[N, D]` of images.

        Raises:
            ImageError: one cannot be read.
        """
        return self._share(paths, lambda part: self._stored(part, strict=True).vectors)

    def readable_images(self, paths: Sequence[Path]) -> tuple[Vectors, dict[Path, ImageError]]:
        """Return vectors `[N, D]`, a row of NaN for each image that cannot be read, and why those cannot."""
        errors: dict[Path, ImageError] = {}

        def stored(part: Sequence[Path]) -> Vectors:
            found = self._stored(part)
            errors.update(found.errors)
            return found.vectors

        return self._share(paths, stored), errors

    def _stored(self, paths: Sequence[Path], *, strict: bool = False) -> Stored:
        return stored_pictures(
            self._images,
            paths,
            lambda some, wanted: self.base.encoded(some, wanted=wanted, stop=self.stop),
            strict=strict,
            task="Encoding images",
            progress=self.progress,
            stop=self.stop,
        )

    def lacks_text(self, texts: Sequence[str]) -> int:
        """Return how many different ones of some native texts would have to be encoded."""
        return self._text.lacks(texts, _text_keys)

    def lacks_images(self, paths: Sequence[Path]) -> int:
        """Return how many different ones of some images would have to be encoded."""
        keys = dict(zip(paths, image_keys(paths, self.progress), strict=True))
        return self._images.lacks(list(keys), lambda part: [keys[path] for path in part])

    def keep_images(self, paths: Sequence[Path], vectors: Vectors) -> None:
        """Keep vectors `[N, D]` of images that were encoded elsewhere, in the very same way."""
        self._images.add(image_keys(paths), vectors)

    def _share(self, items: Sequence[T], stored: Callable[[Sequence[T]], Vectors]) -> Vectors:
        """Return the vectors of items, of which each process has encoded its part into the store.

        Raises:
            Interrupted: the user asked to stop, whichever process heard it.
        """
        if self.processes.count == 1:
            return stored(items)
        stopped: Interrupted | None = None
        if own := items[self.processes.rank :: self.processes.count]:
            try:
                stored(own)
            except Interrupted as error:
                stopped = error
        if self.processes.any(stopped is not None):
            raise stopped or Interrupted(f"Stopped while encoding. {(self.stop or StopRequest()).remedy}")
        return stored(items)


def _text_keys(texts: Sequence[str]) -> list[bytes]:
    return [text_key(text) for text in texts]
