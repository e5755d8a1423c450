"""A base and any number of languages: names, tokenizers, routing and pooling.

Shapes: `B` batch, `T` tokens, `D` width of the shared space.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.bases.base import Base, chunks, on_device
from mla_extend.data.codes import adapter_name
from mla_extend.errors import DataError, LanguageError, RegistryError
from mla_extend.flat import IdRows
from mla_extend.images.pipeline import ImageLike
from mla_extend.language.adapter_files import read_adapter
from mla_extend.language.batches import check_batch, encode_in_batches, shown
from mla_extend.language.peft_method import (
    BASE_PATH,
    AcquirerConfig,
    AcquirerModel,
    OwnTable,
    adapter_parameters,
    adapter_tensors,
    attach,
    join,
    leave,
    load_tensors,
)
from mla_extend.language.pretrained import find_table
from mla_extend.language.tokenizer import LanguageTokenizer, TextBatch, pad, widen

ENCODE_BATCH = 128


@dataclass(frozen=True)
class Language:
    """One loaded language: its code, its name inside PEFT, and its tokenizer (`None`: the base's own)."""

    tag: str
    adapter: str
    tokenizer: LanguageTokenizer | None


class MultilingualModel:
    """Encode text of several languages, and images, into the space of one frozen base.

    Examples:
        >>> from mla_extend import load_model
        >>> model = load_model(base="path/to/clip", registry="adapters")
        >>> model.languages
        ['en', 'sw']
        >>> texts = model.encode(["mbwa mwekundu", "paka"], language="sw")
        >>> images = model.encode_images(["photos/cat.png", "photos/dog.png"])
        >>> (texts @ images.T).shape  # cosines
        (2, 2)
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self._languages: dict[str, Language] = {}
        self._peft: PeftModel | None = None

    @property
    def native(self) -> str:
        """Return the base's own language."""
        return self.base.identity.native

    @property
    def languages(self) -> list[str]:
        """Return the loaded languages, the native one first."""
        return [self.native, *sorted(self._languages)]

    @property
    def peft(self) -> PeftModel:
        """Return the PEFT model around the text tower."""
        if self._peft is None:
            raise LanguageError("No language is loaded: there is no PEFT model yet.")
        return self._peft

    @property
    def tuner(self) -> AcquirerModel:
        """Return the tuner that routes rows to languages."""
        tuner: AcquirerModel = self.peft.base_model
        return tuner

    # Adding and removing ------------------------------------------------------------------------------------------

    def add(
        self,
        tag: str,
        *,
        tokenizer: LanguageTokenizer | None,
        native_pieces: int = 0,
        bottleneck: int,
        pretrained: dict[str, Any] | None = None,
    ) -> Language:
        """Add a language with identity acquirers and an empty table.

        Args:
            tag: its code.
            tokenizer: its own; `None` reads the native table.
            native_pieces: how many of its last pieces stand for rows of the native table.
            bottleneck: of its acquirers; 0 for none.
            pretrained: the frozen table, whose tokenizer is given, that it reads through a projection in place of a
                table of its own, as `FrozenTable.to_json` says it.

        Raises:
            RegistryError: the frozen table is not to be had.
        """
        table = find_table(pretrained) if pretrained else None  # before anything is attached
        config = AcquirerConfig(
            target_modules=f"^(?:{self.base.family.blocks}|{self.base.family.embedding.replace('.', chr(92) + '.')})$",
            embedding=self.base.family.embedding,
            width=self.base.width,
            bottleneck=bottleneck,
            vocabulary=tokenizer.size - native_pieces if tokenizer else 0,
            native_pieces=native_pieces,
            pretrained=pretrained if table else None,
            language=tag,
            base_name=self.base.identity.name,
            base_fingerprint=self.base.identity.fingerprint,
            base_model_name_or_path=self.base.identity.name,
            inference_mode=True,
        )
        return self._add(tag, tokenizer, config)

    def _add(self, tag: str, tokenizer: LanguageTokenizer | None, config: AcquirerConfig) -> Language:
        if tag == self.native:
            raise LanguageError(f"{tag!r} is the base's own language; nothing is added for it.")
        if tag in self._languages:
            raise LanguageError(f"{tag!r} is loaded already. Remove it first.")
        name = adapter_name(tag)
        if self._peft is None:
            self._peft = attach(self.base.text_tower, name, config).eval()
            # The native path is the rule: whoever runs the text tower without saying a language gets the base.
            self.tuner.disable_adapter_layers()
        else:
            join(self._peft, name, config)
        self._languages[tag] = Language(tag, name, tokenizer)
        return self._languages[tag]

    def load(self, tag: str, folder: Path, *, foreign: bool = False) -> Language:
        """Load a language from a version's folder; the caller has checked its files against their hashes.

        Raises:
            RegistryError: the files are not those of a language adapter, or do not fit this base.
        """
        stored = read_adapter(folder, self.base.max_tokens, foreign=foreign)
        language = self._add(tag, stored.tokenizer, stored.config)
        try:
            load_tensors(self.peft, language.adapter, stored.tensors, take=True)
            self._check_native_rows(tag)
        except ValueError as error:
            self.remove(tag)
            raise RegistryError(f"The adapter in {folder} does not fit the base: {error}.") from error
        return language

    def own_table(self, tag: str) -> OwnTable | None:
        """Return a language's own token table; `None` where it reads the native one, or a frozen one."""
        layer: Any = self.tuner.layers()[self.base.family.embedding]
        adapter = self.language(tag).adapter
        own = layer.acquirer_embedding
        return own[adapter] if adapter in own and isinstance(own[adapter], OwnTable) else None

    def _check_native_rows(self, tag: str) -> None:
        table = self.own_table(tag)
        if table is not None and table.native_rows is not None:
            there = self.base.embedding.num_embeddings
            for row in (int(table.native_rows.min()), int(table.native_rows.max())):
                if not 0 <= row < there:
                    raise ValueError(f"it reads row {row} of a native table of {there} rows")

    def save(self, tag: str, folder: Path) -> None:
        """Write `adapter_config.json`, `adapter_model.safetensors` and the tokenizer into a folder."""
        language = self.language(tag)
        tensors = {name: tensor.detach().cpu() for name, tensor in adapter_tensors(self.peft, language.adapter).items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        self.peft.peft_config[language.adapter].save_pretrained(str(folder))
        if language.tokenizer is not None:
            language.tokenizer.save(folder)

    def remove(self, tag: str) -> None:
        """Unload a language; with the last one the text tower is the base's own again."""
        language = self.language(tag)
        del self._languages[tag]
        if not self._languages:
            self.tuner.unload()
            self._peft = None
            return
        leave(self.peft, language.adapter)

    def language(self, tag: str) -> Language:
        """Return a loaded language.

        Raises:
            LanguageError: it is not loaded; the message lists those that are.
        """
        if tag in self._languages:
            return self._languages[tag]
        close = get_close_matches(tag, self.languages, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise LanguageError(f"The language {tag!r} is not loaded.{hint} Loaded: {', '.join(self.languages)}.")

    # Encoding -----------------------------------------------------------------------------------------------------

    def encode(
        self,
        texts: str | Sequence[str],
        language: str | Sequence[str],
        batch_size: int = ENCODE_BATCH,
        *,
        convert_to_numpy: bool = True,
        show_progress_bar: bool = False,
    ) -> NDArray[np.float32] | Tensor:
        """Encode text, as sentence-transformers' `encode` does: L2-normalised vectors in the base's own space.

        Examples:
            >>> model.encode("paka", language="sw").shape
            (12,)
            >>> model.encode(["paka", "a cat"], language=["sw", "en"], batch_size=64).shape
            (2, 12)

        Args:
            texts: any number of texts, or one.
            language: one code for all, or one per text; the native code takes the base's own path.
            batch_size: texts at once.
            convert_to_numpy: return a numpy array; else a tensor on the CPU.
            show_progress_bar: draw one on standard error.

        Returns:
            `[B, D]` in float32; of one text, `[D]`.

        Raises:
            LanguageError: a language is not loaded.
            DataError: the lists differ in length, there is no text, or the batch size is less than 1.
        """
        asked = [texts] if isinstance(texts, str) else list(texts)
        tags = _one_each(asked, language)
        found = encode_in_batches(
            asked,
            lambda rows: F.normalize(
                self.text_vectors([asked[i] for i in rows], [tags[i] for i in rows], batch_size), dim=-1
            ),
            len,
            batch_size=batch_size,
            convert_to_numpy=convert_to_numpy,
            show_progress_bar=show_progress_bar,
        )
        return found[0] if isinstance(texts, str) else found

    def encode_text(self, texts: Sequence[str], languages: str | Sequence[str]) -> Tensor:
        """Encode text: L2-normalised vectors `[B, D]` in float32 on the CPU, in the base's own space.

        Args:
            texts: any number of texts, in any mix of languages.
            languages: one code for all, or one per text; the native code takes the base's own path.

        Raises:
            LanguageError: a language is not loaded.
            DataError: the lists differ in length, or there is no text.
        """
        return F.normalize(self.text_vectors(texts, languages), dim=-1)

    @torch.no_grad()
    def text_vectors(
        self, texts: Sequence[str], languages: str | Sequence[str], batch_size: int | None = None
    ) -> Tensor:
        """Encode text as `encode_text` does, unnormalised: vectors `[B, D]`."""
        if isinstance(texts, str):
            raise DataError(f"encode_text takes a list of texts, not one string: {texts!r}.")
        tags = _one_each(texts, languages)
        if not texts:
            raise DataError("There is no text to encode: the list is empty.")
        try:
            "".join(texts).encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError("A text is not valid Unicode: it holds half a character. Type it again.") from error
        for tag in dict.fromkeys(tags):
            self.require(tag)
        rows: list[Tensor | None] = [None] * len(texts)
        native = [i for i, tag in enumerate(tags) if tag == self.native]
        if native:
            with self.native_path():
                vectors = self.base.native_vectors([texts[i] for i in native], batch_size)
                for i, vector in zip(native, vectors, strict=True):
                    rows[i] = vector
        for i, vector in self._foreign(texts, tags, batch_size or ENCODE_BATCH):
            rows[i] = vector
        return torch.stack([row for row in rows if row is not None])

    def encode_images(
        self,
        images: ImageLike | Iterable[ImageLike],
        batch_size: int | None = None,
        *,
        convert_to_numpy: bool = True,
        show_progress_bar: bool = False,
    ) -> NDArray[np.float32] | Tensor:
        """Encode images and videos by the base's image tower alone: L2-normalised vectors.

        Examples:
            >>> model.encode_images(["photos/cat.png", "photos/dog.png"]).shape
            (2, 12)

        Args:
            images: any number of paths or PIL images, or one.
            batch_size: images at once, at most; as many as the device takes where it is `None`.
            convert_to_numpy: return a numpy array; else a tensor on the CPU.
            show_progress_bar: draw one on standard error.

        Returns:
            `[B, D]` in float32; of one image, `[D]`.

        Raises:
            BaseError: the base has no image tower, or does not say how images are prepared.
            DataError: an image cannot be read, there is none, or the batch size is less than 1.
        """
        asked = [images] if isinstance(images, str | Path | Image.Image) else list(images)
        check_batch(batch_size)
        found = F.normalize(self.base.image_vectors(shown(asked, show_progress_bar), batch_size), dim=-1)
        if isinstance(images, str | Path | Image.Image):
            found = found[0]
        return found.numpy() if convert_to_numpy else found

    @contextmanager
    def native_path(self) -> Iterator[None]:
        """Send every row through the base's own path while the context lasts."""
        if self._peft is None:
            yield
            return
        with self.tuner.route([BASE_PATH]):
            yield

    @contextmanager
    def training(self, tag: str) -> Iterator[dict[str, nn.Parameter]]:
        """Give one language's parameters, which alone take gradients and which `forward` runs while this lasts."""
        adapter = self.language(tag).adapter
        self.tuner.enable_adapter_layers()
        self.peft.set_adapter(adapter)
        try:
            yield adapter_parameters(self.peft, adapter)
        finally:
            self.tuner.disable_adapter_layers()

    def forward(self, batch: TextBatch) -> Tensor:
        """Run the text tower on ids of the language that is routed or in training: unnormalised vectors `[B, D]`."""
        device = self.base.device
        length = self.base.family.padded_length(self.base.model)
        if length is not None:
            batch = widen(batch, length, self._pad_ids(len(batch.ids)))
        ids, mask, ends = (on_device(part, device) for part in (batch.ids, batch.mask, batch.ends))
        hidden = self.base.family.hidden_states(self.base.text_tower, ids, mask)
        return self.base.family.pool(self.base.model, hidden, mask, ends)

    def _pad_ids(self, rows: int) -> list[int]:
        """Return each row's pad id: of its language's own table, or of the native one where it reads that."""
        native = self.base.family.special_ids(self.base.tokenizer)[0]
        own = {one.adapter: one.tokenizer.pad_id for one in self._languages.values() if one.tokenizer is not None}
        ids = [native] * rows
        for run in self.tuner.layers()[self.base.family.embedding].runs(rows):
            ids[run.start : run.stop] = [own.get(run.adapter, native)] * (run.stop - run.start)
        return ids

    def tokenise(self, tag: str, texts: Sequence[str]) -> list[list[int]]:
        """Return a language's ids of each text, with its end token, and its begin token where the base has one."""
        tokenizer = self.language(tag).tokenizer
        if tokenizer is not None:
            return self.as_begun(tokenizer.ids(texts))
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        with self.base.tokenizing():
            encoded: Any = self.base.tokenizer(composed, truncation=True, max_length=self.base.max_tokens)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def id_rows(self, tag: str, texts: Sequence[str]) -> IdRows:
        """Return what `tokenise` does, of as many texts as there may be."""
        tokenizer = self.language(tag).tokenizer
        size = tokenizer.size if tokenizer is not None else self.base.embedding.num_embeddings
        return IdRows.read(texts, partial(self.tokenise, tag), size)

    def as_begun(self, rows: Sequence[list[int]]) -> list[list[int]]:
        """Return a language's rows of ids without their begin token where native text has none.

        A tower that never saw one would find every word one place further on than it learned.
        """
        return list(rows) if self.base.begins else [row[1:] for row in rows]

    def _foreign(self, texts: Sequence[str], tags: Sequence[str], batch_size: int) -> Iterator[tuple[int, Tensor]]:
        """Encode the rows that are not native, in batches of like length whose rows of one language stand together."""
        ids: dict[int, list[int]] = {}
        for tag in sorted({tag for tag in tags if tag != self.native}):
            members = [i for i, other in enumerate(tags) if other == tag]
            ids.update(zip(members, self.tokenise(tag, [texts[i] for i in members]), strict=True))
        order = sorted(ids, key=lambda i: (len(ids[i]), i))
        for chunk in chunks(order, batch_size):
            rows = sorted(chunk, key=lambda i: (tags[i], i))
            with self.tuner.route([self.language(tags[i]).adapter for i in rows]):
                vectors = self.forward(pad([ids[i] for i in rows])).float().cpu()
            yield from zip(rows, vectors, strict=True)

    def require(self, tag: str) -> None:
        """Raise LanguageError unless a language can be encoded; a subclass may load it here."""
        if tag != self.native:
            self.language(tag)

    def is_loaded(self, tag: str) -> bool:
        """Say whether a language is in the model."""
        return tag in self._languages


def _one_each(texts: Sequence[str], languages: str | Sequence[str]) -> list[str]:
    """Return a language for each text."""
    tags = [languages] * len(texts) if isinstance(languages, str) else list(languages)
    if len(tags) != len(texts):
        raise DataError(f"There are {len(texts)} texts but {len(tags)} languages. Give one language, or one per text.")
    return tags
