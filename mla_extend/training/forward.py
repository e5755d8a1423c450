"""Run rows of ids through the text tower: in parts of like length, shared between processes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mla_extend.language.model import MultilingualModel
from mla_extend.language.tokenizer import pad
from mla_extend.processes import Processes

Ids = Sequence[Sequence[int]]
PART_COSTS = 512
"""Tokens that could be run in the time that one more pass of the text tower takes by itself, on a CPU."""
PART_ROWS = 32
"""Parts are cut at multiples of so many rows: oneDNN compiles bf16 kernels for each new number of tokens, for
milliseconds each, so that numbers had better come again."""


def run_rows(model: MultilingualModel, ids: Ids, processes: Processes) -> Tensor:
    """Return the vectors `[B, D]` of a batch; this process runs its share of it."""
    own = ids[processes.share(len(ids))]
    run = own or ids[:1]  # fewer rows than processes: one is run for nothing, so that there is a graph
    vectors = _by_length(model, run) if in_parts(model) else model.forward(pad(run)).float()
    return processes.join(vectors[: len(own)], len(ids))


def padded_tokens(model: MultilingualModel, lengths: Sequence[int]) -> int:
    """Return how many tokens, padding included, `run_rows` sends through the text tower for rows of some lengths."""
    fixed = model.base.family.padded_length(model.base.model)
    if fixed is not None:
        return fixed * len(lengths)
    rising = sorted(lengths)
    parts = split_by_length(rising) if in_parts(model) else [range(len(rising))]
    return sum(len(part) * rising[part[-1]] for part in parts)


def in_parts(model: MultilingualModel) -> bool:
    """Say whether rows of like length go together: where a pass by itself costs little, and no length is fixed."""
    base = model.base
    return base.device.type == "cpu" and base.family.padded_length(base.model) is None


def _by_length(model: MultilingualModel, ids: Ids) -> Tensor:
    """Return the vectors `[B, D]` of rows that go through the model in parts of like length, as they pay on a CPU."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts = split_by_length([len(ids[i]) for i in order])
    vectors = torch.cat([model.forward(pad([ids[order[i]] for i in part])).float() for part in parts])
    return vectors[torch.tensor(order).argsort()]


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
