"""Queries worth looking at: the best, the nearly right and the worst of a language."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError, MlaExtendError
from mla_extend.progress import Progress
from mla_extend.ranks import CHUNK_BYTES, Integers, as_vectors, ranks, unit
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry, Entry
from mla_extend.registry.layout import Version

if TYPE_CHECKING:
    from mla_extend.data.pairs import ImageText
    from mla_extend.registry.load import RegistryModel

MOST = 6
"""Queries of one kind for one language."""
MOST_QUERIES = 5000
"""Captions that are looked at; of more, so many are drawn."""
BUDGET = 3_500_000
"""Characters that the pictures of all languages may take in the page."""
SIDE = 128
"""Pixels of a thumbnail, shown at three quarters of that."""
QUALITY = 78

KINDS = {
    "best": "Right, by the largest margin over every wrong image",
    "confused": "Narrowly wrong: another image scores just above the right one",
    "worst": "Most wrong: the right image has the largest rank",
}
"""What is shown of each language, in this order."""


@dataclass(frozen=True)
class Example:
    """Hold one query: a caption, its image and the rank of that, and the image that a wrong answer put first.

    `native` is the same in the base's own language, `None` where the test set has none; so for what was found.
    `lead` is the right image's cosine less that of the best wrong one.
    """

    caption: str
    native: str | None
    image: Path
    rank: int
    lead: float
    found: Path | None = None
    found_caption: str | None = None
    found_native: str | None = None


@dataclass(frozen=True)
class Examples:
    """Hold the examples of one language by kind, or the reason why there are none.

    `split`, `gallery` and `queries` say where they come from: the split, its images, and the captions looked at.
    """

    kinds: dict[str, list[Example]]
    split: str = ""
    gallery: int = 0
    queries: int = 0
    reason: str | None = None

    @property
    def shown(self) -> Iterator[Path]:
        """Give the pictures of all of them."""
        for example in (example for examples in self.kinds.values() for example in examples):
            yield example.image
            if example.found is not None:
                yield example.found


def find_examples(
    home: BaseRegistry, entries: Sequence[Entry], device: str, seed: int, progress: Progress
) -> dict[str, Examples]:
    """Return examples of every one of these languages of a base whose test set has images that can be read here.

    What stands in the way of one language (a test set that is gone, a base that cannot be opened) is its `reason`, and
    is told to `progress`.
    """
    versions = {entry.language: (entry.version, entry.card) for entry in entries if entry.version and entry.card}
    result = {tag: Examples({}, reason=reason) for tag, (_, card) in versions.items() if (reason := _without(card))}
    wanted = [tag for tag in versions if tag not in result]
    if wanted:
        try:
            model = _open(home, device, progress)
        except MlaExtendError as error:
            result |= {tag: Examples({}, reason=str(error)) for tag in wanted}
            progress.note(f"No examples for the base {home.base.name}: {error}")
            return result
        for tag in wanted:
            try:
                result[tag] = _examples(model, *versions[tag], seed, progress)
            except MlaExtendError as error:
                result[tag] = Examples({}, reason=str(error))
                progress.note(f"No examples for {tag}: {error}")
    return result


Key = tuple[str, str]
"""A base's name and a language's tag."""


def within(examples: Mapping[Key, Examples], budget: int = BUDGET) -> tuple[dict[Key, Examples], dict[Path, str]]:
    """Return as many examples of every language as fit the budget, and the pictures as data URIs.

    Args:
        examples: of all languages.
        budget: characters for all pictures together; one that is shown twice counts twice.
    """
    pictures = {
        path: thumbnail(path) for path in dict.fromkeys(path for one in examples.values() for path in one.shown)
    }
    for most in range(MOST, 0, -1):
        fewer = {
            key: replace(one, kinds={kind: found[:most] for kind, found in one.kinds.items()})
            for key, one in examples.items()
        }
        if sum(len(pictures[path]) for one in fewer.values() for path in one.shown) <= budget:
            return fewer, pictures
    left = budget
    for key, one in fewer.items():
        left -= sum(len(pictures[path]) for path in one.shown)
        if left < 0 and one.kinds:
            fewer[key] = replace(one, kinds={}, reason="Left out to keep the page small.")
    return fewer, pictures


def choose(
    image_vectors: npt.ArrayLike, text_vectors: npt.ArrayLike, image_of_text: npt.ArrayLike, most: int = MOST
) -> tuple[dict[str, list[int]], Integers, Integers, npt.NDArray[np.float32]]:
    """Choose queries of each kind, none twice and each of another image.

    Args:
        image_vectors: `[I, D]`, I images, at least two.
        text_vectors: `[C, D]`, C captions.
        image_of_text: `[C]`, each caption's image.
        most: of one kind.

    Returns:
        The captions' numbers by kind; and of every caption `[C]`: the right image's rank (ties count against it), the
        best wrong image, and the cosine by which the right one leads.

    Raises:
        DataError: fewer than two images, or vectors that cannot be used.
    """
    images, texts = unit(as_vectors(image_vectors, "image vectors")), unit(as_vectors(text_vectors, "text vectors"))
    owner = np.asarray(image_of_text)
    if len(images) < 2:
        raise DataError("The test set has only one image, so no other can be mistaken for it.")
    rank = ranks(texts, images, owner)
    other = np.empty(len(texts), dtype=np.int64)
    lead = np.empty(len(texts), dtype=np.float32)
    step = max(1, CHUNK_BYTES // (images.itemsize * len(images)))
    for low in range(0, len(texts), step):
        part = slice(low, low + step)
        scores = texts[part] @ images.T
        rows = np.arange(len(scores))
        own = scores[rows, owner[part]]
        scores[rows, owner[part]] = -np.inf
        other[part] = scores.argmax(axis=1)
        lead[part] = own - scores.max(axis=1)
    # Of equal ones the first, so that the same vectors give the same page.
    falling = np.argsort(-lead, kind="stable")
    chosen = {
        "best": _different(falling[rank[falling] == 1], owner, most),
        "confused": _different(falling[rank[falling] > 1], owner, most),
    }
    rest = np.setdiff1d(np.flatnonzero(rank > 1), chosen["confused"])
    chosen["worst"] = _different(rest[np.lexsort((lead[rest], -rank[rest]))], owner, most)
    return chosen, rank, other, lead


def thumbnail(path: Path) -> str:
    """Return a small JPEG of an image, or of a video's middle frame, as a data URI, what is transparent in white.

    Raises:
        DataError: the image cannot be read.
    """
    from mla_extend.images.open import open_image  # noqa: PLC0415
    from mla_extend.images.video import is_video, read_frames  # noqa: PLC0415 - a page without examples needs none

    image = read_frames(path, 1)[0] if is_video(path) else open_image(path, least_side=SIDE, few_pixels=0)
    image.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    image.save(content, format="JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _without(card: Card) -> str | None:
    """Return why a card alone tells that there are no examples."""
    if not any(record.get("role") == "test_set" for record in card.data):
        return "Its card names no test set."
    if not any("mean_recall" in split for split in card.metrics.get("splits", {}).values()):
        return "Its test set has no images."
    return None


def _open(home: BaseRegistry, device: str, progress: Progress) -> "RegistryModel":
    progress.start(f"Opening the base {home.base.name}")
    from mla_extend.bases.open import open_base  # noqa: PLC0415 - imports torch
    from mla_extend.registry.load import RegistryModel  # noqa: PLC0415

    base = home.base
    opened = open_base(base.source, device=device, native=base.native, progress=progress)
    progress.finish()
    return RegistryModel(opened, home)


def _examples(model: "RegistryModel", version: Version, card: Card, seed: int, progress: Progress) -> Examples:
    from mla_extend.bases.features import Features  # noqa: PLC0415 - imports torch
    from mla_extend.data.pairs import ImageText  # noqa: PLC0415 - only examples read data
    from mla_extend.evaluation.evaluate import card_test_set  # noqa: PLC0415 - imports torch
    from mla_extend.training.stages import image_vectors  # noqa: PLC0415

    model.load_version(version)
    tests = card_test_set(card, model.native, progress)
    splits = {name: split for name, split in tests.splits.items() if isinstance(split, ImageText)}
    if not splits:
        return Examples({}, reason="Its test set has no images.")
    name = max(splits, key=lambda split: len(splits[split].images))
    data = splits[name]
    progress.start(f"Examples in {card.language_name}")
    images = image_vectors(data, Features(model.base, progress))
    drawn = np.arange(len(data.texts))
    if len(drawn) > MOST_QUERIES:
        drawn = np.sort(np.random.default_rng(seed).choice(drawn, MOST_QUERIES, replace=False))
    owner = np.asarray(data.image_of_text)[drawn]
    vectors = model.text_vectors([data.texts[i] for i in drawn], card.language).numpy()
    chosen, rank, other, lead = choose(images, vectors, owner)
    progress.finish()
    captions = _Captions(data)
    kinds = {
        kind: [captions.example(int(drawn[i]), int(rank[i]), int(other[i]), float(lead[i])) for i in chosen[kind]]
        for kind in KINDS
    }
    return Examples(kinds, name, len(images), len(drawn))


class _Captions:
    """Look up what is said of the images of a test set."""

    def __init__(self, data: "ImageText") -> None:
        self.data = data
        self.first = {image: i for i, image in reversed(list(enumerate(data.image_of_text)))}
        owners = data.native_image_of or data.image_of_text
        self.native_first = {image: i for i, image in reversed(list(enumerate(owners)))} if data.native else {}

    def example(self, number: int, rank: int, other: int, lead: float) -> Example:
        data = self.data
        image = data.image_of_text[number]
        beside = data.native is not None and data.native_image_of is None
        native = data.native[number] if beside and data.native else self.native(image)
        right = Example(data.texts[number], native, data.images[image], rank, round(lead, 4))
        if rank == 1:
            return right
        return replace(
            right,
            found=data.images[other],
            found_caption=data.texts[self.first[other]] if other in self.first else None,
            found_native=self.native(other),
        )

    def native(self, image: int) -> str | None:
        if self.data.native is None or image not in self.native_first:
            return None
        return self.data.native[self.native_first[image]]


def _different(order: npt.NDArray[Any], owner: npt.NDArray[Any], most: int) -> list[int]:
    """Return the first so many of different images."""
    chosen: dict[int, int] = {}
    for number in order:
        if len(chosen) == most:
            break
        chosen.setdefault(int(owner[number]), int(number))
    return list(chosen.values())


def example_json(examples: Examples) -> dict[str, Any]:
    """Return the examples of a language as JSON values, images as paths."""
    return {
        "split": examples.split,
        "gallery": examples.gallery,
        "queries": examples.queries,
        "reason": examples.reason,
        "kinds": {
            kind: [{key: str(v) if isinstance(v, Path) else v for key, v in vars(one).items()} for one in found]
            for kind, found in examples.kinds.items()
        },
    }
