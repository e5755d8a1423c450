"""How a language's token table starts.

Shapes: `S` size of the language's vocabulary, `V` of the native one, `W` width of the text tower.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mla_extend.language.alignment import Alignment, Ids
from mla_extend.language.distribution import distributional, mapped
from mla_extend.language.pieces import BEGIN_ID, END_ID, PAD_ID


@dataclass(frozen=True)
class StartInputs:
    """What a start may use.

    Attributes:
        native: the native table `[V, W]`.
        specials: its pad, begin and end.
        size: `S`.
        alignment: of the two vocabularies.
        seed: of what is drawn.
        text: ids of text of the language, and the pairs `[S]` that each piece's alignment rests on.
    """

    native: Tensor
    specials: tuple[int, int, int]
    size: int
    alignment: Alignment | None
    seed: int
    text: tuple[Ids, NDArray[Any]] | None = None


Start = Callable[[StartInputs], Tensor]
"""Makes a language's table `[S, W]`."""


def mean_std_start(inputs: StartInputs) -> Tensor:
    """Draw each column at the native table's mean and standard deviation (TEIR, CLL-CLIP, AAAI 2024)."""
    native = inputs.native.float()
    generator = torch.Generator().manual_seed(inputs.seed)
    noise = torch.randn(inputs.size, native.shape[1], generator=generator)
    return _with_specials(inputs, native.mean(dim=0).cpu() + noise * native.std(dim=0).cpu())


def aligned_start(inputs: StartInputs) -> Tensor:
    """Mix the native vectors that each token aligns with; tokens without a partner start as in `mean_std_start`.

    Where there is text of the language, those that stand in it start where the aligned ones in like company do.

    The family of trans-tokenization, FOCUS and WECHSEL: a new token starts where its translations are.
    """
    if inputs.alignment is None:
        raise ValueError("The aligned start needs an alignment.")
    table = mean_std_start(inputs)
    mixed = np.asarray(inputs.alignment.weights @ inputs.native.float().cpu().numpy(), dtype=np.float32)
    start = inputs.alignment.aligned
    if inputs.text is not None and start.any():
        ids, counts = inputs.text
        vectors = distributional(ids, inputs.size)
        there = vectors.any(axis=1) & ~start
        mixed[there] = mapped(vectors, mixed, np.where(start, counts, 0))[there]
        start = start | there
    table[start] = torch.from_numpy(mixed[start])
    return _with_specials(inputs, table)


def _with_specials(inputs: StartInputs, table: Tensor) -> Tensor:
    """Start pad, begin and end as the native ones: the blocks know what those mean."""
    for own, native in zip((PAD_ID, BEGIN_ID, END_ID), inputs.specials, strict=True):
        table[own] = inputs.native[native].float().cpu()
    return table
