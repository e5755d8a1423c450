"""In which precision a device computes fastest without losing what matters."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mla_extend.bases.precision import computes_bf16
from mla_extend.language.model import MultilingualModel


def pick_precision(wanted: str, device: torch.device) -> str:
    """Return `bf16` or `fp32` for a recipe's `precision` on a device."""
    if wanted != "auto":
        return wanted
    return "bf16" if computes_bf16(device) else "fp32"


class Autocast:
    """Run the forward passes of training steps in a precision.

    In bf16 the blocks' frozen matrices are cast once and not for each pass, as `torch.autocast` does with what takes no
    gradients: the copies stand in for them while a pass runs, and nobody else sees them.

    Args:
        precision: `fp32` or `bf16`.
        model: whose language is trained.
    """

    def __init__(self, precision: str, model: MultilingualModel) -> None:
        self._lower = precision == "bf16"
        self._model = model
        self._copies = [
            (module, name, parameter, nn.Parameter(parameter.detach().bfloat16(), requires_grad=False))
            for module in (model.tuner.matrices() if self._lower else ())
            for name, parameter in module.named_parameters(recurse=False)
        ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Compute so while the context lasts; not for backward passes, which keep to what the forward pass did."""
        if not self._lower:
            yield
            return
        device = self._model.base.device
        with ExitStack() as contexts:
            contexts.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
            for module, name, parameter, copy in self._copies:
                setattr(module, name, copy)
                contexts.callback(setattr, module, name, parameter)
            if device.type == "cpu":
                # On a CPU the fused attention's backward pass in bf16 takes ten times as long as the plain one's at 16
                # tokens, and twice as long at 77; it wins from several hundred on, and texts of images are short.
                contexts.enter_context(sdpa_kernel(SDPBackend.MATH))
                contexts.enter_context(_attention_in_bf16())
                # The first block is given fp32 and would hand it on, to be cast before each product: a tenth of a step.
                # Not on CUDA, whose autocast wants fp32 for the norms.
                contexts.enter_context(self._model.tuner.blocks_in(torch.bfloat16))
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
