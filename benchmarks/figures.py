"""Measure the headline figures: five languages on the demo base, one after another, in a registry of their own.

    python benchmarks/figures.py            measure all languages and print the table (about 4 minutes each)
    python benchmarks/figures.py --write    the same, and put the table into docs/results.md, its sum into the README
    python benchmarks/figures.py --registry DIR   keep the languages there, for benchmarks/mixed.py
    python benchmarks/figures.py --reuse    only from benchmarks/results/figures.json

Whole processes are timed, as a user waits for them. Seed 0; split and protocol as in docs/concepts.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import LANGUAGES, README, SPLITS, load, machine, markdown, put, save


def command(*arguments: str) -> tuple[str, float]:
    """Run the command line; return its standard output and the seconds it took."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mla_extend", *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout, time.monotonic() - started


def measure(languages: tuple[str, ...], seed: int, kept: str | None = None) -> dict[str, Any]:
    """Add the languages, to a registry that is kept if one is named, and return what the table needs."""
    with tempfile.TemporaryDirectory() as folder:
        registry = kept or str(Path(folder) / "adapters")
        rows = {}
        for language in languages:
            out, seconds = command(
                "add-language", language, "--parallel-data", "demo", "--image-text", "demo", "--registry", registry,
                "--seed", str(seed), "--json",
            )  # fmt: skip
            card = json.loads(out)
            rows[language] = {
                "name": card["language_name"],
                "seconds": seconds,
                "peak_memory_bytes": card["cost"]["peak_memory_bytes"],
                "precision": card["cost"]["precision"],
                "parameters": card["parameters"],
                "bytes": card["bytes"],
                "isolation": {tag: line["vectors_equal"] for tag, line in card["isolation"]["languages"].items()},
                "isolation_seconds": card["isolation"]["seconds"],
                "stages": card["stages"],
                "splits": card["metrics"]["splits"],
            }
        times = [command("list", "--registry", registry)[1] for _ in range(5)]
        check = json.loads(command("verify", "--registry", registry, "--json")[0])
    return {"seed": seed, "machine": machine(), "list_seconds": sorted(times)[2], "verify": check, "languages": rows}


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    head = ["language", *[f"{name}: language / English = ratio" for name in SPLITS]]
    head += ["floor (all)", "parameters", "disk", "seconds", "peak memory"]
    rows = []
    for tag, row in result["languages"].items():
        cells = [f"{row['name']} ({tag})"]
        for name in SPLITS:
            split = row["splits"][name]
            low, high = split["ratio_ci95"]
            ours, native = 100 * split["mean_recall"], 100 * split["native_mean_recall"]
            cells.append(f"{ours:.1f} / {native:.1f} = **{split['ratio']:.2f}** ({low:.2f}-{high:.2f})")
        cells += [
            f"{100 * row['splits']['all']['floor_mean_recall']:.1f}",
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['seconds']:.0f}",
            f"{row['peak_memory_bytes'] / 2**30:.2f} GiB",
        ]
        rows.append(cells)
    sizes = {name: next(iter(result["languages"].values()))["splits"][name]["gallery"] for name in SPLITS}
    galleries = ", ".join(f"{name} {count}" for name, count in sizes.items())
    proven = all(all(row["isolation"].values()) for row in result["languages"].values())
    return (
        f"{markdown(head, rows)}\n\n"
        f"Mean recall in per cent (galleries: {galleries}; one caption an image), its ratio to the base's own English "
        f"on the same images, and the ratio's 95 % bootstrap interval over images. Seed {result['seed']}, "
        f"{result['machine']}. Isolation: English and every language added before were bit-equal before and after each "
        f"addition: {'yes' if proven else 'NO'}. "
        f"`mla-extend list` with {len(rows)} languages: {result['list_seconds']:.2f} s."
    )


def headline(result: dict[str, Any]) -> str:
    """Return the README's table: the ratios and what a language takes."""
    rows = [
        [
            f"{row['name']} ({tag})",
            *[f"{row['splits'][name]['ratio']:.2f}" for name in SPLITS],
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['seconds'] / 60:.0f} min",
        ]
        for tag, row in result["languages"].items()
    ]
    return markdown(["language", *SPLITS, "size", "time"], rows)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/results.md and the README")
    parser.add_argument("--registry", help="where the languages are added; without it, a folder that is removed")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = (
        load("figures") if arguments.reuse else measure(tuple(arguments.languages), arguments.seed, arguments.registry)
    )
    if not arguments.reuse:
        save("figures", result)
    text = table(result)
    print(text)
    if arguments.write:
        put("figures", text)
        put("headline", headline(result), README)


if __name__ == "__main__":
    main()
