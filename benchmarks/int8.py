"""Measure what a text tower with weights of 8 bits costs in recall on the demo base.

    python benchmarks/int8.py [--languages sw] [--registry adapters] [--write]

Both files are run by onnxruntime alone, one text at a time, as a search does. The images' vectors are the base's own.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from common import ROOT, load, markdown, put, save
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mla_extend import load_model
from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText
from mla_extend.evaluation.evaluate import card_test_set
from mla_extend.evaluation.recall import evaluate_retrieval
from mla_extend.exports.run import export
from mla_extend.training.stages import image_vectors

PAGE = ROOT / "docs" / "exports.md"
KINDS = {"float32": False, "int8": True}


def encode(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """Return vectors `[B, D]`: what is rounded depends on what else is in a batch, so that each text is run alone."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    tokenizer.no_padding()
    rows = tokenizer.encode_batch(texts)
    feeds = [{"input_ids": np.array([row.ids]), "attention_mask": np.array([row.attention_mask])} for row in rows]
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def measure(languages: list[str], registry: str | None) -> dict[str, Any]:
    """Export each language in both ways and evaluate them on the test set of its card."""
    model = load_model(registry=registry)
    assert model.registry is not None
    features = Features(model.base)
    rows: dict[str, Any] = {}
    for language in languages:
        splits = card_test_set(model.registry.card(language), model.native).splits
        row: dict[str, Any] = {}
        for kind, int8 in KINDS.items():
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / kind
                export(language, "onnx", out=folder, int8=int8, registry=registry)
                row[kind] = {"bytes": (folder / "model.onnx").stat().st_size, "splits": {}}
                for name, data in splits.items():
                    if not isinstance(data, ImageText):
                        continue
                    vectors = encode(folder, list(data.texts))
                    found = evaluate_retrieval(image_vectors(data, features), vectors, np.asarray(data.image_of_text))
                    row[kind]["splits"][name] = {
                        "texts": len(data.texts),
                        "mean_recall": found.mean_recall,
                    }
        rows[language] = row
    return {"languages": rows}


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = []
    for language, row in result["languages"].items():
        for name, full in row["float32"]["splits"].items():
            small = row["int8"]["splits"][name]
            rows.append(
                [
                    f"{language}, {name}",
                    f"{full['texts']}",
                    f"{100 * full['mean_recall']:.1f}",
                    f"{100 * small['mean_recall']:.1f}",
                    f"{100 * (small['mean_recall'] - full['mean_recall']):+.1f}",
                    f"{row['float32']['bytes'] / 1e6:.0f} → {row['int8']['bytes'] / 1e6:.0f}",
                ]
            )
    head = ["language, split", "texts", "float32", "int8", "difference", "MB"]
    return (
        f"{markdown(head, rows)}\n\nMean recall on the demo base in per cent, each text encoded by itself by "
        "onnxruntime; the images' vectors are the base's own."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["sw"])
    parser.add_argument("--registry", help="where the languages are")
    parser.add_argument("--write", action="store_true", help="put the table into docs/exports.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = load("int8") if arguments.reuse else measure(arguments.languages, arguments.registry)
    if not arguments.reuse:
        save("int8", result)
    print(table(result))
    if arguments.write:
        put("int8", table(result), PAGE)


if __name__ == "__main__":
    main()
