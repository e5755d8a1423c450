"""Measure what the alignment alone gives on the demo base: languages that are ready in seconds, without training.

    python benchmarks/start.py [--languages sw de am ja cy] [--write]

The recipe is `instant`; `rounds` 0 leaves the alignment at the counts that it begins from.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import LANGUAGES, SPLITS, load, machine, markdown, put, save

ROUNDS = (0, 5)


def measure(languages: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Add each language with each number of rounds, in a registry of its own."""
    rows: dict[str, Any] = {}
    for language in languages:
        for rounds in ROUNDS:
            with tempfile.TemporaryDirectory() as folder:
                program = [
                    sys.executable, "-m", "mla_extend", "add-language", language, "--parallel-data", "demo",
                    "--image-text", "demo", "--recipe", "instant", "--set", f"embedding.rounds={rounds}", "--seed",
                    str(seed), "--registry", str(Path(folder) / "adapters"), "--json",
                ]  # fmt: skip
                done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
            card = json.loads(done.stdout)
            built = next(stage for stage in card["stages"] if stage["stage"] == "build")
            rows.setdefault(language, {})[str(rounds)] = {
                "splits": card["metrics"]["splits"],
                "build_seconds": built["seconds"],
            }
    return {"seed": seed, "machine": machine(), "languages": rows}


def table(result: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    head = ["language", *(f"{name}: counts, then rounds" for name in SPLITS), "seconds to build"]
    rows = []
    for language, by_rounds in result["languages"].items():
        cells = [language]
        for name in SPLITS:
            cells.append(" → ".join(f"{row['splits'][name]['ratio']:.2f}" for row in by_rounds.values()))
        rows.append([*cells, " → ".join(f"{row['build_seconds']:.1f}" for row in by_rounds.values())])
    return (
        f"{markdown(head, rows)}\n\nRatio of mean recall to the base's own English, recipe `instant`: by the counts of "
        "the alignment alone, and after five rounds of expectation maximisation. "
        f"Seed {result['seed']}, {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = load("start") if arguments.reuse else measure(tuple(arguments.languages), arguments.seed)
    if not arguments.reuse:
        save("start", result)
    print(table(result))
    if arguments.write:
        put("start", table(result))


if __name__ == "__main__":
    main()
