"""Add every language of the demo by one plan, and measure what so many cost in one registry.

    python benchmarks/many.py --registry DIR [--recipe instant] [--languages sw de ...] [--jobs 1] [--write]

What is in the registry already is left alone, so that a run that was stopped goes on with the same command; with
`--reuse` nothing is added, and what is there is measured. The table goes to docs/many-languages.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from common import ROOT, SPLITS, machine, markdown, put, save
from serve import Client, ask_all, child, make_index, read_queries, urlsplit

from mla_extend.demo.locales import demo_languages
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry
from mla_extend.search.route import Router, router_of

PAGE = ROOT / "docs" / "many-languages.md"
PROGRAM = [sys.executable, "-m", "mla_extend"]
FEW = 200
"""Queries that are timed."""


def main() -> None:
    """Add, measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, required=True, help="where the languages are added")
    parser.add_argument("--recipe", default="instant")
    parser.add_argument("--languages", nargs="+", help="default: every language that the demo has data for")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--reuse", action="store_true", help="measure what is there")
    parser.add_argument("--write", action="store_true", help="write the result and the table")
    arguments = parser.parse_args()
    if not arguments.reuse:
        add(arguments.registry, arguments.recipe, arguments.languages or demo_languages(), arguments.jobs)
    home = Registry(arguments.registry).open("demo")
    result = {"recipe": arguments.recipe, "machine": machine(), **figures(home)}
    if arguments.recipe == "instant":
        result |= served(arguments.registry)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if arguments.write:
        save(f"many-{arguments.recipe}", result)
        put(f"many-{arguments.recipe}", table(result), PAGE)


def add(registry: Path, recipe: str, languages: list[str], jobs: int) -> None:
    """Add the languages that are not there by one plan; a language that fails stops no other."""
    data = dict.fromkeys(("parallel_data", "image_text", "test_set"), "demo")
    plan = registry / ".jobs" / f"{recipe}.yaml"  # not beside the base's folder, which is named as the demo is
    plan.parent.mkdir(parents=True, exist_ok=True)
    plan.write_text(
        yaml.safe_dump(
            {"base": "demo", "registry": "..", "defaults": {"recipe": recipe, **data}, "languages": languages}
        )
    )
    subprocess.run([*PROGRAM, "add-languages", str(plan), "--jobs", str(jobs)], check=False)


def figures(home: BaseRegistry) -> dict[str, Any]:
    """Return what the cards say, the size of all, and the seconds of `list`."""
    cards = [entry.card for entry in home.languages() if entry.card is not None]
    cards.sort(key=lambda card: card.created)
    began = time.monotonic()
    subprocess.run(
        [*PROGRAM, "list", "--registry", str(home.folder.parent), "--json"], check=True, stdout=subprocess.DEVNULL
    )
    return {
        "list_seconds": round(time.monotonic() - began, 2),
        "proof_seconds": [card.isolation["seconds"] for card in (cards[1], cards[-1])],
        "seconds": statistics.median(card.cost["seconds"] for card in cards),
        "bytes": sum(card.bytes for card in cards),
        "languages": {
            card.language: {
                "name": card.language_name,
                "seed": card.seed,
                "pairs": next(record["kept"] for record in card.data if record["role"] == "parallel"),
                "bytes": card.bytes,
                "seconds": card.cost["seconds"],
                "compared": sum(bool(line["vectors_equal"]) for line in card.isolation["languages"].values()),
                "splits": {
                    name: {
                        key: card.metrics["splits"][name][key]
                        for key in ("gallery", "mean_recall", "native_mean_recall", "ratio", "ratio_ci95")
                    }
                    for name in SPLITS
                },
            }
            for card in sorted(cards, key=lambda card: card.language)
        },
    }


def served(registry: Path) -> dict[str, Any]:
    """Return what a server weighs that has answered in English, then in all languages, and how soon it answers."""
    index = registry / ".jobs" / "index"
    if not index.is_dir():
        make_index(index)
    queries = read_queries(registry)
    server = child("server", registry, index, 32)
    try:
        assert server.stdout is not None
        address = urlsplit(server.stdout.readline().strip()).netloc
        process = psutil.Process(server.pid)
        ask_all(address, [("a black dog", "en")], True, 1, 60.0)
        bare = process.memory_info().rss
        each = {tag: (text, tag) for text, tag in queries}
        loading = [ask_all(address, [query], True, 1, 60.0)[0] for query in each.values()]
        held, files = process.memory_info().rss - bare, process.num_fds()
        said = ask_all(address, queries[:FEW], True, 1, 600.0)
        guessed = ask_all(address, queries[:FEW], False, 1, 600.0)
        answering = len(Client(address).get("/languages")["languages"])
    finally:
        server.terminate()
        server.wait()
    return {
        "server": {
            "languages": answering,
            "bare_bytes": bare,
            "above_bytes": held,
            "files_open": files,
            "first_answer_ms": round(1000 * statistics.median(loading), 1),
            "said_ms": round(1000 * statistics.median(said), 1),
            "guessed_ms": round(1000 * statistics.median(guessed), 1),
        },
        "routing": routed(registry, [text for text, _ in queries[:FEW]]),
    }


def routed(registry: Path, texts: list[str]) -> dict[str, Any]:
    """Return what opening a router over all languages takes, and routing one query."""
    from mla_extend import load_model

    model, process = load_model(registry=registry), psutil.Process()
    before, began = process.memory_info().rss, time.monotonic()
    router: Router = router_of(model)
    router.route(texts[:1])
    opened, times = time.monotonic() - began, []
    for text in texts:
        began = time.perf_counter()
        router.route([text])
        times.append(time.perf_counter() - began)
    return {
        "open_seconds": round(opened, 2),
        "bytes": process.memory_info().rss - before,
        "query_ms": round(1000 * statistics.median(times), 2),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = []
    for tag, row in result["languages"].items():
        cells = [f"{row['name']} ({tag})", f"{row['pairs']:,}"]
        for name in SPLITS:
            split = row["splits"][name]
            low, high = split["ratio_ci95"]
            cells.append(f"{split['ratio']:.2f} ({low:.2f}-{high:.2f}) of {100 * split['native_mean_recall']:.1f}")
        rows.append([*cells, f"{row['bytes'] / 1e6:.1f} MB", f"{row['seconds']:.0f} s"])
    lines = [
        f"{len(rows)} of the demo's {len(demo_languages())} languages, recipe `{result['recipe']}`, seed 0, one "
        "picture a concept. Each cell is the ratio to the base's own English on the same pictures, its 95 % interval, "
        f"and that English mean recall in per cent. Measured on {result['machine']}.",
        markdown(["language", "pairs", *SPLITS, "size", "time"], rows),
    ]
    mib = 1 << 20
    summary = [
        ["time of a language, median", f"{result['seconds']:.0f} s"],
        ["size of all", f"{result['bytes'] / mib:,.0f} MiB"],
        ["`list`", f"{result['list_seconds']:.2f} s"],
    ]
    if "server" in result:
        server, routing = result["server"], result["routing"]
        summary += [
            ["server with the base alone", f"{server['bare_bytes'] / mib:,.0f} MiB"],
            ["the same after answering in all languages", f"+{server['above_bytes'] / mib:,.0f} MiB"],
            ["its open files", f"{server['files_open']}"],
            ["first answer in a language, median", f"{server['first_answer_ms']:.0f} ms"],
            ["answer, language said", f"{server['said_ms']:.0f} ms"],
            ["answer, language detected", f"{server['guessed_ms']:.0f} ms"],
            ["detection alone", f"{routing['query_ms']:.1f} ms"],
        ]
    return "\n\n".join([markdown(["", "measured"], summary), *lines])


if __name__ == "__main__":
    main()
