"""Answer text queries in one thread: those that wait are routed, encoded and looked up together."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from mla_extend.data.codes import language_tag
from mla_extend.errors import MlaExtendError
from mla_extend.use.load import RegistryModel
from mla_extend.use.route import Router, router_of
from mla_extend.use.search import AUTO, Answer, Hit, Searcher, best_ranks, check_query, check_top
from mla_extend.use.serving.limits import Limits

LOG = logging.getLogger(__name__)


class Busy(MlaExtendError):  # noqa: N818 - a status, not a fault
    """Say that too many queries wait."""


@dataclass(frozen=True)
class Asked:
    """Hold a query that waits for its answer."""

    query: str
    language: str
    top: int
    since: float = field(default_factory=time.perf_counter)
    answer: "Future[Answer]" = field(default_factory=Future)


class Queries:
    """Answer text queries, and follow the registry between them.

    Attributes:
        searcher: what is searched with what.
    """

    def __init__(self, searcher: Searcher, limits: Limits) -> None:
        self.searcher = searcher
        self._limits = limits
        self._router = router_of(searcher.model)
        self._waiting: queue.Queue[Asked | None] = queue.Queue(limits.requests)
        self._refreshing = threading.Lock()
        # The native tokenizer is told anew how to cut with each use, which two threads may not do at once.
        self._encoding = threading.Lock()
        self._looked = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="queries", daemon=True)
        self._thread.start()

    @property
    def model(self) -> RegistryModel:
        """Return what encodes."""
        return self.searcher.model

    def ask(self, query: str, language: str, top: int) -> "Future[Answer]":
        """Put a query in line.

        Raises:
            Busy: too many wait.
            LanguageError: the language is no code.
        """
        asked = Asked(query, language if language == AUTO else self._tag(language), top)
        try:
            self._waiting.put_nowait(asked)
        except queue.Full as error:
            raise Busy("The server is busy. Try again in a moment.") from error
        return asked.answer

    def embed(self, texts: Sequence[str], languages: Sequence[str]) -> tuple[list[str], list[list[float]]]:
        """Return each text's language, found out where it is `auto`, and its unit vector.

        Raises:
            LanguageError: a language is not there.
        """
        self.refresh()
        tags: list[str] = []
        vectors: list[list[float]] = []
        for start in range(0, len(texts), self._limits.batch):  # so that queries come in between
            part, asked = texts[start : start + self._limits.batch], languages[start : start + self._limits.batch]
            with self._encoding:
                routes = iter(self._router.route([text for text, tag in zip(part, asked, strict=True) if tag == AUTO]))
                chosen = [next(routes).languages[0] if tag == AUTO else self._tag(tag) for tag in asked]
                vectors += self.model.encode_text(part, chosen).tolist()
            tags += chosen
        return tags, vectors

    def refresh(self) -> None:
        """Follow the registry, if it was not looked at for a while."""
        with self._refreshing:
            if time.monotonic() - self._looked < self._limits.refresh_seconds:
                return
            try:
                if self.model.refresh():
                    self._router = router_of(self.model)
            except (OSError, MlaExtendError) as error:
                # What is loaded still answers.
                LOG.warning("The registry cannot be followed: %s", error)
            self._looked = time.monotonic()

    def close(self) -> None:
        """Answer what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        ending = False
        while not ending:
            batch = [self._waiting.get()]
            while len(batch) < self._limits.batch and not self._waiting.empty():
                batch.append(self._waiting.get())
            ending = None in batch
            self._answer(
                [asked for asked in batch if asked is not None and asked.answer.set_running_or_notify_cancel()]
            )

    def _answer(self, batch: list[Asked]) -> None:
        """Answer a batch; what cannot be answered fails by itself."""
        good: list[Asked] = []
        for asked in batch:
            try:
                self._check(asked)
                good.append(asked)
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                asked.answer.set_exception(error)
        parts = [good] if good else []
        while parts:
            part = parts.pop(0)
            try:
                answers = answer_together(self.searcher, self._router, self._encoding, part)
            except Exception as error:  # noqa: BLE001 - as above
                if len(part) == 1:
                    part[0].answer.set_exception(error)
                else:
                    parts = [[asked] for asked in part]
                continue
            for asked, answer in zip(part, answers, strict=True):
                asked.answer.set_result(answer)

    def _check(self, asked: Asked) -> None:
        self.refresh()
        check_query(asked.query)
        check_top(asked.top)
        if asked.language != AUTO:
            self.model.require(asked.language)

    def _tag(self, code: str) -> str:
        """Return a language's tag as the registry writes it."""
        return code if code == self.model.native or self.model.is_loaded(code) else language_tag(code)


def answer_together(
    searcher: Searcher, router: Router, encoding: threading.Lock, batch: Sequence[Asked]
) -> list[Answer]:
    """Answer queries with one pass of the text tower and one look into the index.

    Args:
        searcher: what is searched with what.
        router: finds out languages.
        encoding: held while text is read.
        batch: the queries.

    Raises:
        MlaExtendError: one of them cannot be answered.
    """
    texts = [check_query(asked.query) for asked in batch]
    open_ = [i for i, asked in enumerate(batch) if asked.language == AUTO]
    with encoding:
        routes = dict(zip(open_, router.route([texts[i] for i in open_]) if open_ else (), strict=True))
        languages = [routes[i].languages if i in routes else (asked.language,) for i, asked in enumerate(batch)]
        rows = [(text, tag) for text, tags in zip(texts, languages, strict=True) for tag in tags]
        vectors = searcher.model.encode_text([text for text, _ in rows], [tag for _, tag in rows])
    found = iter(searcher.index.nearest(vectors.numpy(), max(asked.top for asked in batch)))
    merged = [
        best_ranks(tags, [next(found)[: asked.top] for _ in tags])[: asked.top]
        for asked, tags in zip(batch, languages, strict=True)
    ]
    entries = searcher.index.entries([key for hits in merged for key, _, _ in hits])
    answers = []
    for i, asked in enumerate(batch):
        # What was dropped from the index since it was looked at is left out.
        there = [one for one in merged[i] if one[0] in entries]
        hits = [Hit(rank, key, score, tag, entries[key]) for rank, (key, score, tag) in enumerate(there, start=1)]
        route = routes.get(i)
        confidence, sure = (route.confidence, route.sure) if route else (None, True)
        seconds = time.perf_counter() - asked.since
        answers.append(Answer(texts[i], tuple(languages[i]), confidence, sure, hits, seconds))
    return answers
