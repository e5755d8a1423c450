"""Search an image index with text of any language of the registry, or with an image.

Nothing here imports torch before a model is opened, so that a wrong query or index is told at once.
"""

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mla_extend.data.codes import closest, language_tag
from mla_extend.errors import BaseError, DataError, RegistryError
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.store import Registry
from mla_extend.search.index import Entry, ImageIndex
from mla_extend.settings import index_folder

if TYPE_CHECKING:
    from torch import Tensor

    from mla_extend.images.pipeline import ImageLike
    from mla_extend.registry.load import RegistryModel
    from mla_extend.search.route import Router

AUTO = "auto"
"""The language of a query whose language is to be found out."""
MAX_TOP = 1000
MAX_QUERY = 10_000
"""Characters of a query: a tower reads far fewer, and rubbish should cost no time."""


@dataclass(frozen=True)
class Hit:
    """One image found: its rank from 1, its key, its cosine, the language that found it, and what is known of it."""

    rank: int
    key: int
    score: float
    language: str
    entry: Entry


@dataclass(frozen=True)
class Answer:
    """What a query found.

    Attributes:
        query: the text as searched; an image's path, or nothing for one that is no file.
        languages: those that it was searched in; none for an image.
        confidence: how likely the first of them is right, where it was found out; else `None`.
        sure: whether one language was enough.
        hits: best first.
        seconds: what it took.
    """

    query: str
    languages: tuple[str, ...]
    confidence: float | None
    sure: bool
    hits: list[Hit]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values."""
        return {
            "query": self.query,
            "languages": list(self.languages),
            "confidence": self.confidence,
            "sure": self.sure,
            "seconds": self.seconds,
            "hits": [
                {
                    "rank": hit.rank,
                    "key": hit.key,
                    "score": hit.score,
                    "language": hit.language,
                    "name": hit.entry.name,
                    "path": None if hit.entry.path is None else str(hit.entry.path),
                    "width": hit.entry.width,
                    "height": hit.entry.height,
                    "bytes": hit.entry.bytes,
                }
                for hit in self.hits
            ],
        }


@dataclass(frozen=True)
class Query:
    """Hold a text to search with, its language or `auto`, the hits wanted, and when it was asked."""

    text: str
    language: str = AUTO
    top: int = 10
    since: float = field(default_factory=time.perf_counter)


class Searcher:
    """Search one index with one model, as `open_index` gives it; safe to use from several threads.

    Attributes:
        model: encodes queries.
        index: is searched.
    """

    def __init__(self, model: "RegistryModel", index: ImageIndex, router: "Router | None" = None) -> None:
        index.check_base(model.base.identity.name, model.base.identity.fingerprint)
        self.model = model
        self.index = index
        self._router = router
        self._routing = threading.Lock()

    def search(self, query: str, language: str = AUTO, top: int = 10) -> Answer:
        """Find the images that a text describes.

        Args:
            query: the text.
            language: its code, or `auto` to find it out; unsure, two languages are searched, and an image takes the
                better of its ranks.
            top: hits wanted, at most 1000.

        Raises:
            DataError: the query is empty or too long, or `top` is out of range.
            LanguageError: the language is not in the registry.
        """
        check_query(query)
        check_top(top)
        return self.search_all([Query(query, language if language == AUTO else self.tag(language), top)])[0]

    def search_all(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer several queries with one pass of the text tower and one look into the index.

        Args:
            queries: each with a language's tag as the registry writes it, or `auto`.

        Raises:
            DataError: a query is empty or too long.
            LanguageError: a language is not in the registry.
        """
        texts = [check_query(query.text) for query in queries]
        open_ = [i for i, query in enumerate(queries) if query.language == AUTO]
        routes = dict(zip(open_, self.router.route([texts[i] for i in open_]) if open_ else (), strict=True))
        languages = [routes[i].languages if i in routes else (query.language,) for i, query in enumerate(queries)]
        languages, vectors = self._encode(texts, languages, set(open_))
        found = iter(self.index.nearest(vectors.numpy(), max(query.top for query in queries)))
        merged = [
            best_ranks(tags, [next(found)[: query.top] for _ in tags])[: query.top]
            for query, tags in zip(queries, languages, strict=True)
        ]
        answers = []
        for i, (query, hits) in enumerate(zip(queries, self._hits(merged), strict=True)):
            route = routes.get(i)
            confidence, sure = (route.confidence, route.sure) if route else (None, True)
            seconds = time.perf_counter() - query.since
            answers.append(Answer(texts[i], tuple(languages[i]), confidence, sure, hits, seconds))
        return answers

    def _encode(
        self, texts: Sequence[str], languages: Sequence[tuple[str, ...]], routed: Collection[int]
    ) -> tuple[list[tuple[str, ...]], "Tensor"]:
        """Encode each text in its languages; return the languages and the vectors `[sum of them, D]`.

        A language that fails is left out of the texts whose language was found out, and not looked for again.

        Raises:
            RegistryError, BaseError: a text's only language fails.
        """
        rows = [(text, tag) for text, tags in zip(texts, languages, strict=True) for tag in tags]
        try:
            return list(languages), self.model.encode_text([text for text, _ in rows], [tag for _, tag in rows])
        except (BaseError, RegistryError):
            failing: dict[str, str] = {}
            for tag in {tag for _, tag in rows}:
                try:
                    self.model.encode_text([text for text, one in rows if one == tag], tag)
                except (BaseError, RegistryError) as error:
                    failing[tag] = str(error)
            self.model.problems.update(failing)
            kept = list(languages)
            for i in routed:
                kept[i] = tuple(tag for tag in kept[i] if tag not in failing) or (self.model.native,)
            if kept == list(languages):
                raise
        self.router.problems.update(failing)
        return self._encode(texts, kept, routed)

    def encode(self, texts: Sequence[str], languages: Sequence[str]) -> tuple[list[str], "Tensor"]:
        """Return each text's language, found out where it is `auto`, and the unit vectors `[B, D]`.

        Args:
            texts: to encode.
            languages: a language's tag as the registry writes it, or `auto`, for each text.

        Raises:
            LanguageError: a language is not in the registry.
            RegistryError, BaseError: a text's language fails, and it was said.
        """
        open_ = [i for i, language in enumerate(languages) if language == AUTO]
        chosen: list[tuple[str, ...]] = [(language,) for language in languages]
        for i, route in zip(open_, self.router.route([texts[i] for i in open_]) if open_ else (), strict=True):
            chosen[i] = route.languages[:1]
        kept, vectors = self._encode(texts, chosen, open_)
        return [tags[0] for tags in kept], vectors

    def search_image(self, image: "ImageLike", top: int = 10) -> Answer:
        """Find the images that look like an image.

        Raises:
            DataError: the image cannot be read, or `top` is out of range.
        """
        began = time.perf_counter()
        check_top(top)
        vector = self.model.encode_images(image)
        name = str(image) if isinstance(image, str | Path) else ""
        found = [(key, score, "") for key, score in self.index.nearest(np.asarray(vector)[None], top)[0]]
        return Answer(name, (), None, True, self._hits([found])[0], time.perf_counter() - began)

    @property
    def router(self) -> "Router":
        """Return what finds out a query's language; it is opened when it is first needed."""
        with self._routing:
            if self._router is None:
                from mla_extend.search.route import router_of  # noqa: PLC0415 - not where the language is said

                self._router = router_of(self.model)
            return self._router

    def refresh(self) -> None:
        """Follow the registry, and find out languages anew where it has others."""
        if self.model.refresh():
            from mla_extend.search.route import router_of  # noqa: PLC0415 - as above

            renewed = router_of(self.model)
            with self._routing:
                self._router = renewed

    def tag(self, code: str) -> str:
        """Return a language's tag as the registry writes it: of those that it has, the one that a code fits best.

        Raises:
            LanguageError: it is no code.
        """
        if code == self.model.native or self.model.is_loaded(code):
            return code
        tag = language_tag(code)
        return next(iter(closest(self.model.languages, tag)), tag)

    def _hits(self, found: Sequence[Sequence[tuple[int, float, str]]]) -> list[list[Hit]]:
        """Return each query's hits from key, score and language; the index is asked once for all."""
        entries = self.index.entries([key for hits in found for key, _, _ in hits])
        answers = []
        for hits in found:
            # One that is missing was dropped since the vectors were compared.
            there = [hit for hit in hits if hit[0] in entries]
            ranked = enumerate(there, start=1)
            answers.append([Hit(rank, key, score, tag, entries[key]) for rank, (key, score, tag) in ranked])
        return answers


def open_index(
    index: str | Path | None = None,
    *,
    base: str | None = None,
    registry: str | Path | None = None,
    device: str = "auto",
    auto: bool = False,
    progress: Progress = SILENT,
) -> Searcher:
    """Open an image index for searching in every language of a registry.

    Examples:
        >>> from mla_extend import open_index
        >>> index = open_index("image-index", registry="adapters")
        >>> answer = index.search("mbwa mwekundu", language="sw", top=2)
        >>> [hit.entry.path.suffix for hit in answer.hits]
        ['.png', '.png']
        >>> round(index.search_image("photos/cat.png").hits[0].score, 3)  # itself
        1.0

    Args:
        index: the index's folder. Default: the setting, else `image-index/`.
        base: as for `load_model`. Default: the registry's base of the index's name; without one, the index's base.
        registry: as for `load_model`.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        auto: prepare language detection while the base is opened.
        progress: told of a base that has to be built or fetched.

    Raises:
        DataError: there is no index, or it is damaged.
        BaseMismatchError: it was made with another base than the one named or the registry's; the message names both.
        BaseError: the base cannot be opened.
    """
    opened = ImageIndex.open(index_folder(index))
    try:
        source = base or _source(opened, Registry(registry))
        if auto:
            from mla_extend.data.speech import identifier  # noqa: PLC0415 - not where the language is said

            threading.Thread(target=identifier, daemon=True).start()
        from mla_extend.registry.load import load_model  # noqa: PLC0415 - imports torch; a wrong index is said before

        return Searcher(load_model(source, registry, device=device, progress=progress), opened)
    except BaseException:
        opened.close()
        raise


def _source(index: ImageIndex, registry: Registry) -> str:
    """Return where an index's base is opened from, refusing another one before it is opened."""
    names = registry.bases()
    if not names:
        return index.base_source
    home = registry.open(index.base_name if index.base_name in names else names[0])
    index.check_base(home.base.name, home.base.fingerprint)
    return home.base.source


def best_ranks(languages: Sequence[str], found: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float, str]]:
    """Merge the lists of several languages: an image takes its best rank, and of two with the same the higher score.

    Returns key, score and language of each image, best first.
    """
    best: dict[int, tuple[int, float, str]] = {}
    for language, hits in zip(languages, found, strict=True):
        for rank, (key, score) in enumerate(hits):
            if key not in best or (rank, -score) < (best[key][0], -best[key][1]):
                best[key] = (rank, score, language)
    order = sorted(best.items(), key=lambda item: (item[1][0], -item[1][1], item[0]))
    return [(key, score, language) for key, (_, score, language) in order]


def check_query(query: str) -> str:
    """Return a query's text without what surrounds it.

    Raises:
        DataError: it is empty, too long, or holds a NUL character or half a character.
    """
    text = query.strip()
    if not text:
        raise DataError("The query is empty. Give some words.")
    if len(text) > MAX_QUERY:
        raise DataError(f"The query has {len(text):,} characters, and at most {MAX_QUERY:,} are searched. Shorten it.")
    if "\0" in text:
        raise DataError("The query holds a NUL character (U+0000). Take it out.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError("The query is not valid Unicode: it holds half a character. Type it again.") from error
    return text


def check_top(top: int) -> None:
    """Raise DataError unless `top` is in range."""
    if not 1 <= top <= MAX_TOP:
        raise DataError(f"Cannot return {top} hits. Ask for 1 to {MAX_TOP}.")
