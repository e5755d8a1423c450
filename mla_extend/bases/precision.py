"""In which precision a device computes fastest without losing what matters."""

import torch


def computes_bf16(device: torch.device) -> bool:
    """Say whether a device multiplies bf16 in hardware; without it autocast is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and any(
        bool(getattr(torch.cpu, check, lambda: False)())
        for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
