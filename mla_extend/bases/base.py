"""The frozen base: an image-text model opened, fingerprinted and never trained."""

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.bases.family import Family
from mla_extend.bases.identity import BaseIdentity
from mla_extend.bases.precision import computes_bf16
from mla_extend.errors import BaseError, DataError, base_errors
from mla_extend.images.pipeline import ImageLike, Picture, Wanted, always, read_pictures
from mla_extend.images.video import is_video, pool_frames
from mla_extend.stop import StopRequest
from mla_extend.vector_store import Vectors

T = TypeVar("T")

TEXT_BATCH, CPU_TEXT_BATCH = 256, 64
IMAGE_BATCH, GPU_IMAGE_BATCH = 16, 256
"""Texts and images a step: on a CPU small batches stay in the cache, and are faster than large ones."""
WAITING = 1024
"""Pictures at most that wait for a batch to be full: of a million copies, few have to be encoded."""
TIMES_SIDE = 3
"""Times as long as a model takes it that a picture's shorter side stays where the picture is reduced as it is read.

Of 24 photographs of 3 and 12 megapixels, the demo base's vectors then have a cosine of 0.999 with those of the whole
pictures on average, and 0.997 at least; reading and preparing takes half of the time at 3 megapixels. At twice the
side the cosines are 0.998 and 0.993."""
_TOKENIZING = threading.Lock()
"""Held while a base's tokenizer runs: each call tells it anew how to cut, which two threads may not do at once."""


class Base:
    """An image-text model as it came, in evaluation mode and without gradients.

    Attributes:
        identity: name, source, family, fingerprint and native language.
        model: the whole model; its image tower is never touched by anything in this package.
        tokenizer: the base's own tokenizer, for native text.
    """

    def __init__(
        self, identity: BaseIdentity, family: Family, model: nn.Module, tokenizer: Any, processor: Any
    ) -> None:
        self.identity = identity
        self.family = family
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.processor = processor
        self.max_tokens = family.max_tokens(model)
        self._image_batch = GPU_IMAGE_BATCH

    @property
    def text_tower(self) -> nn.Module:
        """Return the module that languages attach to."""
        return self.family.text_tower(self.model)

    @property
    def embedding(self) -> nn.Embedding:
        """Return the native token table `[V, W]`."""
        table: Any = self.text_tower.get_submodule(self.family.embedding)
        native: nn.Embedding = getattr(table, "base_layer", table)
        return native

    @property
    def width(self) -> int:
        """Return `W`, the width of the text tower."""
        return int(self.embedding.embedding_dim)

    @property
    def device(self) -> torch.device:
        """Return the device that the model is on."""
        return self.embedding.weight.device

    @cached_property
    def begins(self) -> bool:
        """Say whether native text begins with a token of its own, as a language's text then does."""
        with self.tokenizing():
            whole, plain = (self.tokenizer(["a"], add_special_tokens=added)["input_ids"][0] for added in (True, False))
        return bool(whole[:1] != plain[:1])

    def to(self, device: str | torch.device) -> "Base":
        """Move the model."""
        self.model.to(device)
        return self

    @contextmanager
    def tokenizing(self) -> Iterator[None]:
        """Keep the base's tokenizer to one thread while the context lasts.

        Raises:
            BaseError: the tokenizer fails.
        """
        with _TOKENIZING, base_errors(self.identity.name):
            yield

    def native_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise native text without special tokens and without truncation, for alignment."""
        # The tokenizer warns of text longer than the tower; alignment does not run the tower.
        with self.tokenizing():
            encoded = self.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    @torch.no_grad()
    def native_vectors(self, texts: Sequence[str], batch_size: int | None = None) -> Tensor:
        """Encode native text by the base's own path, in the order given: unnormalised vectors `[B, D]` in float32.

        Raises:
            DataError: there is no text.
        """
        if not texts:
            raise DataError("There is no text to encode: the list is empty.")
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        rows: list[Tensor] = [torch.empty(0)] * len(texts)
        size = batch_size or (CPU_TEXT_BATCH if self.device.type == "cpu" else TEXT_BATCH)
        for chunk in chunks(order, size):
            with self.tokenizing():
                ids, mask = self.family.native_encoding(self.tokenizer, [texts[i] for i in chunk], self.max_tokens)
            vectors = self.family.native_features(self.model, ids.to(self.device), mask.to(self.device)).float().cpu()
            for i, vector in zip(chunk, vectors, strict=True):
                rows[i] = vector
        return torch.stack(rows)

    def image_vectors(self, images: Iterable[ImageLike], batch_size: int | None = None) -> Tensor:
        """Encode images and videos (paths, or PIL images): unnormalised vectors `[B, D]` in float32.

        Raises:
            BaseError: the base has no image tower, or does not say how images are prepared.
            DataError: an image cannot be read; the message names it.
        """
        vectors = []
        with closing(self.encoded(images, batch_size, exact=True)) as pictures:
            for one in pictures:
                if one.error is not None:
                    raise one.error
                if one.made is not None:
                    vectors.append(one.made)
        if not vectors:
            raise DataError("There is no image to encode: the list is empty.")
        return torch.from_numpy(np.stack(vectors))

    def encoded(
        self,
        images: Iterable[ImageLike],
        batch_size: int | None = None,
        *,
        exact: bool = False,
        wanted: Wanted = always,
        stop: StopRequest | None = None,
    ) -> Generator[Picture[Vectors], None, None]:
        """Give images and videos in their order with their unnormalised vectors `[D]`, or why there is none.

        Args:
            images: paths, or PIL images.
            batch_size: images a step at most; as many as the device takes where it is `None`.
            exact: compute in fp32 on a device that is faster in bf16, too.
            wanted: says whether a file of this content is to be encoded.
            stop: ends it between two images.

        Raises:
            BaseError: the base has no image tower, or does not say how images are prepared.
        """
        if not self.family.has_images:
            raise BaseError(
                f"The base {self.identity.name!r} is a text model without an image tower. Use parallel text instead of "
                "images."
            )
        if self.processor is None:
            raise BaseError(
                f"The base {self.identity.name!r} has no image preprocessing: there is no preprocessor_config.json in "
                "its folder. Copy that file from where the model came from."
            )
        size = batch_size or (IMAGE_BATCH if self.device.type == "cpu" else self._image_batch)
        side = self.family.image_side(self.processor)
        reduced = {} if side is None else {"least_side": TIMES_SIDE * side, "few_pixels": 0}

        def prepared(frames: list[Image.Image]) -> tuple[Any, int]:
            return self.family.pixels(self.processor, frames), len(frames)

        waiting: list[Picture[tuple[Any, int]]] = []
        frames = 0
        with closing(read_pictures(images, prepared, wanted=wanted, stop=stop, **reduced)) as pictures:
            for one in pictures:
                waiting.append(one)
                frames += one.made[1] if one.made is not None else 0
                if not frames or frames >= size or len(waiting) >= WAITING:
                    yield from self._encoded(waiting, size, exact)
                    waiting, frames = [], 0
        if stop is None or not stop.requested:
            yield from self._encoded(waiting, size, exact)

    def _encoded(self, pictures: list[Picture[tuple[Any, int]]], size: int, exact: bool) -> list[Picture[Vectors]]:
        """Encode what was prepared, a video's frames together."""
        made = [one.made for one in pictures if one.made is not None]
        if not made:
            return cast(list[Picture[Vectors]], pictures)
        counts = [count for _, count in made]
        vectors = self._image_features(_joined([part for part, _ in made]), sum(counts), size, exact)
        parts = iter(torch.split(vectors, counts))

        def own(one: Picture[tuple[Any, int]]) -> Vectors | None:
            if one.made is None:
                return None
            vector = pool_frames(next(parts)) if is_video(one.item) else next(parts)[0]
            return vector.numpy()

        return [Picture(one.item, one.content, one.stamp, own(one), one.size, one.error) for one in pictures]

    @torch.no_grad()
    def _image_features(self, pixels: Any, count: int, size: int, exact: bool) -> Tensor:
        """Return unnormalised vectors `[count, D]`, in batches that the device has memory for."""
        vectors: list[Tensor] = []
        start, size = 0, min(size, self._image_batch)
        fast = not exact and computes_bf16(self.device)
        with torch.autocast(self.device.type, torch.bfloat16) if fast else nullcontext():
            while start < count:
                try:
                    part = _rows(pixels, start, start + size).to(self.device)
                    vectors.append(self.family.image_features(self.model, part).float().cpu())
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                    size = self._image_batch = size // 2
                    continue
                start += size
        return torch.cat(vectors)

    def encode_native(self, texts: Sequence[str]) -> Tensor:
        """Encode native text: L2-normalised vectors `[B, D]`."""
        return F.normalize(self.native_vectors(texts), dim=-1)

    def encode_images(self, images: Iterable[ImageLike]) -> Tensor:
        """Encode images: L2-normalised vectors `[B, D]`."""
        return F.normalize(self.image_vectors(images), dim=-1)


def _joined(parts: list[Any]) -> Any:
    """Return what `Family.pixels` gave for several lists of images as it gives it for one."""
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return type(parts[0])({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _rows(pixels: Any, start: int, end: int) -> Any:
    """Return some images of what `Family.pixels` gave."""
    if isinstance(pixels, Tensor):
        return pixels[start:end]
    return type(pixels)({name: values[start:end] for name, values in pixels.items()})


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device; no GPU is waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
