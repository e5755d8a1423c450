"""Evaluate a language: encode a test set, and measure."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.formats.format import ColumnMapping, text_lines
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.specification import parse_columns
from mla_extend.data.test_sets import TestSet
from mla_extend.demo.sources import read_tests
from mla_extend.errors import DataError
from mla_extend.evaluation.recall import Protocol, check_protocol
from mla_extend.evaluation.report import SplitReport, evaluation_json, split_report
from mla_extend.evaluation.transfer import TextTransfer, text_transfer
from mla_extend.files import user_path
from mla_extend.language.model import MultilingualModel
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.summary import find_version
from mla_extend.training.split import Split
from mla_extend.training.stages import image_vectors

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def evaluate(
    language: str,
    *,
    test_set: str | Path | None = None,
    columns: str | None = None,
    protocol: str = "standard",
    distractors: str | Path | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure retrieval in a language, beside the base's own language, the floor and chance.

    Examples:
        >>> from mla_extend import evaluate
        >>> found = evaluate("sw", test_set="test.jsonl", registry="adapters")
        >>> sorted(found["splits"]["test"])[:3]
        ['captions', 'chance_mean_recall', 'ci95']
        >>> 0 <= found["splits"]["test"]["mean_recall"] <= 1
        True

    Args:
        language: its code, or `sw@v1` for one of its versions.
        test_set: images with captions, or parallel text, or `demo`. Default: the one on the card.
        columns: `ROLE=COLUMN,...` of the test set.
        protocol: how an image with several captions counts: `standard`, `first` or `mla`.
        distractors: a file of more native sentences for the gallery, one per line, for parallel text.
        base: a base's name or source, if several have the language.
        registry: the registry's folder. Default: the setting, else `adapters/` in the current folder.
        seed: seeds the bootstrap.
        device: `cpu`, `cuda`, `mps` or `auto`.
        progress: told of long work.

    Returns:
        `{"language", "base", "test_set", "splits": {NAME: {...}}, ...}`; recalls are fractions.

    Raises:
        MlaExtendError: the language is missing or damaged, or the test set cannot be read.
    """
    counted = check_protocol(protocol)
    home, version = find_version(language, base, registry)
    card, tag = read_card(version.folder), version.language
    tests = card_test_set(card, home.base.native, progress, given=test_set, columns=columns)
    more = [line.strip() for _, line in text_lines(user_path(distractors))] if distractors else []
    opened = open_base(home.base.source, device=device, native=home.base.native, progress=progress)
    model = RegistryModel(opened, home)
    model.load_version(version)
    progress.start("Evaluating")
    try:
        evaluation = evaluate_model(
            model,
            tag,
            tests,
            Features(opened, progress),
            seed=seed,
            protocol=counted,
            distractors=[line for line in more if line],
        )
    finally:
        progress.finish()
    return {**evaluation, "version": card.version}


def card_test_set(
    card: Card,
    native: str,
    progress: Progress = SILENT,
    *,
    given: str | Path | None = None,
    columns: str | None = None,
) -> TestSet:
    """Return the test set that was given, or else the one that a card names.

    Raises:
        DataError: there is none, it is not there, or it cannot be used.
    """
    record = next((record for record in card.data if record["role"] == "test_set"), None)
    if given is None and record is None:
        raise DataError(
            f"The card of {card.language!r} names no test set. Give one with --test-set: images with text in the "
            "language, or parallel text."
        )
    if given is None and record is not None:
        mapping = ColumnMapping(card.language, native, parse_columns(columns or record.get("columns")))
        return read_tests(record["path"], mapping, progress, record.get("format"))[1]
    return read_tests(given or "", ColumnMapping(card.language, native, parse_columns(columns)), progress)[1]


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
    splits = test_set.splits
    texts = [text for data in splits.values() for text in (data.texts if isinstance(data, ImageText) else data.target)]
    own, floor = (_encoded(model, texts, language) for language in (tag, model.native))
    for name, data in splits.items():
        if isinstance(data, ImageText):
            reports[name] = _retrieval(own, floor, data, features, seed, protocol)
        else:
            reports[name] = _transfer(own, floor, data, features, distractors)
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


def _encoded(model: MultilingualModel, texts: Sequence[str], language: str) -> Encode:
    """Encode each text once, however many splits hold it; return what gives the vectors of some of them."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors = model.text_vectors(list(rows), language).numpy()
    return lambda some: vectors[[rows[text] for text in some]]


def _retrieval(
    own: Encode, floor: Encode, data: ImageText, features: Features, seed: int, protocol: Protocol
) -> SplitReport:
    native = features.text(data.native) if data.native is not None else None
    return split_report(
        image_vectors(data, features),
        own(data.texts),
        np.asarray(data.image_of_text),
        native_text_vectors=native,
        native_image_of_text=np.asarray(data.native_image_of) if data.native_image_of is not None else None,
        floor_text_vectors=floor(data.texts),
        seed=seed,
        protocol=protocol,
    )


def _transfer(
    own: Encode, floor: Encode, data: ParallelText, features: Features, distractors: Sequence[str]
) -> TextTransfer:
    number = {text: i for i, text in enumerate(dict.fromkeys(data.native))}
    more = [text for text in dict.fromkeys(distractors) if text not in number]
    return text_transfer(
        own(data.target),
        features.text(list(number)),
        np.array([number[text] for text in data.native]),
        native_distractors=features.text(more) if more else None,
        floor_vectors=floor(data.target),
    )
