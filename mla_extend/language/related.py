"""Start a new language from a copy of another language's parts. A copy, never a shared weight: the source is only read.

Shapes: `S` size of the new language's vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mla_extend.errors import DataError
from mla_extend.language.adapter_files import AdapterFiles
from mla_extend.language.alignment import Alignment, occurrence
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors

EVIDENCE = 5
"""Pairs in which a piece must occur for its alignment to count for more than what the related language has learned."""
BLOCKS, TABLE = ".acquirer_block.", ".acquirer_embedding.weight"


@dataclass(frozen=True)
class Related:
    """Hold the language that a new one starts from: its tag, the version that is copied, its parts.

    `data` is what its card says of the data that it was trained on.
    """

    language: str
    version: str
    parts: AdapterFiles
    data: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, str]:
        """Return what the card says of it."""
        return {"language": self.language, "version": self.version}

    def records(self) -> list[dict[str, Any]]:
        """Return the data that it was trained on as the new card's: a copy keeps the terms of what it was made from."""
        return [{**record, "role": "start_from"} for record in self.data if record.get("role") != "test_set"]


def check_related(related: Related, bottleneck: int) -> None:
    """Check that a language's acquirers fit a recipe.

    Raises:
        DataError: they have another bottleneck.
    """
    config = related.parts.config
    if config.bottleneck != bottleneck:
        raise DataError(
            f"{related.language!r} has acquirers of width {config.bottleneck}, and the recipe asks for width "
            f"{bottleneck}: they cannot be copied. Take --set acquirer.bottleneck={config.bottleneck}, or leave out "
            "--start-from."
        )


def copy_related(model: MultilingualModel, tag: str, related: Related, known: NDArray[np.bool_] | None = None) -> int:
    """Copy a related language's acquirers, and the vectors of pieces that both tokenizers spell alike.

    A piece keeps its aligned start where the parallel text gives evidence for it: where it aligns with native tokens
    and occurs in at least `EVIDENCE` pairs. Equal spelling alone may be chance, and what the text says of the new
    language is surer. All other shared pieces are copied: rare ones, bytes, and the padding, begin and end tokens, that
    the copied acquirers know. Of languages that read the same frozen table the projection is copied whole.

    Args:
        model: holds the new language, with its embedding start.
        tag: the new language.
        related: what is copied.
        known: the pieces `[S]` that there is evidence for (`evidence`); `None` copies every shared piece.

    Returns:
        How many pieces were copied.
    """
    language = model.language(tag)
    own = adapter_tensors(model.peft, language.adapter)
    parts = related.parts
    with torch.no_grad():
        for name, tensor in own.items():
            if BLOCKS in name:
                tensor.copy_(parts.tensors[name])
        reads = model.peft.peft_config[language.adapter].pretrained
        if reads or parts.config.pretrained:
            if reads and parts.config.pretrained and reads["fingerprint"] == parts.config.pretrained["fingerprint"]:
                for name, tensor in own.items():
                    tensor.copy_(parts.tensors[name])
            return 0
        if language.tokenizer is None or parts.tokenizer is None:
            return 0
        table = model.own_table(tag)
        size = 0 if table is None else len(table.weight)
        theirs = {parts.tokenizer.piece(i): i for i in range(parts.config.vocabulary)}
        there = np.array([theirs.get(language.tokenizer.piece(i), -1) for i in range(size)])
        copied = there >= 0 if known is None else (there >= 0) & ~known
        rows = torch.from_numpy(np.flatnonzero(copied))
        for name, tensor in own.items():
            if name.endswith(TABLE):
                tensor[rows.to(tensor.device)] = parts.tensors[name][torch.from_numpy(there[copied])].to(tensor)
    return int(copied.sum())


def evidence(alignment: Alignment, ids: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Say which pieces `[S]` parallel text gives evidence for, given its alignment and the ids of its target side."""
    pairs = np.asarray(occurrence(ids, len(alignment.aligned)).sum(axis=0)).ravel()
    enough: NDArray[np.bool_] = alignment.aligned & (pairs >= EVIDENCE)
    return enough
