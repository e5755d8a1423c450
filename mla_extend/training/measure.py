"""What a run costs: measured while it runs, and estimated before it does."""

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend import platform
from mla_extend.bases.base import Base
from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText, ParallelText
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
from mla_extend.training.teacher import EqualVectors
from mla_extend.training.validation import SENTENCES, Score

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
) -> dict[str, Any]:
    """Return parameters, steps, expected seconds and peak memory of a run, from a few real steps on its own data.

    Vectors of native text and of images are counted where `features` lacks them; a stage that stops early takes less.
    `before` is the seconds that opening the base and reading the data took.
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
        EqualVectors(dim),
        timed.native,
        timed.weights,
        drawn=subword_sampling(model, tag, timed.target),
        native_rows=NativeRows(partial(model.tokenise, tag), timed.native, partners(model, tag)),
    )
    seconds = before + time.monotonic() - started
    texts = train.native.different()
    text_seconds = _encode_seconds(model.base, texts)
    looked_up = texts.evenly(TIMED_PAIRS)
    teacher_seconds = text_seconds * features.lacks_text(looked_up) / len(looked_up)
    row_seconds = _row_seconds(model, tag, pairs)
    stages = {"transfer": recipe.transfer.steps(len(kept))}
    terms = {"transfer": transfer_terms(pairs, recipe)}
    rows = {"transfer": int(held_out.pairs.sum())}
    if image_text is not None:
        stages["exposure"] = recipe.exposure.steps(len(captions))
        exposure = ExposureTask(
            model.tokenise(tag, captions),
            np.ones((len(image_text.images), dim), dtype=np.float32),
            np.asarray(image_text.image_of_text, dtype=np.int64)[shown],
            captions,
            drawn=subword_sampling(model, tag, captions),
        )
        terms["exposure"] = exposure_terms(exposure, pairs, recipe)
        rows["exposure"] = len(image_text.texts) - len(captions)
        seconds += _image_seconds(model.base, image_text, features.lacks_images(image_text.images))
    taken, unseen = {}, 1.0
    notes: list[str] = []
    for name, steps in stages.items():
        stage = recipe.transfer if name == "transfer" else recipe.exposure
        evaluations = 1 + math.ceil(steps / max(1, steps // stage.evaluations))
        taken[name] = rows[name] * row_seconds * evaluations
        if steps:
            notes += smaller_batches(name, terms[name])
            taken[name] += steps * _step_seconds(model, tag, terms[name], stage, steps, recipe.precision, seed)
        share = [steps * term.rows / len(train) for term in terms[name] if term.task is pairs]
        still = unseen * (1 - min(1.0, sum(share)))
        taken[name] += (unseen - still) * len(texts) * teacher_seconds
        unseen = still
    # What held-out sentences look among is encoded first of all; at the end they are encoded by both paths once more.
    gallery = max(rows["transfer"], min(SENTENCES, len(texts) + rows["transfer"]))
    seconds += gallery * unseen * teacher_seconds + sum(rows.values()) * (row_seconds + text_seconds)
    seconds += sum(taken.values())
    return {
        "vocabulary": built.pieces,
        "parameters": built.parameters,
        "steps": sum(stages.values()),
        "stages": stages,
        "seconds": round(seconds, 1),
        "pairs_per_second": round(stages["transfer"] * terms["transfer"][0].rows / max(taken["transfer"], 1e-9), 1),
        "notes": notes,
        # The best weights so far are kept beside those in training, and the heap keeps of what batches of other shapes
        # freed.
        "memory_bytes": Measure.peak_memory() + 4 * built.parameters + (KEPT_FREE if in_parts(model) else 0),
    }


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
    stage = Stage("dry run", terms, still, lambda _: Score(0.0, 0.0, 0.0, 0.0), steps)
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
