"""Run rows of ids through the text tower: in parts of like length, shared between processes."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import AcquirerBlock
from mla_extend.language.tokenizer import pad
from mla_extend.processes import Processes
from mla_extend.training.memory import device_memory

Ids = Sequence[Sequence[int]]
PART_COSTS = 512
"""Tokens that could be run in the time that one more pass of the text tower takes by itself, on a CPU."""
PART_ROWS = 32
"""Parts are cut at multiples of so many rows: oneDNN compiles bf16 kernels for each new number of tokens, for
milliseconds each, so that numbers had better come again."""
KEPT_OF_TOKEN = 36
"""Bytes that a block keeps of a token for the backward pass in bf16, for each of its width: inputs of norms and of the
activation, queries, keys, values and their weights, the acquirer's. Frozen matrices need none of their inputs."""
KEPT_SHARE = 0.6
"""Share of a device's memory that may be kept so."""


def run_rows(model: MultilingualModel, ids: Ids, processes: Processes) -> Tensor:
    """Return the vectors `[B, D]` of a batch; this process runs its share of it."""
    own, run = own_rows(ids, processes)
    return processes.join(run_passes(model, run, passes(model, [*map(len, run)]))[:own], len(ids))


def own_rows(ids: Ids, processes: Processes) -> tuple[int, Ids]:
    """Return how many rows of a batch are this process's share, and these: one for nothing where there are none."""
    own = ids[processes.share(len(ids))]
    return len(own), own or ids[:1]  # so that there is a graph


def passes(model: MultilingualModel, lengths: Sequence[int], most: int | None = None) -> list[list[int]]:
    """Return which rows go through the text tower together, by their lengths; at most so many tokens, if told."""
    fixed = model.base.family.padded_length(model.base.model)
    order, parts = list(range(len(lengths))), [range(len(lengths))]
    if in_parts(model):
        order.sort(key=lengths.__getitem__)
        parts = split_by_length([lengths[i] for i in order])
    found = []
    for part in parts:
        rows = order[part.start : part.stop]
        size = len(rows) if most is None else max(1, most // (fixed or max(lengths[i] for i in rows)))
        found += [rows[start : start + size] for start in range(0, len(rows), size)]
    return found


def run_passes(model: MultilingualModel, ids: Ids, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the vectors `[B, D]` of rows that go through the text tower in groups, in the order of the rows."""
    vectors = torch.cat([model.forward(pad([ids[i] for i in group])).float() for group in groups])
    order = list(chain.from_iterable(groups))
    return vectors if order == sorted(order) else vectors[torch.tensor(order).argsort()]


def padded_tokens(model: MultilingualModel, lengths: Sequence[int]) -> int:
    """Return how many tokens, padding included, rows of some lengths are in the text tower."""
    fixed = model.base.family.padded_length(model.base.model)
    return sum(len(rows) * (fixed or max(lengths[i] for i in rows)) for rows in passes(model, lengths))


def tokens_that_fit(model: MultilingualModel, precision: str) -> int:
    """Return how many tokens, padding included, the device can hold what a step's gradients need of."""
    blocks = sum(isinstance(layer, AcquirerBlock) for layer in model.tuner.layers().values())
    one = max(1, blocks * model.base.width) * (KEPT_OF_TOKEN if precision == "bf16" else 2 * KEPT_OF_TOKEN)
    return int(device_memory(model.base.device) * KEPT_SHARE / one)


def in_parts(model: MultilingualModel) -> bool:
    """Say whether rows of like length go together: where a pass by itself costs little, and no length is fixed."""
    base = model.base
    return base.device.type == "cpu" and base.family.padded_length(base.model) is None


def split_by_length(lengths: Sequence[int]) -> list[range]:
    """Cut rows of rising length into parts so that less is padded; each cut saves `PART_COSTS` tokens or more."""
    rows = range(len(lengths))
    saved = {end: end * (lengths[-1] - lengths[end - 1]) for end in rows[PART_ROWS::PART_ROWS]}
    best = max(saved, key=saved.__getitem__, default=0)
    if not best or saved[best] < PART_COSTS:
        return [rows]
    rest = [range(best + part.start, best + part.stop) for part in split_by_length(lengths[best:])]
    return [*split_by_length(lengths[:best]), *rest]


@torch.no_grad()
def encode_ids(model: MultilingualModel, ids: Ids, size: int = 256) -> Tensor:
    """Encode rows of ids with the model's active language: unnormalised vectors `[N, D]` in float32 on the CPU."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    result: list[Tensor] = [torch.empty(0)] * len(ids)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        for i, vector in zip(rows, model.forward(pad([ids[i] for i in rows])).float().cpu(), strict=True):
            result[i] = vector
    return torch.stack(result)
