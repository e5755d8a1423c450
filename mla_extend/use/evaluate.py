"""Evaluate a language of a model: encode a test set and hand the vectors to the evaluation room."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.test_sets import TestSet
from mla_extend.evaluation import (
    Protocol,
    SplitReport,
    TextTransfer,
    evaluation_json,
    split_report,
    text_transfer,
)
from mla_extend.language.model import MultilingualModel
from mla_extend.training.prepare import Split, image_vectors


def evaluate_model(
    model: MultilingualModel,
    tag: str,
    test_set: TestSet,
    features: Features,
    *,
    seed: int = 0,
    protocol: Protocol = "standard",
    distractors: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the evaluation of one language on all splits of a test set, as `evaluation_json` lays it out.

    Beside each figure stand the base's own on the same images (where the test set has native captions), the floor (the
    base fed the language directly) and chance. Splits of parallel text have the figures of `text_transfer`.

    Args:
        model: holds the language.
        tag: the language.
        test_set: what it is evaluated on.
        features: encodes images and native text, from the cache where they are known.
        seed: of the bootstrap.
        protocol: how several captions an image count.
        distractors: further native sentences for splits of parallel text.

    Raises:
        DataError: an image cannot be read.
    """
    reports: dict[str, SplitReport | TextTransfer] = {}
    for name, data in test_set.splits.items():
        if isinstance(data, ImageText):
            reports[name] = _retrieval(model, tag, data, features, seed, protocol)
        else:
            reports[name] = _transfer(model, tag, data, features, distractors)
    return evaluation_json(tag, model.base.identity.name, test_set.name, reports, seed=seed, protocol=protocol)


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

    Sentences look among their translations; captions, where there are images, among all images of the training data.
    """
    splits: dict[str, ImageText | ParallelText] = {}
    if image_text is not None and held_out.captions is not None:
        splits["held-out"] = image_text.subset(held_out.captions)
    splits["held-out text"] = parallel.subset(held_out.pairs)
    return evaluate_model(model, tag, TestSet("held-out", splits), features, seed=seed)


def _retrieval(
    model: MultilingualModel, tag: str, data: ImageText, features: Features, seed: int, protocol: Protocol
) -> SplitReport:
    native = features.text(data.native) if data.native is not None else None
    return split_report(
        image_vectors(data, features),
        model.text_vectors(data.texts, tag).numpy(),
        np.asarray(data.image_of_text),
        native_text_vectors=native,
        native_image_of_text=np.asarray(data.native_image_of) if data.native_image_of is not None else None,
        floor_text_vectors=model.text_vectors(data.texts, model.native).numpy(),
        seed=seed,
        protocol=protocol,
    )


def _transfer(
    model: MultilingualModel, tag: str, data: ParallelText, features: Features, distractors: Sequence[str]
) -> TextTransfer:
    number = {text: i for i, text in enumerate(dict.fromkeys(data.native))}
    more = [text for text in dict.fromkeys(distractors) if text not in number]
    return text_transfer(
        model.text_vectors(data.target, tag).numpy(),
        features.text(list(number)),
        np.array([number[text] for text in data.native]),
        native_distractors=features.text(more) if more else None,
        floor_vectors=model.text_vectors(data.target, model.native).numpy(),
    )
