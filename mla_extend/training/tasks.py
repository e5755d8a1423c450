"""The two stages as data and loss: Native Language Transfer over parallel text, Language Exposure over images.

Both hold everything that is constant (ids, native sentence vectors, image vectors) and run only the text tower.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mla_extend.evaluation.ranks import ranks, unit
from mla_extend.language.model import MultilingualModel
from mla_extend.language.tokenizer import LanguageTokenizer, pad
from mla_extend.processes import ALONE, Processes
from mla_extend.training.losses import contrast_loss, mean_cosine, sigmoid_loss, transfer_loss
from mla_extend.training.native_rows import NativeRows
from mla_extend.training.recipe import StageRecipe
from mla_extend.training.teacher import Teacher

Ids = Sequence[Sequence[int]]
Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]
Weights = NDArray[np.float64] | None
"""How often each row is stepped over, beside the others; `None` where all are alike."""

CUTOFFS = (1, 5, 10)
GALLERY = 5_000
"""Images that held-out captions look among during training, with others beside theirs unless they are as many."""
SENTENCES = 2_000
"""Native sentences that held-out ones look among, with others beside them unless they are as many by themselves: each
has to be encoded before the first step."""
PART_COSTS = 512
"""Tokens that could be run in the time that one more pass of the text tower takes by itself, on a CPU."""
PART_ROWS = 32
"""Parts are cut at multiples of so many rows: oneDNN compiles bf16 kernels for each new number of tokens, for
milliseconds each, so that numbers had better come again."""


class Task(Protocol):
    """Hold training rows (`unit` says what one is) and say what is lost on some of them."""

    unit: str
    lengths: Rows
    weights: Weights

    def prepare(self, rows: Rows) -> None:
        """Make ready what some rows will need."""

    def loss(self, model: MultilingualModel, rows: Rows, recipe: StageRecipe, processes: Processes = ALONE) -> Tensor:
        """Return the mean loss over rows of the task, of which each process runs its share through the model."""


@dataclass(frozen=True)
class Drawn:
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
        drawn: Drawn | None = None,
        native_rows: NativeRows | None = None,
    ) -> None:
        self.ids = ids
        self.drawn = drawn
        self.native_rows = native_rows
        self.teacher = teacher
        self.lengths = np.array([len(row) for row in ids], dtype=np.int64)
        self.meaning = _numbered(native)
        self.weights = weights

    def prepare(self, rows: Rows) -> None:
        """Encode the rows' native sentences where they have not been."""
        if isinstance(self.teacher, Teacher):
            self.teacher.prepare(rows)

    def loss(self, model: MultilingualModel, rows: Rows, recipe: StageRecipe, processes: Processes = ALONE) -> Tensor:
        """Return the distance to the teacher, and where wanted the contrast with the batch's teachers."""
        ids = batch_ids(model, self, rows, recipe)
        if self.native_rows is not None:
            ids = self.native_rows.put(ids, rows, recipe.native, recipe.code_switching)
        target = run_rows(model, ids, processes)
        teacher = torch.from_numpy(self.teacher[rows]).to(target.device)
        loss = torch.zeros((), device=target.device)
        if recipe.mse:
            loss = loss + recipe.mse * transfer_loss(target, teacher, recipe.mse_of)
        if recipe.contrast:
            same = _equal(self.meaning[rows], target.device)
            loss = loss + recipe.contrast * contrast_loss(target, teacher, recipe.temperature, same)
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
        drawn: Drawn | None = None,
    ) -> None:
        self.ids = ids
        self.drawn = drawn
        self.images = images
        self.image_of_text = image_of_text
        self.lengths = np.array([len(row) for row in ids], dtype=np.int64)
        self.meaning = _numbered(texts)
        self.weights = weights

    def prepare(self, rows: Rows) -> None:
        """Do nothing: images are encoded before the stage."""

    def loss(self, model: MultilingualModel, rows: Rows, recipe: StageRecipe, processes: Processes = ALONE) -> Tensor:
        """Return the contrast with the batch's images; equal captions and equal images are no negatives."""
        text = run_rows(model, batch_ids(model, self, rows, recipe), processes)
        images = torch.from_numpy(self.images[self.image_of_text[rows]]).to(text.device)
        same = _equal(self.meaning[rows], text.device) | _equal(self.image_of_text[rows], text.device)
        base = model.base
        terms = base.family.sigmoid_terms(base.model) if recipe.contrast_of == "auto" else None
        if terms is not None:
            return recipe.contrast * sigmoid_loss(text, images, *terms, same)
        return recipe.contrast * contrast_loss(text, images, recipe.temperature, same)


def batch_ids(model: MultilingualModel, task: TransferTask | ExposureTask, rows: Rows, recipe: StageRecipe) -> Ids:
    """Return the ids of a batch."""
    drawn = task.drawn.ids(rows, recipe) if task.drawn is not None else None
    return [task.ids[i] for i in rows] if drawn is None else model.as_begun(drawn)


def run_rows(model: MultilingualModel, ids: Ids, processes: Processes) -> Tensor:
    """Return the vectors `[B, D]` of a batch; this process runs its share of it."""
    own = ids[processes.share(len(ids))]
    run = own or ids[:1]  # fewer rows than processes: one is run for nothing, so that there is a graph
    vectors = _by_length(model, run) if in_parts(model) else model.forward(pad(run)).float()
    return processes.join(vectors[: len(own)], len(ids))


def padded_tokens(model: MultilingualModel, lengths: Sequence[int]) -> int:
    """Return how many tokens, padding included, `run_rows` sends through the text tower for rows of some lengths."""
    fixed = model.base.family.padded_length(model.base.model)
    if fixed is not None:
        return fixed * len(lengths)
    rising = sorted(lengths)
    parts = cut(rising) if in_parts(model) else [range(len(rising))]
    return sum(len(part) * rising[part[-1]] for part in parts)


def in_parts(model: MultilingualModel) -> bool:
    """Say whether rows of like length go together: where a pass by itself costs little, and no length is fixed."""
    base = model.base
    return base.device.type == "cpu" and base.family.padded_length(base.model) is None


def _by_length(model: MultilingualModel, ids: Ids) -> Tensor:
    """Return the vectors `[B, D]` of rows that go through the model in parts of like length, as they pay on a CPU."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts = cut([len(ids[i]) for i in order])
    vectors = torch.cat([model.forward(pad([ids[order[i]] for i in part])).float() for part in parts])
    return vectors[torch.tensor(order).argsort()]


def cut(lengths: Sequence[int]) -> list[range]:
    """Cut rows of rising length into parts so that less is padded; each cut saves `PART_COSTS` tokens or more."""
    rows = range(len(lengths))
    saved = {end: end * (lengths[-1] - lengths[end - 1]) for end in rows[PART_ROWS::PART_ROWS]}
    best = max(saved, key=saved.__getitem__, default=0)
    if not best or saved[best] < PART_COSTS:
        return [rows]
    rest = [range(best + part.start, best + part.stop) for part in cut(lengths[best:])]
    return [*cut(lengths[:best]), *rest]


@dataclass(frozen=True)
class Score:
    """Say how a language does on the held-out slice.

    `score` is the mean of R@1, R@5 and R@10 in both directions (a fraction), `chance` what a random ranking reads,
    `alike` the mean cosine between different texts' vectors (near 1: collapsed), `error` the score's standard error.
    """

    score: float
    chance: float
    alike: float
    error: float


class Validation(Protocol):
    """Score a language on held-out rows."""

    def __call__(self, model: MultilingualModel) -> Score:
        """Return the score of the model's active language."""


class TransferValidation:
    """Held-out pairs: each target sentence looks for its native one among many, and each native one for its target."""

    def __init__(self, ids: Ids, native: Sequence[str], teacher: Vectors, others: Vectors) -> None:
        self.ids = ids
        first = {text: i for i, text in reversed(list(enumerate(native)))}
        different = list(dict.fromkeys(native))
        self.gallery = unit(np.concatenate([teacher[[first[text] for text in different]], others]))
        number = {text: i for i, text in enumerate(different)}
        self.native_of_text = np.array([number[text] for text in native])
        self.texts_of_native = [np.flatnonzero(self.native_of_text == i) for i in range(len(different))]

    def __call__(self, model: MultilingualModel) -> Score:
        """Score the active language."""
        vectors = encode_ids(model, self.ids)
        texts = unit(vectors.numpy())
        there = ranks(texts, self.gallery, self.native_of_text)
        back = ranks(self.gallery[: len(self.texts_of_native)], texts, self.texts_of_native)
        chance = (_chance(len(self.gallery)) + _chance(len(texts))) / 2
        return _score(there, back, chance, vectors)


class ExposureValidation:
    """Held-out captions: each looks for its image among many, and each of their images for a caption."""

    def __init__(self, ids: Ids, texts: Sequence[str], image_of_text: Rows, images: Vectors) -> None:
        different = list(dict.fromkeys(texts))
        number = {text: i for i, text in enumerate(different)}
        first = {text: i for i, text in reversed(list(enumerate(texts)))}
        self.ids = [ids[first[text]] for text in different]
        wanted = np.unique(image_of_text)
        others = np.setdiff1d(np.arange(len(images)), wanted)[: max(0, GALLERY - len(wanted))]
        self.gallery = unit(images[np.concatenate([wanted, others])])
        place = {int(image): i for i, image in enumerate(wanted)}
        pairs = sorted({(number[text], place[int(image)]) for text, image in zip(texts, image_of_text, strict=True)})
        self.images_of_text = [[i for t, i in pairs if t == text] for text in range(len(different))]
        self.texts_of_image = [[t for t, i in pairs if i == image] for image in range(len(wanted))]

    def __call__(self, model: MultilingualModel) -> Score:
        """Score the active language."""
        vectors = encode_ids(model, self.ids)
        texts = unit(vectors.numpy())
        there = ranks(texts, self.gallery, self.images_of_text)
        back = ranks(self.gallery[: len(self.texts_of_image)], texts, self.texts_of_image)
        chance = (_chance(len(self.gallery)) + _chance(len(texts))) / 2
        return _score(there, back, chance, vectors)


@torch.no_grad()
def encode_ids(model: MultilingualModel, ids: Ids, size: int = 256) -> Tensor:
    """Encode rows of ids with the model's active language: unnormalised vectors `[N, D]` in float32 on the CPU."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    result: list[Tensor] = [torch.empty(0)] * len(ids)
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        for i, vector in zip(rows, model.forward(pad([ids[i] for i in rows])).float().cpu(), strict=True):
            result[i] = vector
    return torch.stack(result)


def _score(there: Rows, back: Rows, chance: float, vectors: Tensor) -> Score:
    score = (_recall(there) + _recall(back)) / 2
    # As if each text were one draw: the cutoffs and the two directions of a text rise and fall together.
    error = math.sqrt(max(score * (1 - score), 1e-4) / len(there))
    return Score(score, chance, mean_cosine(vectors), error)


def _recall(places: Rows) -> float:
    return float(np.mean([(places <= k).mean() for k in CUTOFFS]))


def _chance(gallery: int) -> float:
    return float(np.mean([min(1.0, k / gallery) for k in CUTOFFS]))


def _numbered(texts: Sequence[str]) -> Rows:
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return np.array([number[text] for text in texts], dtype=np.int64)


def _equal(numbers: Rows, device: torch.device) -> Tensor:
    values = torch.from_numpy(numbers).to(device)
    return values.unsqueeze(0) == values.unsqueeze(1)
