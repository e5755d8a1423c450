"""Tell which of a registry's languages a query is in, so that a search needs no language named.

Each language is known by what the registry holds of it: the unigram model of its own tokenizer gives the probability
of a text, whether or not any identifier of languages knows it. py3langid, the scripts of the letters and, for English,
the base's vocabulary are weighed with it. The few weights are constants; nothing is trained for a registry, and
languages share nothing. No torch is imported.

Shapes: `N` texts, `L` languages, the native one first.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mla_extend.data.speech import identifier
from mla_extend.errors import BaseError, LanguageError, RegistryError, base_errors, language_errors
from mla_extend.registry.languages import BaseRegistry
from mla_extend.search.route_parts import (
    VOCABULARY,
    Floats,
    NativeVocabulary,
    Part,
    foreign_letters,
    latin_letters,
    part_of,
    read_part,
)

if TYPE_CHECKING:
    from mla_extend.registry.load import RegistryModel

__all__ = ["Evidence", "NativeVocabulary", "Route", "Router", "Weights", "open_router", "posterior", "router_of"]

SURE = 0.8
"""Confidence from which on one language is searched."""
READ = 300
"""Characters of a text that are looked at; more do not change the route."""
MOST_LETTERS = 9
"""Letters of other scripts that are counted; more say the same."""
FLOOR = 1e-6
"""Added to py3langid's probabilities: it never rules a language out."""


@dataclass(frozen=True)
class Route:
    """Say which languages a query is to be searched in.

    Attributes:
        languages: one when sure; the best and the second when unsure: both are to be searched. Where the text is
            likelier in none of the languages, the native one and the best of the others. A text without letters goes
            to the native language alone, unsure.
        confidence: how likely the first is right, 0 to 1.
        sure: whether the first is enough.
    """

    languages: tuple[str, ...]
    confidence: float
    sure: bool


@dataclass(frozen=True)
class Weights:
    """Weigh the evidence; fitted by `benchmarks/routing.py --fit` on languages that its figures are not of.

    Log probabilities by pieces are divided by the square root of the text's characters: a language's pieces stand or
    fall together, so that they are no independent witnesses. py3langid does the same by itself.

    Attributes:
        own: of the log probability by a language's own pieces.
        identifier: of the logarithm of py3langid's probability.
        foreign, latin: off for each letter of a script that the language is not written in: other letters, Latin ones.
        vocabulary, entry, start: of the base's vocabulary, to make it comparable to pieces: factor, nats an entry,
            nats a text.
        native: on for the native language.
        character, text: nats a character and a text that stand for pieces where there are none.
        unknown, unknown_outside: stand for the identifier's logarithm where it does not know the language: nats, and
            a factor of the logarithm of what it gives to languages that are not in the registry.
        none: on for the text being in none of the languages.
    """

    own: float = 0.582
    identifier: float = 0.547
    foreign: float = 1.022
    latin: float = 0.24
    vocabulary: float = 2.352
    entry: float = 12.462
    start: float = -2.283
    native: float = 1.452
    character: float = -3.12
    text: float = -8.275
    unknown: float = -3.489
    unknown_outside: float = 1.696
    none: float = -3.257


WEIGHTS = Weights()


@dataclass(frozen=True, eq=False)
class Evidence:
    """Hold what each text says of each language.

    Attributes:
        characters: `[N]`.
        own: `[N, L]`, log probability by its own pieces, the native one's by the base's vocabulary; NaN where there
            are none.
        entries: `[N]`, entries of the base's vocabulary that the text is cut into.
        identified: `[N, L]`, py3langid's probability; NaN where it tells nothing of the language.
        outside: `[N]`, what py3langid gives to languages that are not there.
        foreign, latin: `[N, L]`, letters of scripts that the language is not written in: others than Latin, Latin.
    """

    characters: Floats
    own: Floats
    entries: Floats
    identified: Floats
    outside: Floats
    foreign: Floats
    latin: Floats


class Router:
    """Route texts to languages. It is cheap to open again when languages are added, replaced or rolled back.

    Attributes:
        languages: those that it routes to, the native one first.
        versions: the version of each language but the native one.
        problems: languages that it does not route to since their files are damaged or their tokenizer fails, and what
            is wrong with them.
    """

    def __init__(
        self,
        native: Part,
        parts: Sequence[Part],
        *,
        vocabulary: NativeVocabulary | None = None,
        versions: Mapping[str, str] | None = None,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self.languages = (native.language, *(part.language for part in parts))
        self.versions = dict(versions or {})
        self.problems = dict(problems or {})
        self._parts = (native, *parts)
        self._vocabulary = vocabulary
        self._known = np.array([part.known for part in self._parts])
        self._labels = np.array([part.labels for part in self._parts])
        written = [part.scripts for part in self._parts]
        self._scripts = list(dict.fromkeys(written))
        self._script_of = np.array([self._scripts.index(scripts) for scripts in written])

    def route(self, texts: Sequence[str]) -> list[Route]:
        """Return a route for each text."""
        prepared = [_prepared(text) for text in texts]
        spoken = [i for i, text in enumerate(prepared) if any(map(str.isalpha, text))]
        routes = [Route(self.languages[:1], 1 / len(self.languages), len(self.languages) == 1)] * len(prepared)
        if not spoken or len(self.languages) == 1:
            return routes
        likely = posterior(self.evidence([prepared[i] for i in spoken]))
        broken = [place for place, language in enumerate(self.languages) if language in self.problems]
        likely[:, broken] = 0
        likely /= likely.sum(axis=1, keepdims=True)
        for i, row in zip(spoken, likely, strict=True):
            routes[i] = self._decided(row)
        return routes

    def _decided(self, row: Floats) -> Route:
        """Return the route by the probability of each language and of none `[L + 1]`."""
        order = np.argsort(-row[:-1], kind="stable").tolist()
        if row[-1] > row[order[0]]:
            order = [0, *(place for place in order if place != 0)]
        confidence = float(row[order[0]])
        count = 1 if confidence >= SURE or not row[order[1]] else 2
        return Route(tuple(self.languages[place] for place in order[:count]), confidence, count == 1)

    @contextmanager
    def _contained(self, language: str, errors: AbstractContextManager[None]) -> Iterator[None]:
        """Take what fails for a problem of the language."""
        try:
            with errors:
                yield
        except (BaseError, RegistryError) as error:
            self.problems[language] = str(error)

    def evidence(self, texts: Sequence[str]) -> Evidence:
        """Return what texts with letters say of each language; `route` prepares them first."""
        lengths = np.array([len(text) for text in texts], dtype=np.float64)
        own = np.full((len(texts), len(self._parts)), np.nan)
        entries = np.zeros(len(texts))
        if self._vocabulary is not None and self.languages[0] not in self.problems:
            with self._contained(self.languages[0], base_errors()):
                own[:, 0], entries = self._vocabulary.scores(texts)
        for column, part in enumerate(self._parts):
            if part.pieces is not None and part.language not in self.problems:
                with self._contained(part.language, language_errors()):
                    own[:, column] = part.pieces.scores(texts)
        found = identifier().probabilities(list(texts)).astype(np.float64)
        identified = np.where(self._known, found @ self._labels.T, np.nan)
        outside = np.clip(1 - found[:, self._labels.any(axis=0)].sum(axis=1), 0, 1)
        foreign, latin = (
            np.array([[count(text) for count in map(counter, self._scripts)] for text in texts], dtype=np.float64)
            for counter in (foreign_letters, latin_letters)
        )
        return Evidence(
            lengths, own, entries, identified, outside, foreign[:, self._script_of], latin[:, self._script_of]
        )


def posterior(evidence: Evidence, weights: Weights = WEIGHTS) -> Floats:
    """Return how likely each text is in each language, and, last, in none of them `[N, L + 1]`."""
    w, lengths = weights, evidence.characters[:, None]
    usual = w.character * lengths + w.text
    own = evidence.own.copy()
    own[:, 0] = w.vocabulary * own[:, 0] + w.entry * evidence.entries + w.start
    own = np.where(np.isnan(own), usual, own)
    outside = np.log(evidence.outside + FLOOR)[:, None]
    unknown = w.unknown + w.unknown_outside * outside
    identified = np.where(np.isnan(evidence.identified), unknown, np.log(evidence.identified + FLOOR))
    scores = w.own * own / np.sqrt(lengths) + w.identifier * identified
    scores -= w.foreign * np.minimum(evidence.foreign, MOST_LETTERS)
    scores -= w.latin * np.minimum(evidence.latin, MOST_LETTERS)
    scores[:, 0] += w.native
    none = w.own * usual / np.sqrt(lengths) + w.identifier * outside + w.none
    scores = np.concatenate([scores, none], axis=1)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    likely: Floats = scores / scores.sum(axis=1, keepdims=True)
    return likely


def open_router(registry: BaseRegistry | None, native: str, *, vocabulary: NativeVocabulary | None = None) -> Router:
    """Open a router over the languages of a registry and the base's own.

    A language whose files are damaged is left out, as it cannot be searched in either; `Router.problems` says why.

    Args:
        registry: `None` where no language was added yet.
        native: the base's own language.
        vocabulary: the base's, which English is told by; without it, English is told less well.
    """
    if registry is None:
        return Router(part_of(native), [], vocabulary=vocabulary)
    parts: list[Part] = []
    versions: dict[str, str] = {}
    problems: dict[str, str] = {}
    for language in registry.tags():
        try:
            version = registry.current(language)
            parts.append(read_part(language, version.folder))
            versions[language] = version.name
        except LanguageError:
            continue  # removed meanwhile by another process
        except RegistryError as error:
            problems[language] = str(error)
    return Router(part_of(native), parts, vocabulary=vocabulary, versions=versions, problems=problems)


def router_of(model: "RegistryModel") -> Router:
    """Open a router over the languages of a model, with the vocabulary of its base where that tells of English."""
    size = model.base.embedding.num_embeddings
    vocabulary = None
    if model.native.partition("-")[0] == "en" and size in VOCABULARY:
        own = model.base.tokenizer
        own = getattr(own, "inner", None) or own  # open_clip's wrapper
        backend, unknown = getattr(own, "backend_tokenizer", None), getattr(own, "unk_token_id", None)
        if backend is not None:
            with model.base.tokenizing():
                vocabulary = NativeVocabulary.from_json(backend.to_str(), unknown)
        else:
            vocabulary = NativeVocabulary(model.base.native_ids, size, unknown)
    return open_router(model.registry, model.native, vocabulary=vocabulary)


def _prepared(text: str) -> str:
    """Return the part of a text that is looked at: valid, without outer space, and not all in capitals."""
    text = text[:READ].encode("utf-8", "replace").decode("utf-8").strip()
    return text.lower() if text.isupper() else text
