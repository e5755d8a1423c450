"""Say how many pairs it takes: what a language reads against how many it was given.

    python benchmarks/pairs.py [--recipes instant quick] [--languages de cs] [--demo sw es] [--write]

Each curve takes the first pairs of one shuffled list, so that a larger number holds the smaller ones. Parallel text is
all that is learned from: no images with text, so that the number of pairs is what there was.

- Multi30K: a caption of test_2016_flickr looks for its English original among 30,000, as in multi30k.py;
- the demo: mean recall among its images (`all`, and `unseen`, of which no line is taught), beside the base's own
  English and, where translate.py was run for the language, beside translating the captions and searching in English.

`instant` trains nothing; `quick` takes 40 steps of Native Language Transfer, whatever the number: both read lower on
many pairs than a full run does.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import PAGE, RESULTS, ROOT, load, machine, markdown, put, save
from multi30k import DATA, Data, Judge

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.pairs import ParallelText
from mla_extend.data.source import open_source, parse_source
from mla_extend.data.test_sets import read_test_set
from mla_extend.demo.data import demo_data
from mla_extend.evaluation.evaluate import evaluate_model
from mla_extend.language.model import MultilingualModel
from mla_extend.training.recipe import Recipe, load_recipe
from mla_extend.training.session import Session
from mla_extend.training.split import split

PLOT = ROOT / "docs" / "pairs.png"
COUNTS = (100, 300, 1000, 3000, 10_000, 29_000)
"""Numbers of pairs, as far as there are so many."""

Point = dict[str, Any]


def first_of(pairs: ParallelText, seed: int) -> dict[int, ParallelText]:
    """Return the first pairs of a shuffled list, by their number."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    place = np.argsort(order)
    return {count: pairs.subset(place < count) for count in COUNTS if count <= len(pairs)}


def learn(
    model: MultilingualModel,
    tag: str,
    pairs: ParallelText,
    recipe: Recipe,
    seed: int,
    features: Features,
    text: Sequence[str] = (),
) -> float:
    """Build a language and train its text stage; return the seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder), model, tag, recipe, seed=seed)
        session.train(pairs, None, split(pairs, None, recipe, text=text), features)
    return time.monotonic() - started


def multi30k_curve(model: MultilingualModel, tag: str, folder: Path, recipe: Recipe, seed: int) -> list[Point]:
    """Return the share of a language's test captions that find their English original, by the number of pairs."""
    data = Data(folder, tag, None)
    judge, features, points = Judge(model.base, data), Features(model.base), []
    for count, pairs in first_of(data.pairs, seed).items():
        seconds = learn(model, tag, pairs, recipe, seed, features)
        found = judge(lambda texts: model.text_vectors(texts, tag).numpy())
        model.remove(tag)
        points.append({"pairs": count, "seconds": seconds, "value": found["accuracy"], "ci95": found["accuracy_ci95"]})
        print(f"Multi30K {tag}, {recipe.name}: {points[-1]}", flush=True)
    return points


def demo_curve(model: MultilingualModel, tag: str, recipe: Recipe, seed: int) -> list[Point]:
    """Return a language's mean recall on the demo's images, by the number of pairs."""
    place, features, points = demo_data(tag), Features(model.base), []
    tests = read_test_set(parse_source(place.test_set, ColumnMapping(tag)))
    for count, pairs in first_of(open_source(place.parallel, ColumnMapping(tag)).parallel(), seed).items():
        seconds = learn(model, tag, pairs, recipe, seed, features)
        splits = evaluate_model(model, tag, tests, features, seed=seed)["splits"]
        model.remove(tag)
        points.append({
            "pairs": count, "seconds": seconds, "value": splits["all"]["mean_recall"], "ci95": splits["all"]["ci95"],
            "unseen": splits["unseen"]["mean_recall"], "native": splits["all"]["native_mean_recall"],
            "native_unseen": splits["unseen"]["native_mean_recall"], "floor": splits["all"]["floor_mean_recall"],
        })  # fmt: skip
        print(f"demo {tag}, {recipe.name}: {points[-1]}", flush=True)
    return points


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all curves."""
    model, seed = MultilingualModel(open_base("demo")), arguments.seed
    result: dict[str, Any] = load("pairs") if arguments.add else {"multi30k": {}, "demo": {}}
    result |= {"seed": seed, "machine": machine()}
    for name in arguments.recipes:
        recipe = load_recipe(name)
        for tag in arguments.languages:
            points = multi30k_curve(model, tag, arguments.data, recipe, seed)
            result["multi30k"].setdefault(tag, {})[name] = points
            save("pairs", result)
        for tag in arguments.demo:
            result["demo"].setdefault(tag, {})[name] = demo_curve(model, tag, recipe, seed)
            save("pairs", result)
    return result


def translation(result: dict[str, Any]) -> dict[str, Any]:
    """Return the level lines: what translate.py measured of the demo's languages."""
    there = load("translate")["languages"] if (RESULTS / "translate.json").is_file() else {}
    return {tag: there[tag]["figures"] for tag in result["demo"] if tag in there}


def table(result: dict[str, Any]) -> str:
    """Return the curves as Markdown."""
    counts = sorted({p["pairs"] for kind in ("multi30k", "demo") for c in curves(result[kind]) for p in c[2]})
    rows = []
    for kind, title in (("multi30k", "Multi30K"), ("demo", "demo")):
        for tag, name, points in curves(result[kind]):
            there = {point["pairs"]: point for point in points}
            cells = [
                (f"{100 * there[n]['value']:.1f}" + (f" / {100 * there[n]['unseen']:.1f}" if kind == "demo" else ""))
                if n in there else ""
                for n in counts
            ]  # fmt: skip
            rows.append([f"{title} {tag}, `{name}`", *cells])
    notes = [
        f"translated from {tag} by Apertium {100 * found['all']['second']:.1f} / {100 * found['unseen']['second']:.1f}"
        for tag, found in translation(result).items()
    ]
    for _, _, points in curves(result["demo"])[:1]:
        notes.insert(0, f"English itself {100 * points[0]['native']:.1f} / {100 * points[0]['native_unseen']:.1f}")
    return (
        f"{markdown(['pairs', *(f'{n:,}' for n in counts)], rows)}\n\n"
        "Per cent. Multi30K: captions that find their English original among 30,000 (English itself: 100). Demo: mean "
        f"recall on all / unseen, without Language Exposure ({'; '.join(notes)}). `instant` trains nothing, `quick` "
        "takes 40 steps whatever the number of pairs, so that many pairs read lower here than after a full run. "
        f"Seed {result['seed']}, {result['machine']}."
    )


def curves(kind: dict[str, dict[str, list[Point]]]) -> list[tuple[str, str, list[Point]]]:
    """Return language, recipe and points of each curve."""
    return [(tag, name, points) for tag, by_recipe in kind.items() for name, points in by_recipe.items()]


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the curves: Multi30K beside the demo, pairs on a log axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, kind, label in (
        (left, "multi30k", "finds its English original among 30,000 (%)"),
        (right, "demo", "mean recall among the demo's images (%)"),
    ):
        colours = dict(zip(result[kind], ("#1f5fa8", "#c2571a", "#3d8a3d"), strict=False))
        for tag, name, points in curves(result[kind]):
            low, high = (np.array([100 * p["ci95"][end] for p in points]) for end in (0, 1))
            values = np.array([100 * p["value"] for p in points])
            axes.errorbar(
                [p["pairs"] for p in points], values, [values - low, high - values], color=colours[tag], lw=1.6,
                marker="o", ms=4, capsize=2, ls="dotted" if name == "instant" else "solid", label=f"{tag}, {name}",
            )  # fmt: skip
        axes.set(xscale="log", xlabel="pairs of sentences", ylabel=label)
        axes.grid(alpha=0.3)
        if kind == "demo":
            for _, _, points in curves(result[kind])[:1]:
                axes.axhline(100 * points[0]["native"], color="#777777", lw=1, label="English itself")
            for tag, found in translation(result).items():
                axes.axhline(
                    100 * found["all"]["second"], color=colours[tag], lw=1, ls="dashed", label=f"{tag}, translated"
                )
        axes.set_xticks(COUNTS[: 6 if kind == "multi30k" else 4])
        axes.set_xticklabels([f"{n:,}" for n in COUNTS[: 6 if kind == "multi30k" else 4]])
        axes.set_ylim(0, 100 if kind == "multi30k" else None)
        axes.minorticks_off()
        axes.legend(frameon=False)
    left.set_title("Multi30K")
    right.set_title("demo, all")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of Multi30K, as for multi30k.py")
    parser.add_argument("--languages", nargs="*", default=["de", "cs"], help="of Multi30K")
    parser.add_argument("--demo", nargs="*", default=["sw", "es"], help="languages of the demo")
    parser.add_argument("--recipes", nargs="+", default=["instant", "quick"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--add", action="store_true", help="keep the other curves of the last result")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}, and draw {PLOT.name}")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = load("pairs") if arguments.reuse else measure(arguments)
    print(table(result))
    if arguments.write:
        put("pairs", table(result))
        draw(result, PLOT)


if __name__ == "__main__":
    main()
