"""The pieces of a language's own tokenizer: a SentencePiece unigram model, and the `tokenizer.json` that computes it.

SentencePiece trains the pieces; at run time only the `tokenizers` library and one JSON file are needed, here and in
whatever an adapter is exported to. Pieces for all 256 bytes make every text representable: nothing is ever unknown.
"""

import io
import json
import math
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from mla_extend.errors import DataError
from mla_extend.flat import Texts
from mla_extend.language.normaliser import learn_normaliser, normalise_all

CUTTING_RULE = 3
"""Version of how text is spelled and cut, a part of a run's identity: raise it when a text gets other pieces."""

PAD, UNK, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
PAD_ID, UNK_ID, BEGIN_ID, END_ID = 0, 1, 2, 3
BYTES = 256
SPACE = "▁"
SMALLEST, LARGEST = 600, 32_000
TRAINING_SENTENCES = 500_000
"""Sentences, evenly taken, that a tokenizer is learned from; more changes nothing but the time."""
MANY, COVERAGE = 100_000, 0.9999
"""From so many sentences on, pieces are learned from this share of all characters; any other is a piece by itself."""
RARE, LACKING = 1.0, -11.0
"""A character that sentences lack is rarer than the rarest piece by so many nats, and at most so probable, as pieces of
a few sentences know nothing rare."""
LETTERS = Path(__file__).with_name("letters.tsv")
"""What languages are usually written with: a code and its characters beyond ASCII a line."""
FOLDS = {True: "nmt_nfkc_cf", False: "nmt_nfkc"}
"""SentencePiece's own rules that come nearest to ours, with and without folding of case."""


def vocabulary_size(texts: Iterable[str]) -> int:
    """Return a vocabulary size that fits the data: it grows with the square root of the number of characters.

    About 2,600 pieces for 65 thousand characters (names and keywords of 1,200 things) and 14,000 for two million
    (29,000 sentences). Scripts with many characters get room for each one that occurs.
    """
    characters = 0
    alphabet: set[str] = set()
    for text in texts:
        composed = unicodedata.normalize("NFKC", text)
        characters += len(composed)
        alphabet.update(composed)
    size = round(10 * math.sqrt(characters))
    return min(LARGEST, max(SMALLEST, size, len(alphabet) + BYTES + 4 + SMALLEST))


def train_pieces(
    texts: Sequence[str], *, size: int | None = None, lower: bool = True, normaliser: Any = None, letters: str = ""
) -> bytes:
    """Train a SentencePiece model and return its bytes.

    The model knows every character that those sentences have or the language is usually written with, and those of
    ASCII, so that bytes stand for nothing but foreign ones. For those who read it by itself it holds SentencePiece's
    own normaliser, which knows all normal forms, but no language's rule.

    Args:
        texts: sentences of the language, of which `TRAINING_SENTENCES` are taken; the order does not change between
            runs on the same data.
        size: pieces wanted, `None` for `vocabulary_size(texts)`; fewer are made where the data has fewer.
        lower: fold case, which scripts without case are not changed by.
        normaliser: what the sentences go through before; `None` learns it from them.
        letters: what the language is usually written with; see `usual_letters`.

    Raises:
        DataError: there is nothing to learn from.
    """
    normaliser = normaliser or learn_normaliser(texts, lower=lower)
    kept = normalise_all(normaliser, Texts.of(texts).evenly(TRAINING_SENTENCES))
    if not kept:
        raise DataError("There is no text to build a tokenizer from: every target sentence is empty.")
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(kept),
            model_writer=written,
            model_type="unigram",
            vocab_size=size or vocabulary_size(kept),
            hard_vocab_limit=False,
            character_coverage=1.0 if len(kept) < MANY else COVERAGE,
            byte_fallback=True,
            normalization_rule_name="identity",
            num_threads=1,  # more threads may order equal pieces differently
            max_sentence_length=1 << 16,
            pad_id=PAD_ID,
            unk_id=UNK_ID,
            bos_id=BEGIN_ID,
            eos_id=END_ID,
            pad_piece=PAD,
            unk_piece=UNK,
            bos_piece=BEGIN,
            eos_piece=END,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise DataError(f"No tokenizer could be built from {len(kept)} sentences ({error}).") from error
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    known = {piece.piece for piece in model.pieces}
    score = min(min(piece.score for piece in model.pieces) - RARE, LACKING)
    usual = normalise_all(normaliser, string.printable + letters + letters.upper())
    for character in sorted(set().union(*kept, *usual) - known - {" "}):
        model.pieces.add(piece=character, score=score)
    rules = _rules(FOLDS[lower])
    model.normalizer_spec.name, model.normalizer_spec.precompiled_charsmap = rules.name, rules.precompiled_charsmap
    return bytes(model.SerializeToString())


@cache
def _rules(name: str) -> Any:
    """Return a normaliser of SentencePiece's own; its smallest model is where every version gives one out."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a"]),
        model_writer=written,
        model_type="char",
        vocab_size=5,
        hard_vocab_limit=False,
        normalization_rule_name=name,
        minloglevel=2,
    )
    return sentencepiece_model_pb2.ModelProto.FromString(written.getvalue()).normalizer_spec


def usual_letters(language: str | None) -> str:
    """Return the characters beyond ASCII that a language is usually written with; none where that is not known."""
    known = _letters()
    parts = (language or "").split("-")
    return known.get("-".join(parts[:2])) or known.get(parts[0]) or ""


@cache
def _letters() -> dict[str, str]:
    lines = LETTERS.read_text(encoding="utf-8").splitlines()[1:]
    return dict(line.split("\t") for line in lines)


def without_normaliser(pieces: bytes) -> bytes:
    """Return a SentencePiece model that takes text as it is, for text that went through the tokenizer's normaliser.

    Raises:
        ValueError: it is no SentencePiece model.
    """
    model = _model(pieces)
    model.normalizer_spec.precompiled_charsmap = b""
    return bytes(model.SerializeToString())


def with_pieces(pieces: bytes, more: Mapping[str, float]) -> bytes:
    """Return a SentencePiece model with further pieces, given with their scores."""
    model = _model(pieces)
    for piece, score in more.items():
        model.pieces.add(piece=piece, score=score)
    return bytes(model.SerializeToString())


def tokenizer_json(pieces: bytes, normaliser: Any) -> str:
    """Return the `tokenizer.json` that cuts as a SentencePiece model does, with `<s>` and `</s>` around."""
    return str(_tokenizer(read_pieces(pieces), normaliser).to_str(pretty=False))


def read_pieces(pieces: bytes) -> list[tuple[str, float]]:
    """Return the pieces of a SentencePiece model with their scores.

    Raises:
        ValueError: it is no SentencePiece model.
    """
    model = _model(pieces)
    return [(piece.piece, piece.score) for piece in model.pieces]


def frame() -> dict[str, Any]:
    """Return a `tokenizer.json` of no pieces but the special ones, as values: what every one of ours holds beside."""
    return dict(json.loads(_tokenizer([(piece, 0.0) for piece in (PAD, UNK, BEGIN, END)], None).to_str()))


def _model(pieces: bytes) -> Any:
    try:
        return sentencepiece_model_pb2.ModelProto.FromString(pieces)
    except DecodeError as error:
        raise ValueError(str(error)) from error


def _tokenizer(pieces: list[tuple[str, float]], normaliser: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(pieces, UNK_ID, True))
    tokenizer.normalizer = normaliser
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement=SPACE, prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", pair=None, special_tokens=[(BEGIN, BEGIN_ID), (END, END_ID)]
    )
    return tokenizer
