"""Say what a transfer step reaches of the machine's own matrix peak, by text tower and length, and where the rest goes.

    python benchmarks/limit.py [--towers minilm b32 l14] [--device cpu] [--seconds 20] [--write]

The peak is that of square matrix products of this run, in bf16 and fp32. A step is one of the trainer's own, over
random weights and ids: 128 rows of some tokens, both passes, Adam, the running average. Its arithmetic is counted by
PyTorch's own counter. Each time is the best of several short measurements, since others may use the machine, and with
one thread (OMP_NUM_THREADS=1) it is the processor's own. The last line is a step's work on a token table of which it
reads a twelfth.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from common import ROOT, machine, markdown, put, save
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModelWithProjection

from mla_extend.bases.base import Base
from mla_extend.bases.families.clip import Clip
from mla_extend.bases.families.dual_encoder import DualEncoder
from mla_extend.bases.family import Family
from mla_extend.bases.identity import BaseIdentity
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import OwnTable
from mla_extend.training.checkpoint import CheckpointFile
from mla_extend.training.loop import Run, Trainer
from mla_extend.training.precision import fuses_adam, pick_precision
from mla_extend.training.recipe import StageRecipe, load_recipe
from mla_extend.training.stages import Stage, TransferTask, transfer_terms
from mla_extend.training.table import TableAdam
from mla_extend.training.validation import Score

PAGE = ROOT / "docs" / "performance.md"
ROWS, VOCABULARY, TOUCHED = 128, 32_000, 2_500
TITLES = {"minilm": "MiniLM (384, 6 layers)", "b32": "ViT-B/32 (512, 12)", "l14": "ViT-L/14 (768, 12)"}
WANTED = {("minilm", 16): 0.33, ("b32", 32): 0.45, ("l14", 32): 0.55}
PARTS = {
    "matrix products": ("mm", "addmm", "linear", "mkldnn_linear", "_mkldnn_linear"),
    "batched products": ("bmm", "baddbmm", "scaled_dot_product", "_flash", "_efficient"),
    "casts, copies": ("copy_", "_to_copy", "clone", "cat", "contiguous"),
    "GELU": ("gelu", "gelu_backward", "sigmoid", "sigmoid_backward"),
    "softmax": ("_softmax", "_softmax_backward_data", "_log_softmax"),
    "norms": ("native_layer_norm", "native_layer_norm_backward"),
    "optimiser, table": ("_fused_adamw_", "index_select", "lerp_", "sqrt", "embedding", "embedding_dense_backward"),
}
"""Which operators a part of the step is, by the beginnings of their names; the rest are sums and products."""


def main() -> None:
    """Measure, print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", nargs="+", choices=list(TITLES), default=list(TITLES), help="text towers")
    parser.add_argument("--tokens", nargs="+", type=int, default=[8, 16, 32], help="tokens a row")
    parser.add_argument("--device", default="cpu", help="where to measure")
    parser.add_argument("--seconds", type=float, default=20, help="seconds for each measurement")
    parser.add_argument("--write", action="store_true", help="save the results and put the tables into the page")
    options = parser.parse_args()
    device = torch.device(options.device)
    peaks = {name: peak(device, dtype, options.seconds / 4) for name, dtype in DTYPES.items()}
    print({name: f"{value / 1e12:.2f} TFLOP/s" for name, value in peaks.items()}, flush=True)
    steps = []
    for tower in options.towers:
        model = build(tower, device)
        for tokens in options.tokens:
            steps.append({"tower": tower, "tokens": tokens, **measure(model, tokens, options.seconds)})
            steps[-1]["share"] = steps[-1]["flops"] / steps[-1]["seconds"] / peaks[steps[-1]["precision"]]
            print(steps[-1], flush=True)
    table = table_step(device, options.seconds)
    result = {"machine": f"{machine()}, {processor()}", "peaks": peaks, "steps": steps, "table": table}
    text = page(result)
    print(text)
    if options.write:
        save("limit", result)
        put("limit", text, PAGE)


# Towers ---------------------------------------------------------------------------------------------------------------


def build(tower: str, device: torch.device) -> MultilingualModel:
    """Return a text tower of some shape with random weights, and a language `xx` in it: nothing is downloaded."""
    torch.manual_seed(0)
    family: Family
    if tower == "minilm":
        shape = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        model, family = nn.Module(), DualEncoder()
        model.text_model = BertModel(shape, add_pooling_layer=False)
        model.config = SimpleNamespace(text_config=shape)  # type: ignore[assignment]
    else:
        width = {"b32": 512, "l14": 768}[tower]
        made = CLIPTextConfig(
            hidden_size=width, num_hidden_layers=12, num_attention_heads=width // 64, intermediate_size=4 * width,
            projection_dim=width,
        )  # fmt: skip
        model, family = CLIPTextModelWithProjection(made), Clip()
        model.config.text_config = made
    identity = BaseIdentity(tower, tower, family.name, "0" * 64, "en")
    whole = MultilingualModel(Base(identity, family, model, None, None).to(device))
    pieces: Any = SimpleNamespace(size=VOCABULARY, pad_id=0, pieces=None)
    whole.add("xx", tokenizer=pieces, bottleneck=128)
    with torch.no_grad():
        own = whole.own_table("xx")
        assert own is not None
        own.weight.normal_(std=0.02)
    return whole


# Measures -------------------------------------------------------------------------------------------------------------

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def best(work: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Return the least seconds that some work takes, of as many times as fit."""
    taken: list[float] = []
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    until = clock() + seconds
    while len(taken) < 3 or clock() < until:
        started = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(clock() - started)
    return min(taken)


def peak(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Return the most operations a second that a matrix product reaches."""
    found = []
    for size in (1024, 2048, 4096) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        found.append(2 * size**3 / best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device, seconds / 3))
    return max(found)


def measure(model: MultilingualModel, tokens: int, seconds: float) -> dict[str, Any]:
    """Return what a step over rows of so many tokens takes, how much it computes, and the share of each part."""
    device = model.base.device
    precision = pick_precision("auto", device)
    generator = np.random.default_rng(0)
    ids = np.minimum(generator.zipf(1.2, size=(4 * ROWS, tokens)) + 4, VOCABULARY - 1)  # words are seldom rare
    teacher = generator.standard_normal((4 * ROWS, model.base.width)).astype(np.float32)
    task = TransferTask(ids.tolist(), teacher, [f"{i}" for i in range(4 * ROWS)])
    recipe = load_recipe("default", [f"transfer.batch={ROWS}"])
    stage = Stage("limit", transfer_terms(task, recipe), recipe.transfer, lambda _: Score(0.0, 0.0, 0.0, 0.0), 10**9)
    trainer = Trainer(model, "xx", seed=0, precision=precision, checkpoints=CheckpointFile(Path()))
    with model.training("xx") as tensors:
        run = Run(trainer, stage, tensors)
        for _ in range(2):
            run.one_step()
        with FlopCounterMode(display=False) as counter:
            run.one_step()
        taken = best(run.one_step, device, seconds)
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        with profile(activities=kinds) as found:
            for _ in range(3):
                run.one_step()
    return {
        "precision": precision,
        "flops": counter.get_total_flops(),
        "seconds": taken,
        "parts": shares(found.key_averages(), on_gpu=device.type == "cuda"),
    }


def shares(operators: Sequence[Any], *, on_gpu: bool) -> dict[str, float]:
    """Return the share of each part in the time of all operators."""
    found = dict.fromkeys([*PARTS, "sums, products"], 0.0)
    for one in operators:
        name = one.key.removeprefix("aten::")
        spent = one.self_device_time_total if on_gpu else one.self_cpu_time_total
        part = next((part for part, names in PARTS.items() if name in names), "sums, products")
        found[part] += spent
    total = sum(found.values())
    return {part: spent / total for part, spent in found.items()}


def table_step(device: torch.device, seconds: float) -> dict[str, float]:
    """Return the seconds that a step spends on a table of 32,000 rows of 768: on some of them, and on all."""
    recipe = StageRecipe()
    table = OwnTable(nn.Embedding(4, 768), VOCABULARY, 0, 768).to(device)
    fused = fuses_adam(device)
    adam = TableAdam(table, table.weight.detach().clone(), recipe, fused=fused)
    adam.rate = 1e-3
    generator = np.random.default_rng(0)
    gradient = torch.randn(TOUCHED, 768, device=device)

    def some() -> None:
        rows = np.sort(generator.choice(np.arange(1, VOCABULARY), TOUCHED - 1, replace=False))
        with adam.lend([rows.reshape(ROWS - 1, -1)] if len(rows) % (ROWS - 1) == 0 else [[rows]]) as lent:
            lent.grad = gradient
        adam.step(0.98)

    weight = nn.Parameter(torch.randn(VOCABULARY, 768, device=device))
    average = weight.detach().clone()
    whole = torch.optim.AdamW([weight], fused=fused)

    def every() -> None:
        weight.grad = torch.zeros_like(weight)
        whole.step()
        average.lerp_(weight.detach(), 0.02)

    return {"touched rows": best(some, device, seconds / 2), "all rows": best(every, device, seconds / 2)}


# Page -----------------------------------------------------------------------------------------------------------------


def processor() -> str:
    """Return the processor's name, where the system tells it, and how many threads compute."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return (
        f"{names[0] if names else 'unknown processor'}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    )


def page(result: dict[str, Any]) -> str:
    """Return the tables."""
    rows = []
    for step in result["steps"]:
        due = WANTED.get((step["tower"], step["tokens"]))
        rows.append(
            [
                TITLES[step["tower"]], str(step["tokens"]), f"{step['seconds'] * 1e3:.0f}", f"{step['share']:.2f}",
                f"{due:.2f}" if due else "", *(f"{100 * share:.0f}" for share in step["parts"].values()),
            ]
        )  # fmt: skip
    head = ["tower", "tokens", "ms", "of the peak", "wanted", *(f"{part}, %" for part in result["steps"][0]["parts"])]
    peaks = ", ".join(f"{name} {value / 1e12:.2f}" for name, value in result["peaks"].items())
    table = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in result["table"].items())
    return (
        f"{markdown(head, rows)}\n\nMatrix peak, TFLOP/s: {peaks}. Adam and average over 32,000 rows of 768, 2,500 "
        f"rows read: {table}.\n\nMeasured on {result['machine']}."
    )


if __name__ == "__main__":
    main()
