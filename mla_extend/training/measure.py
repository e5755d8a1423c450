"""What a run costs: measured while it runs, and estimated before it does."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend import platform
from mla_extend.bases.base import Base
from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.flat import Texts
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.related import Related
from mla_extend.training.checkpoint import CheckpointFile
from mla_extend.training.forward import encode_ids, in_parts, padded_tokens
from mla_extend.training.loop import Run, Trainer
from mla_extend.training.memory import KEPT_FREE
from mla_extend.training.native_rows import NativeRows, partners
from mla_extend.training.precision import pick_precision
from mla_extend.training.recipe import Recipe, StageRecipe
from mla_extend.training.schedule import RunCost, StageCost
from mla_extend.training.split import Split
from mla_extend.training.stages import (
    ExposureTask,
    Stage,
    Term,
    TransferTask,
    exposure_terms,
    smaller_batches,
    subword_sampling,
    training_pairs,
    transfer_terms,
)
from mla_extend.training.validation import SENTENCES, Score, Vectors

TIMED_STEPS = 3
TIMED_PAIRS = 50_000
"""Pairs, evenly taken, that stand for all of them in the timed steps."""
SAMPLE = 192
"""Texts that are encoded to know how long all will take."""


class Measure:
    """Count seconds from when it is made, and read the process's peak memory."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since."""
        return time.monotonic() - self._started

    @staticmethod
    def peak_memory() -> int:
        """Return the largest resident size that this process had, in bytes."""
        return platform.peak_memory()


def estimate(
    model: MultilingualModel,
    tag: str,
    parallel: ParallelText,
    image_text: ImageText | None,
    held_out: Split,
    recipe: Recipe,
    features: Features,
    seed: int,
    related: Related | None,
    before: float,
    wait: float | None = None,
) -> dict[str, Any]:
    """Return parameters, steps, expected seconds and peak memory of a run, from a few real steps on its own data.

    Vectors of native text and of images are counted where `features` lacks them; a stage that stops early takes less.
    `before` is the seconds that opening the base and reading the data took, `wait` those that the run may take.
    """
    started = time.monotonic()
    kept = parallel.subset(~held_out.pairs)
    shown = np.flatnonzero(~held_out.captions) if held_out.captions is not None else np.empty(0, dtype=np.int64)
    captions = [image_text.texts[i] for i in shown] if image_text is not None else []
    built = build_language(
        model,
        tag,
        native=kept.native,
        target=kept.target,
        more_text=captions,
        lexicon=held_out.words,
        text=held_out.text,
        seed=seed,
        related=related,
        **recipe.build_arguments(),
    )
    dim = model.base.native_vectors(["a"]).shape[1]
    train = training_pairs(kept, held_out.lexicon, recipe.transfer.lexicon)
    timed = train.evenly(TIMED_PAIRS)
    pairs = TransferTask(
        model.id_rows(tag, timed.target),
        _equal_vectors(len(timed), dim),
        timed.native,
        timed.weights,
        drawn=subword_sampling(model, tag, timed.target),
        native_rows=NativeRows(partial(model.tokenise, tag), timed.native, partners(model, tag)),
    )
    seconds = before + time.monotonic() - started
    rule = recipe.transfer
    stages = [Stage("transfer", transfer_terms(pairs, recipe), rule, _unscored, rule.steps(len(kept)))]
    rows = [int(held_out.pairs.sum())]
    if image_text is not None:
        exposure = ExposureTask(
            model.tokenise(tag, captions),
            _equal_vectors(len(image_text.images), dim),
            np.asarray(image_text.image_of_text, dtype=np.int64)[shown],
            captions,
            drawn=subword_sampling(model, tag, captions),
        )
        rule = recipe.exposure
        terms = exposure_terms(exposure, pairs, recipe)
        stages.append(Stage("exposure", terms, rule, _unscored, rule.steps(len(captions))))
        rows.append(len(image_text.texts) - len(captions))
        seconds += _image_seconds(model.base, image_text, features.lacks_images(image_text.images))
    notes = [note for stage in stages if stage.steps for note in smaller_batches(stage.name, stage.terms)]
    found = measured_cost(model, tag, stages, rows, train.native, features, recipe.precision, seed)
    # What held-out sentences look among is encoded first of all; at the end they are encoded by both paths once more.
    gallery = max(rows[0], min(SENTENCES, found.different + rows[0]))
    seconds += sum(rows) * (found.row + found.native)
    run = found.run if wait is None else found.run.fitted(wait - seconds - gallery * found.teacher)
    seconds += gallery * (1 - sum(run.read)) * found.teacher + sum(run.seconds)
    steps = {stage.name: part.steps for stage, part in zip(stages, run.stages, strict=True)}
    return {
        "vocabulary": built.pieces,
        "parameters": built.parameters,
        "steps": sum(steps.values()),
        "stages": steps,
        "seconds": round(seconds, 1),
        "pairs_per_second": round(steps["transfer"] * stages[0].terms[0].rows / max(run.seconds[0], 1e-9), 1),
        "notes": notes,
        # The best weights so far are kept beside those in training, and the heap keeps of what batches of other shapes
        # freed.
        "memory_bytes": Measure.peak_memory() + 4 * built.parameters + (KEPT_FREE if in_parts(model) else 0),
    }


@dataclass(frozen=True)
class MeasuredCost:
    """Say what a run costs on this machine, in seconds.

    Attributes:
        run: its stages.
        row: what encoding a text of the language takes.
        native: what encoding a native text takes.
        teacher: the same on average, where some are in the feature cache.
        different: native texts there are.
    """

    run: RunCost
    row: float
    native: float
    teacher: float
    different: int


def measured_cost(
    model: MultilingualModel,
    tag: str,
    stages: Sequence[Stage],
    held_out: Sequence[int],
    native: Texts,
    features: Features,
    precision: str,
    seed: int,
) -> MeasuredCost:
    """Return what stages cost, from a few steps of each that train nothing.

    Args:
        model: holds the language.
        tag: of the language.
        stages: the first one's first term holds the parallel text.
        held_out: rows that each stage is evaluated on.
        native: that parallel text's native side, of which the term may hold a part.
        features: of the base.
        precision: as the recipe says.
        seed: of the run.
    """
    pairs = stages[0].terms[0].task
    assert isinstance(pairs, TransferTask)
    like = copy.copy(pairs)  # whose native sentences need not be encoded to take a step
    like.teacher = _equal_vectors(len(pairs.lengths), model.base.native_vectors(["a"]).shape[1])
    different = native.different()
    text, row = _encode_seconds(model.base, different), _row_seconds(model, tag, pairs)
    parts = []
    for stage, rows in zip(stages, held_out, strict=True):
        terms = [replace(term, task=like) if term.task is pairs else term for term in stage.terms]
        step = 0.0
        if stage.steps:
            step = _step_seconds(model, tag, terms, stage.recipe, stage.steps, precision, seed)
        read = sum(term.rows for term in terms if term.task is like) / len(native)
        parts.append(StageCost(stage.steps, step, stage.recipe.evaluations, rows * row, read))
    looked_up = different.evenly(TIMED_PAIRS)
    teacher = text * features.lacks_text(looked_up) / len(looked_up)
    return MeasuredCost(RunCost(parts, len(different) * teacher), row, text, teacher, len(different))


def _equal_vectors(rows: int, dim: int) -> Vectors:
    """Stand in for vectors `[N, D]` where only time is measured: one vector, whose memory all rows share."""
    return np.broadcast_to(np.ones(dim, dtype=np.float32), (rows, dim))


def _unscored(model: MultilingualModel) -> Score:
    """Stand in for a stage's evaluation where only time is measured."""
    del model
    return Score(0.0, 0.0, 0.0, 0.0)


def _step_seconds(
    model: MultilingualModel,
    tag: str,
    terms: Sequence[Term],
    recipe: StageRecipe,
    steps: int,
    wanted: str,
    seed: int,
) -> float:
    """Return the mean seconds of a stage's steps, from a few steps of the loop and how many tokens all have.

    The first is not counted: it runs the most tokens, so that the memory is that of the run. Nor is the first time of
    each other one, where batches differ in shape: a run meets nearly all of its shapes again, and a new one costs
    what oneDNN takes to compile for it.
    """
    still = recipe.model_copy(update={"learning_rate": 0.0, "embedding_learning_rate": 0.0})  # nothing is trained
    stage = Stage("dry run", terms, still, _unscored, steps)
    precision = pick_precision(wanted, model.base.device)
    trainer = Trainer(model, tag, seed=seed, precision=precision, checkpoints=CheckpointFile(Path()))
    taken = []
    with model.training(tag) as tensors:
        run = Run(trainer, stage, tensors)
        tokens = np.array(
            [
                sum(padded_tokens(model, term.task.lengths[batches.rows(n)].tolist()) for term, batches in run.sources)
                for n in range(min(steps, max(batches.per_epoch for _, batches in run.sources)))
            ]
        )
        times = 2 if in_parts(model) else 1
        for step in [int(tokens.argmax()), *np.repeat(np.arange(TIMED_STEPS) % len(tokens), times)]:
            started = time.monotonic()
            run.step = int(step)
            run.one_step()
            taken.append((time.monotonic() - started) / tokens[step])
        for tensor in tensors.values():
            tensor.grad = None
    return float(np.median(taken[times::times]) * tokens.mean())


def _encode_seconds(base: Base, texts: Sequence[str]) -> float:
    """Return the seconds that encoding a native text takes."""
    sample = texts[:: max(1, len(texts) // SAMPLE)][:SAMPLE]
    started = time.monotonic()
    base.native_vectors(sample)
    return (time.monotonic() - started) / len(sample)


def _image_seconds(base: Base, image_text: ImageText, lacking: int) -> float:
    """Return the seconds that encoding as many of the images takes as are lacking."""
    if not lacking:
        return 0.0
    sample = image_text.images[:16]
    for part in (sample[:2], sample):  # the first ones take longer, and one that is broken is left out in the run
        started = time.monotonic()
        sum(1 for _ in base.encoded(part))
    return (time.monotonic() - started) * lacking / len(sample)


def _row_seconds(model: MultilingualModel, tag: str, pairs: TransferTask) -> float:
    """Return the seconds that encoding a text of the language takes."""
    ids = pairs.ids[:: max(1, len(pairs.ids) // SAMPLE)][:SAMPLE]
    with model.training(tag):
        started = time.monotonic()
        encode_ids(model, ids)
    return (time.monotonic() - started) / len(ids)
