"""Which weights of a stage are kept, when it stops, and what it refuses to call a run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mla_extend.errors import TrainingError
from mla_extend.training import loop
from mla_extend.training.checkpoint import CheckpointFile
from mla_extend.training.loop import StageResult
from mla_extend.training.validation import Score
from tests.fake_training import (
    BIAS,
    MATRIX,
    TABLE,
    FakeModel,
    FakeTask,
    FakeValidation,
    Values,
    score,
    stage,
    train,
    trainer,
)

DOWN = {MATRIX: 1.0, BIAS: 1.0, TABLE: 1.0}


def kept(folder: Path, scores: Sequence[Score | float], steps: int = 0, **changes: Any) -> tuple[StageResult, int]:
    """Run a stage with an evaluation at each step; return how it went, and whose step's weights are in the model."""
    steps = steps or len(scores) - 1
    result, model, validation = train(FakeTask(DOWN), steps, folder, scores=scores, evaluations=steps, **changes)
    assert len({seen[MATRIX] for seen in validation.seen}) == len(validation.seen) == result.steps + 1
    return result, validation.seen.index(model.values)


def test_the_best_weights_are_kept_and_put_into_the_model(tmp_path: Path) -> None:
    """Not the last ones."""
    result, step = kept(tmp_path, [0.1, 0.5, 0.7, 0.6, 0.4])
    assert (step, result.kept_step, result.steps) == (2, 2, 4)
    assert (result.first.score, result.best.score, result.stopped) == (0.1, 0.7, "all steps done")


def test_what_is_no_worse_by_its_error_is_kept_where_it_is_later(tmp_path: Path) -> None:
    """The error is that of the best score; the best one is still what is told."""
    result, step = kept(tmp_path, [0.1, score(0.7, error=0.1), score(0.61, error=0.0), 0.59])
    assert (step, result.kept_step, result.best.score) == (2, 2, 0.7)
    exact = [0.1, score(0.75, error=0.25), 0.5, 0.49]
    assert kept(tmp_path, exact)[1] == 2
    assert kept(tmp_path, [score(0.5, error=0.5), 0.5, 0.5])[1] == 2  # equal is no worse, without an error too
    assert kept(tmp_path, [0.5, 0.5, 0.5])[1] == 2
    assert kept(tmp_path, [0.1, 0.7, score(0.6, error=0.2)])[1] == 1
    # of two that are equal the first one's error counts
    assert kept(tmp_path, [0.1, score(0.7, error=0.1), score(0.7, error=0.0), 0.65])[1] == 3


def test_the_start_is_kept_where_nothing_is_better(tmp_path: Path) -> None:
    """Training that makes it worse leaves the start as it was, and says so."""
    result, step = kept(tmp_path, [score(0.5, error=0.01), 0.3, 0.4])
    assert (step, result.kept_step) == (0, 0)
    assert result.notes == [
        "transfer learned nothing that the held-out slice shows: the score was 0.500 at step 0 and at most 0.400 "
        "later; step 0 is kept. The likely cause is too little data for training to add to the start, or a learning "
        "rate that is off."
    ]


@pytest.mark.parametrize(
    ("scores", "notes"),
    [
        ([0.5, 0.5], 1),
        ([0.5, 0.51], 0),
        ([score(0.95, error=0.06), 0.9], 0),  # no score could be told from it
        ([score(0.95, error=0.04), 0.9], 1),
        ([1.0, 1.0], 0),
    ],
)
def test_a_stage_that_learned_nothing_says_so_unless_it_could_not(
    scores: list[Score | float], notes: int, tmp_path: Path
) -> None:
    assert len(kept(tmp_path, scores)[0].notes) == notes


def test_a_stage_stops_where_scores_no_longer_rise(tmp_path: Path) -> None:
    """After as many worse ones in a row as the recipe's patience; one that is no worse starts the count again."""
    result, step = kept(tmp_path, [0.1, 0.5, 0.4, 0.4, 0.3, 0.9], steps=9, patience=3)
    assert (result.steps, result.stopped, step) == (4, "no better score in 3 evaluations", 1)
    result, step = kept(tmp_path, [0.1, 0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.2, 0.9], steps=9, patience=3)
    assert (result.steps, step) == (7, 4)
    result, step = kept(tmp_path, [0.5, 0.4], steps=1, patience=1)
    assert result.stopped == "no better score in 1 evaluations"


def test_evaluations_are_spread_over_the_steps_and_there_is_one_at_the_end(tmp_path: Path) -> None:
    """At step 0, then every `steps // evaluations`, and at the last step."""
    for steps, evaluations, expected in ((10, 3, [0, 3, 6, 9, 10]), (2, 5, [0, 1, 2]), (9, 3, [0, 3, 6, 9])):
        task = FakeTask(DOWN)
        _, _, validation = train(task, steps, tmp_path, evaluations=evaluations)
        at = [*(seen[MATRIX] for seen in task.seen), validation.seen[-1][MATRIX]]
        assert [at.index(seen[MATRIX]) for seen in validation.seen] == expected


def diverging(folder: Path, gradients: Values, **changes: Any) -> str:
    """Return what is said where a second step has such gradients."""
    task = FakeTask(lambda call, *_: gradients if call else DOWN)
    with pytest.raises(TrainingError) as caught:
        train(task, 5, folder, learning_rate=0.05, embedding_learning_rate=0.25, **changes)
    return str(caught.value)


def test_a_run_that_diverges_is_refused(tmp_path: Path) -> None:
    """With the step, the loss, the gradients' norm, and a smaller rate to try."""
    said = diverging(tmp_path, {MATRIX: math.nan})
    assert said == (
        "transfer diverged at step 2: the loss is nan, the gradient norm nan. The likely cause is the learning rate "
        "(0.05, embedding 0.25): try --set transfer.learning_rate=0.01, or --set precision=fp32."
    )
    assert "the loss is inf" in diverging(tmp_path, {MATRIX: math.inf})


def test_a_gpu_s_losses_are_looked_at_some_steps_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What diverged before is told with its own step, and nothing of it is kept."""
    monkeypatch.setattr(loop, "tokens_that_fit", lambda *_: 10**9)
    model = FakeModel()
    model.base.device = torch.device("cuda")
    task = FakeTask(lambda call, *_: {MATRIX: math.nan} if call == 13 else DOWN)
    checkpoints = CheckpointFile(tmp_path / "checkpoint.safetensors")
    with pytest.raises(TrainingError, match="diverged at step 14: the loss is nan"):
        train(task, 200, tmp_path, model=model)
    assert len(task.seen) == 20
    checkpoint = checkpoints.load()
    assert checkpoint is not None
    assert checkpoint.state["step"] == 0


def test_gradients_that_are_none_with_a_loss_that_is_one_diverge(tmp_path: Path) -> None:
    """The weights are as they were before that step."""
    model = FakeModel(matrix=0.0)
    task = FakeTask({MATRIX: 1e200, TABLE: 1e200, BIAS: 1e200})  # their squares are no numbers
    with pytest.raises(TrainingError, match="at step 1: the loss is 2e\\+200, the gradient norm inf"):
        train(task, 1, tmp_path, model=model)
    assert model.values == {MATRIX: 0.0, BIAS: 1.0, TABLE: 1.0}


def test_a_run_whose_vectors_become_alike_is_refused(tmp_path: Path) -> None:
    """Above 0.98 and more than at the start, at any step but the first."""
    run: Any = [score(0.5, mean_cosine=0.3), score(0.6, mean_cosine=0.985)]
    with pytest.raises(TrainingError) as caught:
        kept(tmp_path, run, learning_rate=0.05, embedding_learning_rate=0.25)
    assert str(caught.value) == (
        "transfer collapsed at step 1: the mean cosine between different sentences is 0.985, so every text gets nearly "
        "the same vector. The likely cause is a learning rate that is too high, or a target column that does not "
        "belong to its native one: look at the data, and try --set transfer.learning_rate=0.01 --set "
        "transfer.embedding_learning_rate=0.05."
    )
    for scores in (
        [score(0.5, mean_cosine=0.3), score(0.6, mean_cosine=0.98)],
        [score(0.5, mean_cosine=0.99), score(0.6, mean_cosine=0.99)],
        [score(0.5, mean_cosine=0.999), score(0.6, mean_cosine=0.985)],
    ):
        kept(tmp_path, scores)
    for mean_cosine in (math.nan, math.inf):
        with pytest.raises(TrainingError, match="collapsed at step 0"):
            kept(tmp_path, [score(0.5, mean_cosine=mean_cosine), 0.6])


def test_a_run_that_stays_at_chance_is_refused(tmp_path: Path) -> None:
    """From 0.6 of the steps on, where the best score is within half of chance, and chance is low enough to tell."""
    low: Any = [score(0.1, chance=0.1), score(0.15, chance=0.1)]
    with pytest.raises(TrainingError) as caught:
        kept(tmp_path, low, steps=5)
    assert str(caught.value) == (
        "transfer has learned nothing by step 3: the held-out score is 0.150, chance is 0.100. The likely cause is "
        "data whose two sides do not belong together (shifted lines, another language), or far too little of it."
    )
    kept(tmp_path, [*low, score(0.16, chance=0.1), *low], steps=5)
    kept(tmp_path, [score(0.2, chance=0.2), score(0.21, chance=0.2)], steps=5)  # 0.2: luck reaches as far
    half: Any = [score(0.125, chance=0.125), score(0.1875, chance=0.125)]
    with pytest.raises(TrainingError, match="learned nothing by step 3"):
        kept(tmp_path, half, steps=5)
    with pytest.raises(TrainingError, match="learned nothing by step 3"):
        kept(tmp_path, [score(0.19, chance=0.19), score(0.2, chance=0.19)], steps=5)


def test_what_is_said_of_a_stage(tmp_path: Path) -> None:
    """The card's entry has each figure."""
    scores = [score(0.25, chance=0.125), score(0.5, chance=0.125)]
    run = trainer(FakeModel(), tmp_path).run(stage(FakeTask(DOWN), FakeValidation(scores), 3))
    run.seconds = 1.23456
    told = run.to_json()
    assert told.pop("seconds") == 1.23
    assert told == {
        "stage": "transfer", "steps": 3, "kept_step": 3, "step0_score": 0.25, "best_score": 0.5, "chance": 0.125,
        "pairs": 6, "stopped": "all steps done", "notes": [],
    }  # fmt: skip
