"""A language's own tokenizer, as it runs: text to ids, masks and end positions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from mla_extend.language.pieces import PAD, PAD_ID, tokenizer_json, train_pieces

TOKENIZER, PIECES = "tokenizer.json", "sentencepiece.model"
PADDING = (PAD, "[PAD]")
"""How the padding token is spelled: here and in models of XLM-R's kind, and in models of BERT's."""


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
        folder: where both lie, if they do. They are read again when they are asked for: a process may hold a hundred
            languages, and what runs is all that it needs of most.
    """

    def __init__(
        self, content: str, max_tokens: int, pieces: bytes | None = None, *, folder: Path | None = None
    ) -> None:
        self._folder = folder
        self._content = content if folder is None else None
        self._pieces = pieces
        self.max_tokens = max_tokens
        self._tokenizer = _runnable(content)
        self._tokenizer.enable_truncation(max_tokens)

    @property
    def content(self) -> str:
        """Return the `tokenizer.json`."""
        if self._content is not None:
            return self._content
        assert self._folder is not None
        return (self._folder / TOKENIZER).read_text(encoding="utf-8")

    @property
    def pieces(self) -> bytes | None:
        """Return the SentencePiece model that it came from, where it is at hand."""
        if self._folder is None or not (self._folder / PIECES).is_file():
            return self._pieces
        return (self._folder / PIECES).read_bytes()

    @cached_property
    def _plain(self) -> Tokenizer:
        """Return one that cuts nothing: for building a language alone, and as large in memory as the other."""
        return _runnable(self.content)

    @classmethod
    def train(
        cls, texts: Sequence[str], max_tokens: int, *, size: int | None = None, lower: bool = True
    ) -> "LanguageTokenizer":
        """Build a tokenizer from sentences; see `train_pieces`."""
        pieces = train_pieces(texts, size=size, lower=lower)
        return cls(tokenizer_json(pieces), max_tokens, pieces)

    @property
    def size(self) -> int:
        """Return the number of pieces."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def pad_id(self) -> int:
        """Return the id that rows are padded with; any will do where the tokenizer has none, since it is masked."""
        ids = (self._tokenizer.token_to_id(name) for name in PADDING)
        return next((int(found) for found in ids if found is not None), PAD_ID)

    def piece(self, token: int) -> str:
        """Return the spelling of an id."""
        return str(self._tokenizer.id_to_token(token))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise with begin and end, cut to the tower's positions."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise without special tokens and without cutting, for alignment and counts."""
        return [encoding.ids for encoding in self._plain.encode_batch(list(texts), add_special_tokens=False)]

    def batch(self, texts: Sequence[str]) -> TextBatch:
        """Tokenise and pad a batch."""
        return pad(self.ids(texts))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and, where known, `sentencepiece.model`."""
        (folder / TOKENIZER).write_text(self.content, encoding="utf-8")
        if (pieces := self.pieces) is not None:
            (folder / PIECES).write_bytes(pieces)

    @classmethod
    def load(cls, folder: Path, max_tokens: int) -> "LanguageTokenizer":
        """Read what `save` wrote."""
        return cls((folder / TOKENIZER).read_text(encoding="utf-8"), max_tokens, folder=folder)


def _runnable(content: str) -> Tokenizer:
    """Return a tokenizer that cuts and pads nothing unasked, and takes text that spells a special token as text."""
    parts = json.loads(content)
    normaliser = json.dumps(parts.get("normalizer"))
    tokenizer = Tokenizer.from_str(json.dumps({**parts, "normalizer": None}))
    tokenizer.normalizer = _normaliser(normaliser)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


@lru_cache(maxsize=16)
def _normaliser(content: str) -> Any:
    """Return what normalises text, as `tokenizer.json` describes it: constant tables, held once for all languages."""
    model = {"type": "BPE", "vocab": {}, "merges": []}
    return Tokenizer.from_str(json.dumps({"normalizer": json.loads(content), "model": model})).normalizer


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
