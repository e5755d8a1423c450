"""In which precision a device computes fastest without losing what matters."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mla_extend.bases.precision import computes_bf16
from mla_extend.language.model import MultilingualModel


def pick_precision(wanted: str, device: torch.device) -> str:
    """Return `bf16` or `fp32` for a recipe's `precision` on a device."""
    if wanted != "auto":
        return wanted
    return "bf16" if computes_bf16(device) else "fp32"


@contextmanager
def autocast(precision: str, model: MultilingualModel) -> Iterator[None]:
    """Run a training step's forward pass in this precision."""
    if precision != "bf16":
        yield
        return
    device = model.base.device
    with ExitStack() as contexts:
        contexts.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
        if device.type == "cpu":
            # On a CPU the fused attention's backward pass in bf16 takes ten times as long as the plain one's at 16
            # tokens, and twice as long at 77; it wins from several hundred on, and texts of images are short.
            contexts.enter_context(sdpa_kernel(SDPBackend.MATH))
            contexts.enter_context(_attention_in_bf16())
            # The first block is given fp32 and would hand it on, to be cast before each product: a tenth of a step.
            # Not on CUDA, whose autocast wants fp32 for the norms.
            contexts.enter_context(model.tuner.blocks_in(torch.bfloat16))
        yield


@contextmanager
def _attention_in_bf16() -> Iterator[None]:
    """Let plain attention keep to bf16, which it otherwise leaves for fp32: a fifth of its time and memory."""
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # the name tells of GPUs, the CPU heeds it as well
    try:
        yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def fuses_adam(device: torch.device) -> bool:
    """Say whether Adam's step is one pass over the weights on a device."""
    return device.type in ("cpu", "cuda")
