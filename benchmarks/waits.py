"""Say what a wait buys: Multi30K's captions by `--time`, and by the number of pairs where the recipe counts the steps.

    python benchmarks/waits.py [--languages de cs] [--times 30 120 600] [--counts 1000 10000 29000 300000] [--write]

Each row is one `add-language` with an empty feature cache, from the start of the command, Python's own start left out,
to the published version. A caption of test_2016_flickr looks for its English original among 30,000, as in multi30k.py.

More pairs than Multi30K has are recombined: captions drawn at random stand one behind the other, on both sides. Such
pairs hold no new words; they show that more data of the same kind does no harm.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, cold_features, load, machine, markdown, put, save
from multi30k import DATA, Data, Judge

from mla_extend import add_language, load_model
from mla_extend.bases.open import open_base

Row = dict[str, Any]


def write_pairs(path: Path, data: Data, count: int, seed: int) -> None:
    """Write the first pairs of a shuffled list, and recombined ones behind them where there are too few."""
    generator = np.random.default_rng(seed)
    native, target = data.pairs.native, data.pairs.target
    with path.open("w", encoding="utf-8") as file:
        for i in generator.permutation(len(target))[:count]:
            file.write(f"{native[i]}\t{target[i]}\n")
        for _ in range(count - len(target)):
            i, j = generator.integers(len(target), size=2)
            file.write(f"{native[i]} {native[j]}\t{target[i]} {target[j]}\n")


def run(data: Data, judge: Judge, count: int, wait: float | None, seed: int) -> Row:
    """Add the language with some pairs, and say what it took and reads."""
    tag = data.language
    with tempfile.TemporaryDirectory() as folder, cold_features():
        path, registry = Path(folder) / "pairs.tsv", Path(folder) / "adapters"
        write_pairs(path, data, count, seed)
        started = time.monotonic()
        card = add_language(tag, parallel_data=path, registry=registry, base="demo", time=wait, seed=seed)
        seconds = time.monotonic() - started
        model = load_model(base="demo", registry=registry)
        found = judge(lambda texts: model.text_vectors(texts, tag).numpy())
    stage = next(stage for stage in card.stages if stage["stage"] == "transfer")
    row = {"pairs": count, "time": wait, "seconds": round(seconds, 1), "steps": stage["steps"], **found}
    print(f"{tag}: {row}", flush=True)
    return row


def table(result: dict[str, Any]) -> str:
    """Return the rows as a Markdown table."""
    rows = [
        [
            f"{tag}, {row['pairs']:,} pairs",
            f"`--time {row['time']:g}s`" if row["time"] else "",
            f"{row['seconds']:.0f}",
            f"{row['steps']:,}",
            f"{100 * row['accuracy']:.1f} ({' to '.join(f'{100 * end:.1f}' for end in row['accuracy_ci95'])})",
        ]
        for tag, found in result["rows"].items()
        for row in found
    ]
    return (
        markdown(["", "asked", "seconds", "steps", "accuracy (95 %)"], rows)
        + f"\n\nPer cent (English finds itself always), recipe `default`, seed {result['seed']}, {result['machine']}."
    )


def main() -> None:
    """Measure what is not there yet, print, and write the table where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of train.en.gz and the others")
    parser.add_argument("--languages", nargs="+", default=["de", "cs"])
    parser.add_argument("--times", nargs="*", type=float, default=[30, 120, 600])
    parser.add_argument("--counts", nargs="*", type=int, default=[1_000, 10_000, 29_000, 300_000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="measure what there is, too")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    arguments = parser.parse_args()
    there = (ROOT / "benchmarks" / "results" / "waits.json").is_file() and not arguments.again
    result = load("waits") if there else {"rows": {}}
    result |= {"seed": arguments.seed, "machine": machine()}
    base = open_base("demo")
    for tag in arguments.languages:
        data = Data(arguments.data, tag, None)
        judge = Judge(base, data)
        rows: list[Row] = result["rows"].setdefault(tag, [])
        for count, wait in [*((29_000, wait) for wait in arguments.times), *((n, None) for n in arguments.counts)]:
            if (count, wait) not in [(row["pairs"], row["time"]) for row in rows]:
                rows.append(run(data, judge, count, wait, arguments.seed))
                rows.sort(key=lambda row: (row["time"] is None, row["time"], row["pairs"]))
                save("waits", result)
    print(table(result))
    if arguments.write:
        put("waits", table(result))


if __name__ == "__main__":
    main()
