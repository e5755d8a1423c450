"""Compare the paper's acquirers with gated and with parallel ones, on the demo base's held-out slices and test style.

    python benchmarks/placement.py [--languages sw zu] [--seeds 0 1] [--steps 150] [--write]

The variants live here and not in the package: they would have to win on the held-out slices to be worth a choice. A
tenth of the training text is held out, five times what the recipe takes, so that a difference has room to show.

- serial: `LA(x) = x + A(x)` after a block, `A` the bottleneck whose output starts at zero (the package's own).
- gated: `LA(x) = x + tanh(g) A(x)`, one `g` a block, which starts at zero instead of `A` (Alayrac et al. 2022).
- parallel: `A` reads what enters the block and is added to what leaves it (He et al. 2022).
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from common import SPLITS, load, machine, markdown, put, save
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend import add_language
from mla_extend.language.acquirer import Acquirer
from mla_extend.language.peft_method import layer as peft_layer

VARIANTS = ("serial", "gated", "parallel")
STAGES = ("transfer", "exposure")


class Gated(Acquirer):
    """Open a bottleneck by a gate that starts shut."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__(width, bottleneck)
        self.gate = nn.Parameter(torch.zeros(1))
        nn.init.kaiming_uniform_(self.up.weight, a=math.sqrt(5))  # the gate is zero in its place

    def forward(self, hidden: Tensor) -> Tensor:
        """Map hidden states `[..., W]` to `[..., W]`."""
        return hidden + torch.tanh(self.gate) * (super().forward(hidden) - hidden)


class Parallel(Acquirer):
    """Add to a block's output what a bottleneck makes of the block's input."""

    def forward(self, hidden: Tensor, entered: Tensor | None = None) -> Tensor:
        """Map a block's output and input `[..., W]` to `[..., W]`."""
        assert entered is not None
        change: Tensor = self.up(F.relu(self.down(entered)))
        return hidden + change.to(hidden.dtype)


def _acquire_beside(self: Any, _module: nn.Module, inputs: Any, output: Any) -> Any:
    """Apply the acquirers to a block's output with its input at hand."""
    if isinstance(output, tuple):
        return (self._apply_runs(output[0], inputs[0]), *output[1:])
    return self._apply_runs(output, inputs[0])


def use(variant: str) -> None:
    """Let every model of this process have a variant's acquirers."""
    if variant == "gated":
        peft_layer.Acquirer = Gated  # type: ignore[misc]
    elif variant == "parallel":
        peft_layer.Acquirer = Parallel  # type: ignore[misc]
        peft_layer.AcquirerBlock._acquire = _acquire_beside  # type: ignore[method-assign]


def add(variant: str, language: str, steps: int, seed: int) -> dict[str, Any]:
    """Add a language with a variant in a registry of its own; return its held-out scores and its figures."""
    use(variant)
    half = steps // 2
    overrides = ["validation.fraction=0.1", f"transfer.max_steps={steps - half}", f"exposure.max_steps={half}"]
    with tempfile.TemporaryDirectory() as registry:
        card = add_language(
            language, parallel_data="demo", image_text="demo", registry=registry, overrides=overrides, seed=seed
        )
        stages = {stage["stage"]: stage for stage in card.stages}
        return {
            "held_out": {name: stages[name]["best_score"] for name in STAGES},
            "splits": {name: card.metrics["splits"][name]["ratio"] for name in SPLITS},
        }


def measure(languages: list[str], seeds: list[int], steps: int) -> dict[str, Any]:
    """Run every variant in a process of its own."""
    rows: dict[str, Any] = {}
    result = {"languages": languages, "seeds": seeds, "steps": steps, "machine": machine(), "variants": rows}
    for language in languages:
        for variant in VARIANTS:
            for seed in seeds:
                one = ["--one", variant, "--languages", language, "--seeds", str(seed), "--steps", str(steps)]
                program = [sys.executable, str(Path(__file__)), *one]
                done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
                rows.setdefault(language, {}).setdefault(variant, {})[str(seed)] = json.loads(done.stdout)
                save("placement", result)
    return result


def table(result: dict[str, Any]) -> str:
    """Return the means over seeds as Markdown."""
    head = ["", *(f"held out, {name}" for name in ("NLT", "LE")), *SPLITS]
    rows, alone = [], ""
    for language, variants in result["variants"].items():
        for variant, runs in variants.items():
            held_out = [mean(run["held_out"][name] for run in runs.values()) for name in STAGES]
            splits = [mean(run["splits"][name] for run in runs.values()) for name in SPLITS]
            if len(runs) < len(result["seeds"]):
                alone += f" ({language}, {variant}: {', '.join(runs)} alone)"
            rows.append([f"{language}, {variant}", *(f"{x:.3f}" for x in [*held_out, *splits])])
    seeds = ", ".join(map(str, result["seeds"]))
    return (
        f"{markdown(head, rows)}\n\nHeld out: mean recall (a fraction) on a tenth of the training text, at the best "
        "evaluation of each stage. The rest: ratio of mean recall to the base's own English on the test style. "
        f"{result['steps']} steps in all, means over the seeds {seeds}{alone}; {result['machine']}."
    )


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["sw", "zu"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--write", action="store_true", help="put the table into docs/results.md")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one = add(arguments.one, arguments.languages[0], arguments.steps, arguments.seeds[0])
        print(json.dumps(one))
        return
    result = load("placement") if arguments.reuse else measure(arguments.languages, arguments.seeds, arguments.steps)
    text = table(result)
    print(text)
    if arguments.write:
        put("placement", text)


if __name__ == "__main__":
    main()
