"""What languages look like: the scripts that they are written in, and py3langid's model that tells them apart."""

import functools
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mla_extend.data.pairs import Mask

Floats = NDArray[np.float32]
WORD = re.compile(r"[^\W\d_]+")
SHARED_WORDS = 0.7
"""As `share_words` has it: the least of what texts of one language share."""
_LOADING = threading.Lock()

ALTERNATIVES = {
    "az": ("Latn", "Cyrl", "Arab"),
    "bs": ("Latn", "Cyrl"),
    "chr": ("Cher", "Latn"),
    "cnr": ("Latn", "Cyrl"),
    "cr": ("Cans", "Latn"),
    "crh": ("Latn", "Cyrl"),
    "ff": ("Latn", "Adlm"),
    "ha": ("Latn", "Arab"),
    "iu": ("Cans", "Latn"),
    "jv": ("Latn", "Java"),
    "kab": ("Latn", "Tfng"),
    "kk": ("Cyrl", "Latn", "Arab"),
    "kok": ("Deva", "Latn", "Knda"),
    "ks": ("Arab", "Deva"),
    "ku": ("Latn", "Arab"),
    "ky": ("Cyrl", "Latn", "Arab"),
    "lad": ("Latn", "Hebr"),
    "mn": ("Cyrl", "Mong"),
    "mni": ("Beng", "Mtei"),
    "ms": ("Latn", "Arab"),
    "pa": ("Guru", "Arab"),
    "sat": ("Olck", "Deva", "Beng", "Latn"),
    "sd": ("Arab", "Deva"),
    "sh": ("Latn", "Cyrl"),
    "shi": ("Tfng", "Latn", "Arab"),
    "sr": ("Cyrl", "Latn"),
    "su": ("Latn", "Sund"),
    "tg": ("Cyrl", "Latn", "Arab"),
    "tk": ("Latn", "Cyrl"),
    "tt": ("Cyrl", "Latn"),
    "tzm": ("Latn", "Tfng"),
    "ug": ("Arab", "Latn", "Cyrl"),
    "uz": ("Latn", "Cyrl", "Arab"),
    "zgh": ("Tfng", "Latn"),
}
"""Scripts that a language is commonly written in, where there are several; a tag with a script has that alone."""
BOTH_SCRIPTS = {"bs", "cnr", "hr", "sh", "sr"}
"""Languages that the model knows in Cyrillic and in Latin script."""
ALIKE = (
    {"bs", "cnr", "hr", "sh", "sr"},
    {"el", "grc"},
    {"id", "ms"},
    {"ar", "ary", "arz"},
    {"ckb", "ku", "sdh"},
    {"en", "sco", "jam", "gul", "hwc", "bzj", "kri", "enm", "trf"},
    {"nb", "nn", "no"},
    {"wuu", "yue", "zh"},
)
"""Languages that the model cannot tell apart reliably, or that people's codes do not."""
COMPOSED = {
    "Hans": ("Hani",),
    "Hant": ("Hani", "Bopo"),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Aran": ("Arab",),
    "Latf": ("Latn",),
    "Latg": ("Latn",),
    "Cyrs": ("Cyrl",),
}
"""Scripts of BCP-47 that are several, or a style of one, in Unicode."""


class Speech:
    """Know the two languages: their scripts, and what the model calls them."""

    def __init__(self, language: str, native_language: str) -> None:
        import langcodes  # noqa: PLC0415 - slow to import

        tag = langcodes.Language.get(language)
        bare = str(tag.language or "und")
        usual = langcodes.Language.get(bare).maximize().script
        written = (tag.script,) if tag.script else ALTERNATIVES.get(bare, (tag.maximize().script,))
        self.scripts = _unicode_scripts(written)
        self.learnt = _unicode_scripts(("Latn", "Cyrl") if bare in BOTH_SCRIPTS else (usual,))
        self.worth = 2 if {"Hani", "Hang"}.intersection(self.scripts) else 1
        self.own = _alike(language)
        self.native = _alike(native_language) - self.own

    @functools.cached_property
    def model(self) -> "Identifier":
        """Return the model, which takes a second to load."""
        return identifier()

    @functools.cached_property
    def columns(self) -> tuple[Mask, Mask]:
        """Return which of the model's labels are the language, and which the native one."""
        labels = [macrolanguage(label) for label in self.model.labels]
        return np.isin(labels, list(self.own)), np.isin(labels, list(self.native))

    @property
    def known(self) -> bool:
        """Say whether the model knows the language."""
        return bool(self.columns[0].any())

    def probabilities(self, texts: list[str]) -> tuple[Floats, Floats, Floats]:
        """Return how likely each text is in the language, in the native one, and in the likeliest other one."""
        scores = self.model.probabilities(texts)
        own, native = self.columns
        return scores[:, own].sum(axis=1), scores[:, native].sum(axis=1), scores[:, ~own].max(axis=1)


class Identifier:
    """Apply py3langid's model to many texts at once; its own `classify` takes six times as long.

    The model is naive Bayes: an automaton over the bytes finds substrings, whose counts weigh languages. Here all
    texts walk through the automaton side by side, one byte a step. Probabilities equal those of `classify`.
    """

    def __init__(self) -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415 - slow to import

        model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self.next = np.frombuffer(model.tk_nextmove, dtype=model.tk_nextmove.typecode)
        self.row = np.asarray(model.tk_row, dtype=np.int64) << 8
        self.feature = np.asarray(model.tk_output, dtype=np.int64)
        self.weights = np.asarray(model.nb_ptc, dtype=np.float32)
        self.prior = np.asarray(model.nb_pc, dtype=np.float32)
        self.labels: list[str] = list(dict.fromkeys(model.nb_classes))
        # A language that is known in two scripts has two columns.
        self.merge = np.array([[name == label for label in self.labels] for name in model.nb_classes], np.float32)

    def probabilities(self, texts: list[str]) -> Floats:
        """Return the probability of each label `[texts, labels]`; texts are not empty."""
        from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

        coded = [_for_model(text) for text in texts]
        lengths = np.array([len(code) for code in coded])
        order = np.argsort(-lengths, kind="stable")
        starts = (np.cumsum(lengths) - lengths)[order]
        letters = np.frombuffer(b"".join(coded), dtype=np.uint8)
        longer = len(texts) - np.cumsum(np.bincount(lengths))
        state = np.zeros(len(texts), dtype=np.int64)
        rows, features = [], []
        for step, count in enumerate(longer[:-1]):
            state = self.next[self.row[state[:count]] + letters[starts[:count] + step]].astype(np.int64)
            feature = self.feature[state]
            hits = np.flatnonzero(feature >= 0)
            rows.append(order[hits])
            features.append(feature[hits])
        place = (np.concatenate(rows), np.concatenate(features))
        # Equal places are summed, which makes them counts.
        counts = csr_array((np.ones(len(place[0]), np.float32), place), shape=(len(texts), len(self.weights)))
        counts.sum_duplicates()
        counts.data = np.log1p(counts.data)
        scores = (counts @ self.weights + self.prior) / np.sqrt(lengths).astype(np.float32)[:, None]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        result: Floats = scores / scores.sum(axis=1, keepdims=True) @ self.merge
        return result


@functools.lru_cache(maxsize=16)
def speech_of(language: str, native_language: str) -> Speech:
    """Return what is known of two languages, kept for the next time."""
    return Speech(language, native_language)


def share_words(natives: Sequence[str], texts: Sequence[str]) -> bool:
    """Say whether texts that look like the native language's have its words, as those of a relative do not.

    Of a text's words, so many stand among the native ones as of a native text's among those of the others, or nearly.
    A few rows have few words in common, and do not tell: the answer is yes.
    """
    rows = [set(WORD.findall(text.lower())) for text in natives]
    counts = Counter(word for row in rows for word in row)
    mine = [counts[word] > 1 for row in rows for word in row]
    theirs = [word in counts for text in texts for word in set(WORD.findall(text.lower()))]
    return not mine or not theirs or sum(theirs) / len(theirs) >= SHARED_WORDS * sum(mine) / len(mine)


def identifier() -> Identifier:
    """Return the model, which takes half a second to load, once for all threads."""
    with _LOADING:
        return _identifier()


@functools.cache
def _identifier() -> Identifier:
    return Identifier()


def _for_model(text: str) -> bytes:
    text = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")


@functools.lru_cache(maxsize=1024)
def macrolanguage(tag: str) -> str:
    """Return a tag's language alone, as its macrolanguage where it is the usual one of that: `gug` gives `gn`."""
    import langcodes  # noqa: PLC0415 - slow to import

    language = langcodes.Language.get(tag).language or "und"
    return str(langcodes.Language.get(langcodes.standardize_tag(language, macro=True)).language)


def _alike(tag: str) -> set[str]:
    language = macrolanguage(tag)
    return next((group for group in ALIKE if language in group), {language})


def _unicode_scripts(names: Sequence[str | None]) -> tuple[str, ...]:
    """Return Unicode's scripts for those of BCP-47, or none if one is not known."""
    import regex  # noqa: PLC0415 - slow to import

    scripts = sorted({script for name in names for script in COMPOSED.get(name or "", (name or "Zzzz",))})
    try:
        regex.compile(of_scripts(scripts))
    except regex.error:
        return ()
    return () if "Zzzz" in scripts else tuple(scripts)


def of_scripts(names: Sequence[str]) -> str:
    """Return a set of `regex` with the characters of some scripts; of none, an empty one."""
    return "[" + ("".join(f"\\p{{Script={name}}}" for name in names) or "^\\s\\S") + "]"
