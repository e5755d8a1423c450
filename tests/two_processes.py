"""Say the losses and gradients of both stages on one batch: run alone, or twice by `accelerate launch`.

python two_processes.py BASE OUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.processes import join_processes
from mla_extend.training.recipe import load_recipe
from mla_extend.training.stages import ExposureTask, TransferTask, subword_sampling
from tests.conftest import sentences
from tests.fake_training import loss_of

ROWS = 13  # no multiple of two


def main() -> None:
    """Run both stages' losses backwards, and let the first process write them."""
    base, out = sys.argv[1:]
    processes = join_processes("cpu")
    native, target = sentences(60)
    model = MultilingualModel(open_base(base, device="cpu"))
    build_language(model, "sw", native=native, target=target, bottleneck=4)
    ids = model.tokenise("sw", target)
    teacher = model.base.native_vectors(native).numpy()
    generator = np.random.default_rng(0)
    images = generator.standard_normal((20, teacher.shape[1])).astype(np.float32)
    recipe = load_recipe("default", ["transfer.sampling=1"])
    tasks = {
        "transfer": (TransferTask(ids, teacher, native, drawn=subword_sampling(model, "sw", target)), recipe.transfer),
        "exposure": (ExposureTask(ids, images, generator.integers(20, size=60), target), recipe.exposure),
    }
    found: dict[str, torch.Tensor] = {}
    for name, (task, stage) in tasks.items():
        for rows in (np.arange(3, 3 + ROWS), np.array([5])):
            with model.training("sw") as tensors:
                for tensor in tensors.values():
                    tensor.grad = None
                loss = loss_of(task, model, rows, stage, processes)
                loss.backward()
                processes.sum_gradients(tensors.values())
                found[f"{name}/{len(rows)}/loss"] = loss.detach()
                found |= {
                    f"{name}/{len(rows)}/{key}": t.grad.clone() for key, t in tensors.items() if t.grad is not None
                }
    features = Features(model.base, processes=processes)
    for texts in ([*native[:ROWS], native[0]], native[:1]):
        found[f"features/{len(texts)}"] = torch.from_numpy(features.text(texts, cached=False))
    assert processes.any(processes.rank == processes.count - 1)
    assert not processes.any(False)
    assert processes.from_first(processes.rank) == 0
    processes.wait()
    if processes.first:
        save_file(found, Path(out))


if __name__ == "__main__":
    main()
