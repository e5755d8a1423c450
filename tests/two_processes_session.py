"""Train a language in two processes: whole, interrupted by the second and resumed, and with the second dying.

python two_processes_session.py BASE FOLDER
"""

import os
import sys
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ParallelText, Part
from mla_extend.errors import Interrupted
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.processes import Processes, join_processes
from mla_extend.stop import StopRequest
from mla_extend.training.recipe import load_recipe
from mla_extend.training.session import Session
from mla_extend.training.split import Split
from tests.conftest import sentences

STEPS = 8
RECIPE = [f"transfer.max_steps={STEPS}", "transfer.batch=16", "acquirer.bottleneck=4", "precision=fp32"]


class Second(StopRequest):
    """Be asked to stop, or die, in the second process alone, after some steps."""

    def __init__(self, processes: Processes, *, stop: int = 0, die: int = 0) -> None:
        self.rank, self.stop, self.die, self.steps = processes.rank, stop, die, 0

    @property
    def requested(self) -> bool:  # type: ignore[override]
        """Count the steps, of which each asks once."""
        self.steps += 1
        if self.rank and self.steps == self.die:
            os._exit(9)
        return bool(self.rank) and self.steps == self.stop


def train(base: str, folder: Path, processes: Processes, stop: StopRequest, *, resume: bool = False) -> bool:
    """Train in a folder and save what came out beside it; say whether it was interrupted at step 5."""
    native, target = sentences(60)
    model = MultilingualModel(open_base(base, device="cpu"))
    if processes.first:
        folder.mkdir(exist_ok=True)
    processes.wait()
    session = Session(folder, model, "sw", load_recipe("quick", RECIPE), seed=0, processes=processes)
    data = ParallelText((Part("x"),), native, target, np.zeros(60, dtype=np.int64), np.arange(60))
    features = Features(model.base, processes=processes)
    try:
        trained = session.train(data, None, Split(np.arange(60) < 6, None), features, resume=resume, stop=stop)
    except Interrupted as error:
        return f"at step 5 of {STEPS}" in str(error)
    assert trained.stages[0]["steps"] == STEPS
    if processes.first:
        tensors = adapter_tensors(model.peft, model.language("sw").adapter)
        save_file({name: t.detach().contiguous() for name, t in tensors.items()}, folder.with_suffix(".safetensors"))
    return False


def main() -> None:
    """Run all three, one after another."""
    base, place = sys.argv[1], Path(sys.argv[2])
    processes = join_processes("cpu")
    assert not train(base, place / "whole", processes, Second(processes))
    assert train(base, place / "cut", processes, Second(processes, stop=5))
    assert not train(base, place / "cut", processes, Second(processes), resume=True)
    train(base, place / "dead", processes, Second(processes, die=5))


if __name__ == "__main__":
    main()
