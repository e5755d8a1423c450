"""Measure what a word list gives (`add-language --lexicon`): the base's own vocabulary, translated by Apertium.

    sudo apt-get install apertium apertium-eng-spa
    python benchmarks/lexicon.py [--languages es] [--recipes instant default] [--write]

Each word of the base's vocabulary is translated by itself; what the engine does not know is left out. The same list as
a second `--parallel-data` stands beside it. The test set's captions are CLDR's, which the engine never saw; but words
of things that no training pair names may stand in the list: that is what it is for.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import SPLITS, load, machine, markdown, put, save
from figures import command
from translate import Apertium

from mla_extend import load_model

MODES = {"es": "eng-spa", "ca": "eng-cat", "gl": "en-gl"}
"""The direction from English of each language; `apertium-MODE` is its Debian package."""
WORD = re.compile(r"[a-z]{2,}")


def word_list(language: str) -> Iterator[tuple[str, str]]:
    """Give the words of the demo base's vocabulary that the engine knows, with its translations."""
    translate = Apertium(MODES[language])
    for word in sorted(filter(WORD.fullmatch, load_model(base="demo").base.tokenizer.get_vocab())):
        found = translate(word).strip()
        if found and not re.search(r"[*@#]", found):
            yield word, found


def measure(languages: list[str], recipes: list[str], seed: int) -> dict[str, Any]:
    """Add each language with each recipe, without the list and with it in either way."""
    result: dict[str, Any] = {"seed": seed, "machine": machine(), "languages": {}}
    with tempfile.TemporaryDirectory() as folder:
        for language in languages:
            pairs = list(word_list(language))
            path = Path(folder) / f"{language}.tsv"
            path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
            ways: dict[str, list[str]] = {
                "no word list": [],
                "as a second `--parallel-data`": ["--parallel-data", str(path)],
                "`--lexicon`": ["--lexicon", str(path)],
            }
            rows: dict[str, Any] = {}
            for recipe in recipes:
                for way, option in ways.items():
                    out, _ = command(
                        "add-language", language, "--parallel-data", "demo", "--image-text", "demo", "--recipe", recipe,
                        "--registry", f"{folder}/{language}-{len(rows)}", "--seed", str(seed), "--json", *option,
                    )  # fmt: skip
                    card = json.loads(out)
                    rows[f"{recipe}, {way}"] = {
                        "splits": card["metrics"]["splits"],
                        "seconds": card["cost"]["seconds"],
                        "bytes": card["bytes"],
                    }
                    result["languages"][language] = {"entries": len(pairs), "rows": rows}
                    save("lexicon", result)
    return result


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    parts = []
    for language, found in result["languages"].items():
        rows = [
            [name, *(f"{row['splits'][part]['ratio']:.2f}" for part in SPLITS), f"{row['seconds']:.0f} s",
             f"{row['bytes'] / 1e6:.1f} MB"]
            for name, row in found["rows"].items()
        ]  # fmt: skip
        english = next(iter(found["rows"].values()))["splits"]
        level = ", ".join(f"{part} {100 * english[part]['native_mean_recall']:.1f}" for part in SPLITS)
        parts.append(
            f"{markdown([language, *SPLITS, 'time', 'adapter'], rows)}\n\n{language}, {found['entries']:,} entries; "
            f"ratio of mean recall to the base's own English ({level} %), demo data, seed {result['seed']}, "
            f"{result['machine']}. The list is the base's vocabulary through Apertium: words of *unseen* things may "
            "stand in it."
        )
    return "\n\n".join(parts)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["es"], choices=MODES)
    parser.add_argument("--recipes", nargs="+", default=["instant", "default"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = load("lexicon") if arguments.reuse else measure(arguments.languages, arguments.recipes, arguments.seed)
    print(table(result))
    if arguments.write:
        put("lexicon", table(result))


if __name__ == "__main__":
    main()
