"""Adam over a language's tensors, and the gradients of a step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mla_extend.language.model import MultilingualModel
from mla_extend.processes import ALONE, Processes
from mla_extend.training.forward import Ids, own_rows, padded_tokens, passes, run_passes
from mla_extend.training.precision import Autocast
from mla_extend.training.recipe import StageRecipe
from mla_extend.training.stages import Term
from mla_extend.training.validation import Rows


def add_gradients(
    model: MultilingualModel,
    term: Term,
    rows: Rows,
    ids: Ids,
    autocast: Autocast,
    processes: Processes = ALONE,
    most: int | None = None,
) -> Tensor:
    """Add the gradients of a term's weighted loss on some rows, which read those ids, and return that loss.

    Where this process's rows are more tokens than `most`, each vector is computed twice (GradCache, Gao et al. 2021,
    arXiv 2101.06983): all of them for the loss and its gradient with respect to them, then so many at a time, to take
    that gradient on to the weights. The loss is the same, its contrasts over the whole batch among it.
    """
    own, run = own_rows(ids, processes)
    lengths = [*map(len, run)]
    at_once = most is None or padded_tokens(model, lengths) <= most
    groups = passes(model, lengths, None if at_once else most)
    with autocast():
        with torch.set_grad_enabled(at_once):
            vectors = run_passes(model, run, groups)
        if not at_once:
            vectors.requires_grad_()
        joined = processes.join(vectors[:own], len(ids))
        loss = term.weight * term.task.loss(model, joined, rows, term.recipe)
    loss.backward()  # type: ignore[no-untyped-call]
    for group in () if at_once else groups:
        with autocast():
            again = run_passes(model, run, [group])
        assert vectors.grad is not None
        again.backward(vectors.grad[sorted(group)])  # type: ignore[no-untyped-call]
    return loss.detach()


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
