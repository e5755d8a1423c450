"""Evaluate a language of a registry on a test set: what `mla-extend evaluate` does."""

from pathlib import Path
from typing import Any

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.formats.format import Wanted, text_lines
from mla_extend.data.given import parse_columns
from mla_extend.data.test_sets import TestSet
from mla_extend.errors import DataError
from mla_extend.evaluation.recall import check_protocol
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card
from mla_extend.registry.summary import find_home
from mla_extend.request import read_tests
from mla_extend.training.precision import pick_device
from mla_extend.use.evaluate import evaluate_model
from mla_extend.use.load import RegistryModel


def evaluate_language(
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
    """Evaluate the version in use of a language.

    Args:
        language: its code.
        test_set: images with text, or parallel text, as `data/given.py` reads it, or `demo`; `None` takes the one on
            the card.
        columns: `ROLE=COLUMN,...` of the test set.
        protocol: how several captions an image count, as for `evaluate_retrieval`.
        distractors: a file of further native sentences, one a line, for parallel text.
        base: a base's name or source, where several hold the language.
        registry: the registry's folder.
        seed: of the bootstrap.
        device: `cpu`, `cuda`, `mps` or `auto`.
        progress: told of long work.

    Returns:
        `{"language", "base", "test_set", "splits": {NAME: {...}}, ...}`; recalls are fractions.

    Raises:
        MlaExtendError: the language is not there or damaged, or the test set cannot be read.
    """
    counted = check_protocol(protocol)
    tag, home = find_home(language, base, registry)
    card = home.card(tag)
    tests = card_test_set(card, home.base.native, progress, given=test_set, columns=columns)
    more = [line.strip() for _, line in text_lines(Path(distractors).expanduser())] if distractors else []
    opened = open_base(home.base.source, device=str(pick_device(device)), native=home.base.native, progress=progress)
    model = RegistryModel(opened, home)
    model.require(tag)
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
        wanted = Wanted(card.language, native, parse_columns(columns or record.get("columns")))
        return read_tests(record["path"], wanted, progress, record.get("format"))[1]
    return read_tests(given or "", Wanted(card.language, native, parse_columns(columns)), progress)[1]
