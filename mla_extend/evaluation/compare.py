"""Compare versions, languages or translations on the same images: what `mla-extend compare` does."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.test_sets import TestSet
from mla_extend.data.translations import translated
from mla_extend.errors import DataError, RegistryError
from mla_extend.evaluation.evaluate import card_test_set
from mla_extend.evaluation.intervals import paired_bootstrap
from mla_extend.evaluation.recall import KS, METRICS, RetrievalResult, evaluate_retrieval
from mla_extend.files import user_path
from mla_extend.images.contents import image_keys
from mla_extend.language.model import MultilingualModel
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, check_base
from mla_extend.registry.check import check_version
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.summary import find_version
from mla_extend.training.stages import image_vectors
from mla_extend.vector_store import text_key

Key = tuple[bytes, int]


@dataclass(frozen=True)
class System:
    """Hold a version that is compared, and what the user wrote for it."""

    text: str
    home: BaseRegistry
    version: Version
    card: Card

    def to_json(self) -> dict[str, Any]:
        """Return which version it is, and how it was made."""
        card = self.card
        return {"language": card.language, "version": card.version, "created": card.created, "seed": card.seed}


def compare(
    first: str,
    second: str | None = None,
    *,
    translations: str | Path | None = None,
    test_set: str | Path | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Compare two systems: `LANG` (the version in use) or `LANG@VERSION` with another, or with translations.

    Both are measured on the images that both test sets hold: for two versions of a language, all. Parallel text is
    compared on its native sentences. Translations are encoded by the base itself. Every difference is the second's
    figure minus the first's, with the interval of a bootstrap that draws the same images (or sentences) for both.

    Args:
        first: a version is a full name, the beginning of one, or `v1`, `v2`, ... by age from the oldest.
        second: the same; `None` where there are translations.
        translations: the test set's texts in the base's language, as `read_translations` takes them.
        test_set: as for `evaluate`; `None` takes the one on the cards.
        base: a base's name or source, where several hold a language.
        registry: the registry's folder.
        seed: of the bootstrap.
        device: `cpu`, `cuda`, `mps` or `auto`.
        progress: told of long work.

    Returns:
        `{"first", "second", "base", "test_set", "seed", "splits": {NAME: {..., "figures": {...}}}}`, where a figure is
        `{"first", "second", "difference", "ci95", "p_value"}`; recalls are fractions.

    Raises:
        MlaExtendError: a version is not there or damaged, the two cannot be compared, or the test set cannot be read.
    """
    if (second is None) == (translations is None):
        raise DataError(
            f"Compare {first!r} with either another language or version, or translations: give the second argument or "
            "--translations FILE."
        )
    systems = []
    for text in [first] if second is None else [first, second]:
        home, version = find_version(text, base, registry)
        systems.append(System(text, home, version, check_version(version)))
    if second is not None:
        _check_pair(*systems)
    home = systems[0].home
    tests = _test_sets(systems, test_set, progress)
    sides = [system.to_json() for system in systems]
    if translations is not None:
        tests = tests[0], translated(tests[0], user_path(translations))
        sides.append({"language": home.base.native, "translations": str(translations)})
    opened = open_base(home.base.source, device=device, native=home.base.native, progress=progress)
    model, features = MultilingualModel(opened), Features(opened, progress)
    progress.start("Comparing")
    try:
        shared = [_Shared.of(name, one, tests[1].splits[name]) for name, one in tests[0].splits.items()]
        results = []
        for side, system in enumerate([*systems, None][:2]):
            with loaded(model, system) if system else nullcontext(model.native) as tag:
                results.append([split.retrieve(side, model, tag, features) for split in shared])
    finally:
        progress.finish()
    return {
        "first": sides[0],
        "second": sides[1],
        "base": home.base.name,
        "test_set": tests[0].name,
        "seed": seed,
        "splits": {
            split.name: {**split.counts(), "figures": split.figures(one, other, seed)}
            for split, one, other in zip(shared, *results, strict=True)
        },
    }


@contextmanager
def loaded(model: MultilingualModel, system: System) -> Iterator[str]:
    """Load a version into a model while the context lasts, and give its tag.

    Raises:
        RegistryError: its files are not those of a language adapter.
        BaseMismatchError: it was made for another base.
    """
    check_base(system.card, model.base.identity.name, model.base.identity.fingerprint)
    model.load(system.card.language, system.version.folder)
    try:
        yield system.card.language
    finally:
        model.remove(system.card.language)


def _check_pair(first: System, second: System) -> None:
    one, other = first.home.base.name, second.home.base.name
    if first.home.folder != second.home.folder:
        raise RegistryError(
            f"{first.text!r} was made for the base {one!r} and {second.text!r} for {other!r}. Compare two of one base."
        )
    if first.version == second.version:
        raise RegistryError(
            f"{first.text!r} and {second.text!r} are the same version, {first.version.name}. Name another, such as "
            f"{first.card.language}@v1: its versions are "
            f"{', '.join(version.name for version in first.home.versions(first.card.language))}."
        )


def _test_sets(systems: Sequence[System], given: str | Path | None, progress: Progress) -> tuple[TestSet, TestSet]:
    """Return the test set of each, with the splits that both have."""
    native = systems[0].home.base.native
    cards = [system.card for system in systems]
    if cards[0].language == cards[-1].language:
        named = [card for card in cards if _recorded(card) is not None]
        if given is None and len({_recorded(card) for card in named}) > 1:
            raise DataError(
                f"The cards name two test sets, {_recorded(cards[0])} and {_recorded(cards[1])}. Say which with "
                "--test-set."
            )
        one = card_test_set((named or cards)[0], native, progress, given=given)
        return one, one
    one, other = (card_test_set(card, native, progress, given=given) for card in cards)
    names = [name for name in one.splits if name in other.splits]
    if not names:
        raise DataError(
            f"The test set of {systems[0].text!r} has the splits {', '.join(one.splits)} and that of "
            f"{systems[1].text!r} {', '.join(other.splits)}: none is in both. Give one test set with --test-set."
        )
    return _only(one, names), _only(other, names)


def _recorded(card: Card) -> str | None:
    return next((str(record["path"]) for record in card.data if record["role"] == "test_set"), None)


def _only(tests: TestSet, names: Sequence[str]) -> TestSet:
    return replace(tests, splits={name: tests.splits[name] for name in names})


@dataclass(frozen=True, eq=False)
class _Shared:
    """Hold one split as both systems see it, and which of its images (or native sentences) both have.

    `places[s]` are those of side s, `[N]`, in the order of the first; `owners[s]` the place of each text.
    """

    name: str
    sides: tuple[ImageText | ParallelText, ImageText | ParallelText]
    galleries: tuple[list[Any], list[Any]]
    owners: tuple[NDArray[np.int64], NDArray[np.int64]]
    places: tuple[NDArray[np.int64], NDArray[np.int64]]

    @classmethod
    def of(cls, name: str, one: ImageText | ParallelText, other: ImageText | ParallelText) -> "_Shared":
        if isinstance(one, ImageText) != isinstance(other, ImageText):
            raise DataError(f"The split {name!r} has images in one of the two test sets only, so nothing is shared.")
        galleries, owners, keys = zip(*(_gallery(side) for side in (one, other)), strict=True)
        where = {key: place for place, key in enumerate(keys[1])}
        both = [(place, where[key]) for place, key in enumerate(keys[0]) if key in where]
        if not both:
            what = "image" if isinstance(one, ImageText) else "native sentence"
            raise DataError(
                f"No {what} of the split {name!r} is in both test sets ({one.source} and {other.source}). Give "
                "test sets on the same images with --test-set."
            )
        places = np.array(both, dtype=np.int64).T
        return cls(name, (one, other), galleries, owners, (places[0], places[1]))

    def counts(self) -> dict[str, Any]:
        """Return what the figures are over, and how much of each test set the other does not have."""
        unit = "images" if isinstance(self.sides[0], ImageText) else "native_sentences"
        left = [len(gallery) - len(self.places[0]) for gallery in self.galleries]
        return {unit: len(self.places[0]), "left_out": left}

    def retrieve(self, side: int, model: MultilingualModel, tag: str, features: Features) -> RetrievalResult:
        """Return the ranks of one system among what both have."""
        data, places = self.sides[side], self.places[side]
        number = np.full(len(self.galleries[side]), -1)
        number[places] = np.arange(len(places))
        owner = number[self.owners[side]]
        kept = np.flatnonzero(owner >= 0)
        texts = data.texts if isinstance(data, ImageText) else data.target
        vectors = model.text_vectors([texts[i] for i in kept.tolist()], tag).numpy()
        if isinstance(data, ImageText):
            return evaluate_retrieval(image_vectors(data, features)[places], vectors, owner[kept])
        return evaluate_retrieval(features.text(self.galleries[side])[places], vectors, owner[kept])

    def figures(self, first: RetrievalResult, second: RetrievalResult, seed: int) -> dict[str, Any]:
        """Return each figure of both, the difference, its interval and p."""
        if isinstance(self.sides[0], ParallelText):
            return {
                "to_native_accuracy": _figure(_part(first, "t2i", 1), _part(second, "t2i", 1), seed),
                "from_native_accuracy": _figure(_part(first, "i2t", 1), _part(second, "i2t", 1), seed),
            }
        cut = [(direction, k) for direction in ("t2i", "i2t") for k in KS]
        return {
            "mean_recall": _figure(first, second, seed),
            "t2i_mean_recall": _figure(_part(first, "t2i"), _part(second, "t2i"), seed),
            "i2t_mean_recall": _figure(_part(first, "i2t"), _part(second, "i2t"), seed),
            **{
                name: _figure(_part(first, *part), _part(second, *part), seed)
                for name, part in zip(METRICS, cut, strict=True)
            },
        }


def _gallery(data: ImageText | ParallelText) -> tuple[list[Any], NDArray[np.int64], list[Key]]:
    """Return what texts search, the place of each text in it, and what each item is known by in another test set."""
    if isinstance(data, ImageText):
        return data.images, np.array(data.image_of_text), _numbered(image_keys(data.images))
    number = {text: place for place, text in enumerate(dict.fromkeys(data.native))}
    return list(number), np.array([number[text] for text in data.native]), _numbered([text_key(t) for t in number])


def _numbered(keys: Sequence[bytes]) -> list[Key]:
    """Return keys told apart where the same content is there several times."""
    seen: Counter[bytes] = Counter()
    result = []
    for key in keys:
        result.append((key, seen[key]))
        seen[key] += 1
    return result


def _part(result: RetrievalResult, direction: str, k: int | None = None) -> RetrievalResult:
    """Return a result whose mean recall is that of one direction, or one R@k of it."""
    ranks, image = (result.t2i_ranks, result.t2i_image) if direction == "t2i" else (result.i2t_ranks, result.i2t_image)
    if k is not None:
        ranks = np.where(ranks <= k, 1, KS[-1] + 1)
    return replace(result, t2i_ranks=ranks, t2i_image=image, i2t_ranks=ranks, i2t_image=image)


def _figure(first: RetrievalResult, second: RetrievalResult, seed: int) -> dict[str, Any]:
    found = paired_bootstrap(second, first, seed=seed)
    return {
        "first": first.mean_recall,
        "second": second.mean_recall,
        "difference": found.difference,
        "ci95": list(found.interval),
        "p_value": found.p_value,
    }
