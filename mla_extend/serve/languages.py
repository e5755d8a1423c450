"""What the server tells of each language, from the cards."""

from functools import lru_cache
from typing import Any

from mla_extend.data.codes import language_name
from mla_extend.errors import MlaExtendError
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.load import RegistryModel
from mla_extend.search.searcher import Searcher
from mla_extend.serve.answers import LanguageOut

QUALITY = (
    "gallery", "captions", "mean_recall", "ci95", "native_mean_recall", "ratio", "ratio_ci95", "chance_mean_recall",
    "candidates", "to_native_accuracy", "from_native_accuracy",
)  # fmt: skip
DATA = ("role", "path", "format", "pairs", "kept", "licence", "noncommercial")


def languages_of(searcher: Searcher) -> list[LanguageOut]:
    """Return every language of the model, the native one first, those that cannot be used with their problem."""
    model, known = searcher.model, searcher.router.problems
    base = model.base.identity
    native = LanguageOut(language=base.native, name=language_name(base.native), native=True, licence=base.licence)
    found = [native, *(_language(model, tag) for tag in model.languages[1:])]
    problems = (model.problems.get(one.language) or known.get(one.language) or one.problem for one in found)
    return [one.model_copy(update={"problem": problem}) for one, problem in zip(found, problems, strict=True)]


def _language(model: RegistryModel, tag: str) -> LanguageOut:
    problem = None
    if model.registry is not None and not (model.is_loaded(tag) and model.version(tag) is None):
        try:
            return _from_card(model.registry, tag, model.version(tag) or model.registry.current(tag).name)
        except MlaExtendError as error:
            problem = str(error)
    return LanguageOut(language=tag, name=language_name(tag), native=False, problem=problem)


@lru_cache(maxsize=1024)  # the card of a version never changes
def _from_card(registry: BaseRegistry, tag: str, name: str) -> LanguageOut:
    card = registry.card(tag, name)
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
