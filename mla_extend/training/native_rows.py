"""Native text inside a transfer batch, so that the acquirers leave native words what they are."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mla_extend.language.model import MultilingualModel

SURE = 0.75
"""A piece that starts within this cosine of a native row translates it."""
CHUNK = 1024
"""Pieces that are compared with all native ones at a time."""

Ids = Sequence[Sequence[int]]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class NativeRows:
    """The native sides of pairs: some rows of a batch are read in place of their translations, or mixed into them.

    Attributes:
        tokenise: gives the ids of texts as the language reads them.
        texts: the native sentences.
        partners: own pieces that translate a native word, and the pieces that stand for it; see `partners`.
    """

    tokenise: Callable[[Sequence[str]], list[list[int]]]
    texts: Sequence[str]
    partners: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def put(self, ids: Ids, rows: Rows, native: float, switched: float = 0.0) -> list[Sequence[int]]:
        """Return the ids of a batch, a share of its rows native and a share with one piece put back into native.

        Which rows those are depends on the batch's rows alone, so that an interrupted run goes on as it would have.
        The second is code-switching (Qin et al. 2020, arXiv 2006.06402) by the embedding start's own alignment.
        """
        mixed = list(ids)
        generator = np.random.default_rng(zlib.crc32(np.ascontiguousarray(rows).tobytes()))
        whole, some = round(native * len(rows)), round(switched * len(rows)) if self.partners else 0
        chosen = generator.permutation(len(rows))[: whole + some]
        if not len(chosen):
            return mixed
        read = self.tokenise([self.texts[rows[place]] for place in chosen])
        for place, own in zip(chosen[:whole], read[:whole], strict=True):
            mixed[place] = own
        for place, own in zip(chosen[whole:], read[whole:], strict=True):
            there = set(own)
            found = [
                (i, word)
                for i, piece in enumerate(mixed[place])
                for word in self.partners.get(piece, ())
                if word in there
            ]
            if found:
                i, word = found[int(generator.integers(len(found)))]
                mixed[place] = [*mixed[place][:i], word, *mixed[place][i + 1 :]]
        return mixed


@torch.no_grad()
def partners(model: MultilingualModel, tag: str) -> dict[int, list[int]]:
    """Return which native pieces, of one row, each own piece of a language translates, by its row before training.

    A language without native pieces has none. Run before training: an aligned start is a mix of native rows, and near
    to one of them where the alignment is sure.
    """
    table = model.own_table(tag)
    if table is None or table.native_rows is None:
        return {}
    size = len(table.weight)
    native = F.normalize(table.table()[size:].float(), dim=-1)
    alike: dict[int, list[int]] = {}
    for place, row in enumerate(table.native_rows.tolist()):
        alike.setdefault(row, []).append(size + place)
    found: dict[int, list[int]] = {}
    for start in range(0, size, CHUNK):
        cosines, places = (F.normalize(table.weight[start : start + CHUNK].float(), dim=-1) @ native.T).max(dim=1)
        for own, (cosine, place) in enumerate(zip(cosines.tolist(), places.tolist(), strict=True), start):
            if cosine >= SURE:
                found[own] = alike[int(table.native_rows[place])]
    return found
