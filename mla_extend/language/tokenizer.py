"""A language's own tokenizer, as it runs: text to ids, masks and end positions."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from mla_extend.errors import language_errors
from mla_extend.language.native_words import NativeWords, add_native, lexicon_pieces, native_pieces
from mla_extend.language.normaliser import learn_normaliser, read_normaliser
from mla_extend.language.pieces import (
    BEGIN_ID,
    END_ID,
    PAD,
    PAD_ID,
    read_pieces,
    tokenizer_json,
    train_pieces,
    usual_letters,
    with_pieces,
)
from mla_extend.language.sampling import RandomCuts

TOKENIZER, PIECES = "tokenizer.json", "sentencepiece.model"
PADDING = (PAD, "[PAD]")
"""How the padding token is spelled: here and in models of XLM-R's kind, and in models of BERT's."""
READY = 16
"""Tokenizers ready to run at a time: one takes 3 MB, its packed file a tenth of that, unpacking some 10 ms."""


@dataclass(frozen=True)
class TextBatch:
    """Hold a tokenised batch: ids and mask `[B, T]`, and each row's end position `[B]`."""

    ids: Tensor
    mask: Tensor
    ends: Tensor


class LanguageTokenizer:
    """Turn text of one language into ids of its own vocabulary.

    Args:
        content: a `tokenizer.json`.
        max_tokens: positions of the text tower; longer text is cut, its end token kept.
        pieces: the SentencePiece model that it came from, where it is at hand.
        folder: where both lie, if they do. The pieces are read again when they are asked for.

    A process may hold a hundred languages: what they have in memory is packed, but for those that were used last.
    """

    def __init__(
        self, content: str, max_tokens: int, pieces: bytes | None = None, *, folder: Path | None = None
    ) -> None:
        self._packed = zlib.compress(content.encode(), level=1)  # loading a language should not wait for it
        self._folder = folder
        self._pieces = pieces
        self.max_tokens = max_tokens
        self.size = int(self._tokenizer.get_vocab_size())
        """The number of pieces."""
        padding = (self._tokenizer.token_to_id(name) for name in PADDING)
        self.pad_id = next((int(found) for found in padding if found is not None), PAD_ID)
        """The id that rows are padded with; any will do where the tokenizer has none, since it is masked."""

    @property
    def content(self) -> str:
        """Return the `tokenizer.json`."""
        return zlib.decompress(self._packed).decode()

    @property
    def _tokenizer(self) -> Tokenizer:
        with language_errors():
            return _ready(self._packed, self.max_tokens)

    @property
    def pieces(self) -> bytes | None:
        """Return the SentencePiece model that it came from, where it is at hand."""
        if self._folder is None or not (self._folder / PIECES).is_file():
            return self._pieces
        return (self._folder / PIECES).read_bytes()

    @classmethod
    def train(
        cls,
        texts: Sequence[str],
        max_tokens: int,
        *,
        size: int | None = None,
        lower: bool = True,
        language: str | None = None,
    ) -> "LanguageTokenizer":
        """Build a tokenizer from sentences; see `learn_normaliser` and `train_pieces`."""
        normaliser = learn_normaliser(texts, lower=lower, language=language)
        letters = usual_letters(language)
        pieces = train_pieces(texts, size=size, lower=lower, normaliser=normaliser, letters=letters)
        return cls(tokenizer_json(pieces, normaliser), max_tokens, pieces)

    def with_native(
        self, native: Any, texts: Sequence[str], lexicon: Sequence[tuple[str, Sequence[int]]] = ()
    ) -> tuple["LanguageTokenizer", NativeWords]:
        """Return it with the pieces that native words turn out to need, and what they make of it; see `add_native`.

        Args:
            native: the base's tokenizer, whose words are added; `None` for those of the word list alone.
            texts: the language's own, which read as before.
            lexicon: words of the language with the native ids of their translations; see `lexicon_pieces`.
        """
        normaliser = self._tokenizer.normalizer
        pieces = native_pieces(native, normaliser) if native is not None else {}
        listed = lexicon_pieces(lexicon, normaliser)
        own, added = self, add_native(self.content, pieces, texts, listed)
        if added.lost:
            assert self._pieces is not None
            more = with_pieces(self._pieces, added.lost)
            own = LanguageTokenizer(tokenizer_json(more, normaliser), self.max_tokens, more)
            added = add_native(own.content, pieces, texts, listed)
        return own, added

    def piece(self, token: int) -> str:
        """Return the spelling of an id."""
        return str(self._tokenizer.id_to_token(token))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise with begin and end, cut to the tower's positions."""
        tokenizer = self._tokenizer
        with language_errors():
            return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]

    def sampled_ids(self, texts: Sequence[str], alpha: float, seed: int) -> list[list[int]]:
        """Tokenise as `ids` does, each text cut in a way that is drawn at random (see `RandomCuts`).

        Where a text does not fit the tower's positions as drawn, it is cut as `ids` does it.

        Args:
            texts: to cut.
            alpha: how much the likelier ways are favoured; 0 makes all alike.
            seed: decides the draws.

        Raises:
            ValueError: there is no SentencePiece model, as for a tokenizer that came from elsewhere.
        """
        drawn = [[BEGIN_ID, *row, END_ID] for row in self._cuts(texts, alpha, seed)]
        return [
            row if len(row) <= self.max_tokens else self.ids([text])[0] for row, text in zip(drawn, texts, strict=True)
        ]

    @cached_property
    def _cuts(self) -> RandomCuts:
        if self.pieces is None:
            raise ValueError("Only a SentencePiece model knows the ways in which a text can be cut.")
        return RandomCuts(self.content, len(read_pieces(self.pieces)))

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise without special tokens and without cutting, for alignment and counts."""
        with language_errors():
            plain = _ready(self._packed, None)
            return [encoding.ids for encoding in plain.encode_batch_fast(list(texts), add_special_tokens=False)]

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and, where known, `sentencepiece.model`."""
        (folder / TOKENIZER).write_text(self.content, encoding="utf-8")
        if (pieces := self.pieces) is not None:
            (folder / PIECES).write_bytes(pieces)

    @classmethod
    def load(cls, folder: Path, max_tokens: int) -> "LanguageTokenizer":
        """Read what `save` wrote."""
        return cls((folder / TOKENIZER).read_text(encoding="utf-8"), max_tokens, folder=folder)


@lru_cache(maxsize=READY)
def _ready(packed: bytes, max_tokens: int | None) -> Tokenizer:
    """Return a tokenizer that pads nothing, cuts where it is told to, and takes text that spells a special as text."""
    parts = json.loads(zlib.decompress(packed))
    normaliser = json.dumps(parts.get("normalizer"))
    tokenizer = Tokenizer.from_str(json.dumps({**parts, "normalizer": None}))
    tokenizer.normalizer = read_normaliser(normaliser)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    if max_tokens is not None:
        tokenizer.enable_truncation(max_tokens)
    return tokenizer


def pad(rows: Sequence[Sequence[int]], pad_id: int = PAD_ID) -> TextBatch:
    """Pad rows of ids on the right."""
    lengths = torch.tensor([len(row) for row in rows])
    width = int(lengths.max())
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
    mask = (torch.arange(width).unsqueeze(0) < lengths.unsqueeze(1)).to(torch.long)
    return TextBatch(ids, mask, lengths - 1)


def widen(batch: TextBatch, length: int, pad_ids: Sequence[int]) -> TextBatch:
    """Pad a batch on to a fixed length, each row with a pad id of its own, also where it was padded before."""
    rows, width = batch.ids.shape
    fill = torch.tensor(pad_ids, dtype=torch.long).unsqueeze(1)
    ids = fill.repeat(1, length)
    ids[:, :width] = torch.where(batch.mask.bool(), batch.ids, fill)
    mask = torch.zeros(rows, length, dtype=torch.long)
    mask[:, :width] = batch.mask
    return TextBatch(ids, mask, batch.ends)
