"""The base's own words in a language's tokenizer: names and native words inside its text keep what the base knows.

They join the language's unigram model as pieces that own no parameters: each stands for a row of the frozen native
table. They cost more than the language's own pieces, so that a word is read as native where the own pieces would cut
it into scraps, and never where the language's own text holds it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer, models

from mla_extend.language.pieces import SPACE, UNK_ID

MOST = 60_000
"""Native words at most, the first of the native vocabulary, which are its most frequent ones."""
SHORTEST = 2
"""Characters of a native word at least: single letters belong to every language."""
PER_CHARACTER = 1.5
"""What a native piece costs in nats for each of its characters, the space before it included."""
PER_PART = 6.0
"""What a piece that goes on within a word costs beside, so that words are cut into few of them."""
BYTE = -20.0
"""The score of one byte of a character that no piece spells."""
LEXICON = 3.0
"""By how many nats a word of a word list wins against its cut by own pieces."""
MARGIN = 0.01
"""By how many nats a cut that is to win does so."""


@dataclass(frozen=True)
class NativeWords:
    """Hold a `tokenizer.json` with native words after a language's own pieces.

    Attributes:
        content: the `tokenizer.json`.
        rows: `[R]`, the native row of each added piece.
        spelled: own pieces that spell a native word which the language's text lacks, with its native row.
        lost: native words that are read by own pieces after all, since words of the language begin as they do, with the
            score that an own piece of that spelling needs.
    """

    content: str
    rows: list[int] = field(default_factory=list)
    spelled: dict[int, int] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)


def native_pieces(tokenizer: Any, normaliser: Any) -> dict[str, int]:
    """Return the words and word parts of a base's vocabulary as pieces of a language, with their native ids.

    A whole word is an entry that the native tokenizer gives for its text, whatever its kind. Entries that go on within
    a word are those marked by `##`, or unmarked where words begin with `Ġ` or `▁`; where words end with `</w>`, the
    word itself stands for them.

    Args:
        tokenizer: the base's.
        normaliser: of the language, which spells them.
    """
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    marks = {mark: sum(token.startswith(mark) for token, _ in tokens) for mark in ("##", "Ġ", SPACE)}
    mark = max(marks, key=lambda one: marks[one])
    marked = marks[mark] > len(tokens) / 20  # CLIP's byte pairs hold a few that only look like marks
    texts = [tokenizer.convert_tokens_to_string([token]).strip().removeprefix("##") for token, _ in tokens]
    read = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    whole: dict[str, int] = {}
    inside: dict[str, int] = {}
    exact: set[str] = set()
    for (token, row), text, ids in zip(tokens, texts, read, strict=True):
        spelled = normaliser.normalize_str(text)
        if len(spelled) < SHORTEST or not spelled.isalnum():
            continue
        if marked and token.startswith(mark) == (mark == "##"):
            inside.setdefault(spelled, row)
        elif list(ids) == [row] and (spelled not in whole or (spelled == text and spelled not in exact)):
            whole[spelled] = row
            exact.update({spelled} & {text})
    kept = dict(list(whole.items())[:MOST])
    parts = inside if marked else kept
    return {SPACE + word: row for word, row in kept.items()} | dict(list(parts.items())[:MOST])


def lexicon_pieces(words: Iterable[tuple[str, Sequence[int]]], normaliser: Any) -> dict[str, int]:
    """Return the words of a word list that translate one native token, as pieces with that token's row.

    Of several translations the one that stands first in the native vocabulary counts, which is the most frequent.

    Args:
        words: of the language, with the native ids of their translations.
        normaliser: of the language, which spells them.
    """
    rows: dict[str, int] = {}
    for target, ids in words:
        spelled = normaliser.normalize_str(target).strip()
        if len(ids) == 1 and len(spelled) >= SHORTEST and " " not in spelled:
            rows[SPACE + spelled] = min(ids[0], rows.get(SPACE + spelled, ids[0]))
    return rows


def add_native(
    content: str, pieces: Mapping[str, int], texts: Sequence[str], lexicon: Mapping[str, int] | None = None
) -> NativeWords:
    """Add native pieces to a language's unigram model.

    Each costs `PER_CHARACTER` nats a character, or more where a word of the language's own text would else be cut with
    it: as much as it takes for the own cut to win. One that then no longer wins its own spelling is left out. Words of
    a word list are the language's: they win where own pieces would cut them, also as the beginning of other words.

    Args:
        content: its `tokenizer.json`.
        pieces: of the base, with their rows; see `native_pieces`.
        texts: the language's own.
        lexicon: pieces of a word list, alike; see `lexicon_pieces`.
    """
    parts = json.loads(content)
    own = dict(parts["model"]["vocab"])
    places = {piece: place for place, piece in enumerate(own)}
    listed = {piece: row for piece, row in (lexicon or {}).items() if piece not in own}
    cuts = _cut(own, list(listed))
    own |= {piece: score + LEXICON for piece, (score, _) in zip(listed, cuts, strict=True)}
    words = _words(Tokenizer.from_str(content), texts)
    held = set(words)
    whole = {piece: row for piece, row in pieces.items() if piece[0] == SPACE and piece not in held}
    new = [piece for piece in pieces if piece not in own and piece not in held]
    least = {piece: score + MARGIN for piece, (score, _) in zip(new, _cut(own, new), strict=True)}
    scores = {piece: score for piece in new if (score := _score(piece)) >= least[piece]}
    without = dict(zip(words, (score for score, _ in _cut(own, words)), strict=True))
    lost: dict[str, float] = {}
    while True:
        mixed = []
        for word, (score, cut) in zip(words, _cut(own | scores, words), strict=True):
            if used := [piece for piece in cut if piece in scores]:
                mixed.append(word)
                for piece in used:
                    scores[piece] -= max(score - without[word], 0.0) / len(used) + MARGIN
        if not mixed:
            break
        for piece in [piece for piece, score in scores.items() if score < least[piece]]:
            del scores[piece]
            if piece in whole:
                lost[piece] = least[piece]
        words = mixed  # no word that did without a piece takes it up when it costs more
    parts["model"]["vocab"] = [*own.items(), *scores.items()]
    return NativeWords(
        json.dumps(parts, ensure_ascii=False),
        [*listed.values(), *(pieces[piece] for piece in scores)],
        {places[piece]: row for piece, row in whole.items() if piece in places},
        lost,
    )


def _score(piece: str) -> float:
    """Return what a native piece scores unless the language's own text needs it lower."""
    part = 0.0 if piece[0] == SPACE else PER_PART
    return -part - PER_CHARACTER * len(piece)


def _words(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """Return the different words of texts, as a tokenizer spells and parts them before they are cut."""
    normaliser, parter = tokenizer.normalizer, tokenizer.pre_tokenizer
    spelled = {word for text in texts for word in normaliser.normalize_str(text).split(" ")}
    return sorted({part for word in spelled for part, _ in parter.pre_tokenize_str(word)})


def _cut(scores: Mapping[str, float], words: Sequence[str]) -> list[tuple[float, list[str]]]:
    """Return each word's score and pieces in a unigram model."""
    model = models.Unigram(list(scores.items()), UNK_ID, True)
    cuts = [[token.value for token in model.tokenize(word)] for word in words]
    return [(sum(scores[piece] or BYTE for piece in cut), cut) for cut in cuts]
