"""Say what bounds the demo's `unseen` figure: how many held-out names are made of words that training text holds.

    python benchmarks/unseen.py

English is held to the same: its own captions, with the words left out that its lines of the parallel text lack, look
for the same images. That is about what a language can reach whose words mean what the English ones mean.
"""

import re
from typing import Any

import numpy as np
from common import LANGUAGES, markdown, save

from mla_extend import load_model
from mla_extend.bases.features import Features
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.pairs import ImageText
from mla_extend.data.source import open_source, parse_source
from mla_extend.data.test_sets import read_test_set
from mla_extend.demo.data import demo_data
from mla_extend.evaluation.report import split_report
from mla_extend.training.stages import image_vectors

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return a text's words, without case."""
    return WORD.findall(text.casefold())


def covered(names: list[str], taught: set[str]) -> float:
    """Return the share of names whose words are all taught."""
    return float(np.mean([all(word in taught for word in words(name)) for name in names]))


def main() -> None:
    """Measure and print."""
    result: dict[str, Any] = {"covered": {}}
    for language in LANGUAGES:
        data = demo_data(language)
        parallel = open_source(data.parallel, ColumnMapping(language)).parallel()
        unseen = read_test_set(parse_source(data.test_set, ColumnMapping(language))).splits["unseen"]
        assert isinstance(unseen, ImageText)
        taught = {word for text in parallel.target for word in words(text)}
        result["covered"][language] = covered(unseen.texts, taught)
        if language == "sw":
            english = {word for text in parallel.native for word in words(text)}
            native = unseen.native or []
            cut = [" ".join(word for word in words(name) if word in english) for name in native]
            features = Features(load_model(base="demo").base)
            report = split_report(
                image_vectors(unseen, features),
                features.text(cut),
                np.asarray(unseen.image_of_text),
                native_text_vectors=features.text(native),
            )
            result["english"] = {"covered": covered(native, english), "ratio": report.ratio}
    save("unseen", result)
    rows = [[language, f"{100 * share:.0f} %"] for language, share in result["covered"].items()]
    print(markdown(["language", "held-out names made of taught words alone"], rows))
    print(f"\nEnglish, without the words that its own lines lack: {result['english']}")


if __name__ == "__main__":
    main()
