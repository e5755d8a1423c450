"""What a run costs: measured while it runs, and estimated before it does."""

import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import psutil

from mla_extend.bases.base import Base
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.related import Related
from mla_extend.training.batches import BucketedBatches
from mla_extend.training.precision import autocast, pick_precision
from mla_extend.training.prepare import Split
from mla_extend.training.recipe import Recipe, StageRecipe
from mla_extend.training.tasks import ExposureTask, TransferTask, encode_ids

PACKAGES = ("mla-extend", "torch", "transformers", "peft", "tokenizers", "sentencepiece", "numpy")
TIMED_STEPS = 4


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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def estimate(
    model: MultilingualModel,
    tag: str,
    parallel: ParallelText,
    image_text: ImageText | None,
    held_out: Split,
    recipe: Recipe,
    seed: int,
    related: Related | None = None,
) -> dict[str, Any]:
    """Return parameters, steps, expected seconds and peak memory of a run, from a few real steps on its own data.

    Vectors that are cached already are not known to be, so that a first run's encoding is always counted in.
    """
    started = time.monotonic()
    kept = np.flatnonzero(~held_out.pairs)
    built = build_language(
        model,
        tag,
        native=[parallel.native[i] for i in kept],
        target=[parallel.target[i] for i in kept],
        more_text=image_text.texts if image_text else (),
        seed=seed,
        related=related,
        **recipe.build_arguments(),
    )
    seconds = time.monotonic() - started
    dim = model.base.native_vectors(["a"]).shape[1]
    pairs = TransferTask(
        model.tokenise(tag, [parallel.target[i] for i in kept]),
        np.ones((len(kept), dim), dtype=np.float32),
        [parallel.native[i] for i in kept],
    )
    steps = {"transfer": recipe.transfer.steps(len(kept)) if recipe.transfer.max_steps else 0}
    step_seconds = {"transfer": _step_seconds(model, tag, pairs, recipe.transfer, recipe.precision, seed)}
    seconds += _encode_seconds(model.base, list(dict.fromkeys(parallel.native)))
    if image_text is not None:
        captions = held_out.training_captions
        steps["exposure"] = recipe.exposure.steps(captions) if recipe.exposure.max_steps else 0
        exposure = ExposureTask(
            model.tokenise(tag, image_text.texts),
            np.ones((len(image_text.images), dim), dtype=np.float32),
            np.asarray(image_text.image_of_text, dtype=np.int64),
            image_text.texts,
        )
        step_seconds["exposure"] = _step_seconds(model, tag, exposure, recipe.exposure, recipe.precision, seed)
        if recipe.exposure.transfer:
            step_seconds["exposure"] += step_seconds["transfer"]
        seconds += _image_seconds(model.base, image_text)
    seconds += sum(steps[name] * step_seconds[name] for name in steps)
    seconds += _evaluation_seconds(model, tag, pairs, held_out, recipe, len(steps))
    return {
        "vocabulary": built.pieces,
        "parameters": built.parameters,
        "steps": sum(steps.values()),
        "stages": steps,
        "seconds": round(seconds, 1),
        "memory_bytes": max(Measure.peak_memory(), psutil.Process().memory_info().rss),
    }


def _step_seconds(
    model: MultilingualModel,
    tag: str,
    task: TransferTask | ExposureTask,
    recipe: StageRecipe,
    wanted: str,
    seed: int,
) -> float:
    """Return the median seconds of a step, forward and backward, after one that does not count."""
    if not recipe.max_steps:
        return 0.0
    precision = pick_precision(wanted, model.base.device)
    batches = BucketedBatches(task.lengths, recipe.batch, seed)
    taken = []
    with model.training(tag) as tensors:
        for step in range(TIMED_STEPS + 1):
            started = time.monotonic()
            with autocast(precision, model.base.device):
                loss = task.loss(model, batches.rows(step), recipe)
            loss.backward()  # type: ignore[no-untyped-call]
            float(loss.detach())  # waits for a GPU
            taken.append(time.monotonic() - started)
        for tensor in tensors.values():
            tensor.grad = None
    return float(np.median(taken[1:]))


def _encode_seconds(base: Base, texts: list[str]) -> float:
    sample = texts[:: max(1, len(texts) // 256)][:256]
    started = time.monotonic()
    base.native_vectors(sample)
    return (time.monotonic() - started) * len(texts) / len(sample)


def _image_seconds(base: Base, image_text: ImageText) -> float:
    sample = image_text.images[:16]
    base.image_vectors(sample[:2])
    started = time.monotonic()
    base.image_vectors(sample)
    return (time.monotonic() - started) * len(image_text.images) / len(sample)


def _evaluation_seconds(
    model: MultilingualModel, tag: str, pairs: TransferTask, held_out: Split, recipe: Recipe, stages: int
) -> float:
    rows = min(int(held_out.pairs.sum()), len(pairs.ids))
    with model.training(tag):
        started = time.monotonic()
        encode_ids(model, pairs.ids[:rows])
    return (time.monotonic() - started) * stages * (recipe.transfer.evaluations + 1)
