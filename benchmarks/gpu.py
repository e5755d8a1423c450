"""Check training on a GPU from end to end, in about five minutes; without one, run the same on the CPU and say so.

    python benchmarks/gpu.py [--tower b32] [--write]

Random weights of a real text tower; nothing is downloaded. It prints, and with `--write` saves,

- parity: losses and gradients of a batch beside those of the CPU in fp32, and how far bf16 is from them;
- throughput: pairs a second by batch, and the peak memory beside what `tokens_that_fit` reckons with;
- parts: a batch cut into parts with cached gradients, whose gradients must be those of the whole;
- compile: steps with the blocks compiled, beside steps without;
- processes: two processes on two GPUs, where there are two, beside one.

A failed check is told at the end, with exit code 1.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, save
from limit import ROWS, VOCABULARY, build, processor
from torch import Tensor

from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import AcquirerBlock
from mla_extend.processes import ALONE, Processes, join_processes
from mla_extend.training.checkpoint import CheckpointFile
from mla_extend.training.forward import tokens_that_fit
from mla_extend.training.loop import Run, Trainer
from mla_extend.training.optimiser import add_gradients
from mla_extend.training.precision import Autocast, pick_precision
from mla_extend.training.recipe import load_recipe
from mla_extend.training.stages import Stage, TransferTask, transfer_terms
from mla_extend.training.validation import Score

TOKENS, REPEATS = 32, 5
NEAR = 0.999
"""Cosine between gradients in fp32 here and there, at least; in bf16 they may be as far as `ROUGH`."""
ROUGH = 0.95


def main() -> None:
    """Run all checks, print and save them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tower", choices=["minilm", "b32", "l14"], default="b32", help="text tower")
    parser.add_argument("--batches", nargs="+", type=int, default=[128, 512, 2048], help="rows a step")
    parser.add_argument("--write", action="store_true", help="save the results")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        processes = join_processes("auto")
        told = throughput(options.tower, 512, processes)
        if processes.first:
            print(json.dumps(told))
        return
    gpus = torch.cuda.device_count()
    device = torch.device("cuda" if gpus else "cpu")
    batches = options.batches if gpus else options.batches[:1]
    name = torch.cuda.get_device_name() if gpus else "NO GPU: all of this ran on the CPU and says nothing of one"
    print(name, flush=True)
    result: dict[str, Any] = {"device": name, "machine": f"{machine()}, {processor()}"}
    checks = {
        "parity": lambda: parity(options.tower, device),
        "parts": lambda: in_parts(options.tower, device),
        "throughput": lambda: [throughput(options.tower, batch) for batch in batches],
        "compile": lambda: throughput(options.tower, batches[0], compiled=True),
    }
    if gpus > 1:
        checks["processes"] = lambda: two_processes(options)
    for check, run in checks.items():
        try:
            result[check] = run()
        except Exception as error:  # noqa: BLE001 - told, and the next check is made
            result[check] = {"failed": f"{type(error).__name__}: {error}"}
        print(check, json.dumps(result[check]), flush=True)
    if options.write:
        save("gpu", result)
    failed = [check for check in checks if "failed" in result[check]]
    print(f"{name}. Failed: {', '.join(failed) or 'none'}.")
    sys.exit(bool(failed))


def batch_of(model: MultilingualModel, rows: int) -> TransferTask:
    """Return made-up pairs, as many as a batch."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(8, TOKENS + 1, size=rows)
    ids = [np.minimum(generator.zipf(1.2, size=size) + 4, VOCABULARY - 1).tolist() for size in lengths]
    teacher = generator.standard_normal((rows, model.base.width)).astype(np.float32)
    return TransferTask(ids, teacher, [f"{i}" for i in range(rows)])


def gradients(tower: str, device: torch.device, precision: str, most: int | None = None) -> tuple[float, Tensor]:
    """Return the loss of a batch and all gradients in a row, on the CPU."""
    model = build(tower, device)
    task, rows = batch_of(model, ROWS), np.arange(ROWS)
    (term,) = transfer_terms(task, load_recipe("default"))
    with model.training("xx") as tensors:
        # An acquirer that is the identity hands on half of its gradients only.
        with torch.no_grad():
            for number, tensor in enumerate(tensors.values()):
                drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(number))
                tensor.add_(drawn.to(device), alpha=0.02)
        ids = task.reads(model, rows, term.recipe)
        loss = add_gradients(model, term, rows, ids, Autocast(precision, model), ALONE, most)
        found = [tensor.grad.flatten().cpu() for tensor in tensors.values() if tensor.grad is not None]
    return float(loss), torch.cat(found)


def parity(tower: str, device: torch.device) -> dict[str, Any]:
    """Set loss and gradients beside those of the CPU in fp32."""
    loss, exact = gradients(tower, torch.device("cpu"), "fp32")
    found: dict[str, Any] = {"loss": {"cpu fp32": loss}, "cosine": {}}
    for precision, due in (("fp32", NEAR), ("bf16", ROUGH)):
        found["loss"][precision], mine = gradients(tower, device, precision)
        found["cosine"][precision] = cosine = float(torch.nn.functional.cosine_similarity(mine, exact, dim=0))
        if cosine < due:
            found["failed"] = f"the gradients in {precision} have a cosine of {cosine:.4f} with the CPU's in fp32"
    return found


def in_parts(tower: str, device: torch.device) -> dict[str, Any]:
    """Set gradients of a batch in four parts beside those of the whole."""
    loss, whole = gradients(tower, device, "fp32")
    cut, parts = gradients(tower, device, "fp32", ROWS * TOKENS // 4)
    far = float((whole - parts).norm() / whole.norm())
    return {"loss": [loss, cut], "difference": far, **({"failed": f"they differ by {far}"} if far > 1e-4 else {})}


def throughput(tower: str, batch: int, processes: Processes = ALONE, *, compiled: bool = False) -> dict[str, Any]:
    """Return pairs a second and memory of the trainer's own steps."""
    device = processes.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(tower, device)
    if compiled:
        for layer in model.tuner.layers().values():
            if isinstance(layer, AcquirerBlock):
                layer.base_layer.compile(dynamic=True)
    recipe = load_recipe("default", [f"transfer.batch={batch}"])
    terms = transfer_terms(batch_of(model, 4 * batch), recipe)
    stage = Stage("gpu", terms, recipe.transfer, lambda _: Score(0.0, 0.0, 0.0, 0.0), 10**9)
    precision = pick_precision("auto", device)
    trainer = Trainer(model, "xx", seed=0, precision=precision, checkpoints=CheckpointFile(Path()), processes=processes)
    with model.training("xx") as tensors:
        run = Run(trainer, stage, tensors)
        for _ in range(3):
            run.one_step()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        steps = 10 if device.type == "cuda" else 1  # as many as are looked at together
        taken = min(timed(run, steps) for _ in range(REPEATS))  # as often in each process: they exchange
        found = {"batch": batch, "precision": precision, "ms": round(taken * 1e3, 2), "pairs/s": round(batch / taken)}
        if device.type == "cuda":
            found["GiB a step"] = round((torch.cuda.max_memory_allocated() - held) / 2**30, 2)
            most = tokens_that_fit(model, precision)
            share = batch * TOKENS / most * 0.6 * torch.cuda.get_device_properties(device).total_memory
            found["GiB reckoned"] = round(share / 2**30, 2)
            if found["GiB a step"] > 1.2 * found["GiB reckoned"] + 0.5:
                found["failed"] = "a step takes more memory than is reckoned with"
    return found


def timed(run: Run, steps: int) -> float:
    """Return the seconds of one of some steps."""
    started = time.perf_counter()
    for _ in range(steps):
        run.one_step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def two_processes(options: argparse.Namespace) -> dict[str, Any]:
    """Return what two processes reach together on two GPUs."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines", "1", "--num_processes", "2"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", __file__, "--worker"]
    launcher += ["--tower", options.tower]
    done = subprocess.run(launcher, check=False, capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr[-2000:]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
