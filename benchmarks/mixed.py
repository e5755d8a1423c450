"""Measure how much of the base's own words a language keeps: English through its path, mixed queries, names.

    python benchmarks/mixed.py --registry DIR            of the demo's languages in a registry
    python benchmarks/mixed.py --registry DIR --write    the same, and put the table into the docs
    python benchmarks/mixed.py --start [--write]         what the base's words give before training

All are compared with what English gives on the base's own path. English: the first 500 different captions of the test
set find themselves among each other. Mixed: a caption of the test set with one content word put back into English, the
word that it aligns with most in the training pairs; cosine to the English caption. Names: bare, by themselves. Read as
native: words of the test captions that the training text lacks; right where the English caption holds the word too.
"""

import argparse
import re
from typing import Any

import numpy as np
from common import LANGUAGES, ROOT, SPLITS, load, machine, markdown, put, save
from numpy.typing import NDArray

from mla_extend import load_model
from mla_extend.bases.features import Features
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.source import open_source, parse_source
from mla_extend.data.test_sets import read_test_set
from mla_extend.demo.data import demo_data
from mla_extend.evaluation.report import split_report
from mla_extend.language.alignment import align
from mla_extend.language.build import build_language
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.load import RegistryModel
from mla_extend.search.route import router_of
from mla_extend.search.searcher import best_ranks
from mla_extend.training.recipe import load_recipe
from mla_extend.training.split import split
from mla_extend.training.stages import image_vectors

PAGE = ROOT / "docs" / "native-words.md"
SEED = 0
CAPTIONS, MIXED = 500, 300
SURE, SHORTEST = 0.5, 4
"""A word is put back into English where half of its alignment goes to one English word of so many letters."""
TOP = 10
UNSPACED = ("ja", "zh", "th", "km", "lo", "my")
NAMES = [
    "Toyota", "Volkswagen", "Pepsi", "Coca-Cola", "Nike", "Samsung", "Microsoft", "Google", "iPhone", "WhatsApp",
    "Instagram", "Minecraft", "Pokemon", "Star Wars", "Harry Potter", "Mickey Mouse", "Spiderman", "Eiffel", "London",
    "Brooklyn", "Sydney", "Nairobi", "Kilimanjaro", "Himalaya", "Amazon", "German Shepherd", "golden retriever",
    "Boeing", "Ferrari", "Rolex", "Mozart", "Picasso", "Einstein", "Obama", "Beyonce", "Messi", "NASA", "BMW", "IKEA",
    "Wikipedia",
]  # fmt: skip

Vectors = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", help="with the demo's languages; without it, the last result is printed")
    parser.add_argument(
        "--start", action="store_true", help="build the languages untrained, with and without the words"
    )
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    arguments = parser.parse_args()
    if arguments.start:
        model = load_model(base="demo")
        save("native_words", {language: start(model, language) for language in arguments.languages})
        text = start_table(load("native_words"))
        print(text)
        if arguments.write:
            put("native-words", text, PAGE)
        return
    if arguments.registry:
        model = load_model(base="demo", registry=arguments.registry)
        rows = {language: measure(model, language) for language in arguments.languages}
        hesitant = unsure(model, list(arguments.languages))
        save("mixed", {"machine": machine(), "seed": SEED, "languages": rows, "unsure": hesitant})
    text = table(load("mixed"))
    print(text)
    hesitant = unsure_table(load("mixed")["unsure"])
    print(f"\n{hesitant}")
    if arguments.write:
        put("mixed", text, PAGE)
        put("unsure", hesitant, ROOT / "docs" / "routing.md")


def measure(model: RegistryModel, language: str) -> dict[str, Any]:
    """Return a language's figures."""
    data = demo_data(language)
    parallel = open_source(data.parallel, ColumnMapping(language)).parallel()
    splits = read_test_set(parse_source(data.test_set, ColumnMapping(language))).splits
    test = splits["all"]
    assert isinstance(test, ImageText)
    assert test.native is not None
    model.require(language)
    tokenizer = model.language(language).tokenizer
    assert tokenizer is not None
    english = list(dict.fromkeys(test.native))[:CAPTIONS]
    native, through = vectors(model, english, model.native), vectors(model, english, language)
    found = (through @ native.T).argmax(axis=1) == np.arange(len(english))
    cosines: dict[str, Any] = {}
    for name in ("seen", "all"):
        captions = splits[name]
        assert isinstance(captions, ImageText)
        queries = mixed(tokenizer, parallel, captions, spaced=language not in UNSPACED)
        put_back, plain, target = (
            vectors(model, list(texts), tag)
            for texts, tag in zip(zip(*queries, strict=True), (language, language, model.native), strict=True)
        )
        cosines[name] = {
            "queries": len(queries),
            "examples": queries[:3],
            "mixed": float((put_back * target).sum(axis=1).mean()),
            "plain": float((plain * target).sum(axis=1).mean()),
        }
    names = (vectors(model, NAMES, language) * vectors(model, NAMES, model.native)).sum(axis=1)
    return {
        "recall": float(found.mean()),
        "cosine": float((native * through).sum(axis=1).mean()),
        "mixed": cosines,
        "names": float(names.mean()),
        "native_pieces": native_pieces(model, language),
        **read_as_native(tokenizer, own_pieces(model, language), parallel, test),
    }


def start(model: RegistryModel, language: str) -> dict[str, Any]:
    """Return a language's figures before training, without the base's words and with them."""
    data = demo_data(language)
    parallel = open_source(data.parallel, ColumnMapping(language)).parallel()
    splits = read_test_set(parse_source(data.test_set, ColumnMapping(language))).splits
    recipe = load_recipe("instant")
    kept = parallel.subset(~split(parallel, None, recipe).pairs)
    features = Features(model.base)
    result: dict[str, Any] = {}
    for name, native_words in (("without", False), ("with", True)):
        arguments = recipe.build_arguments() | {"native_words": native_words}
        build_language(model, language, native=kept.native, target=kept.target, seed=SEED, **arguments)
        found = measure(model, language)
        result[name] = {**found, "mixed": found["mixed"]["all"]["mixed"]}
        for part in SPLITS:
            test = splits[part]
            assert isinstance(test, ImageText)
            result[name][part] = split_report(
                image_vectors(test, features),
                model.text_vectors(test.texts, language).numpy(),
                np.asarray(test.image_of_text),
                native_text_vectors=features.text(test.native or []),
            ).ratio
        model.remove(language)
    return result


def start_table(result: dict[str, Any]) -> str:
    """Return the figures before training as Markdown."""
    head = ["language", "English through its path, R@1", "mixed queries, cosine", "names, cosine", *SPLITS]
    rows = []
    for language, both in result.items():
        cells = [
            ("recall", ".3f"),
            ("mixed", ".2f"),
            ("names", ".2f"),
            *((part, ".2f") for part in SPLITS),
        ]
        rows.append([language, *(f"{both['without'][key]:{form}} → {both['with'][key]:{form}}" for key, form in cells)])
    return (
        f"{markdown(head, rows)}\n\nRecipe `instant`, without the base's words and with them; *seen*, *all* and "
        f"*unseen* are ratios to English on the same images. Seed {SEED}."
    )


def vectors(model: RegistryModel, texts: list[str], tag: str) -> Vectors:
    """Return normalised vectors."""
    found: Vectors = model.encode_text(texts, tag).numpy()
    return found


def own_pieces(model: RegistryModel, language: str) -> int:
    """Return how many pieces are the language's own."""
    own = model.own_table(language)
    assert own is not None
    return len(own.weight)


def native_pieces(model: RegistryModel, language: str) -> int:
    """Return how many pieces are the base's."""
    own = model.own_table(language)
    return 0 if own is None or own.native_rows is None else len(own.native_rows)


def mixed(
    tokenizer: LanguageTokenizer, parallel: ParallelText, test: ImageText, *, spaced: bool
) -> list[tuple[str, str, str]]:
    """Return queries with a word put back into English, the captions that they are made from, and those in English."""

    def units(text: str) -> list[str]:
        if spaced:
            return text.split()
        return [tokenizer.piece(token).replace("▁", " ") for token in tokenizer.plain_ids([text])[0]]

    def english(text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())

    pairs = [units(text.lower()) for text in parallel.target], [english(text) for text in parallel.native]
    words = [{word: i for i, word in enumerate(sorted({w for row in rows for w in row}))} for rows in pairs]
    ids = [[[place[w] for w in row] for row in rows] for rows, place in zip(pairs, words, strict=True)]
    weights = align(ids[0], ids[1], len(words[0]), len(words[1])).weights
    names = list(words[1])
    partner: dict[str, str] = {}
    for word, row in words[0].items():
        first, last = weights.indptr[row], weights.indptr[row + 1]
        if last > first and weights.data[first:last].max() >= SURE:
            partner[word] = names[weights.indices[first + int(weights.data[first:last].argmax())]]
    assert test.native is not None
    generator = np.random.default_rng(SEED)
    queries = []
    for i in generator.permutation(len(test.texts)):
        parts = units(test.texts[i].lower())
        there = set(english(test.native[i]))
        known = [k for k, w in enumerate(parts) if partner.get(w, "") in there and len(partner[w]) >= SHORTEST]
        known = [k for k in known if partner[parts[k]] != parts[k]]
        if len(parts) < 2 or not known:
            continue
        place = known[int(generator.integers(len(known)))]
        put_back = [*parts[:place], f" {partner[parts[place]]} ", *parts[place + 1 :]]
        text = (" " if spaced else "").join(put_back)
        queries.append((" ".join(text.split()), test.texts[i], test.native[i]))
        if len(queries) == MIXED:
            break
    return queries


def read_as_native(
    tokenizer: LanguageTokenizer, own: int, parallel: ParallelText, test: ImageText
) -> dict[str, int | list[str]]:
    """Count words of the test captions that the training text lacks, and how those read as one native word fare."""
    taught = {word for text in parallel.target for word in re.findall(r"\w+", text.lower())}
    assert test.native is not None
    where: dict[str, set[str]] = {}
    for text, native in zip(test.texts, test.native, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            if word not in taught:
                where.setdefault(word, set()).update(re.findall(r"\w+", native.lower()))
    read = [word for word in where if len(row := tokenizer.plain_ids([word])[0]) == 1 and row[0] >= own]
    wrong = [word for word in read if word not in where[word]]
    return {"unseen_words": len(where), "read_right": len(read) - len(wrong), "read_wrong": len(wrong), "wrong": wrong}


def unsure(model: RegistryModel, languages: list[str]) -> dict[str, dict[str, float]]:
    """Return recall@10 of queries that may be in the language or in English, by what is searched.

    Captions of the demo in each language and in English. `both` searches both and lets an image take the better rank.
    """
    router = router_of(model)
    images: Vectors | None = None
    result: dict[str, dict[str, float]] = {}
    for language in [model.native, *languages]:
        test = read_test_set(
            parse_source(
                demo_data(languages[0] if language == model.native else language).test_set, ColumnMapping(language)
            )
        )
        captions = test.splits["all"]
        assert isinstance(captions, ImageText)
        images = image_vectors(captions, Features(model.base)) if images is None else images
        images = images / np.linalg.norm(images, axis=1, keepdims=True)
        texts = (captions.native or []) if language == model.native else captions.texts
        routes = router.route(texts)
        rows = [i for i, route in enumerate(routes) if len(route.languages) == 2 and model.native in route.languages]
        found: dict[str, list[bool]] = {"both": [], "language": [], "native": []}
        for i in rows:
            other = next(tag for tag in routes[i].languages if tag != model.native)
            scores = [vectors(model, [texts[i]], tag)[0] @ images.T for tag in (other, model.native)]
            lists = [[(int(key), float(one[key])) for key in np.argsort(-one)[:TOP]] for one in scores]
            merged = best_ranks((other, model.native), lists)[:TOP]
            found["both"].append(any(hit[0] == captions.image_of_text[i] for hit in merged))
            for name, one in zip(("language", "native"), lists, strict=True):
                found[name].append(any(key == captions.image_of_text[i] for key, _ in one))
        result[language] = {"queries": len(texts), "unsure": len(rows)}
        result[language] |= {name: float(np.mean(hits)) for name, hits in found.items() if hits}
    return result


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    head = ["language", "English through its path, R@1", *(f"mixed, of *{name}* (unmixed)" for name in ("seen", "all"))]
    head += ["names"]
    head += ["unseen words read as native: right, wrong, of"]
    rows = [
        [
            language,
            f"{row['recall']:.3f}",
            *(f"{one['mixed']:.2f} ({one['plain']:.2f})" for one in row["mixed"].values()),
            f"{row['names']:.2f}",
            f"{row['read_right']}, {row['read_wrong']}, {row['unseen_words']}",
        ]
        for language, row in result["languages"].items()
    ]
    return (
        f"{markdown(head, rows)}\n\nEnglish: {CAPTIONS} captions of the demo among each other (1.000 on the base's own "
        f"path). Mixed: up to {MIXED} captions of the demo with one word put back into English; in brackets, the same "
        f"captions without. {len(NAMES)} names. Mean cosines to the English text on the base's own path. Seed "
        f"{result['seed']}."
    )


def unsure_table(result: dict[str, dict[str, float]]) -> str:
    """Return what hesitation costs as Markdown."""
    head = ["captions in", "unsure, of", "both searched", "the language alone", "English alone"]
    rows = [
        [language, f"{row['unsure']:.0f} of {row['queries']:.0f}"]
        + [f"{100 * row[name]:.1f}" if name in row else "-" for name in ("both", "language", "native")]
        for language, row in result.items()
    ]
    return f"{markdown(head, rows)}\n\nRecall@{TOP} in per cent, of captions of the demo's *all*. Seed {SEED}."


if __name__ == "__main__":
    main()
