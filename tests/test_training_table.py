"""A table of which each step reads some rows is trained as one of which all rows are stepped over."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mla_extend.errors import RecipeError
from mla_extend.language.peft_method import OwnTable
from mla_extend.training.recipe import StageRecipe, load_recipe
from mla_extend.training.table import TableAdam

SIZE, WIDTH, STEPS = 40, 6, 50
RECIPE = StageRecipe(embedding_learning_rate=1e-2)


def rate(step: int) -> float:
    """Rise, then fall."""
    return 1e-2 * min(1.0, (step + 1) / 10) * (1 - step / 60)


def decay(step: int) -> float:
    """Forget less and less."""
    return min(0.9, (step + 1) / (step + 11))


def reads(step: int) -> list[list[int]]:
    """Return ids that differ from step to step: some rows often, some once, some never; from 40 on native ones."""
    drawn = np.random.default_rng(step).geometric(0.08, size=(4, 3))
    return [[int(i) for i in row if i < SIZE + 2] for row in drawn]


def loss(step: int, look_up: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what gives each row a gradient of its own size."""
    ids = torch.tensor([i for row in reads(step) for i in row])
    pull = torch.randn(len(ids), WIDTH, generator=torch.Generator().manual_seed(step)) * 0.1 ** (ids % 5).unsqueeze(1)
    return (look_up(ids) * pull).sum()


def start() -> OwnTable:
    table = OwnTable(nn.Embedding(4, WIDTH), SIZE, 2, WIDTH)
    with torch.no_grad():
        table.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(7))
    return table


def dense() -> tuple[Tensor, Tensor]:
    """Return the weights and their average by torch's own Adam over the whole table."""
    weight = start().weight
    average = weight.detach().clone()
    optimiser = torch.optim.AdamW([weight], betas=RECIPE.betas, eps=RECIPE.epsilon, weight_decay=0.0)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = rate(step)
        optimiser.zero_grad()
        loss(step, lambda ids: F.embedding(ids.clamp(max=SIZE - 1), weight) * (ids < SIZE).unsqueeze(1)).backward()
        optimiser.step()
        with torch.no_grad():
            average.lerp_(weight, 1 - decay(step))
    return weight.detach(), average


def lazy(*, settled: int = STEPS, cut: int = STEPS, averaged: bool = True) -> tuple[Tensor, ...]:
    """Return them by rows: all brought up to date at some steps, or the run cut and gone on with at one."""
    table = start()
    average = [table.weight.detach().clone()] * averaged
    adam = TableAdam(table, *(average or [None]), RECIPE, fused=True)
    for step in range(STEPS):
        if step == cut:
            state = {name: value.clone() for name, value in adam.state().items()}
            adam = TableAdam(table, *(average or [None]), RECIPE, fused=True)
            adam.restore(state)
        adam.rate = rate(step)
        with adam.lend([reads(step)]) as lent:
            loss(step, table).backward()
            assert len(lent) <= 13  # of 12 tokens, and the pad
        adam.step(decay(step))
        if step % settled == settled - 1:
            adam.settle()
    adam.settle()
    assert table.lent is None
    return (table.weight.detach(), *average)


@pytest.mark.parametrize("settled", [STEPS, 7, 1])
def test_rows_that_are_not_read_move_as_adam_would_move_them(settled: int) -> None:
    """Weights and average, by rows with gradients of all sizes."""
    for found, expected in zip(lazy(settled=settled), dense(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    never = sorted(set(range(SIZE)) - {i for step in range(STEPS) for row in reads(step) for i in row})
    assert never
    assert torch.equal(lazy(settled=settled)[0][never], start().weight.detach()[never])


def test_a_run_that_is_cut_goes_on_bit_for_bit() -> None:
    """Rows that were left alone stay so: a checkpoint changes nothing, wherever a clock sets it."""
    for found, expected in zip(lazy(cut=23), lazy(), strict=True):
        assert torch.equal(found, expected)
    assert torch.equal(*lazy(averaged=False), lazy()[0])


def test_a_run_goes_on_from_the_moments_of_adam_over_the_whole_table() -> None:
    """As a checkpoint has them that an earlier release wrote."""
    table = start()
    whole = torch.optim.AdamW([table.weight], lr=0.1, betas=RECIPE.betas, weight_decay=0.0)
    for _ in range(3):
        table.weight.grad = torch.ones_like(table.weight)
        whole.step()
    table.weight.grad = None
    adam = TableAdam(table, None, RECIPE, fused=True)
    adam.restore(whole.state[table.weight])
    adam.rate = 0.1
    with adam.lend([[[1]]]):
        table(torch.tensor([1])).sum().backward()
    adam.step(0.0)
    adam.settle()
    expected = start().weight.detach() - 0.4
    torch.testing.assert_close(table.weight.detach()[1], expected[1], rtol=0, atol=1e-5)
    moved = 0.1 * 0.9 * (1 - 0.9**3) / (1 - 0.9**4) / ((0.98 * (1 - 0.98**3)) / (1 - 0.98**4)) ** 0.5
    torch.testing.assert_close(table.weight.detach()[2], expected[2] + 0.1 - moved, rtol=0, atol=1e-5)


def test_a_table_without_momentum_stays_where_it_is_not_read() -> None:
    table = start()
    adam = TableAdam(table, None, RECIPE.model_copy(update={"betas": (0.0, 0.0)}), fused=False)
    adam.rate = 0.5
    with adam.lend([[[1, 3]]]):
        table(torch.tensor([1, 3])).sum().backward()
    adam.step(0.0)
    with adam.lend([[[3]]]):
        table(torch.tensor([3])).sum().backward()
    adam.step(0.0)
    adam.settle()
    moved = (start().weight - table.weight).detach()
    assert moved[1].tolist() == pytest.approx([0.5] * WIDTH, rel=1e-4)
    assert moved[3].tolist() == pytest.approx([1.0] * WIDTH, rel=1e-4)
    assert not moved[[0, 2, *range(4, SIZE)]].any()


def test_momentum_that_outlives_its_scale_is_refused() -> None:
    """With betas the other way round a row without gradients would move faster and faster."""
    with pytest.raises(RecipeError, match="the first must not be larger than the second"):
        load_recipe("default", ["transfer.betas=[0.98, 0.9]"])
