"""Evaluate a language of a model: encode a test set and hand the vectors to the evaluation room."""

from typing import Any

import numpy as np

from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.test_sets import TestSet
from mla_extend.evaluation import evaluation_json, split_report, text_transfer
from mla_extend.language.model import MultilingualModel
from mla_extend.training.prepare import Split, image_vectors


def evaluate_model(
    model: MultilingualModel, tag: str, test_set: TestSet, features: Features, *, seed: int = 0
) -> dict[str, Any]:
    """Return the evaluation of one language on all splits of a test set, as `evaluation_json` lays it out.

    Beside each figure stand the base's own on the same images (where the test set has native captions), the floor (the
    base fed the language directly) and chance.
    """
    reports = {}
    for name, data in test_set.splits.items():
        images = image_vectors(data, features)
        native = features.text(data.native) if data.native is not None else None
        reports[name] = split_report(
            images,
            model.text_vectors(data.texts, tag).numpy(),
            np.asarray(data.image_of_text),
            native_text_vectors=native,
            floor_text_vectors=model.text_vectors(data.texts, model.native).numpy(),
            seed=seed,
        )
    return evaluation_json(tag, model.base.identity.name, test_set.name, reports, seed=seed)


def evaluate_held_out(
    model: MultilingualModel,
    tag: str,
    parallel: ParallelText,
    image_text: ImageText | None,
    held_out: Split,
    features: Features,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the evaluation on the slice that chose the checkpoint, for want of a test set: a little too good.

    Captions look among all images of the training data; without images, sentences look among their translations
    (`text_transfer`), and there are no splits.
    """
    rows = np.flatnonzero(held_out.pairs)
    native = [parallel.native[i] for i in rows]
    transfer = text_transfer(model.text_vectors([parallel.target[i] for i in rows], tag).numpy(), features.text(native))
    splits: dict[str, ImageText] = {}
    if image_text is not None and held_out.captions is not None:
        kept = np.flatnonzero(held_out.captions)
        splits["held-out"] = ImageText(
            image_text.source,
            image_text.images,
            [image_text.texts[i] for i in kept],
            [image_text.image_of_text[i] for i in kept],
            [image_text.lines[i] for i in kept],
            [image_text.native[i] for i in kept] if image_text.native is not None else None,
        )
    evaluation = evaluate_model(model, tag, TestSet("held-out", parallel.source, splits), features, seed=seed)
    return {**evaluation, "text_transfer": vars(transfer)}
