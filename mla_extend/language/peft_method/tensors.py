"""One language's tensors in a wrapped text tower, under the names that PEFT writes."""

from collections.abc import Mapping

import torch
from peft import PeftModel
from torch import Tensor, nn

from mla_extend.platform import WINDOWS

TOLD = 3
"""Problems of an adapter's tensors that are told."""


def adapter_tensors(model: PeftModel, adapter: str) -> dict[str, Tensor]:
    """Return one language's tensors under the names that PEFT writes, without other languages'."""
    tensors: dict[str, Tensor] = {}
    for path, layer in model.base_model.layers().items():
        for held_name in layer.adapter_layer_names:
            held = getattr(layer, held_name)
            if adapter in held:
                for name, tensor in held[adapter].state_dict(keep_vars=True).items():
                    tensors[f"base_model.model.{path}.{held_name}.{name}"] = tensor
    return tensors


def adapter_parameters(model: PeftModel, adapter: str) -> dict[str, nn.Parameter]:
    """Return those of one language's tensors that train."""
    return {n: t for n, t in adapter_tensors(model, adapter).items() if isinstance(t, nn.Parameter)}


def load_tensors(model: PeftModel, adapter: str, tensors: Mapping[str, Tensor], *, take: bool = False) -> None:
    """Copy one language's tensors in; every name and shape must match.

    With `take` they are taken as they are where they lie on the base's device: those of a file stay mapped to it, so
    that a process holds no copy of rows that nobody asks for. Not on Windows, where a mapped file cannot be deleted.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape; the message lists the first three.
    """
    own = adapter_tensors(model, adapter)
    problems = [f"{name} is missing" for name in sorted(own.keys() - tensors.keys())]
    problems += [f"{name} is unknown" for name in sorted(tensors.keys() - own.keys())]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
        for name in sorted(own.keys() & tensors.keys())
        if tensors[name].shape != own[name].shape
    ]
    if problems:
        more = [f"and {len(problems) - TOLD} more"] if len(problems) > TOLD else []
        raise ValueError("; ".join([*problems[:TOLD], *more]))
    with torch.no_grad():
        for name, tensor in own.items():
            given = tensors[name]
            if take and not WINDOWS and (given.device, given.dtype) == (tensor.device, tensor.dtype):
                tensor.data = given
            else:
                tensor.copy_(given)
