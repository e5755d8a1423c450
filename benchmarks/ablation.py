"""Ablate the recipe on the demo base for one language: the same data, seed and steps, one thing changed at a time.

    python benchmarks/ablation.py [--language sw] [--related zu] [--steps 150] [--write]

With few steps it shows what each part gives, not the best figures: those are benchmarks/figures.py's. With `--related`
one variant starts from a copy of that language, which is added first in the same way.
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
        "aligned start, NLT and LE, texts always cut in the likeliest way": {**both, "transfer.sampling": 0},
        "random start, NLT and LE": {**both, "start": "random"},
        "mean-std start, NLT and LE": {**both, "start": "mean-std"},
        "acquirers alone (the base's tokenizer and table)": {**both, "embedding.start": "native"},
        "embedding alone (no acquirers)": {**both, "acquirer.bottleneck": 0},
    }
    return {name: [f"{key}={value}" for key, value in values.items()] for name, values in table.items()}


def measure(language: str, related: str | None, steps: int, seed: int) -> dict[str, Any]:
    """Run every variant in a registry of its own."""
    rows: dict[str, Any] = {}
    result = {"language": language, "related": related, "steps": steps, "seed": seed, "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in variants(steps).items():
            rows[name] = add(language, overrides, Path(folder) / str(len(rows)), seed)
            save(f"ablation-{language}", {**result, "variants": rows})
        if related is not None:
            both, registry = variants(steps)["aligned start, NLT and LE"], Path(folder) / "related"
            add(related, both, registry, seed)
            rows[f"from a copy of {related}, NLT and LE"] = add(language, both, registry, seed, "--start-from", related)
    return {**result, "variants": rows}


def add(language: str, overrides: list[str], registry: Path, seed: int, *more: str) -> dict[str, Any] | None:
    """Add a language; return its figures, or nothing where it was refused."""
    arguments = [
        "add-language", language, "--parallel-data", "demo", "--image-text", "demo", "--seed", str(seed),
        "--registry", str(registry), "--json", *more,
    ]  # fmt: skip
    program = [sys.executable, "-m", "mla_extend"]
    for override in overrides:
        name, _, value = override.partition("=")
        if name == "start":  # the package has none but the aligned one
            program = [sys.executable, str(Path(__file__).with_name("starts.py")), value]
        else:
            arguments += ["--set", override]
    program += arguments
    # A variant that learns nothing is refused, which is a result too.
    done = subprocess.run(program, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    card = json.loads(done.stdout)
    return {"splits": card["metrics"]["splits"], "parameters": card["parameters"]}


def table(result: dict[str, Any]) -> str:
    """Return the ablation as Markdown."""
    rows = []
    for name, row in result["variants"].items():
        if row is None:
            rows.append([name, *["refused: learned nothing"] * len(SPLITS), ""])
            continue
        cells = [
            f"{100 * row['splits'][part]['mean_recall']:.1f} ({row['splits'][part]['ratio']:.2f})" for part in SPLITS
        ]
        rows.append([name, *cells, f"{row['parameters'] / 1e6:.2f} M"])
    return (
        f"{markdown(['variant', *SPLITS, 'parameters'], rows)}\n\n"
        f"{result['language']}, mean recall in per cent and (ratio to English); {result['steps']} steps in all for "
        f"every trained variant, seed {result['seed']}, {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", default="sw")
    parser.add_argument("--related", help="a language to start from a copy of, in one more variant")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    language, name = arguments.language, f"ablation-{arguments.language}"
    if arguments.reuse:
        result = load(name)
    else:
        result = measure(language, arguments.related, arguments.steps, arguments.seed)
        save(name, result)
    text = table(result)
    print(text)
    if arguments.write:
        put(name, text)


if __name__ == "__main__":
    main()
