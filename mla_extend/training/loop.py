"""One loop for both stages: steps, evaluations, checkpoints, and stopping when it goes wrong or is asked to."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mla_extend.errors import Interrupted, TrainingError
from mla_extend.language.model import MultilingualModel
from mla_extend.processes import ALONE, Processes
from mla_extend.progress import SILENT, Progress
from mla_extend.stop import StopRequest
from mla_extend.training.batches import BucketedBatches
from mla_extend.training.checkpoint import Checkpoint, CheckpointFile
from mla_extend.training.forward import tokens_that_fit
from mla_extend.training.memory import FreedMemory
from mla_extend.training.optimiser import adam, add_gradients
from mla_extend.training.precision import Autocast, fuses_adam
from mla_extend.training.stages import Stage
from mla_extend.training.table import TableAdam
from mla_extend.training.teacher import encoded_with
from mla_extend.training.validation import Score

COLLAPSED = 0.98
"""Mean cosine between different texts from which a run counts as collapsed."""
TELLING_CHANCE = 0.2
"""Chance above which a held-out slice is too small to tell learning from luck."""
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_COSTS = 50
"""How many times as long as a checkpoint takes passes before the next one at least."""
READ_STEPS = 10
"""Steps of a GPU whose losses are looked at together: each look waits until it has done all that it was given."""


@dataclass
class StageResult:
    """Say how a stage went."""

    name: str
    steps: int
    kept_step: int
    first: Score
    best: Score
    seconds: float
    pairs: int
    stopped: str
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it for the card."""
        return {
            "stage": self.name,
            "steps": self.steps,
            "kept_step": self.kept_step,
            "step0_score": self.first.score,
            "best_score": self.best.score,
            "chance": self.best.chance,
            "seconds": round(self.seconds, 2),
            "pairs": self.pairs,
            "stopped": self.stopped,
            "notes": self.notes,
        }


class Trainer:
    """Train one language of a model through its stages.

    Args:
        model: holds the language; nothing else in it moves.
        tag: the language.
        seed: decides every batch.
        precision: `fp32` or `bf16`.
        checkpoints: where the run's state is kept.
        progress: told of every step.
        log: given every record of `training.jsonl`.
        stop: says when the user wants to stop.
        processes: train it together; the first one keeps the run's state.
    """

    def __init__(
        self,
        model: MultilingualModel,
        tag: str,
        *,
        seed: int,
        precision: str,
        checkpoints: CheckpointFile,
        progress: Progress = SILENT,
        log: Callable[[dict[str, Any]], None] = lambda _: None,
        stop: StopRequest | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.model = model
        self.tag = tag
        self.seed = seed
        self.precision = precision
        self.checkpoints = checkpoints
        self.progress = progress
        self.log = log
        self.stop = stop or StopRequest()
        self.processes = processes

    def run(self, stage: Stage, resume: Checkpoint | None = None) -> StageResult:
        """Train one stage and leave its best weights in the model.

        Raises:
            TrainingError: the run diverged, collapsed, or stayed at chance.
            Interrupted: the user asked to stop; the state is kept.
        """
        with self.model.training(self.tag) as tensors:
            return Run(self, stage, tensors, resume).go()


class Run:
    """One stage in progress: everything that a checkpoint must hold, and nothing else that changes."""

    def __init__(
        self, trainer: Trainer, stage: Stage, tensors: Mapping[str, Tensor], resume: Checkpoint | None = None
    ) -> None:
        self.trainer = trainer
        self.stage = stage
        self.recipe = stage.recipe
        self.tensors = tensors
        self.freed = FreedMemory()
        self.autocast = Autocast(trainer.precision, trainer.model)
        self.most = tokens_that_fit(trainer.model, trainer.precision)
        self.sources = [
            (term, BucketedBatches(term.task.lengths, term.rows, trainer.seed + place, term.task.weights))
            for place, term in enumerate(stage.terms)
        ]
        self.every = max(1, stage.steps // self.recipe.evaluations)
        self.seconds = 0.0
        self.pairs = 0
        self.step = 0
        self.worse = 0
        self.kept_step = 0
        self.loss = math.nan
        self._unread: list[tuple[int, Tensor]] = []
        self._ready = 0
        self._best_place = 0
        self.history: list[Score] = []
        self.average = (
            {name: tensor.detach().clone() for name, tensor in self.tensors.items()} if self._averages else {}
        )
        self.kept_weights: dict[str, Tensor] = {}
        fused = fuses_adam(trainer.model.base.device)
        table = trainer.model.own_table(trainer.tag)
        self.table_name = next((n for n, t in tensors.items() if table is not None and t is table.weight), "")
        self.table = (
            TableAdam(table, self.average.get(self.table_name), self.recipe, fused=fused) if table is not None else None
        )
        self.dense = {name: tensor for name, tensor in tensors.items() if name != self.table_name}
        self.optimiser = adam(self.dense, self.recipe, fused=fused)
        if resume is not None:
            self._restore(resume)

    @property
    def _averages(self) -> bool:
        return self.recipe.average > 0

    def go(self) -> StageResult:
        """Train until the steps are done, the score no longer rises, or it goes wrong."""
        trainer, stage = self.trainer, self.stage
        trainer.progress.start(stage.name.capitalize(), total=stage.steps, unit="steps")
        trainer.progress.advance(self.step)
        started = saved = time.monotonic()
        before, cost = self.seconds, 0.0
        stopped = "all steps done"
        try:
            if not self.history:
                self._evaluate()
                self._save()  # what earlier stages left is safe from here on
            while self.step < stage.steps:
                self.one_step()
                now = time.monotonic()
                self.seconds = before + now - started
                rate = self.pairs / max(self.seconds, 1e-9)
                trainer.progress.advance(1, loss=self.loss, **{"pairs/s": rate, "score": self.history[-1].score})
                if self.step % max(1, self.every // 5) == 0:
                    self._read()
                    self._record(loss=round(self.loss, 6), pairs_per_second=round(rate, 1))
                if self.step % self.every == 0 or self.step == stage.steps:
                    self._evaluate()
                    if self.worse >= self.recipe.patience:
                        stopped = f"no better score in {self.worse} evaluations"
                        break
                if not self._unread and trainer.processes.any(trainer.stop.requested):
                    self._save()
                    raise Interrupted(
                        f"Stopped in {stage.name} at step {self.step} of {stage.steps}; the run is kept. "
                        "Continue it with the same command and --resume."
                    )
                # Each process by its own clock: saving exchanges nothing.
                if now - saved > max(CHECKPOINT_SECONDS, CHECKPOINT_COSTS * cost):
                    self._save()
                    saved = time.monotonic()
                    cost = saved - now
        finally:
            trainer.progress.finish()
        return self._result(stopped)

    def _prepare(self) -> None:
        """Let the tasks make ready what the next steps need, some steps at a time."""
        if self.step < self._ready:
            return
        first, self._ready = encoded_with(self.step)
        for term, batches in self.sources:
            rows = [batches.rows(step) for step in range(first, min(self._ready, self.stage.steps))]
            term.task.prepare(np.unique(np.concatenate(rows)))

    def one_step(self) -> None:
        """Train on the next batch."""
        self._prepare()
        self._set_rates()
        self.optimiser.zero_grad()
        terms = [(term, batches.rows(self.step)) for term, batches in self.sources]
        self.freed.make_room(max(int(term.task.lengths[rows].sum()) for term, rows in terms))
        trainer = self.trainer
        reads = [term.task.reads(trainer.model, rows, term.recipe) for term, rows in terms]
        with nullcontext() if self.table is None else self.table.lend(reads) as lent:
            losses = [
                add_gradients(trainer.model, term, rows, ids, self.autocast, trainer.processes, self.most)
                for (term, rows), ids in zip(terms, reads, strict=True)
            ]
        self.pairs += sum(len(rows) for _, rows in terms)
        trained = [*self.dense.values(), *([] if lent is None else [lent])]
        trainer.processes.sum_gradients(trained)
        norm = torch.nn.utils.clip_grad_norm_(trained, self.recipe.clip_norm)
        total = torch.stack(losses).sum()
        self._unread.append((self.step + 1, torch.stack([total, norm.to(total)])))
        if len(self._unread) >= (READ_STEPS if trainer.model.base.device.type == "cuda" else 1):
            self._read()
        self.optimiser.step()
        self.step += 1
        decay = min(self.recipe.average, self.step / (self.step + 10))
        if self._averages:
            with torch.no_grad():
                for name, tensor in self.dense.items():
                    self.average[name].lerp_(tensor, 1 - decay)
        if self.table is not None:
            self.table.step(decay)

    def _read(self) -> None:
        """Look at the losses and gradient norms since the last look: a run that diverged ends here."""
        if not self._unread:
            return
        steps, values = zip(*self._unread, strict=True)
        self._unread = []
        for step, (loss, norm) in zip(steps, torch.stack(values).tolist(), strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingError(
                    f"{self.stage.name} diverged at step {step}: the loss is {loss}, the gradient norm {norm}. "
                    f"The likely cause is the learning rate ({self.recipe.learning_rate:g}, embedding "
                    f"{self.recipe.embedding_learning_rate:g}): try --set {self.stage.name}.learning_rate="
                    f"{self.recipe.learning_rate / 5:g}, or --set precision=fp32."
                )
            self.loss = loss

    def _evaluate(self) -> None:
        """Score the held-out slice, keep the best weights, and stop a run that is none."""
        self._read()
        if self.table is not None:
            self.table.settle()
        weights = self.average if self._averages else {name: t.detach() for name, t in self.tensors.items()}
        kept = {name: tensor.detach().clone() for name, tensor in self.tensors.items()} if self._averages else {}
        self._put(weights)
        score = self.trainer.processes.from_first(self.stage.validation(self.trainer.model))
        self.history.append(score)
        if score.score > self.best.score:
            self._best_place = len(self.history) - 1
        if score.score >= self.best.score - self.best.error:
            # What differs by less than its error is no worse, and has seen more of the data: the later one is kept.
            self.kept_step, self.worse = self.step, 0
            self.kept_weights = {name: tensor.clone() for name, tensor in weights.items()}
        else:
            self.worse += 1
        self._put(kept)
        self._record(
            event="evaluation",
            score=round(score.score, 5),
            chance=round(score.chance, 5),
            mean_cosine=round(score.mean_cosine, 5),
        )
        self._check(score)

    @property
    def best(self) -> Score:
        """Return the best score so far."""
        return self.history[self._best_place]

    def _check(self, score: Score) -> None:
        stage, step = self.stage.name, self.step
        if not math.isfinite(score.mean_cosine) or (
            step and score.mean_cosine > COLLAPSED and score.mean_cosine > self.history[0].mean_cosine
        ):
            raise TrainingError(
                f"{stage} collapsed at step {step}: the mean cosine between different sentences is "
                f"{score.mean_cosine:.3f}, "
                "so every text gets nearly the same vector. The likely cause is a learning rate that is too high, or a "
                f"target column that does not belong to its native one: look at the data, and try --set "
                f"{stage}.learning_rate={self.recipe.learning_rate / 5:g} --set "
                f"{stage}.embedding_learning_rate={self.recipe.embedding_learning_rate / 5:g}."
            )
        best = self.best
        telling = best.chance < TELLING_CHANCE
        if telling and step >= self.stage.steps * 0.6 and best.score <= 1.5 * best.chance:
            raise TrainingError(
                f"{stage} has learned nothing by step {step}: the held-out score is {best.score:.3f}, chance is "
                f"{best.chance:.3f}. The likely cause is data whose two sides do not belong together (shifted lines, "
                "another language), or far too little of it."
            )

    def _result(self, stopped: str) -> StageResult:
        self._put(self.kept_weights)
        notes = []
        first = self.history[0]
        if self.step and self.best.score <= first.score < 1 - first.error:
            later = max(score.score for score in self.history[1:])
            notes.append(
                f"{self.stage.name} learned nothing that the held-out slice shows: the score was {first.score:.3f} at "
                f"step 0 and at most {later:.3f} later; step {self.kept_step} is kept. The likely cause is too little "
                "data for training to add to the start, or a learning rate that is off."
            )
        return StageResult(
            self.stage.name, self.step, self.kept_step, first, self.best, self.seconds, self.pairs, stopped, notes
        )

    def _record(self, **values: Any) -> None:
        self.trainer.log({"stage": self.stage.name, "step": self.step, "seconds": round(self.seconds, 2), **values})

    # Optimiser ----------------------------------------------------------------------------------------------------

    def _set_rates(self) -> None:
        """Set each group's rate for the next step: a linear warmup, then a cosine down to zero."""
        warmup = max(1.0, min(self.recipe.warmup * self.stage.steps, self.recipe.longest_warmup))
        if self.step < warmup:
            factor = (self.step + 1) / warmup
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (self.step - warmup) / max(1.0, self.stage.steps - warmup)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, factor)
        if self.table is not None:
            self.table.rate = self.table.peak * min(1.0, factor)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, tensor in weights.items():
            self.tensors[name].copy_(tensor)

    # Checkpoints --------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        self._read()
        if not self.trainer.processes.first:
            return
        tensors = {f"weights/{name}": tensor.detach() for name, tensor in self.tensors.items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"kept/{name}": tensor for name, tensor in self.kept_weights.items()}
        for name, tensor in self.tensors.items():
            for key, value in self.optimiser.state.get(tensor, {}).items():
                tensors[f"optimiser/{key}/{name}"] = torch.as_tensor(value)
        if self.table is not None:
            tensors |= {f"optimiser/{key}/{self.table_name}": value for key, value in self.table.state().items()}
        self.trainer.checkpoints.save(
            Checkpoint(
                tensors={name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
                state={
                    "stage": self.stage.name,
                    "step": self.step,
                    "seconds": self.seconds,
                    "pairs": self.pairs,
                    "worse": self.worse,
                    "kept_step": self.kept_step,
                    "best_place": self._best_place,
                    "history": [[s.score, s.chance, s.mean_cosine, s.error] for s in self.history],
                },
            )
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        state, tensors = checkpoint.state, checkpoint.tensors
        self.step, self.seconds, self.pairs = state["step"], state["seconds"], state["pairs"]
        self.worse, self.kept_step, self._best_place = state["worse"], state["kept_step"], state["best_place"]
        self.history = [Score(*values) for values in state["history"]]
        self._put({name: tensors[f"weights/{name}"] for name in self.tensors})
        self.kept_weights = {name: tensors[f"kept/{name}"] for name in self.tensors}
        for name, average in self.average.items():
            average.copy_(tensors[f"average/{name}"])
        names = {tensor: name for name, tensor in self.tensors.items()}
        trained = [names[tensor] for group in self.optimiser.param_groups for tensor in group["params"]]
        moments: dict[str, dict[str, Tensor]] = {}
        for key in tensors:
            kind, _, rest = key.partition("/")
            if kind == "optimiser":
                moment, _, name = rest.partition("/")
                moments.setdefault(name, {})[moment] = tensors[key]
        if self.table is not None:
            self.table.restore(moments.pop(self.table_name))
        numbered = {trained.index(name): state for name, state in moments.items()}
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": numbered})
