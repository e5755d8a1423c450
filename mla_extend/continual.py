"""Measure every language of a registry after each language was added: what `mla-extend continual` does."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ImageText
from mla_extend.errors import DataError, RegistryError
from mla_extend.evaluate import card_test_set
from mla_extend.evaluation import RetrievalResult, bootstrap, evaluate_retrieval
from mla_extend.evaluation.continual import continual_matrix
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.languages import BaseRegistry, Entry
from mla_extend.registry.place import registry_root
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import check_version
from mla_extend.training.precision import pick_device
from mla_extend.training.prepare import image_vectors
from mla_extend.use.load import RegistryModel

WHOLE = "all"
"""The split that stands for a test set, where there is one of that name; else the first does."""


@dataclass(frozen=True, eq=False)
class _Column:
    """Hold one language, and the texts and images that it is measured on."""

    language: str
    version: str | None
    created: str | None
    test_set: str
    split: str
    data: ImageText
    texts: list[str]
    owner: NDArray[np.int64]


def continual(
    registry: str | Path | None = None,
    base: str | None = None,
    test_set: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Measure the languages of a base after each was added, in the order in which they were.

    Row 0 is the bare base. For row i the i-th language is loaded beside those before it, none after it is, and all text
    vectors are computed afresh. A language is measured on its own test set, the base's own language on the native
    captions of the first test set that has some. Each column says whether its vectors had the same bytes in every row,
    so that a forgetting of 0 is shown by equal vectors and not by equal scores alone.

    Args:
        registry: the registry's folder.
        base: a base's name or source, where the registry holds several.
        test_set: as for `evaluate_language`, for all languages; `None` takes the one on each card.
        seed: of the intervals' bootstrap.
        device: `cpu`, `cuda`, `mps` or `auto`.
        progress: told of long work.

    Returns:
        `{"base", "seed", "languages", "scores", "average_accuracy", "forgetting", "backward_transfer", "columns",
        "loaded", "vectors_equal", "left_out"}`: mean recalls as fractions with `None` above the diagonal, for each
        column its version, test set, last interval and the hash of its vectors in each row, for each row the languages
        that were loaded, and why other languages were left out.

    Raises:
        MlaExtendError: there is no such base, or no language with a test set that can be read.
    """
    home = _home(Registry(registry_root(registry)), base)
    columns, left_out = _columns(home, test_set, progress)
    opened = open_base(home.base.source, device=str(pick_device(device)), native=home.base.native, progress=progress)
    model = RegistryModel(opened, home)
    features = Features(opened, progress)
    images = [image_vectors(column.data, features) for column in columns]
    size = len(columns)
    scores = np.full((size, size), np.nan)
    hashes: list[list[str]] = [[] for _ in columns]
    last: list[RetrievalResult] = []
    loaded = []
    progress.start("Encoding", size * (size + 1) // 2, "test sets")
    try:
        for row, added in enumerate(columns):
            model.require(added.language)
            loaded.append([column.language for column in columns if model.is_loaded(column.language)])
            last = []
            for place, column in enumerate(columns[: row + 1]):
                vectors = model.text_vectors(column.texts, column.language).numpy()
                hashes[place].append(hashlib.sha256(vectors.tobytes()).hexdigest())
                last.append(evaluate_retrieval(images[place], vectors, column.owner))
                scores[row, place] = last[-1].mean_recall
                progress.advance()
    finally:
        progress.finish()
    described = [_described(*parts, seed=seed) for parts in zip(columns, hashes, last, strict=True)]
    return {
        "base": home.base.name,
        "seed": seed,
        **continual_matrix(scores, [column.language for column in columns]).to_json(),
        "columns": described,
        "loaded": loaded,
        "vectors_equal": all(column["vectors_equal"] for column in described),
        "left_out": left_out,
    }


def _home(root: Registry, base: str | None) -> BaseRegistry:
    homes = [root.open(name) for name in root.bases()] if base is not None else []
    return next((home for home in homes if base in (home.base.name, home.base.source)), None) or root.open(base)


def _columns(
    home: BaseRegistry, test_set: str | Path | None, progress: Progress
) -> tuple[list[_Column], dict[str, str]]:
    """Return the columns, the base's own language first, and why each other language is left out."""
    columns: list[_Column] = []
    left_out: dict[str, str] = {}
    for entry in _by_age(home.languages(), left_out):
        try:
            columns.append(_column(entry, home.base.native, test_set, progress))
        except (DataError, RegistryError) as error:
            left_out[entry.language] = str(error)
    if not columns:
        why = "".join(f" {language}: {reason}" for language, reason in left_out.items())
        raise DataError(f"{home.folder} holds no language that can be measured.{why}")
    source = next((column for column in columns if column.data.native is not None), None)
    if source is None:
        left_out[home.base.native] = "No test set has native captions on its images."
        return columns, left_out
    return [_native_column(source, home.base.native), *columns], left_out


def _by_age(entries: Sequence[Entry], left_out: dict[str, str]) -> list[Entry]:
    for entry in entries:
        if entry.problem is not None:
            left_out[entry.language] = entry.problem
    sound = [entry for entry in entries if entry.card is not None]
    return sorted(sound, key=lambda entry: (entry.card.created if entry.card else "", entry.language))


def _column(entry: Entry, native: str, given: str | Path | None, progress: Progress) -> _Column:
    if entry.version is None:
        raise RegistryError(f"{entry.language!r} has no version in use.")
    card = check_version(entry.version)
    tests = card_test_set(card, native, progress, given=given)
    split = WHOLE if WHOLE in tests.splits else next(iter(tests.splits))
    data = tests.splits[split]
    if not isinstance(data, ImageText):
        raise DataError(f"The test set {tests.name} has no images. Give one that has with --test-set.")
    owner = np.array(data.image_of_text)
    return _Column(card.language, card.version, card.created, tests.name, split, data, data.texts, owner)


def _native_column(source: _Column, native: str) -> _Column:
    data = source.data
    owner = source.owner if data.native_image_of is None else np.array(data.native_image_of)
    return _Column(native, None, None, source.test_set, source.split, data, list(data.native or ()), owner)


def _described(column: _Column, hashes: list[str], last: RetrievalResult, *, seed: int) -> dict[str, Any]:
    return {
        "language": column.language,
        "version": column.version,
        "created": column.created,
        "test_set": column.test_set,
        "split": column.split,
        "images": len(column.data.images),
        "texts": len(column.texts),
        "ci95": list(bootstrap(last, seed=seed).mean_recall),
        "vectors": hashes,
        "vectors_equal": len(set(hashes)) == 1,
    }
