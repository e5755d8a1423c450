"""In which precision a device computes fastest without losing what matters."""

from contextlib import AbstractContextManager, nullcontext

import torch

from mla_extend.errors import BaseError


def pick_precision(wanted: str, device: torch.device) -> str:
    """Return `bf16` or `fp32` for a recipe's `precision` on a device."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        return "bf16" if _cpu_computes_bf16() else "fp32"
    return "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context in which a forward pass of this precision runs."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _cpu_computes_bf16() -> bool:
    """Say whether the processor multiplies bf16 in hardware; without it autocast is slower than fp32."""
    return any(
        bool(getattr(torch.cpu, check, lambda: False)())
        for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def pick_device(wanted: str) -> torch.device:
    """Return a device by name; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        BaseError: there is no such device here.
    """
    if wanted != "auto":
        try:
            device = torch.device(wanted)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise BaseError(f"The device {wanted!r} is not to be had here. Take cpu, cuda, mps or auto.") from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
