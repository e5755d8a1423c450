"""What the server tells of each language, from the cards."""

import threading
from typing import Any

from mla_extend.data.codes import language_name
from mla_extend.errors import MlaExtendError
from mla_extend.registry.card import Card
from mla_extend.search.searcher import Searcher
from mla_extend.serve.answers import LanguageOut

QUALITY = (
    "gallery", "captions", "mean_recall", "ci95", "native_mean_recall", "ratio", "ratio_ci95", "chance_mean_recall",
    "candidates", "to_native_accuracy", "from_native_accuracy",
)  # fmt: skip
DATA = ("role", "path", "format", "pairs", "kept", "licence", "noncommercial")


class Cards:
    """Tell of the languages of a model; a version's card never changes, so that each is read once."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._model = searcher.model
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], LanguageOut] = {}

    def all(self) -> list[LanguageOut]:
        """Return every language, the native one first, those that cannot be used with their problem."""
        base = self._model.base.identity
        native = LanguageOut(
            language=base.native,
            name=language_name(base.native),
            native=True,
            licence=base.licence,
            problem=self._problem(base.native),
        )
        return [native, *(self._one(tag) for tag in self._model.languages[1:])]

    def _problem(self, tag: str) -> str | None:
        return self._model.problems.get(tag) or self._searcher.router.problems.get(tag)

    def _one(self, tag: str) -> LanguageOut:
        registry = self._model.registry
        bare = LanguageOut(language=tag, name=language_name(tag), native=False)
        if registry is None or (self._model.is_loaded(tag) and self._model.version(tag) is None):
            return bare
        problem = self._problem(tag)
        try:
            name = self._model.version(tag) or registry.current(tag).name
            with self._lock:
                known = self._known.get((tag, name))
            if known is None:
                known = _from_card(registry.card(tag, name))
                with self._lock:
                    self._known[tag, name] = known
        except MlaExtendError as error:
            return bare.model_copy(update={"problem": problem or str(error)})
        return known.model_copy(update={"problem": problem})


def _from_card(card: Card) -> LanguageOut:
    splits: dict[str, Any] = card.metrics.get("splits", {})
    return LanguageOut(
        language=card.language,
        name=card.language_name,
        native=False,
        version=card.version,
        created=card.created,
        parameters=card.parameters,
        bytes=card.bytes,
        test_set=card.metrics.get("test_set"),
        quality=[{"split": name, **_take(split, QUALITY)} for name, split in splits.items() if isinstance(split, dict)],
        data=[_take(record, DATA) for record in card.data],
        noncommercial=card.noncommercial,
    )


def _take(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values}
