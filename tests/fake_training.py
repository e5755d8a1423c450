"""A model of three numbers, a task with gradients as given and a held-out slice with scores as given.

The course of a run over them can be computed by hand.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mla_extend.processes import ALONE, Processes
from mla_extend.training.checkpoint import CheckpointFile
from mla_extend.training.forward import run_rows
from mla_extend.training.loop import StageResult, Trainer
from mla_extend.training.recipe import StageRecipe
from mla_extend.training.stages import Stage, Term
from mla_extend.training.validation import Score

MATRIX, BIAS, TABLE = "x.acquirer_block.down.weight", "x.acquirer_block.down.bias", "x.acquirer_embedding.y"
Values = dict[str, float]


class FakeModel:
    """Hold three numbers: a matrix of an acquirer, a bias of it, and a token table."""

    def __init__(self, matrix: float = 1.0, bias: float = 1.0, table: float = 1.0) -> None:
        family = SimpleNamespace(padded_length=lambda _: 1)
        self.base = SimpleNamespace(device=torch.device("cpu"), family=family, model=None, width=1)
        self.tuner = SimpleNamespace(blocks_in=lambda _: nullcontext(), layers=dict, matrices=list)
        self.tensors = {
            name: torch.tensor([[value]], dtype=torch.float64, requires_grad=True)
            for name, value in ((MATRIX, matrix), (BIAS, bias), (TABLE, table))
        }

    @contextmanager
    def training(self, tag: str) -> Iterator[dict[str, Tensor]]:
        """Give the numbers."""
        assert tag == "sw"
        yield self.tensors

    def own_table(self, _: str) -> None:
        """Say that there is no table of many rows."""

    def forward(self, batch: Any) -> Tensor:
        """Return a vector a row, which says nothing."""
        return torch.zeros(len(batch.ids), 1)

    @property
    def values(self) -> Values:
        """Return the numbers as they are."""
        return {name: float(tensor.detach()) for name, tensor in self.tensors.items()}


Gradients = Callable[[int, Values, Any], Values]
"""What a loss has as gradients, by the number of its call, the numbers of the model, and the batch's rows."""


class FakeTask:
    """Lose what has the gradients that are given; keep what it was asked, and the model's numbers at each step."""

    unit = "pairs"

    def __init__(self, gradients: Gradients | Values, rows: int = 8) -> None:
        self.gradients = gradients if callable(gradients) else lambda *_: gradients
        self.lengths = np.ones(rows, dtype=np.int64)
        self.weights: Any = None
        self.seen: list[Values] = []
        self.asked: list[tuple[list[int], StageRecipe]] = []
        self.in_bf16: list[bool] = []
        self.ready: list[list[int]] = []

    def prepare(self, rows: Any) -> None:
        """Keep which rows are made ready."""
        self.ready.append(rows.tolist())

    def reads(self, _model: Any, rows: Any, _recipe: StageRecipe) -> list[list[int]]:
        """Return a token a row, which no tower reads."""
        return [[0]] * len(rows)

    def loss(self, model: Any, _: Tensor, rows: Any, recipe: StageRecipe) -> Tensor:
        """Return the sum of numbers times gradients."""
        assert set(rows.tolist()) <= {row for made in self.ready for row in made}
        gradients = self.gradients(len(self.seen), model.values, rows)
        self.seen.append(model.values)
        self.asked.append((rows.tolist(), recipe))
        self.in_bf16.append(torch.is_autocast_enabled("cpu"))
        return torch.stack([gradient * model.tensors[name].sum() for name, gradient in gradients.items()]).sum()


def loss_of(task: Any, model: Any, rows: Any, recipe: StageRecipe, processes: Processes = ALONE) -> Tensor:
    """Return what a task loses on some rows as the model reads them."""
    return task.loss(model, run_rows(model, task.reads(model, rows, recipe), processes), rows, recipe)  # type: ignore[no-any-return]


def score(value: float, *, error: float = 0.0, chance: float = 0.001, mean_cosine: float = 0.1) -> Score:
    """Return what a held-out slice says."""
    return Score(value, chance, mean_cosine, error)


class FakeValidation:
    """Give scores one after another, the last one again and again, and keep the numbers that were scored."""

    def __init__(self, scores: Iterable[Score | float] = (0.5,)) -> None:
        self.scores = [one if isinstance(one, Score) else score(one) for one in scores]
        self.seen: list[Values] = []

    def __call__(self, model: Any) -> Score:
        """Return the next score."""
        self.seen.append(model.values)
        return self.scores[min(len(self.seen), len(self.scores)) - 1]


def recipe(**changes: Any) -> StageRecipe:
    """Return a recipe that neither warms up, decays, clips, averages nor stops early unless told."""
    plain = {"warmup": 0, "learning_rate": 0.1, "embedding_learning_rate": 0.1, "epsilon": 1e-12, "batch": 2}
    return StageRecipe(**{**plain, "clip_norm": 1e9, "evaluations": 1, "patience": 1000, "contrast": 1.0, **changes})


def stage(task: FakeTask, validation: FakeValidation, steps: int, **changes: Any) -> Stage:
    """Return a stage of one term."""
    rule = recipe(**changes)
    return Stage("transfer", [Term(task, 1.0, rule, rule.batch)], rule, validation, steps)  # type: ignore[list-item]


def trainer(model: FakeModel, folder: Path, **more: Any) -> Trainer:
    """Return what trains the model, with its checkpoint in a folder."""
    checkpoints = CheckpointFile(folder / "checkpoint.safetensors")
    return Trainer(model, "sw", **{"seed": 0, "precision": "fp32", "checkpoints": checkpoints, **more})  # type: ignore[arg-type]


def train(
    task: FakeTask,
    steps: int,
    folder: Path,
    *,
    model: FakeModel | None = None,
    scores: Sequence[Score | float] = (0.5,),
    **changes: Any,
) -> tuple[StageResult, FakeModel, FakeValidation]:
    """Run one stage from its start."""
    model = model or FakeModel()
    validation = FakeValidation(scores)
    return trainer(model, folder).run(stage(task, validation, steps, **changes)), model, validation


class FakeTower:
    """Give texts the vector that is kept for their first id, and keep how many texts and tokens each pass had."""

    def __init__(self, vectors: Any, *, fixed: int | None = None, sigmoid: Any = None, device: str = "cpu") -> None:
        self.vectors = torch.as_tensor(np.asarray(vectors, dtype=np.float32)).requires_grad_()
        family = SimpleNamespace(padded_length={"its model": fixed}.get, sigmoid_terms={"its model": sigmoid}.get)
        self.base = SimpleNamespace(device=torch.device(device), family=family, model="its model")
        self.passes: list[tuple[int, int]] = []

    def forward(self, batch: Any) -> Tensor:
        """Return the vectors."""
        self.passes.append(tuple(batch.ids.shape))
        return self.vectors[batch.ids[:, 0]]

    def as_begun(self, ids: Any) -> Any:
        """Return ids as they are."""
        return ids
