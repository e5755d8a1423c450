"""Evaluate a language of a registry on a test set: what `mla-extend evaluate` does."""

from pathlib import Path
from typing import Any

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.test_sets import read_test_set
from mla_extend.errors import DataError
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card
from mla_extend.registry.summary import find_home
from mla_extend.request import DEMO, demo_file
from mla_extend.training.precision import pick_device
from mla_extend.use.evaluate import evaluate_model
from mla_extend.use.load import RegistryModel


def evaluate_language(
    language: str,
    *,
    test_set: str | Path | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Evaluate the version in use of a language.

    Args:
        language: its code.
        test_set: a file of images with text, a folder with one a split, or `demo`; `None` takes the one on the card.
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
    tag, home = find_home(language, base, registry)
    card = home.card(tag)
    name, path = _test_set(card, test_set, progress)
    tests = read_test_set(path, tag, home.base.native, name=name)
    opened = open_base(home.base.source, device=str(pick_device(device)), native=home.base.native, progress=progress)
    model = RegistryModel(opened, home)
    model.require(tag)
    progress.start("Evaluating")
    try:
        evaluation = evaluate_model(model, tag, tests, Features(opened, progress), seed=seed)
    finally:
        progress.finish()
    return {**evaluation, "version": card.version}


def _test_set(card: Card, given: str | Path | None, progress: Progress) -> tuple[str, Path]:
    wanted = str(given) if given is not None else None
    if wanted is None:
        wanted = next((record["path"] for record in card.data if record["role"] == "test_set"), None)
    if wanted is None:
        raise DataError(
            f"The card of {card.language!r} names no test set. Give one with --test-set: a JSONL or TSV file of images "
            "with text in the language."
        )
    if wanted == DEMO:
        return DEMO, demo_file("test_set", card.language, progress).path
    path = Path(wanted).expanduser()
    if not path.exists():
        raise DataError(f"The test set {path} does not exist. Give its place with --test-set.")
    return path.stem, path
