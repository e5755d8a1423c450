"""Language codes: BCP-47, checked, normalised, named in English, and made safe as adapter names.

`langcodes` is imported on first use, so that listing languages does not wait for it. English names come from the IANA
subtag registry that lies in that package; no other data package is needed.
"""

import difflib
import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

from mla_extend.errors import LanguageError

ALIASES = {"jp": "ja"}
"""Codes in common use that BCP-47 does not know (it replaces deprecated ones such as `iw` and `tl` itself)."""

NOT_A_LANGUAGE = frozenset({"und", "mul", "mis", "zxx"})
"""Codes that are valid and name no one language: undetermined, several, uncoded, none."""

COMMON_NAMES = {
    "el": "Greek",
    "ht": "Haitian Creole",
    "km": "Khmer",
    "ky": "Kyrgyz",
    "or": "Odia",
    "pa": "Punjabi",
    "ps": "Pashto",
    "to": "Tongan",
    "ug": "Uyghur",
}
"""Names that people look for where the IANA registry puts another one first."""

SCRIPT_NAMES = {"Hans": "Simplified", "Hant": "Traditional"}

USUAL = {"nb": "no", "pbt": "ps"}
"""Usual languages of their macrolanguages, as corpora use the codes, beside those that CLDR names."""

WRITTEN_IN = {"Hang": "Kore", "Hira": "Jpan", "Kana": "Jpan", "Hrkt": "Jpan", "Aran": "Arab"}
"""Scripts that are a part or a style of the one that a language is said to be written in."""

FLORES = re.compile(r"([a-z]{3})_([A-Z][a-z]{3})")
CODE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")
TAG = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
ASIDE = re.compile(r" \((macrolanguage|[^)]*\d[^)]*)\)$")
MAX_LENGTH = 64
MOST_WORDS = 4
"""Words of a column's name; more are a sentence."""


class _Names(NamedTuple):
    language: dict[str, list[str]]
    script: dict[str, list[str]]
    region: dict[str, list[str]]


def language_tag(text: str, *, macro: bool = False) -> str:
    """Return the BCP-47 tag of a language code, checked and normalised: `swa` gives `sw`, `pt_br` gives `pt-BR`.

    Args:
        text: a BCP-47 tag, an ISO 639 code of two or three letters, or a FLORES code such as `swh_Latn`. A FLORES
            code's script is left out where the language is usually written in it; Chinese keeps it.
        macro: replace a language that is the usual one of its macrolanguage by that (`swh` by `sw`, `quz` by `qu`).
            It is never done unasked, since corpora keep them apart; `wider_tag` tells whether there is one.

    Raises:
        LanguageError: it is no such code; the message suggests what may have been meant.
    """
    import langcodes  # noqa: PLC0415 - slow to import, and listing languages needs none of it

    asked = text.strip()
    code = asked.replace("_", "-")
    primary, dash, rest = code.partition("-")
    code = ALIASES.get(primary.lower(), primary) + dash + rest
    if len(code) > MAX_LENGTH or not TAG.fullmatch(code):
        raise LanguageError(_unknown(asked))
    try:
        language = langcodes.Language.get(code)
        valid = language.is_valid()
        # A replaced code can lead to another one that is replaced, so the result is taken once more.
        tag = langcodes.standardize_tag(langcodes.standardize_tag(code, macro=macro), macro=macro)
    except langcodes.LanguageTagError as error:
        raise LanguageError(_unknown(asked)) from error
    if not valid:
        raise LanguageError(_unknown(asked))
    if (language.language or "und") in NOT_A_LANGUAGE:
        raise LanguageError(f"{asked!r} does not stand for a single language. Give the language's own code.")
    return _without_usual_script(tag) if FLORES.fullmatch(asked) else str(tag)


def wider_tag(tag: str) -> str | None:
    """Return the macrolanguage's tag that `language_tag(tag, macro=True)` would give, or `None` if it is the same."""
    wider = language_tag(tag, macro=True)
    return None if wider == tag else wider


VERY, SAME_SCRIPT = 4, 2
"""What `fit` says of the same tag, and the least that it says where the scripts are the same."""


@functools.lru_cache(maxsize=4096)
def fit(code: str, tag: str) -> int:
    """Say how well a code, as files, browsers and people write them, means a language: 0 to 4.

    4: it is the same tag. 3: it says the same, as likely subtags have it (`zh-CN` and `zh-Hans`) and as the usual
    language stands for its macrolanguage (`swh_Latn` and `sw`). 2: one of the two leaves open a region or variant that
    the other names (`sw-KE` and `sw`). 1: the same of a script that is not the usual one (`zh-TW` and `zh`). 0: another
    language, or another script, region or variant where both name it, or no code at all.
    """
    if not CODE.fullmatch(code):
        return 0
    try:
        mine, theirs = language_tag(code), language_tag(tag)
    except LanguageError:
        return 0
    if mine.lower() == theirs.lower():
        return VERY
    one, other = _likely(mine), _likely(theirs)
    both = ((one.region, other.region), (one.variants, other.variants))
    if one.language != other.language or any(a and b and a != b for a, b in both):
        return 0
    if one.script != other.script:
        # A region names a script too: zh-TW is written in another one than zh-Hans.
        return 0 if one.named and other.named else 1
    same_region = (one.region or one.usual_region) == (other.region or other.usual_region)
    return 3 if same_region and one.variants == other.variants else SAME_SCRIPT


def undecided(code: str, tag: str) -> int:
    """Say how well a code means a language as `fit` does, but prefer none of its regions: 0, 1, 2 or 4."""
    how = fit(code, tag)
    return how if how == VERY else min(how, SAME_SCRIPT)


def closest(codes: Iterable[str], tag: str) -> list[str]:
    """Return those of the codes that fit a language best, in their order; none if none means it."""
    fits = {code: fit(code, tag) for code in codes}
    best = max(fits.values(), default=0)
    return [code for code, one in fits.items() if one == best > 0]


@functools.lru_cache(maxsize=4096)
def column_fit(name: str, tag: str) -> int:
    """Say how well the name of a column says that it holds a language, 0 to 9.

    The code alone (6 to 9), the language's English name (5: `Maori`, `english_text`), or a code in a longer name (1 to
    4: `sentence_eng_Latn`).
    """
    if how := fit(name, tag):
        return 5 + how
    words = _words(name)
    if len(words) > MOST_WORDS or {"non", "not"}.intersection(words):
        return 0
    if any(set(known).issubset(words) for known in _known_names(tag)):
        return 5
    if " " in name.strip():
        return 0  # a sentence
    parts = [f"{a}_{b.title()}" for a, b in itertools.pairwise(words)] if len(words) > 1 else []
    return max((fit(part, tag) for part in (*parts, *words)), default=0)


@functools.cache
def _known_names(tag: str) -> list[tuple[str, ...]]:
    """Return the English names of a language, as lower-case words without marks."""
    language = _likely(tag).language
    usual = [code for code in _names().language if len(code) == 3 and _macrolanguages().get(code) == language]
    codes = [language, *(code for code in usual if fit(code, language) > SAME_SCRIPT)]
    found = []
    for name in itertools.chain.from_iterable(_names().language.get(code, ()) for code in codes):
        found.append(tuple(_words(re.sub(r"\(.*?\)", "", name))))
    return [words for words in found if words]


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without marks."""
    letters = (letter for letter in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", "".join(letters))


def others_meant(codes: Iterable[str], tag: str) -> str:
    """Return a hint, for messages, at codes of other languages of the same macrolanguage as a tag; "" if none is."""
    wide = _macrolanguage(tag)
    near = [code for code in dict.fromkeys(codes) if CODE.fullmatch(code) and _macrolanguage(code) == wide]
    return f" For that of {near[0]!r} give --language {near[0]}." if near else ""


class _Likely(NamedTuple):
    language: str
    script: str
    named: bool
    region: str
    usual_region: str
    variants: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def _likely(tag: str) -> _Likely:
    """Return what a tag says and leaves open, under the code of its macrolanguage where it is the usual one of that."""
    import langcodes  # noqa: PLC0415

    primary, dash, rest = language_tag(tag, macro=True).partition("-")
    language = USUAL.get(primary, primary)
    wide = langcodes.Language.get(language + dash + rest)
    likely = wide.maximize()
    named = bool(wide.script or wide.territory)
    return _Likely(
        language,
        WRITTEN_IN.get(str(likely.script), str(likely.script)),
        named,
        wide.territory or "",
        likely.territory or "",
        tuple(sorted(wide.variants or ())),
    )


def _macrolanguage(code: str) -> str | None:
    """Return the macrolanguage that a code is of, or is, by the IANA registry; `None` if it is no code."""
    import langcodes  # noqa: PLC0415

    try:
        language = str(langcodes.Language.get(language_tag(code)).language)
    except LanguageError:
        return None
    return _macrolanguages().get(language, language)


@functools.cache
def _macrolanguages() -> dict[str, str]:
    from langcodes.registry_parser import parse_registry  # noqa: PLC0415

    return {entry["Subtag"]: entry["Macrolanguage"] for entry in parse_registry() if "Macrolanguage" in entry}


def language_name(tag: str) -> str:
    """Return a language's English name, such as `Swahili` or `Chinese (Traditional)`.

    Raises:
        LanguageError: it is not a language code.
    """
    import langcodes  # noqa: PLC0415

    language = langcodes.Language.get(language_tag(tag))
    names = _names()
    name = _first(names.language, language.language)
    asides: list[str] = []
    if language.script:
        asides.append(SCRIPT_NAMES.get(language.script) or _first(names.script, language.script))
    if language.territory:
        asides.append(_first(names.region, language.territory))
    asides += language.variants or []
    asides += language.extensions or []
    asides += [language.private] if language.private else []
    return f"{name} ({', '.join(asides)})" if asides else name


def adapter_name(tag: str) -> str:
    """Return the name of a language's adapter inside a model: `lang_sw`, `lang_pt_br`.

    It holds only `a-z`, `0-9` and `_`, as names of modules must, and differs for different tags: BCP-47 compares
    tags without case and has no underscore.

    Raises:
        LanguageError: it does not have the form of a BCP-47 tag.
    """
    if not TAG.fullmatch(tag):
        raise LanguageError(f"{tag!r} does not have the form of a language tag, such as sw or pt-BR.")
    return "lang_" + tag.lower().replace("-", "_")


def _without_usual_script(tag: str) -> str:
    import langcodes  # noqa: PLC0415

    language = langcodes.Language.get(tag)
    bare = str(language.language)
    usual = langcodes.Language.get(bare).maximize().script
    return bare if bare != "zh" and language.script == usual else tag


def _unknown(asked: str) -> str:
    near = _suggestions(asked)
    names = _names().language
    hint = ""
    if near:
        hint = " Did you mean " + " or ".join(f"{code!r} ({_first(names, code)})" for code in near) + "?"
    return f"{asked!r} is not a language code (BCP-47, such as sw, pt-BR or zh-Hant).{hint}"


def _suggestions(asked: str) -> list[str]:
    import langcodes  # noqa: PLC0415

    text = asked.lower().replace("_", "-")
    first = text.partition("-")[0].strip()
    languages = _names().language
    by_name: dict[str, list[str]] = {}
    for code, descriptions in languages.items():
        for description in descriptions:
            by_name.setdefault(description.lower(), []).append(code)
    if first in languages:
        return [first]  # the language is right, and what follows it is not
    if len(text) == 2 and text.isalpha() and text.upper() in _names().region:
        # People write a country's code for its language: cn, kr, gr.
        language = langcodes.Language.get(f"und-{text.upper()}").maximize().language
        if language and language != "en":
            return [str(language)]
    if len(text) <= 3:
        return difflib.get_close_matches(text, [code for code in languages if len(code) == 2], n=2, cutoff=0.75)
    close = [text] if text in by_name else difflib.get_close_matches(text, by_name, n=2, cutoff=0.75)
    codes = [min(by_name[name], key=lambda code: (len(code), code)) for name in close]
    return list(dict.fromkeys(str(langcodes.standardize_tag(code, macro=True)) for code in codes))


def _first(names: dict[str, list[str]], code: str) -> str:
    return names.get(code, [code])[0]


@functools.cache
def _names() -> _Names:
    from langcodes.registry_parser import parse_registry  # noqa: PLC0415

    names = _Names({}, {}, {})
    entry: dict[str, Any]
    for entry in parse_registry():
        kind, code = entry["Type"], entry.get("Subtag", "")
        if ".." in code or kind not in _Names._fields or "Deprecated" in entry:
            continue
        getattr(names, kind)[code] = [ASIDE.sub("", description) for description in entry["Description"]]
    for code, name in COMMON_NAMES.items():
        names.language[code].insert(0, name)
    return names
