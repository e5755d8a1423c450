"""Train the demo's image head: image features into the frozen space of English text.

Shapes: `S` styles, `N` concepts, `F` image features, `D` width of the space, `B` batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mla_extend.bases.dual_encoder_model import ImageHead
from mla_extend.demo.recipes import HEAD, HeadRecipe
from mla_extend.progress import SILENT, Progress


def train_head(
    features: Tensor,
    names: Tensor,
    keywords: Sequence[Tensor],
    recipe: HeadRecipe = HEAD,
    progress: Progress = SILENT,
) -> ImageHead:
    """Fit a head by a symmetric contrastive loss.

    `L = (CE(s(v, t)) + CE(s(t, v))) / 2`, with `s` the cosine over the temperature (Radford et al. 2021).

    Args:
        features: image features `[S, N, F]`.
        names: text vectors of the concepts' names `[N, D]`.
        keywords: text vectors of each concept's keywords, `[k, D]` each; `k` may be 0.
        recipe: how.
        progress: told of each epoch.
    """
    names = F.normalize(names, dim=-1)
    styles, count, width = features.shape
    means = torch.stack(
        [
            F.normalize(words, dim=-1).mean(dim=0) if len(words) else name
            for words, name in zip(keywords, names, strict=True)
        ]
    )
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        head = ImageHead(width, recipe.hidden, names.shape[1], recipe.dropout)
        optimiser = torch.optim.AdamW(head.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        steps = recipe.epochs * -(-count // recipe.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps, pct_start=0.1)
        head.train()
        progress.start("Training the image head", total=recipe.epochs, unit="epochs")
        try:
            for _ in range(recipe.epochs):
                order = torch.randperm(count, generator=generator)
                for rows in torch.split(order, recipe.batch):
                    weights = torch.rand(styles, len(rows), 1, generator=generator)
                    one_hot = F.one_hot(weights.squeeze(-1).argmax(dim=0), styles).T.unsqueeze(-1).float()
                    mixed = torch.rand(len(rows), 1, generator=generator) < recipe.mixing
                    weights = torch.where(mixed, weights / weights.sum(dim=0), one_hot)
                    images = F.normalize(head((features[:, rows] * weights).sum(dim=0)), dim=-1)
                    share = torch.rand(len(rows), 1, generator=generator) * recipe.keyword_share
                    texts = F.normalize((1 - share) * names[rows] + share * means[rows], dim=-1)
                    scores = images @ texts.T / recipe.temperature
                    targets = torch.arange(len(rows))
                    loss = (F.cross_entropy(scores, targets) + F.cross_entropy(scores.T, targets)) / 2
                    optimiser.zero_grad()
                    torch.autograd.backward(loss)
                    optimiser.step()
                    schedule.step()
                progress.advance(1, loss=float(loss.detach()))
        finally:
            progress.finish()
        return head.eval().requires_grad_(False)
