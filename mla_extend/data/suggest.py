"""Which native sentences are most worth translating next: those that cover most of the words still needed.

A greedy cover: time and again the sentence whose new words are needed most often. What a sentence adds only falls as
others are chosen, so that an earlier count is a bound and only the sentence at the head of a queue is counted again
(lazy greedy, Minoux 1978).
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import regex

from mla_extend.data.formats.format import check_file, text_lines
from mla_extend.data.leaks import LeakIndex, folded
from mla_extend.data.test_sets import TestSet
from mla_extend.errors import DataError
from mla_extend.files import atomic_path, user_path

WORD = regex.compile(r"(?V1)\p{Han}|(?=\d*[\w--\d])[\w--\p{Han}]+")
"""A word; a number by itself is none, and each Chinese character is one."""


def words(text: str) -> list[str]:
    """Return a text's words, without case."""
    found: list[str] = WORD.findall(folded(text))
    return found


def suggest(known: Iterable[str], needed: Iterable[str], pool: Iterable[str], count: int) -> dict[str, Any]:
    """Choose native sentences to translate.

    Args:
        known: native texts that are translated already, whose words are known.
        needed: native texts whose words are wanted; a word weighs as much as it occurs in them.
        pool: sentences to choose among.
        count: how many at most.

    Returns:
        `{"words", "known", "covered", "lacking", "beyond", "sentences": [{"text", "new", "covered"}]}`: the needed
        words, the shares of them that are known before and after, the number of different ones that are not known
        before, how many of those no sentence holds, and the sentences, best first, each with its new words. Of
        sentences that add as much, the one of fewer words comes first, then the earlier. None that adds nothing is
        chosen.
    """
    counts = Counter(word for text in needed for word in words(text))
    every = counts.total()
    for text in known:
        for word in words(text):
            counts.pop(word, None)
    before, lacking = counts.total(), frozenset(counts)
    # Of sentences that hold the same words that are lacking, the best one to choose.
    best: dict[frozenset[str], tuple[int, int, str]] = {}
    for number, text in enumerate(pool):
        found = words(text)
        if new := lacking.intersection(found):
            one = (len(found), number, text)
            best[new] = min(one, best.get(new, one))
    queue = [(-sum(counts[word] for word in new), *one, new) for new, one in best.items()]
    heapq.heapify(queue)
    chosen: list[dict[str, Any]] = []
    while queue and len(chosen) < count:
        bound, length, number, text, new = heapq.heappop(queue)
        adds = sum(counts[word] for word in new)
        if adds == -bound:
            taken = [word for word in words(text) if counts.pop(word, 0)]
            chosen.append({"text": text, "new": taken, "covered": _share(every - counts.total(), every)})
        elif adds:
            heapq.heappush(queue, (-adds, length, number, text, new))
    return {
        "words": every,
        "known": _share(every - before, every),
        "covered": _share(every - counts.total(), every),
        "lacking": len(lacking),
        "beyond": len(lacking.difference(*best)),
        "sentences": chosen,
    }


def suggest_from_files(
    count: int,
    known: Iterable[str],
    *,
    needed: Path | None = None,
    pool: Path | None = None,
    tests: TestSet | None = None,
    leaks: LeakIndex | None = None,
) -> dict[str, Any]:
    """Choose native sentences to translate, as `suggest` does.

    Args:
        count: how many at most.
        known: native texts that are translated already.
        needed: file of native text, one a line, whose words are needed; `None` takes the test set's native captions.
        pool: file of native sentences, one a line, to choose among; `None` takes those of `needed`.
        tests: the test set.
        leaks: what tells whether a sentence stands in it; such a sentence is not chosen.

    Raises:
        DataError: it is not said which words are needed, or which sentences there are to choose among.
    """
    if needed is not None:
        wanted = _sentences(needed)
    else:
        wanted = [text for split in (tests.splits.values() if tests else ()) for text in split.native or ()]
    if not any(map(words, wanted)):
        fault = f"{needed or 'The test set'} holds no native text"
        raise DataError(
            f"{fault if needed or tests else 'Nothing says which words are needed'}. Give native text, one sentence "
            "a line, with --for FILE, or a test set with native captions."
        )
    if pool is None and needed is None:
        raise DataError(
            "The test set's captions say which words are needed, but must not be trained on. Give native sentences "
            "to choose from, one per line, with --pool FILE."
        )
    sentences = wanted if pool is None else _sentences(pool)
    if leaks is not None:
        leaked = leaks.texts([""] * len(sentences), sentences)
        sentences = [text for text, one in zip(sentences, leaked.tolist(), strict=True) if not one]
    return suggest(known, wanted, sentences, count)


def write_table(path: Path, sentences: Sequence[str], native: str, language: str) -> None:
    """Write sentences as a TSV file whose second column a translator fills in.

    Raises:
        DataError: there is a file already, which may hold translations.
    """
    if path.exists():
        raise DataError(f"{path} already exists and may contain translations. Give another name to --out.")
    rows = [(native, language), *((sentence, "") for sentence in sentences)]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{one}\t{other}\n" for one, other in rows), encoding="utf-8")


def _sentences(path: Path) -> list[str]:
    path = user_path(path)
    check_file(path, "native text, one sentence per line")
    return [" ".join(text.split()) for _, text in text_lines(path)]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 1.0
