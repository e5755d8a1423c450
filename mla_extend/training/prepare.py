"""From files to what the two stages train on: held-out slice, ids, and the cached vectors of teacher and images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.data.hold_out import hold_out, normalised
from mla_extend.data.pairs import ImageText, Mask, ParallelText, join_parallel
from mla_extend.errors import DataError, ImageError
from mla_extend.language.model import MultilingualModel
from mla_extend.training.loop import Stage, Term
from mla_extend.training.native_rows import NativeRows, partners
from mla_extend.training.recipe import Recipe
from mla_extend.training.tasks import (
    SENTENCES,
    Drawn,
    ExposureTask,
    ExposureValidation,
    Task,
    TransferTask,
    TransferValidation,
)
from mla_extend.training.teacher import Teacher


@dataclass(frozen=True)
class Split:
    """Say which pairs and which captions are held out of training.

    Attributes:
        pairs: `[P]`, true where held out.
        captions: `[C]`, the same of `image_text`; `None` where there is none.
        image_text: the captions that are trained on or held out; those of neither kind are left out.
        lexicon: the word list without what says the same as something held out; `None` where nothing is left.
        text: text of the language, likewise.
    """

    pairs: Mask
    captions: Mask | None
    image_text: ImageText | None = None
    lexicon: ParallelText | None = None
    text: Sequence[str] = ()

    @property
    def words(self) -> list[tuple[str, str]]:
        """Return the word list as native words with words of the language."""
        return [] if self.lexicon is None else list(zip(self.lexicon.native, self.lexicon.target, strict=True))


def split(
    parallel: ParallelText,
    image_text: ImageText | None,
    recipe: Recipe,
    lexicon: ParallelText | None = None,
    text: Sequence[str] = (),
) -> Split:
    """Hold out a slice of the training data: images with all their captions, and the same sentences in both files.

    Raises:
        DataError: what is left is too little for a contrast.
    """
    rule = recipe.validation
    texts, owners = (image_text.texts, image_text.image_of_text) if image_text is not None else ([], [])
    found = hold_out(parallel.target, texts, owners, fraction=rule.fraction, largest=rule.largest)
    pairs, captions = found.pairs, None
    if image_text is not None:
        captions = found.captions[~found.dropped]
        image_text = image_text.subset(~found.dropped)
    _enough(parallel.source, pairs)
    if image_text is not None and captions is not None and recipe.exposure.max_steps:
        _enough(image_text.source, captions)
    if lexicon is not None or text:
        shown = image_text.subset(captions).texts if image_text is not None and captions is not None else []
        held = {normalised(one) for one in (*parallel.subset(pairs).target, *shown)}
        text = [one for one in text if normalised(one) not in held]
        if lexicon is not None:
            lexicon = lexicon.subset(np.array([normalised(one) not in held for one in lexicon.target]))
    return Split(pairs, captions, image_text, lexicon if lexicon is not None and len(lexicon) else None, text)


def _enough(source: str, held_out: Mask) -> None:
    rows = int((~held_out).sum())
    if rows < 2:
        raise DataError(
            f"{source} leaves {rows} of {len(held_out)} rows to train on, the others being held out to choose the "
            "weights by. Two are needed at least, to tell one from another. Give more data."
        )


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


def drawn(model: MultilingualModel, tag: str, texts: Sequence[str]) -> Drawn | None:
    """Return texts that may be cut at random, where the language's tokenizer is one that can."""
    tokenizer = model.language(tag).tokenizer
    if tokenizer is None or tokenizer.pieces is None:
        return None
    return Drawn(tokenizer, texts)


def training_pairs(parallel: ParallelText, lexicon: ParallelText | None, share: float) -> ParallelText:
    """Return the pairs to train on, and beside them a word list's, which are that share of all that is drawn."""
    if lexicon is None or not share:
        return parallel
    drawn = [sum(data.parts[part].weight for part in data.part_of) for data in (parallel, lexicon)]
    scale = share / (1 - share) * drawn[0] / drawn[1]
    parts = tuple(replace(part, weight=part.weight * scale) for part in lexicon.parts)
    return join_parallel([parallel, replace(lexicon, parts=parts)])


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
        model.tokenise(tag, train.target),
        Teacher(model, features, train.native),
        train.native,
        train.weights,
        drawn(model, tag, train.target),
        NativeRows(partial(model.tokenise, tag), train.native, partners(model, tag)),
    )
    held = set(hold.native)
    others = [text for text in dict.fromkeys(sentences.native) if text not in held][: max(0, SENTENCES - len(held))]
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
        drawn(model, tag, texts),
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
