"""What the two stages train on and lose: Native Language Transfer (parallel text), Language Exposure (images).

Both hold everything that is constant: ids, native sentence vectors, image vectors. The text tower runs between.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mla_extend.bases.base import on_device
from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText, Mask, ParallelText, join_parallel
from mla_extend.errors import DataError, ImageError
from mla_extend.flat import IdRows, Texts
from mla_extend.language.model import MultilingualModel
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.training.forward import Ids
from mla_extend.training.losses import contrast_loss, sigmoid_loss, transfer_loss
from mla_extend.training.native_rows import NativeRows, partners
from mla_extend.training.recipe import Recipe, StageRecipe
from mla_extend.training.teacher import Teacher
from mla_extend.training.validation import SENTENCES, ExposureValidation, Rows, TransferValidation, Validation, Vectors

Weights = NDArray[np.float64] | None
"""How often each row is stepped over, beside the others; `None` where all are alike."""


class Task(Protocol):
    """Hold training rows (`unit` says what one is); say what is read for some of them, and what is lost on that."""

    unit: str
    lengths: Rows
    weights: Weights

    def prepare(self, rows: Rows) -> None:
        """Make ready what some rows will need."""

    def reads(self, model: MultilingualModel, rows: Rows, recipe: StageRecipe) -> Ids:
        """Return what the model reads for rows of the task; it depends on the rows alone."""

    def loss(self, model: MultilingualModel, vectors: Tensor, rows: Rows, recipe: StageRecipe) -> Tensor:
        """Return the mean loss over rows of the task, of which the model gave the vectors `[B, D]`."""


@dataclass(frozen=True)
class Term:
    """Say what one task adds to the loss of a step: its weight, its recipe, and how many rows a step is to take."""

    task: Task
    weight: float
    recipe: StageRecipe
    batch: int

    @property
    def rows(self) -> int:
        """Return how many rows a step takes: all that there are, where they are fewer than a batch."""
        return min(self.batch, len(self.task.lengths))


@dataclass(frozen=True)
class Stage:
    """Say what one stage trains on: the terms of its loss, its recipe, its held-out slice, its steps."""

    name: str
    terms: Sequence[Term]
    recipe: StageRecipe
    validation: Validation
    steps: int


@dataclass(frozen=True)
class SubwordSampling:
    """Texts that some batches read cut into pieces at random (subword regularisation, Kudo 2018)."""

    tokenizer: LanguageTokenizer
    texts: Sequence[str]

    def ids(self, rows: Rows, recipe: StageRecipe) -> list[list[int]] | None:
        """Return ids drawn for a batch, with begin and end, or `None` where the batch takes the likeliest ones.

        All of it depends on the batch's rows alone, so that an interrupted run goes on as it would have.
        """
        seed = zlib.crc32(np.ascontiguousarray(rows).tobytes())
        if seed >= recipe.sampling * 2**32:
            return None
        return self.tokenizer.sampled_ids([self.texts[i] for i in rows], recipe.sampling_alpha, seed)


class TransferTask:
    """Parallel text: ids of the target sentences, and vectors `[N, D]` of the native ones (unnormalised)."""

    unit = "pairs"

    def __init__(
        self,
        ids: Ids,
        teacher: Vectors | Teacher,
        native: Sequence[str],
        weights: Weights = None,
        drawn: SubwordSampling | None = None,
        native_rows: NativeRows | None = None,
    ) -> None:
        self.ids = IdRows.of(ids)
        self.drawn = drawn
        self.native_rows = native_rows
        self.teacher = teacher
        self.lengths = self.ids.lengths
        self.meaning = Texts.of(native).numbers()
        self.weights = weights

    def prepare(self, rows: Rows) -> None:
        """Encode the rows' native sentences where they have not been."""
        if isinstance(self.teacher, Teacher):
            self.teacher.prepare(rows)

    def reads(self, model: MultilingualModel, rows: Rows, recipe: StageRecipe) -> Ids:
        """Return the target sentences' ids, some of them native."""
        ids = batch_ids(model, self, rows, recipe)
        if self.native_rows is not None:
            ids = self.native_rows.put(ids, rows, recipe.native, recipe.code_switching)
        return ids

    def loss(self, model: MultilingualModel, vectors: Tensor, rows: Rows, recipe: StageRecipe) -> Tensor:
        """Return the distance to the teacher, and where wanted the contrast with the batch's teachers."""
        teacher = on_device(torch.from_numpy(self.teacher[rows]), vectors.device)
        loss = torch.zeros((), device=vectors.device)
        if recipe.mse:
            loss = loss + recipe.mse * transfer_loss(vectors, teacher, recipe.mse_of)
        if recipe.contrast:
            same = _equal(self.meaning[rows], vectors.device)
            loss = loss + recipe.contrast * contrast_loss(vectors, teacher, recipe.temperature, same)
        return loss


class ExposureTask:
    """Captions and images: ids of the captions, vectors `[I, D]` of the images, and each caption's image."""

    unit = "captions"

    def __init__(
        self,
        ids: Ids,
        images: Vectors,
        image_of_text: Rows,
        texts: Sequence[str],
        weights: Weights = None,
        drawn: SubwordSampling | None = None,
    ) -> None:
        self.ids = IdRows.of(ids)
        self.drawn = drawn
        self.images = images
        self.image_of_text = image_of_text
        self.lengths = self.ids.lengths
        self.meaning = Texts.of(texts).numbers()
        self.weights = weights

    def prepare(self, rows: Rows) -> None:
        """Do nothing: images are encoded before the stage."""

    def reads(self, model: MultilingualModel, rows: Rows, recipe: StageRecipe) -> Ids:
        """Return the captions' ids."""
        return batch_ids(model, self, rows, recipe)

    def loss(self, model: MultilingualModel, vectors: Tensor, rows: Rows, recipe: StageRecipe) -> Tensor:
        """Return the contrast with the batch's images; equal captions and equal images are no negatives."""
        images = on_device(torch.from_numpy(self.images[self.image_of_text[rows]]), vectors.device)
        same = _equal(self.meaning[rows], vectors.device) | _equal(self.image_of_text[rows], vectors.device)
        base = model.base
        terms = base.family.sigmoid_terms(base.model) if recipe.contrast_of == "auto" else None
        if terms is not None:
            return recipe.contrast * sigmoid_loss(vectors, images, *terms, same)
        return recipe.contrast * contrast_loss(vectors, images, recipe.temperature, same)


def batch_ids(model: MultilingualModel, task: TransferTask | ExposureTask, rows: Rows, recipe: StageRecipe) -> Ids:
    """Return the ids of a batch."""
    drawn = task.drawn.ids(rows, recipe) if task.drawn is not None else None
    return [task.ids[i] for i in rows] if drawn is None else model.as_begun(drawn)


def transfer_stage(
    model: MultilingualModel,
    tag: str,
    parallel: ParallelText,
    held_out: Mask,
    recipe: Recipe,
    features: Features,
    lexicon: ParallelText | None = None,
) -> Stage:
    """Return Native Language Transfer: the training pairs, their teachers, the held-out pairs.

    The teachers are encoded while training goes on, so that the first step need not wait for millions of sentences.
    """
    rule = recipe.transfer
    sentences, hold = parallel.subset(~held_out), parallel.subset(held_out)
    train = training_pairs(sentences, lexicon, rule.lexicon)
    task = TransferTask(
        model.id_rows(tag, train.target),
        Teacher(model, features, train.native),
        train.native,
        train.weights,
        subword_sampling(model, tag, train.target),
        NativeRows(partial(model.tokenise, tag), train.native, partners(model, tag)),
    )
    held = set(hold.native)
    others = list(islice(_unlike(sentences.native, held), max(0, SENTENCES - len(held))))
    vectors = features.text([*hold.native, *others])
    validation = TransferValidation(model.tokenise(tag, hold.target), hold.native, *np.split(vectors, [len(hold)]))
    return Stage("transfer", transfer_terms(task, recipe), rule, validation, rule.steps(len(sentences)))


def transfer_terms(pairs: TransferTask, recipe: Recipe) -> list[Term]:
    """Return what Native Language Transfer loses in a step."""
    return [Term(pairs, 1.0, recipe.transfer, recipe.transfer.batch)]


def exposure_stage(
    model: MultilingualModel,
    tag: str,
    image_text: ImageText,
    held_out: Mask,
    recipe: Recipe,
    features: Features,
    transfer: Stage,
) -> Stage:
    """Return Language Exposure: the training captions, their images, the held-out captions."""
    images = image_vectors(image_text, features)
    ids = model.tokenise(tag, image_text.texts)
    image_of_text = np.asarray(image_text.image_of_text, dtype=np.int64)
    train, hold = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    weights = image_text.weights
    texts = [image_text.texts[i] for i in train]
    task = ExposureTask(
        [ids[i] for i in train],
        images,
        image_of_text[train],
        texts,
        None if weights is None else weights[train],
        subword_sampling(model, tag, texts),
    )
    validation = ExposureValidation(
        [ids[i] for i in hold], [image_text.texts[i] for i in hold], image_of_text[hold], images
    )
    rule = recipe.exposure
    terms = exposure_terms(task, transfer.terms[0].task, recipe)
    return Stage("exposure", terms, rule, validation, rule.steps(len(train)))


def exposure_terms(captions: ExposureTask, pairs: Task, recipe: Recipe) -> list[Term]:
    """Return what Language Exposure loses in a step: the transfer loss too, where the recipe keeps it on."""
    rule = recipe.exposure
    terms = [Term(captions, 1.0, rule, rule.batch)]
    if rule.transfer:
        terms.append(Term(pairs, rule.transfer, recipe.transfer, rule.pairs_beside))
    return terms


def subword_sampling(model: MultilingualModel, tag: str, texts: Sequence[str]) -> SubwordSampling | None:
    """Return texts that may be cut at random, where the language's tokenizer is one that can."""
    tokenizer = model.language(tag).tokenizer
    if tokenizer is None or tokenizer.pieces is None:
        return None
    return SubwordSampling(tokenizer, texts)


def training_pairs(parallel: ParallelText, lexicon: ParallelText | None, share: float) -> ParallelText:
    """Return the pairs to train on, and beside them a word list's, which are that share of all that is drawn."""
    if lexicon is None or not share:
        return parallel
    drawn = [
        float(np.bincount(data.part_of, minlength=len(data.parts)) @ [part.weight for part in data.parts])
        for data in (parallel, lexicon)
    ]
    scale = share / (1 - share) * drawn[0] / drawn[1]
    parts = tuple(replace(part, weight=part.weight * scale) for part in lexicon.parts)
    return join_parallel([parallel, replace(lexicon, parts=parts)])


def image_vectors(image_text: ImageText, features: Features) -> NDArray[np.float32]:
    """Return the vectors `[I, D]` of a file's images.

    Raises:
        DataError: an image cannot be read; the message names the file and the line.
    """
    try:
        return features.images(image_text.images)
    except ImageError as error:
        number = image_text.images.index(Path(str(error.image)))
        raise DataError(f"{image_text.where_image(number)}: {error}") from error


def smaller_batches(stage: str, terms: Sequence[Term]) -> list[str]:
    """Return what to tell the user of each term that has fewer rows than the recipe's batch."""
    return [
        f"{stage} has {term.rows} {term.task.unit} to train on, so that a step takes {term.rows} and not {term.batch}; "
        "more data would help."
        for term in terms
        if term.rows < term.batch
    ]


def _unlike(texts: Iterable[str], known: set[str]) -> Iterator[str]:
    """Give the texts that are not known, each once; these are known then."""
    for text in texts:
        if text not in known:
            known.add(text)
            yield text


def _equal(numbers: Rows, device: torch.device) -> Tensor:
    values = on_device(torch.from_numpy(numbers), device)
    return values.unsqueeze(0) == values.unsqueeze(1)
