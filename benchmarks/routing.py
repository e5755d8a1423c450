"""Measure how often a query is routed to its language, and fit the router's weights.

    python benchmarks/routing.py [--write] [--fit]

Names are those of the demo: what CLDR calls its concepts. Each language's pieces are trained on the lines that the demo
teaches, as `add-language` does. `taught` names are among those lines; `held out` names are of 300 concepts that the
pieces never saw, the same in every language, though their words may stand in other lines.

A name has one word if it has no space, and in Chinese and Japanese at most two characters. A route is right if it
names the text's language, or one that calls the same concept by the same text, but for case, spacing and Unicode's
normal form. Captions are right in their own language alone.

`--fit` fits `Weights` on languages that no figure is of, and prints them; the figures are always of those in the code.
"""

import argparse
import gzip
import random
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import regex
from common import ROOT, machine, markdown, put, save
from scipy.optimize import minimize

from mla_extend.demo.base import demo_base
from mla_extend.demo.cldr import annotations
from mla_extend.demo.data import held_out, parallel_pairs
from mla_extend.demo.icons import concepts
from mla_extend.demo.locales import demo_languages, names_of
from mla_extend.language.pieces import train_pieces
from mla_extend.search.route import (
    WEIGHTS,
    Evidence,
    NativeVocabulary,
    Route,
    Router,
    Weights,
    posterior,
)
from mla_extend.search.route_parts import Part, Pieces, part_of

TWELVE = ("am", "ar", "cy", "de", "fi", "hi", "ja", "ko", "ru", "sw", "zh", "zu")
NATIVE = "en"
SEED = 0
FITTED_ON = 60
"""Languages that the weights are fitted on."""
UNKNOWN = 100
"""The demo base's id of what it cannot spell."""
START = Weights(
    own=0.5,
    identifier=0.5,
    foreign=1,
    latin=0.3,
    vocabulary=1.5,
    entry=5,
    start=-3,
    native=1,
    character=-3,
    text=-8,
    unknown=-3,
    unknown_outside=1,
    none=-3,
)
"""Where fitting starts."""
FIFTY = 50
FOREIGN = 0.1
"""Share of queries, where they are added, in languages that the registry does not hold."""
MULTI30K = ROOT.parent / "shared" / "data" / "multi30k"
CAPTIONED = ("en", "de", "cs", "fr")
PARTS = ("test_2016_flickr", "test_2018_flickr")
PAGE = ROOT / "docs" / "routing.md"
EDGES = (0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
WITHOUT_SPACES = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


@dataclass(frozen=True)
class Query:
    """Hold a text, its language, and the languages that it is right in."""

    text: str
    language: str
    right: frozenset[str]


class Corpus:
    """The demo's names and keywords, and the parts of languages whose pieces are trained on what is taught."""

    def __init__(self) -> None:
        listed = concepts()
        self.unseen = held_out(listed)
        self.concepts = [concept.emoji for concept in listed]
        self.listed = listed
        self.english = annotations(NATIVE)
        self._names = {NATIVE: self.english}
        self._parts: dict[str, Part] = {}
        self._pieces: dict[str, bytes] = {}

    def names(self, language: str) -> Any:
        """Return what a language calls the concepts."""
        if language not in self._names:
            self._names[language] = names_of(language)
        return self._names[language]

    def part(self, language: str) -> Part:
        """Return a language's part."""
        if language not in self._parts:
            self._parts[language] = part_of(language, Pieces(self.pieces(language)))
        return self._parts[language]

    def pieces(self, language: str) -> bytes:
        """Return a language's SentencePiece model, trained on the lines that the demo teaches."""
        if language not in self._pieces:
            pairs = parallel_pairs(self.listed, self.english, self.names(language))
            self._pieces[language] = train_pieces([target for _, target in pairs])
        return self._pieces[language]

    def queries(self, language: str, languages: Sequence[str], *, unseen: bool, kind: str = "name") -> list[Query]:
        """Return a language's names, keywords (one a concept), or lines of names and keywords."""
        names, queries = self.names(language), []
        for emoji in self.concepts:
            if emoji not in names or (emoji in self.unseen) != unseen:
                continue
            name, keywords = names[emoji].name, names[emoji].keywords
            if kind == "name":
                queries.append(Query(name, language, self.right(emoji, name, language, languages, keywords=False)))
            elif keywords and kind == "keyword":
                word = random.Random(f"{SEED} {language} {emoji}").choice(keywords)
                queries.append(Query(word, language, self.right(emoji, word, language, languages, keywords=True)))
            elif keywords:
                queries.append(Query(f"{name}: {', '.join(keywords[:8])}", language, frozenset([language])))
        return queries

    def right(
        self, emoji: str, text: str, language: str, languages: Sequence[str], *, keywords: bool
    ) -> frozenset[str]:
        """Return the languages that call a concept by this text."""
        right = {language}
        for other in languages:
            entry = self.names(other).get(emoji)
            if entry and folded(text) in map(folded, (entry.name, *(entry.keywords if keywords else ()))):
                right.add(other)
        return frozenset(right)

    def router(self, languages: Sequence[str], replaced: dict[str, Part] | None = None) -> Router:
        """Return a router over languages, and English by the demo base's vocabulary."""
        parts = [(replaced or {}).get(language) or self.part(language) for language in languages]
        return Router(part_of(NATIVE), parts, vocabulary=vocabulary())


def vocabulary() -> NativeVocabulary:
    """Return the demo base's vocabulary."""
    tokenizer = demo_base() / "tokenizer.json"
    return NativeVocabulary.from_json(tokenizer.read_text(encoding="utf-8"), UNKNOWN)


def folded(text: str) -> str:
    """Return a text without differences in case, spacing and normal form."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def one_word(text: str) -> bool:
    """Say whether a name has one word."""
    return len(text.split()) == 1 and len(WITHOUT_SPACES.findall(text)) <= 2


def splits() -> tuple[list[str], list[str]]:
    """Return the languages that the weights are fitted on, and those of the router of fifty; they share none."""
    others = [tag for tag in demo_languages() if tag not in (*TWELVE, *CAPTIONED)]
    drawn = random.Random(SEED).sample(others, len(others))
    return drawn[:FITTED_ON], sorted([*TWELVE, *drawn[FITTED_ON:][: FIFTY - len(TWELVE)]])


# Figures --------------------------------------------------------------------------------------------------------------


def score(router: Router, queries: Sequence[Query]) -> list[tuple[Query, Route]]:
    """Route queries."""
    return list(zip(queries, router.route([query.text for query in queries]), strict=True))


def figures(routed: Sequence[tuple[Query, Route]]) -> dict[str, Any]:
    """Return the shares of routes that are right, of those that are sure, and of sure ones that are right."""
    first = np.array([route.languages[0] in query.right for query, route in routed])
    either = np.array([bool(query.right.intersection(route.languages)) for query, route in routed])
    sure = np.array([route.sure for _, route in routed])
    return {
        "queries": len(routed),
        "right": round(float(first.mean()), 4),
        "searched": round(float(either.mean()), 4),
        "sure": round(float(sure.mean()), 4),
        "right_when_sure": round(float(first[sure].mean()), 4) if sure.any() else None,
    }


def by_words(routed: Sequence[tuple[Query, Route]]) -> dict[str, Any]:
    """Return the figures of names of one word and of more, English apart, and the first share by language."""
    result: dict[str, Any] = {}
    for label, one in (("one word", True), ("two words and more", False)):
        chosen = [pair for pair in routed if one_word(pair[0].text) == one]
        native = [pair for pair in chosen if pair[0].language == NATIVE]
        added = [pair for pair in chosen if pair[0].language != NATIVE]
        result[label] = {"added languages": figures(added), "English": figures(native)}
        languages = sorted({pair[0].language for pair in added})
        by = {tag: [pair for pair in added if pair[0].language == tag] for tag in languages}
        result[label]["by language"] = {
            tag: {key: figures(pairs)[key] for key in ("queries", "right")} for tag, pairs in by.items()
        }
    return result


def calibration(routed: Sequence[tuple[Query, Route]]) -> list[dict[str, Any]]:
    """Return for each range of confidence how much was said and how much was right."""
    said = np.array([route.confidence for _, route in routed])
    right = np.array([route.languages[0] in query.right for query, route in routed])
    rows = []
    for low, high in pairwise(EDGES):
        inside = (said >= low) & ((said < high) | (high == 1))
        if inside.any():
            rows.append(
                {
                    "from": low,
                    "to": high,
                    "queries": int(inside.sum()),
                    "said": round(float(said[inside].mean()), 3),
                    "right": round(float(right[inside].mean()), 3),
                }
            )
    return rows


def names(corpus: Corpus, languages: Sequence[str], *, unseen: bool) -> list[Query]:
    """Return the names of languages and of English."""
    every = [*languages, NATIVE]
    return [query for tag in every for query in corpus.queries(tag, every, unseen=unseen)]


def strangers(corpus: Corpus, languages: Sequence[str], count: int) -> list[Query]:
    """Return names of held-out concepts in languages that are not there; only what none of these calls so."""
    fit, _ = splits()
    others = [tag for tag in demo_languages() if tag not in (*languages, *fit)]
    every = [*languages, NATIVE]
    found = [query for tag in others for query in corpus.queries(tag, every, unseen=True)]
    found = [query for query in found if not query.right.intersection(every)]
    return random.Random(SEED).sample(found, count)


def captions(language: str) -> list[str]:
    """Return Multi30K's test captions, or nothing where they are not there."""
    paths = [MULTI30K / f"{part}.{language}.gz" for part in PARTS]
    if not all(path.is_file() for path in paths):
        return []
    return [line for path in paths for line in gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")]


def caption_figures(corpus: Corpus, languages: Sequence[str], replaced: dict[str, Part] | None = None) -> Any:
    """Return the figures of captions in each language that there are captions in."""
    router = corpus.router(languages, replaced)
    texts = {tag: captions(tag) for tag in CAPTIONED}
    return {
        tag: figures(score(router, [Query(text, tag, frozenset([tag])) for text in lines]))
        for tag, lines in texts.items()
        if lines
    }


def trained_on_captions() -> Part | None:
    """Return German with pieces trained on Multi30K's captions, in place of the demo's names."""
    path = MULTI30K / "train.de.gz"
    if not path.is_file():
        return None
    return part_of("de", Pieces(train_pieces(gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n"))))


OPENING = """
import sys, time
from pathlib import Path
from mla_extend.search.route import Router
from mla_extend.search.route_parts import Pieces, part_of
imported = time.process_time()
parts = [part_of(path.stem, Pieces(path.read_bytes())) for path in sorted(Path(sys.argv[1]).iterdir())]
Router(part_of("en"), parts).route(["dog"])
print(time.process_time() - imported)
"""
"""Opens a router in a process of its own, and routes a first query: py3langid's model is loaded too."""


def cost(corpus: Corpus, languages: Sequence[str]) -> dict[str, Any]:
    """Return the seconds of opening and the milliseconds of a query, by the processor's clock; medians of five."""
    result: dict[str, Any] = {"languages": len(languages) + 1}
    with tempfile.TemporaryDirectory() as folder:
        for language in languages:
            (Path(folder) / f"{language}.model").write_bytes(corpus.pieces(language))
        program = [sys.executable, "-c", OPENING, folder]
        runs = [subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout for _ in range(5)]
    result["seconds to open"] = round(statistics.median(map(float, runs)), 2)
    router = corpus.router(languages)
    for label, text in (("two words", "mbwa mweusi"), ("caption", "A man in a blue shirt stands on a ladder.")):
        times = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(100):
                router.route([text])
            times.append((time.process_time() - began) * 10)
        result[f"milliseconds, {label}"] = round(statistics.median(times), 2)
    return result


def measure(corpus: Corpus) -> dict[str, Any]:
    """Return all figures."""
    fit, fifty = splits()
    router = corpus.router(TWELVE)
    unseen = score(router, names(corpus, TWELVE, unseen=True))
    large = corpus.router(fifty)
    large_unseen = score(large, names(corpus, fifty, unseen=True))
    foreign = score(router, strangers(corpus, TWELVE, round(FOREIGN * len(unseen))))
    large_foreign = score(large, strangers(corpus, fifty, round(FOREIGN * len(large_unseen))))
    other = trained_on_captions()
    result: dict[str, Any] = {
        "languages": list(TWELVE),
        "fifty": fifty,
        "fitted_on": sorted(fit),
        "seed": SEED,
        "weights": asdict(WEIGHTS),
        "names": {
            "held out": by_words(unseen),
            "taught": by_words(score(router, names(corpus, TWELVE, unseen=False))),
            "held out, among fifty": by_words(large_unseen),
        },
        "languages not there": {
            "names, router of 12 languages": figures(foreign),
            "names, router of 50 languages": figures(large_foreign),
        },
        "calibration": {
            "twelve": calibration(unseen),
            "twelve, a tenth more in languages not there": calibration([*unseen, *foreign]),
            "fifty, a tenth more in languages not there": calibration([*large_unseen, *large_foreign]),
        },
        "captions": {
            "twelve": caption_figures(corpus, TWELVE),
            "twelve and Czech": caption_figures(corpus, [*TWELVE, "cs"]),
            "fifty and Czech": caption_figures(corpus, [*fifty, "cs"]),
        },
        "cost": {"twelve": cost(corpus, TWELVE), "fifty": cost(corpus, fifty)},
        "machine": machine(),
    }
    czech = result["captions"]["twelve"].pop("cs", None)
    if czech:
        result["languages not there"]["captions in Czech, router of 12 languages"] = czech
    if other is not None:
        mixed = corpus.router(TWELVE, {"de": other})
        result["German pieces of captions"] = {
            "names": by_words(score(mixed, names(corpus, TWELVE, unseen=True))),
            "captions": {"de": caption_figures(corpus, TWELVE, {"de": other})["de"]},
        }
    return result


# Fitting --------------------------------------------------------------------------------------------------------------


def fitted(corpus: Corpus) -> Weights:
    """Return the weights that give right languages the highest likelihood.

    Routers of 4, 12 and 40 languages are drawn from those to fit on. Their queries are names, keywords and lines of
    names and keywords of held-out concepts; in English, of taught ones, so that the figures' are not seen here. A tenth
    more are in languages that are not there. In every second router of 4 and 12, a sixth of the languages go without
    pieces.
    """
    rng = random.Random(SEED)
    fit, _ = splits()
    drawn: list[tuple[Evidence, np.ndarray[Any, Any]]] = []
    for size, each, english, times in ((4, 30, 40, 12), (12, 25, 60, 16), (40, 8, 60, 4)):
        for turn in range(times):
            bare = 1 / 6 if turn % 2 and size < 40 else 0
            drawn.append(_drawn(corpus, rng, fit, size, each, english, bare))
    keys, start = list(asdict(START)), np.array(list(asdict(START).values()))

    def loss(values: np.ndarray[Any, Any]) -> float:
        weights = Weights(**dict(zip(keys, values.tolist(), strict=True)))
        total = rows = 0.0
        for evidence, right in drawn:
            likely = posterior(evidence, weights)
            total -= float(np.log((likely * right).sum(axis=1) + 1e-12).sum())
            rows += len(right)
        # The weights of the vocabulary can grow together; a little pull keeps them near the start.
        return total / rows + 2e-5 * float(np.square(values - start).sum())

    found = minimize(loss, start, method="L-BFGS-B")
    print(f"loss {loss(start):.4f} before, {found.fun:.4f} after", flush=True)
    return Weights(**{key: round(float(value), 3) for key, value in zip(keys, found.x, strict=True)})


def _drawn(
    corpus: Corpus, rng: random.Random, fit: Sequence[str], size: int, each: int, english: int, bare: float
) -> tuple[Evidence, np.ndarray[Any, Any]]:
    """Return the evidence of a drawn router and which places are right `[N, L + 1]`, none of them last."""
    languages = sorted(rng.sample(list(fit), size))
    every = [NATIVE, *languages]
    queries: list[Query] = []

    def draw(tag: str, count: int, *, unseen: bool) -> list[Query]:
        kinds = ("name", "keyword", "line")
        found = [query for kind in kinds for query in corpus.queries(tag, every, unseen=unseen, kind=kind)]
        return rng.sample(found, min(count, len(found)))

    for tag in languages:
        queries += draw(tag, each, unseen=True)
    queries += draw(NATIVE, english, unseen=False)
    for _ in range(round(FOREIGN * len(queries))):
        queries += draw(rng.choice([tag for tag in fit if tag not in languages]), 1, unseen=True)
    replaced = {tag: part_of(tag) for tag in languages if rng.random() < bare}
    router = corpus.router(languages, replaced)
    queries = [query for query in queries if any(map(str.isalpha, query.text))]
    right = np.array([[tag in query.right for tag in router.languages] for query in queries])
    evidence = router.evidence([query.text for query in queries])
    return evidence, np.concatenate([right, ~right.any(axis=1, keepdims=True)], axis=1)


# Tables ---------------------------------------------------------------------------------------------------------------


def tables(result: dict[str, Any]) -> dict[str, str]:
    """Return the page's tables by their markers."""

    def cells(part: dict[str, Any]) -> list[str]:
        when = part["right_when_sure"]
        shares = [part["right"], part["searched"], part["sure"]]
        return [f"{part['queries']:,}", *(f"{100 * share:.1f}" for share in shares), f"{100 * (when or 0):.1f}"]

    head = ["queries", "count", "right", "right among those searched", "sure", "right when sure"]
    rows = []
    for split, label in (
        ("held out", "held out"),
        ("taught", "taught"),
        ("held out, among fifty", "held out, among 50 languages"),
    ):
        for words in ("two words and more", "one word"):
            for whose in ("added languages", "English"):
                rows.append([f"names {label}, {words}, {whose}", *cells(result["names"][split][words][whose])])
    for label, found in result["captions"].items():
        there = label.replace("twelve", "12 languages").replace("fifty", "50 languages")
        for tag, part in found.items():
            rows.append([f"captions, {tag}, among {there}", *cells(part)])
    mixed = result.get("German pieces of captions")
    if mixed:
        by = mixed["names"]
        for words in ("two words and more", "one word"):
            rows.append([f"names held out, {words}, German pieces of captions", *cells(by[words]["added languages"])])
        rows.append(["captions, de, German pieces of captions", *cells(mixed["captions"]["de"])])
    each = result["names"]["held out"]
    languages = sorted(each["one word"]["by language"])

    def share(words: str, tag: str) -> str:
        part = each[words]["by language"].get(tag)
        return f"{100 * part['right']:.1f} ({part['queries']})" if part else "-"

    by_language = [[tag, share("two words and more", tag), share("one word", tag)] for tag in languages]
    calibrated = [
        [
            label.replace("twelve", "12 languages").replace("fifty", "50 languages"),
            f"{row['from']} to {row['to']}",
            f"{row['queries']:,}",
            f"{100 * row['said']:.1f}",
            f"{100 * row['right']:.1f}",
        ]
        for label, found in result["calibration"].items()
        for row in found
    ]
    away = [
        [label, f"{part['queries']:,}", f"{100 * part['sure']:.1f}"]
        for label, part in result["languages not there"].items()
    ]
    costs = [[str(part["languages"]), *(str(part[key]) for key in list(part)[1:])] for part in result["cost"].values()]
    return {
        "routing": markdown(head, rows),
        "routing-languages": markdown(["language", "two words and more", "one word"], by_language),
        "routing-calibration": markdown(["names", "confidence", "count", "said", "right"], calibrated),
        "routing-strangers": markdown(["text", "count", "taken for sure"], away),
        "routing-cost": markdown(["languages", *list(result["cost"]["twelve"])[1:]], costs),
    }


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="save results/routing.json and the tables in the docs")
    parser.add_argument("--fit", action="store_true", help="fit the weights, print them, and stop")
    options = parser.parse_args()
    corpus = Corpus()
    if options.fit:
        print(fitted(corpus))
        return
    result = measure(corpus)
    for text in tables(result).values():
        print(f"{text}\n")
    if options.write:
        save("routing", result)
        for marker, text in tables(result).items():
            put(marker, text, PAGE)


if __name__ == "__main__":
    main()
