"""Ablate the recipe on the demo base for one language: the same data, seed and steps, one thing changed at a time.

    python benchmarks/ablation.py [--language sw] [--steps 150] [--write]

With few steps it shows what each part gives, not the best figures: those are benchmarks/figures.py's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import SPLITS, load, machine, markdown, put, save


def variants(steps: int) -> dict[str, list[str]]:
    """Return each variant's overrides; `steps` are the optimiser steps in all."""
    half = steps // 2
    both = {"transfer.max_steps": steps - half, "exposure.max_steps": half}
    alone_transfer = {"transfer.max_steps": steps, "exposure.max_steps": 0}
    alone_exposure = {"transfer.max_steps": 0, "exposure.max_steps": steps, "exposure.transfer": 0}
    table = {
        "aligned start, no training": {"transfer.max_steps": 0, "exposure.max_steps": 0},
        "aligned start, NLT and LE": both,
        "aligned start, NLT alone": alone_transfer,
        "aligned start, LE alone": alone_exposure,
        "aligned start, NLT and LE without the transfer loss in LE": {**both, "exposure.transfer": 0},
        "random start, NLT and LE": {**both, "embedding.start": "random"},
        "mean-std start, NLT and LE": {**both, "embedding.start": "mean-std"},
        "acquirers alone (the base's tokenizer and table)": {**both, "embedding.start": "native"},
        "embedding alone (no acquirers)": {**both, "acquirer.bottleneck": 0},
    }
    return {name: [f"{key}={value}" for key, value in values.items()] for name, values in table.items()}


def measure(language: str, steps: int, seed: int) -> dict[str, Any]:
    """Run every variant in a registry of its own."""
    rows = {}
    for name, overrides in variants(steps).items():
        with tempfile.TemporaryDirectory() as folder:
            arguments = [
                "add-language", language, "--parallel-data", "demo", "--image-text", "demo", "--seed", str(seed),
                "--registry", str(Path(folder) / "adapters"), "--json",
            ]  # fmt: skip
            for override in overrides:
                arguments += ["--set", override]
            program = [sys.executable, "-m", "mla_extend", *arguments]
            # A variant that learns nothing is refused, which is a result too.
            done = subprocess.run(program, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            rows[name] = None
            continue
        card = json.loads(done.stdout)
        rows[name] = {"splits": card["metrics"]["splits"], "parameters": card["parameters"], "cost": card["cost"]}
        save("ablation", {"language": language, "steps": steps, "seed": seed, "machine": machine(), "variants": rows})
    return {"language": language, "steps": steps, "seed": seed, "machine": machine(), "variants": rows}


def table(result: dict[str, Any]) -> str:
    """Return the ablation as Markdown."""
    rows = []
    for name, row in result["variants"].items():
        if row is None:
            rows.append([name, *["refused: learned nothing"] * len(SPLITS), "", ""])
            continue
        cells = [
            f"{100 * row['splits'][part]['mean_recall']:.1f} ({row['splits'][part]['ratio']:.2f})" for part in SPLITS
        ]
        rows.append([name, *cells, f"{row['parameters'] / 1e6:.2f} M", f"{row['cost']['seconds']:.0f}"])
    return (
        f"{markdown(['variant', *SPLITS, 'parameters', 'seconds'], rows)}\n\n"
        f"{result['language']}, mean recall in per cent and (ratio to English); {result['steps']} steps in all for "
        f"every trained variant, seed {result['seed']}, {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="sw")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = load("ablation") if arguments.reuse else measure(arguments.language, arguments.steps, arguments.seed)
    if not arguments.reuse:
        save("ablation", result)
    text = table(result)
    print(text)
    if arguments.write:
        put("ablation", text)


if __name__ == "__main__":
    main()
