"""Run the command line with another start of the token table, to measure the aligned one against.

python benchmarks/starts.py random|mean-std add-language ...
"""

import sys

import torch
from torch import Tensor

from mla_extend.cli.app import main
from mla_extend.language.embedding import Start, StartInputs, mean_std_start
from mla_extend.training.recipe import Recipe


def random_start(inputs: StartInputs) -> Tensor:
    """Draw from N(0, 0.02), as a transformer's table usually starts."""
    generator = torch.Generator().manual_seed(inputs.seed)
    return torch.randn(inputs.size, inputs.native.shape[1], generator=generator) * 0.02


STARTS: dict[str, Start] = {"random": random_start, "mean-std": mean_std_start}

if __name__ == "__main__":
    start, ours = STARTS[sys.argv.pop(1)], Recipe.build_arguments
    Recipe.build_arguments = lambda recipe: {**ours(recipe), "start": start}  # type: ignore[method-assign]
    main()
