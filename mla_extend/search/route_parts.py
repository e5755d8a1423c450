"""What tells one language from others in a query: its own pieces, its scripts, and the base's vocabulary for English.

Shapes: `N` texts.
"""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mla_extend.data.speech import Speech, identifier, macrolanguage, of_scripts
from mla_extend.errors import AGAIN, RegistryError, language_errors
from mla_extend.files import sha256_file
from mla_extend.language.normaliser import read_normaliser
from mla_extend.language.pieces import LACKING, RARE, without_normaliser
from mla_extend.registry.card import read_card

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

PIECES, TOKENIZER = "sentencepiece.model", "tokenizer.json"
EARLY = 1000
"""Places at the head of a vocabulary that count as equally frequent: there, letters and unused entries stand too."""
VOCABULARY = range(5_000, 100_000)
"""Sizes of a base's vocabulary that tells of its language: a smaller one lacks words, a larger is of many languages."""

NativeIds = Callable[[Sequence[str]], list[list[int]]]


class Pieces:
    """Score text by a language's own SentencePiece unigram model: log probability of the likeliest cut into pieces.

    Args:
        model: the SentencePiece model.
        normalise: spells text as the language's tokenizer does; `None` leaves it to SentencePiece's own rule.
    """

    def __init__(self, model: bytes, normalise: Callable[[str], str] | None = None) -> None:
        self._normalise = normalise or str
        if normalise is not None:
            model = without_normaliser(model)
        self._processor = processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        scores = np.array([processor.get_score(token) for token in range(processor.get_piece_size())])
        # SentencePiece puts special pieces and bytes before all others, with a score of 0.
        first = next(token for token, score in enumerate(scores) if score < 0)
        rarest = min(float(scores[first:].min()) - RARE, LACKING)
        for token in range(first):
            # A character that is spelled in bytes is charged once, for its first byte.
            rest = processor.is_byte(token) and 0x80 <= int(processor.id_to_piece(token)[1:-1], 16) < 0xC0
            scores[token] = 0.0 if rest else rarest
        self._scores = scores

    def scores(self, texts: Sequence[str]) -> Floats:
        """Return the log probability of each text `[N]`, in nats."""
        # One by one: a list starts threads, which takes longer than the work.
        return np.array(
            [self._scores[self._processor.encode(self._normalise(text))].sum() for text in texts], dtype=np.float64
        )


@dataclass(frozen=True, eq=False)
class Part:
    """Hold what is known of one version of a language.

    Attributes:
        language: its tag.
        pieces: its own unigram model; `None` where it has none, or reads another one's vocabulary.
        scripts: Unicode's names of the scripts that it is written in; none where they are not known.
        labels: which of py3langid's labels it goes under; none where that tells nothing of it.
    """

    language: str
    pieces: Pieces | None
    scripts: tuple[str, ...]
    labels: Mask

    @property
    def known(self) -> bool:
        """Say whether py3langid tells anything of the language."""
        return bool(self.labels.any())


class NativeVocabulary:
    """Score English by the base's own vocabulary, whose entries stand about in order of their frequency.

    An entry's probability is taken to fall with its place, as words' do (Zipf's law). English is cut into few entries,
    other languages into many.

    Args:
        ids: gives the ids of texts, without special tokens.
        size: of the vocabulary.
        unknown: the id of what it cannot spell, if there is one.
    """

    def __init__(self, ids: NativeIds, size: int, unknown: int | None = None) -> None:
        self._ids = ids
        places = np.arange(size, dtype=np.float64) + EARLY
        if unknown is not None:
            places[unknown] = size + EARLY
        self._scores = -np.log(places) - np.log((1 / places).sum())

    @classmethod
    def from_json(cls, content: str, unknown: int | None = None) -> "NativeVocabulary":
        """Return that of a `tokenizer.json`, read once more: nobody else's settings and threads touch it."""
        tokenizer = Tokenizer.from_str(content)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(
            lambda texts: [tokenizer.encode(text, add_special_tokens=False).ids for text in texts],
            tokenizer.get_vocab_size(),
            unknown,
        )

    def scores(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return for each text its log probability `[N]`, in nats, and its number of entries `[N]`."""
        rows = self._ids(texts)
        sums = [self._scores[row].sum() for row in rows]
        return np.array(sums, dtype=np.float64), np.array([len(row) for row in rows], dtype=np.float64)


def read_part(language: str, folder: Path) -> Part:
    """Read what is known of a version of a language; a version never changes, so that each is read once.

    Raises:
        RegistryError: the card is damaged, or the pieces are not as it says.
    """
    return _read(language, folder.resolve())


def part_of(language: str, pieces: Pieces | None = None) -> Part:
    """Return what is known of a language with these pieces.

    A language that py3langid does not know, in a script that it knows one language of, goes under that one: it tells
    Ethiopic from other scripts, but not Tigrinya from Amharic.
    """
    speech = Speech(language, language)
    labels = np.isin(_labels(), list(speech.own))
    if speech.scripts and not labels.any():
        alike = np.array([scripts == speech.scripts for scripts in _scripts_of_labels()])
        labels = alike if np.count_nonzero(alike) == 1 else labels
    return Part(language, pieces, speech.scripts, labels)


@functools.lru_cache(maxsize=1024)
def _read(language: str, folder: Path) -> Part:
    path, files = folder / PIECES, read_card(folder).files
    if PIECES not in files:
        return part_of(language)
    with language_errors(path):
        if sha256_file(path) != files[PIECES]:
            raise RegistryError(f"{path} is not as the card says: its SHA-256 differs. {AGAIN}")
        normalise = None
        if TOKENIZER in files:
            parts = json.loads((folder / TOKENIZER).read_bytes())
            normalise = read_normaliser(json.dumps(parts["normalizer"])).normalize_str
        return part_of(language, Pieces(path.read_bytes(), normalise))


@functools.cache
def _labels() -> list[str]:
    return [macrolanguage(label) for label in identifier().labels]


@functools.cache
def _scripts_of_labels() -> list[tuple[str, ...]]:
    return [Speech(label, label).scripts for label in _labels()]


@functools.cache
def foreign_letters(scripts: tuple[str, ...]) -> Callable[[str], int]:
    """Return what counts a text's letters of other scripts than these, Latin left out; of none, it finds none."""
    return _counter(
        rf"[\p{{L}}--[\p{{Script=Zyyy}}\p{{Script=Zinh}}\p{{Script=Latn}}]--{of_scripts(scripts)}]", scripts
    )


@functools.cache
def latin_letters(scripts: tuple[str, ...]) -> Callable[[str], int]:
    """Return what counts a text's Latin letters if none of these scripts is Latin."""
    return _counter(rf"[\p{{L}}&&\p{{Script=Latn}}--{of_scripts(scripts)}]", scripts)


def _counter(pattern: str, scripts: tuple[str, ...]) -> Callable[[str], int]:
    import regex  # noqa: PLC0415 - slow to import

    if not scripts:
        return lambda _: 0
    find = regex.compile(f"(?V1){pattern}").findall
    return lambda text: len(find(text))
