"""Measure what `inspect --suggest` is worth on the demo: the best N sentences against N at random, at equal N.

    python benchmarks/suggest.py [--language sw] [--start 300] [--counts 50 200 800] [--seeds 0 1 2] [--write]

A language has so many pairs, drawn at random; the others' English sides are the pool, and the English names of the test
pictures say which words are needed. Recipe `instant`, text alone.
"""

import argparse
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from common import load, machine, markdown, put, save

from mla_extend.add.job import add_language
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.pairs import ImageText
from mla_extend.data.source import open_source, parse_source
from mla_extend.data.suggest import suggest, words
from mla_extend.data.test_sets import read_test_set
from mla_extend.demo.data import demo_data

SPLITS = ("all", "unseen")
BY = ("suggested", "random")


def measure(language: str, start: int, counts: list[int], seeds: list[int]) -> dict[str, Any]:
    """Add the language with each choice of pairs, in a registry of its own."""
    data = demo_data(language)
    text = open_source(data.parallel, ColumnMapping(language)).parallel()
    split = read_test_set(parse_source(data.test_set, ColumnMapping(language))).splits["all"]
    assert isinstance(split, ImageText)
    rows: list[dict[str, Any]] = []
    result = {"language": language, "start": start, "pairs": len(text), "machine": machine(), "rows": rows}
    for seed in seeds:
        order = random.Random(seed).sample(range(len(text)), len(text))
        known, pool = order[:start], order[start:]
        place = {text.native[i]: i for i in reversed(pool)}
        found = suggest([text.native[i] for i in known], split.native or [], list(place), max(counts))["sentences"]
        best = [place[one["text"]] for one in found]
        rows.append({"seed": seed, "count": 0, "by": "", **added(language, text, known, seed)})
        for count in counts:
            for by, extra in zip(BY, (best[:count], pool[:count]), strict=True):
                about = {"sentences": len(extra), "words": sum(len(words(text.native[i])) for i in extra)}
                figures = added(language, text, known + extra, seed)
                rows.append({"seed": seed, "count": count, "by": by, **about, **figures})
                print(rows[-1], flush=True)
    return result


def added(language: str, text: Any, chosen: list[int], seed: int) -> dict[str, Any]:
    """Add the language with these pairs; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.tsv"
        path.write_text("".join(f"{text.native[i]}\t{text.target[i]}\n" for i in sorted(chosen)), encoding="utf-8")
        registry = Path(folder) / "adapters"
        published = add_language(
            language, parallel_data=path, test_set="demo", base="demo", recipe="instant", seed=seed, registry=registry
        ).to_json()
    splits = published["metrics"]["splits"]
    return {
        "base": published["base"]["fingerprint"][:12],
        "native": {name: splits[name]["native_mean_recall"] for name in SPLITS},
        "ratio": {name: splits[name]["ratio"] for name in SPLITS},
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = result["rows"]
    seeds = sorted({row["seed"] for row in rows})

    def shown(count: int, by: str, name: str) -> str:
        values = [row["ratio"][name] for row in rows if (row["count"], row["by"]) == (count, by)]
        return f"{statistics.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"

    body = [["none", "", "", *(shown(0, "", name) for name in SPLITS)]]
    for count in sorted({row["count"] for row in rows if row["count"]}):
        for by in BY:
            mine = [row for row in rows if (row["count"], row["by"]) == (count, by)]
            about = [f"{statistics.mean(row[key] for row in mine):,.0f}" for key in ("sentences", "words")]
            body.append([by, *about, *(shown(count, by, name) for name in SPLITS)])
    native = rows[0]["native"]
    return (
        f"{markdown(['added', 'sentences', 'words to translate', *SPLITS], body)}\n\n"
        f"{result['language']}, {result['start']:,} of {result['pairs']:,} pairs to start from, drawn at random; "
        f"recipe `instant`, text alone. Ratio of mean recall to the base's own English (all {100 * native['all']:.1f}, "
        f"unseen {100 * native['unseen']:.1f}), mean and range over the seeds {', '.join(map(str, seeds))}. Base "
        f"{rows[0]['base']}, {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="sw")
    parser.add_argument("--start", type=int, default=300)
    parser.add_argument("--counts", nargs="+", type=int, default=[50, 200, 800])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    if arguments.reuse:
        result = load("suggest")
    else:
        result = measure(arguments.language, arguments.start, arguments.counts, arguments.seeds)
        save("suggest", result)
    print(table(result))
    if arguments.write:
        put("suggest", table(result))


if __name__ == "__main__":
    main()
