"""Answer text queries in one thread: those that wait are routed, encoded and looked up together."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from mla_extend.errors import MlaExtendError
from mla_extend.search.searcher import AUTO, Answer, Query, Searcher, check_query, check_top
from mla_extend.serve.limits import Limits

LOG = logging.getLogger(__name__)


class Busy(MlaExtendError):  # noqa: N818 - a status, not a fault
    """Say that too many queries wait."""


def as_exception(error: BaseException) -> Exception:
    """Return an error that a request can fail with: what is no Exception would end more than the request."""
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class PendingQuery:
    """Hold a query that waits for its answer."""

    query: Query
    answer: "Future[Answer]" = field(default_factory=Future)


class Queries:
    """Answer text queries, and follow the registry between them.

    Attributes:
        searcher: what is searched with what.
        restarts: how often the answering had to be begun again, after what nobody expects.
    """

    def __init__(self, searcher: Searcher, limits: Limits) -> None:
        self.searcher = searcher
        self._limits = limits
        searcher.router  # noqa: B018 - opened before the first query comes
        self._waiting: queue.Queue[PendingQuery | None] = queue.Queue(limits.requests)
        self._refreshing = threading.Lock()
        self._looked = time.monotonic()
        self.restarts = 0
        self._thread = threading.Thread(target=self._run, name="queries", daemon=True)
        self._thread.start()

    def ask(self, query: str, language: str, top: int) -> "Future[Answer]":
        """Put a query in line.

        Raises:
            Busy: too many wait.
            LanguageError: the language is no code.
        """
        asked = PendingQuery(Query(query, language if language == AUTO else self.searcher.tag(language), top))
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
        for start in range(0, len(texts), self._limits.batch):  # so that what is loaded need not wait for all
            part, asked = texts[start : start + self._limits.batch], languages[start : start + self._limits.batch]
            said = [tag if tag == AUTO else self.searcher.tag(tag) for tag in asked]
            chosen, encoded = self.searcher.encode(part, said)
            vectors += encoded.tolist()
            tags += chosen
        return tags, vectors

    def refresh(self) -> None:
        """Follow the registry, if it was not looked at for a while."""
        with self._refreshing:
            if time.monotonic() - self._looked < self._limits.refresh_seconds:
                return
            try:
                self.searcher.refresh()
            except (OSError, MlaExtendError) as error:
                # What is loaded still answers.
                LOG.warning("The registry cannot be read: %s", error)
            self._looked = time.monotonic()

    def close(self) -> None:
        """Answer what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Say whether queries are answered."""
        return self._thread.is_alive()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch = [self._waiting.get()]
            try:
                while len(batch) < self._limits.batch and not self._waiting.empty():
                    batch.append(self._waiting.get())
                self._answer([one for one in batch if one is not None and one.answer.set_running_or_notify_cancel()])
            except BaseException as error:  # this thread is the only one that answers
                LOG.exception("Answering failed; it is restarted")
                self.restarts += 1
                for one in batch:
                    with suppress(InvalidStateError):  # it was answered, or nobody waits for it any more
                        if one is not None:
                            one.answer.set_exception(as_exception(error))
            ending = None in batch

    def _answer(self, batch: list[PendingQuery]) -> None:
        """Answer a batch; what cannot be answered fails by itself."""
        good: list[PendingQuery] = []
        for asked in batch:
            try:
                self.refresh()
                check_query(asked.query.text)
                check_top(asked.query.top)
                if asked.query.language != AUTO:
                    self.searcher.model.require(asked.query.language)
                good.append(asked)
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                asked.answer.set_exception(error)
        try:
            answers = self.searcher.search_all([asked.query for asked in good]) if good else []
        except Exception as error:  # noqa: BLE001 - as above
            if len(good) == 1:
                good[0].answer.set_exception(error)
            else:
                for asked in good:
                    self._answer([asked])
            return
        for asked, answer in zip(good, answers, strict=True):
            asked.answer.set_result(answer)
