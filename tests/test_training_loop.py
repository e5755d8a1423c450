"""The rules of a step: its rate, decay, moments, clipping and average; each as computed by hand."""

import math
from itertools import chain, count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mla_extend.processes import Processes
from mla_extend.training import loop
from mla_extend.training.optimiser import adam
from mla_extend.training.stages import Stage, Term, smaller_batches
from tests.fake_training import (
    BIAS,
    MATRIX,
    TABLE,
    FakeModel,
    FakeTask,
    FakeValidation,
    recipe,
    score,
    stage,
    train,
    trainer,
)

DOWN = {MATRIX: 1.0, BIAS: 1.0, TABLE: 1.0}
"""A gradient that stays the same: Adam then takes a step of just the rate, whatever its moments."""


def rates(folder: Path, steps: int, name: str = MATRIX, **changes: Any) -> list[float]:
    """Return how far each step of a run went."""
    task = FakeTask(DOWN)
    _, _, validation = train(task, steps, folder, **changes)
    course = [seen[name] for seen in [*task.seen, validation.seen[-1]]]
    return [before - after for before, after in pairwise(course)]


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine(tmp_path: Path) -> None:
    """Four of twenty steps of rise, then half a cosine over the other sixteen, which would end at 0."""
    found = rates(tmp_path, 20, warmup=0.2, learning_rate=0.1)
    assert found[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert found[12] == pytest.approx(0.05)
    assert found[8] == pytest.approx(0.1 * (1 + math.sqrt(0.5)) / 2)
    assert found[16] == pytest.approx(0.1 * (1 - math.sqrt(0.5)) / 2)
    assert found[19] == pytest.approx(0.1 * (1 + math.cos(math.pi * 15 / 16)) / 2)


def test_the_rise_is_bounded(tmp_path: Path) -> None:
    """`longest_warmup` bounds it above, one step below; it may take all steps."""
    assert rates(tmp_path, 10, warmup=0.5, longest_warmup=2)[:3] == pytest.approx([0.05, 0.1, 0.1])
    assert rates(tmp_path, 3, warmup=0) == pytest.approx([0.1, 0.1, 0.05])
    assert rates(tmp_path, 3, warmup=0.5, longest_warmup=0)[0] == pytest.approx(0.1)
    assert rates(tmp_path, 4, warmup=1) == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates(tmp_path, 4, warmup=0.625) == pytest.approx([0.04, 0.08, 0.1, 0.075])  # half a step of 1.5 after it
    # a rise of 2.5 steps reaches no more than the peak
    assert rates(tmp_path, 5, warmup=0.5)[:3] == pytest.approx([0.04, 0.08, 0.1])


def test_the_token_table_has_a_rate_of_its_own(tmp_path: Path) -> None:
    """It goes by `embedding_learning_rate`, on the same schedule; all of an acquirer goes by `learning_rate`."""
    for name, peak in ((MATRIX, 0.2), (BIAS, 0.2), (TABLE, 0.03)):
        found = rates(tmp_path, 4, name, warmup=0.5, learning_rate=0.2, embedding_learning_rate=0.03)
        assert found == pytest.approx([peak / 2, peak, peak, peak / 2])


def test_matrices_of_acquirers_alone_are_decayed(tmp_path: Path) -> None:
    """Without gradients decay is all there is: by rate times decay at each step, as AdamW has it."""
    still = FakeTask({MATRIX: 0.0, BIAS: 0.0, TABLE: 0.0})
    _, model, _ = train(still, 3, tmp_path, learning_rate=0.1, embedding_learning_rate=0.1, weight_decay=0.5)
    assert model.values[MATRIX] == pytest.approx((1 - 0.05) * (1 - 0.05) * (1 - 0.025))
    assert (model.values[BIAS], model.values[TABLE]) == (1, 1)


def test_adam_takes_its_moments_and_epsilon_from_the_recipe(tmp_path: Path) -> None:
    """Two steps with gradients 1 and 3, at beta 0.5 and 0.75, with an epsilon that counts."""
    task = FakeTask(lambda call, *_: {MATRIX: (1.0, 3.0)[call], TABLE: 1.0})
    _, model, _ = train(task, 2, tmp_path, betas=(0.5, 0.75), epsilon=0.5, learning_rate=0.1)
    first = 1 - 0.1 * 1 / (1 + 0.5)
    mean = (0.5 * 0.5 * 1 + 0.5 * 3) / (1 - 0.5**2)
    square = (0.75 * 0.25 * 1 + 0.25 * 9) / (1 - 0.75**2)
    assert task.seen[1][MATRIX] == pytest.approx(first)
    assert model.values[MATRIX] == pytest.approx(first - 0.1 * mean / (math.sqrt(square) + 0.5))


def test_gradients_are_clipped_by_the_norm_of_all(tmp_path: Path) -> None:
    """3 and 4 have norm 5; an epsilon of 1 lets Adam's step tell their size."""
    for limit, scale in ((1.0, 0.2), (2.5, 0.5), (5.5, 1.0)):
        _, model, _ = train(FakeTask({MATRIX: 3.0, TABLE: 4.0}), 1, tmp_path, clip_norm=limit, epsilon=1.0)
        expected = [1 - 0.1 * 3 * scale / (3 * scale + 1), 1 - 0.1 * 4 * scale / (4 * scale + 1)]
        assert [model.values[MATRIX], model.values[TABLE]] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("decay", [0.1, 0.98])
def test_the_average_follows_the_weights_as_the_recipe_says(decay: float, tmp_path: Path) -> None:
    """It is what is scored and kept; early on it forgets faster, by (step + 10) / step; training goes on beside it."""
    task = FakeTask(DOWN)
    model = FakeModel()
    _, _, validation = train(task, 6, tmp_path, model=model, average=decay, evaluations=6, scores=[0.1, 0.2, 0.3])
    plain = FakeTask(DOWN)
    _, last, _ = train(plain, 6, tmp_path)
    assert task.seen == plain.seen
    averages = [1.0]
    for step, after in enumerate([*plain.seen[1:], last.values], start=1):
        keep = min(decay, step / (step + 10))
        averages.append(keep * averages[-1] + (1 - keep) * after[MATRIX])
    assert [seen[MATRIX] for seen in validation.seen] == pytest.approx(averages)
    assert model.values == validation.seen[-1]


def test_without_an_average_the_weights_themselves_are_scored(tmp_path: Path) -> None:
    """The first score is that of the start."""
    task = FakeTask(DOWN)
    _, _, validation = train(task, 4, tmp_path, evaluations=4)
    assert validation.seen[:4] == task.seen


def test_a_step_takes_the_weighted_sum_of_its_terms(tmp_path: Path) -> None:
    """Each term has its rows, in an order of its own, and its recipe; pairs of both are counted."""
    captions, pairs = FakeTask({MATRIX: 3.0}, rows=12), FakeTask({MATRIX: 1.0, TABLE: 5.0}, rows=12)
    mine, beside = recipe(epsilon=1.0), recipe(epsilon=9.0)
    terms: Any = [Term(captions, 2.0, mine, 4), Term(pairs, 0.5, beside, 3)]  # type: ignore[arg-type]
    model, validation = FakeModel(), FakeValidation()
    log: list[dict[str, Any]] = []
    result = trainer(model, tmp_path, log=log.append).run(Stage("exposure", terms, mine, validation, 1))
    assert model.values[MATRIX] == pytest.approx(1 - 0.1 * 6.5 / 7.5)
    assert model.values[TABLE] == pytest.approx(1 - 0.1 * 2.5 / 3.5)
    assert [record["loss"] for record in log if "loss" in record] == [2 * 3.0 + 0.5 * 6.0]
    ((shown, first),), ((read, second),) = captions.asked, pairs.asked
    assert (first, second) == (mine, beside)
    assert (len(shown), len(read)) == (4, 3)
    assert result.pairs == 7


def test_terms_are_drawn_apart_and_by_the_seed(tmp_path: Path) -> None:
    """The same rows in two terms come in two orders; another seed gives others."""
    orders = []
    for seed in (0, 0, 5):
        tasks = [FakeTask(DOWN, rows=64), FakeTask(DOWN, rows=64)]
        rule = recipe()
        terms: Any = [Term(task, 1.0, rule, 8) for task in tasks]  # type: ignore[arg-type]
        trainer(FakeModel(), tmp_path, seed=seed).run(Stage("exposure", terms, rule, FakeValidation(), 8))
        orders.append([[rows for rows, _ in task.asked] for task in tasks])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][0] != orders[0][1]
    for order in orders[0]:
        assert sorted(row for rows in order for row in rows) == list(range(64))


def test_a_term_of_few_rows_takes_them_all(tmp_path: Path) -> None:
    """No batch is larger than its rows, and that is told."""
    terms: Any = [Term(FakeTask(DOWN, rows=3), 1.0, recipe(), batch) for batch in (2, 3, 4)]  # type: ignore[arg-type]
    assert smaller_batches("exposure", terms) == [
        "exposure has 3 pairs to train on, so that a step takes 3 and not 4; more data would help."
    ]
    task = FakeTask(DOWN, rows=3)
    result, _, _ = train(task, 2, tmp_path, batch=128)
    assert [sorted(rows) for rows, _ in task.asked] == [[0, 1, 2]] * 2
    assert result.pairs == 6


def test_rows_are_made_ready_some_steps_before_they_are_run(tmp_path: Path) -> None:
    """All rows of the first eight steps, then of the sixteen after; none of steps that the run does not have."""
    task = FakeTask(DOWN, rows=400)
    train(task, 20, tmp_path)
    run = [rows for rows, _ in task.asked]
    assert task.ready == [sorted(chain(*run[:8])), sorted(chain(*run[8:]))]


def test_the_log_has_the_scores_and_some_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss at a fifth of the way between two evaluations, a score at each, all with stage, step and time."""
    log: list[dict[str, Any]] = []
    task = FakeTask({MATRIX: 1 / 3, TABLE: 1 / 3})
    clock = count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 100 + next(clock) * 0.30707))
    run = trainer(FakeModel(), tmp_path, log=log.append)
    result = run.run(
        stage(task, FakeValidation([0.1234567, score(0.25, chance=1 / 30, mean_cosine=1 / 7)]), 20, evaluations=2)
    )
    assert result.seconds == pytest.approx(6.1414)
    scores = [(record["step"], record["score"]) for record in log if record.get("event") == "evaluation"]
    assert scores == [(0, 0.12346), (10, 0.25), (20, 0.25)]
    losses = {record["step"]: record["loss"] for record in log if "loss" in record}
    assert list(losses) == list(range(2, 21, 2))
    assert losses[4] == round((task.seen[3][MATRIX] + task.seen[3][TABLE]) / 3, 6)
    assert all(record["stage"] == "transfer" for record in log)
    assert [record["seconds"] for record in log if "loss" in record] == [
        round(0.30707 * step, 2) for step in range(2, 21, 2)
    ]
    assert {record["pairs_per_second"] for record in log if "loss" in record} == {6.5}  # of 6.513
    assert {key: log[-1][key] for key in ("chance", "mean_cosine")} == {"chance": 0.03333, "mean_cosine": 0.14286}


def test_a_loss_is_logged_at_each_step_where_evaluations_are_near(tmp_path: Path) -> None:
    log: list[dict[str, Any]] = []
    trainer(FakeModel(), tmp_path, log=log.append).run(stage(FakeTask(DOWN), FakeValidation(), 14, evaluations=2))
    assert [record["step"] for record in log if "loss" in record] == list(range(1, 15))


def test_rows_are_drawn_by_their_weights(tmp_path: Path) -> None:
    """A row of the weight of all others together is in each second place."""
    task = FakeTask(DOWN, rows=40)
    task.weights = np.array([39.0, *[1.0] * 39])
    train(task, 20, tmp_path)
    assert sum(rows.count(0) for rows, _ in task.asked) == 20


def test_a_step_runs_in_the_precision_that_was_picked(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        task = FakeTask(DOWN)
        trainer(FakeModel(), tmp_path, precision=precision).run(stage(task, FakeValidation(), 2))
        assert task.in_bf16 == [precision == "bf16"] * 2


@pytest.mark.parametrize("fused", [True, False])
def test_adam_moves_nothing_until_a_schedule_says_how_fast(fused: bool) -> None:
    """The dry run steps with it as it is made."""
    made = adam(FakeModel().tensors, recipe(learning_rate=0.2, embedding_learning_rate=0.3), fused=fused)
    assert [group["lr"] for group in made.param_groups] == [0, 0, 0]
    assert [group["peak"] for group in made.param_groups] == [0.2, 0.2, 0.3]
    assert made.defaults["fused"] is fused


class Two(Processes):
    """Stand for one of two processes: the other one's gradients are as large as these, its scores what is given."""

    given = None
    joined = 0

    def sum_gradients(self, tensors: Any) -> None:
        """Double them."""
        for tensor in tensors:
            if tensor.grad is not None:
                tensor.grad *= 2

    def join(self, own: Any, rows: int) -> Any:
        """Count."""
        object.__setattr__(self, "joined", self.joined + 1)
        return own

    def any(self, flag: bool) -> bool:
        """Agree."""
        return flag

    def from_first(self, value: Any) -> Any:
        """Return what the first one has."""
        return self.given or value


def test_processes_sum_their_gradients_before_they_are_clipped_and_take_the_firsts_scores(tmp_path: Path) -> None:
    """The second process keeps no checkpoint."""
    processes = Two(1, 2)
    object.__setattr__(processes, "given", FakeValidation([0.75]).scores[0])
    model = FakeModel()
    run = trainer(model, tmp_path, processes=processes)
    task = FakeTask({MATRIX: 3.0, TABLE: 4.0})
    result = run.run(stage(task, FakeValidation([0.1]), 1, clip_norm=8.0, epsilon=1.0))
    assert processes.joined == 1
    assert result.best.score == 0.75
    assert model.values[MATRIX] == pytest.approx(1 - 0.1 * 4.8 / 5.8)
    assert not list(tmp_path.iterdir())
