"""Measure what text of the language alone gives (`add-language --text`) where pairs are few: Multi30K.

    python benchmarks/text.py [--languages de] [--recipes instant quick] [--counts 1000 5000] [--write]

The first pairs of one shuffled list, alone and beside the language's side of all 29,000. A caption of test_2016_flickr
looks for its English original among 30,000, as in multi30k.py.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import load, machine, markdown, put, save
from multi30k import DATA, Data, Judge
from pairs import learn

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.language.model import MultilingualModel
from mla_extend.training.recipe import load_recipe


def measure(languages: list[str], recipes: list[str], counts: list[int], folder: Path, seed: int) -> dict[str, Any]:
    """Build each language from so many pairs, without and with the text."""
    model = MultilingualModel(open_base("demo"))
    features, rows = Features(model.base), []
    for language in languages:
        data = Data(folder, language, None)
        judge = Judge(model.base, data)
        place = np.argsort(np.random.default_rng(seed).permutation(len(data.pairs)))
        for recipe in recipes:
            for count in counts:
                row: dict[str, Any] = {"language": language, "recipe": recipe, "pairs": count}
                for way, text in (("alone", []), ("text", data.pairs.target)):
                    pairs = data.pairs.subset(place < count)
                    seconds = learn(model, language, pairs, load_recipe(recipe), seed, features, text)
                    found = judge(lambda texts, tag=language: model.text_vectors(texts, tag).numpy())
                    model.remove(language)
                    row[way] = {**found, "seconds": seconds}
                rows.append(row)
                print(row, flush=True)
    return {"seed": seed, "machine": machine(), "rows": rows}


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = [
        [f"{row['language']}, {row['recipe']}", f"{row['pairs']:,}"]
        + [f"{100 * row[way]['accuracy']:.1f} ({row[way]['seconds']:.0f} s)" for way in ("alone", "text")]
        for row in result["rows"]
    ]
    return (
        f"{markdown(['language, recipe', 'pairs', 'pairs alone', 'with 29,000 lines of text'], rows)}\n\n"
        "Share of the captions of test_2016_flickr that find their English original among 30,000, in per cent (English "
        f"finds itself always); seconds to build and train. Seed {result['seed']}, {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--languages", nargs="+", default=["de"])
    parser.add_argument("--recipes", nargs="+", default=["instant", "quick"])
    parser.add_argument("--counts", nargs="+", type=int, default=[1000, 5000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    asked = parser.parse_args()
    result = (
        load("text") if asked.reuse else measure(asked.languages, asked.recipes, asked.counts, asked.data, asked.seed)
    )
    if not asked.reuse:
        save("text", result)
    print(table(result))
    if asked.write:
        put("text", table(result))


if __name__ == "__main__":
    main()
