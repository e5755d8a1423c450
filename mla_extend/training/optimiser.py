"""Adam over a language's tensors, and the gradients of a step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mla_extend.language.model import MultilingualModel
from mla_extend.processes import ALONE, Processes
from mla_extend.training.forward import Ids, run_rows
from mla_extend.training.precision import autocast
from mla_extend.training.recipe import StageRecipe
from mla_extend.training.stages import Term
from mla_extend.training.validation import Rows


def add_gradients(
    model: MultilingualModel, term: Term, rows: Rows, ids: Ids, precision: str, processes: Processes = ALONE
) -> float:
    """Add the gradients of a term's weighted loss on some rows, which read those ids, and return that loss."""
    with autocast(precision, model):
        vectors = run_rows(model, ids, processes)
        loss = term.weight * term.task.loss(model, vectors, rows, term.recipe)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def adam(tensors: Mapping[str, Tensor], recipe: StageRecipe, *, fused: bool) -> torch.optim.AdamW:
    """Return Adam over three groups: matrices of the acquirers (decayed), what else they have, the token embedding.

    The last is never decayed: rows that no sentence uses would shrink without ever being trained. Each group's `peak`
    is the largest learning rate that it is to have; its rate is 0 until a schedule sets it.
    """
    embedding = [tensor for name, tensor in tensors.items() if ".acquirer_embedding." in name]
    matrices = [t for n, t in tensors.items() if ".acquirer_block." in n and n.endswith("weight")]
    others = [t for n, t in tensors.items() if ".acquirer_block." in n and not n.endswith("weight")]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay, "peak": recipe.learning_rate},
        {"params": others, "weight_decay": 0.0, "peak": recipe.learning_rate},
        {"params": embedding, "weight_decay": 0.0, "peak": recipe.embedding_learning_rate},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=recipe.betas, eps=recipe.epsilon, fused=fused)
