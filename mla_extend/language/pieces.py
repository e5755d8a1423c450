"""The pieces of a language's own tokenizer: a SentencePiece unigram model, and the `tokenizer.json` that computes it.

SentencePiece trains the pieces; at run time only the `tokenizers` library and one JSON file are needed, here and in
whatever an adapter is exported to. Pieces for all 256 bytes make every text representable: nothing is ever unknown.
"""

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from mla_extend.errors import DataError

PAD, UNK, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"
PAD_ID, UNK_ID, BEGIN_ID, END_ID = 0, 1, 2, 3
BYTES = 256
SPACE = "▁"
MARKUP = r"<(?=(?:pad|unk|/?s|0[xX][0-9A-Fa-f]{2})>)"
"""The start of text that spells a special or a byte piece. It is parted from the rest, so that nobody can write one."""
CUTTING_RULE = 1
"""Counts the ways in which a language's text has been cut into pieces; part of what makes a run the same run."""
SMALLEST, LARGEST = 600, 32_000
TRAINING_SENTENCES = 2_000_000
"""Sentences that the pieces are learned from; more changes nothing but the time."""


def vocabulary_size(texts: Iterable[str]) -> int:
    """Return a vocabulary size that fits the data: it grows with the square root of the number of characters.

    About 2,600 pieces for 65 thousand characters (names and keywords of 1,200 things) and 14,000 for two million
    (29,000 sentences). Scripts with many characters get room for each one that occurs.
    """
    characters = 0
    alphabet: set[str] = set()
    for text in texts:
        characters += len(text)
        alphabet.update(text)
    size = round(10 * math.sqrt(characters))
    return min(LARGEST, max(SMALLEST, size, len(alphabet) + BYTES + 4 + SMALLEST))


def train_pieces(texts: Sequence[str], *, size: int | None = None, lower: bool = True) -> bytes:
    """Train a SentencePiece model and return its bytes.

    Args:
        texts: sentences of the language; the order does not change between runs on the same data.
        size: pieces wanted, `None` for `vocabulary_size(texts)`; fewer are made where the data has fewer.
        lower: fold case (`nmt_nfkc_cf`), which scripts without case are not changed by.

    Raises:
        DataError: there is nothing to learn from.
    """
    kept = [text for text in texts if text.strip()]
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
            character_coverage=1.0 if len(kept) < 100_000 else 0.9999,
            byte_fallback=True,
            normalization_rule_name="nmt_nfkc_cf" if lower else "nmt_nfkc",
            input_sentence_size=TRAINING_SENTENCES,
            shuffle_input_sentence=len(kept) > TRAINING_SENTENCES,
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
    return written.getvalue()


def tokenizer_json(pieces: bytes) -> str:
    """Return the `tokenizer.json` that computes what a SentencePiece model does, with `<s>` and `</s>` around."""
    model = sentencepiece_model_pb2.ModelProto.FromString(pieces)
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in model.pieces], UNK_ID, True))
    steps: list[Any] = []
    if model.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap))
    steps += [normalizers.Replace(Regex(MARKUP), "< "), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement=SPACE, prepend_scheme="always")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", pair=None, special_tokens=[(BEGIN, BEGIN_ID), (END, END_ID)]
    )
    return str(tokenizer.to_str(pretty=False))
