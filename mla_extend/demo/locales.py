"""Which languages the demo has data for, and which CLDR locale a tag means."""

import difflib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import langcodes

from mla_extend.cache import cache_folder
from mla_extend.demo.cldr import Annotation, annotations, coverage
from mla_extend.demo.icons import concepts
from mla_extend.demo.packages import CLDR, ICONS
from mla_extend.errors import DataError
from mla_extend.files import write_json
from mla_extend.progress import SILENT, Progress

ENOUGH = 1000
"""Named concepts below which a language is not offered: too few are left to learn from."""
SAME_LANGUAGE = 5
"""Distance of two tags, as langcodes measures it, up to which only region or default script differ."""
OTHER_NAMES = {"nb": "no"}
"""Languages that CLDR keeps under another code."""


def demo_languages(progress: Progress = SILENT) -> list[str]:
    """Return the tags of the languages that the demo has data for, sorted; their regional variants work too."""
    path = locales_place()
    if not path.is_file():
        counts = coverage([concept.emoji for concept in concepts(progress)], progress)
        write_json(path, sorted(tag for tag, count in counts.items() if count >= ENOUGH and _language(tag) != "en"))
    languages: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return languages


def locales_place() -> Path:
    """Return the file of those tags."""
    return cache_folder() / "demo" / f"locales-{key(ENOUGH)}.json"


def checked_tag(language: str) -> str:
    """Return a tag in its standard form; raise DataError if it is none, or English."""
    try:
        tag = str(langcodes.standardize_tag(language))
    except ValueError as error:
        raise DataError(
            f"{language!r} is not a language code ({error}). Give a BCP-47 tag, for example 'sw'."
        ) from error
    if _language(tag) == "en":
        raise DataError(f"{language!r} is English, which the demo base knows already. Choose another language.")
    return tag


def locale_of(tag: str, progress: Progress) -> str:
    """Return the CLDR locale of a tag; raise DataError if there is none with enough names."""
    listed = concepts(progress)
    names = names_of(tag, progress)
    named = sum(concept.emoji in names for concept in listed)
    if named >= ENOUGH and annotations(tag, progress):
        return tag
    # A region can imply a script, so that cutting it off (zh-TW to zh) would give another language's text.
    offered, language = demo_languages(progress), _language(tag)
    match = str(langcodes.closest_supported_match(tag, offered, max_distance=SAME_LANGUAGE) or "und")
    if _language(match) == OTHER_NAMES.get(language, language):
        return match
    near = [other for other in offered if _language(other) == language]
    near += difflib.get_close_matches(tag, offered, n=3, cutoff=0.6)
    raise DataError(
        f"The demo has no data in {tag!r}: CLDR names {named} of its {len(listed)} concepts, and {ENOUGH} are needed. "
        f"Similar codes among the {len(offered)} there are: {', '.join(dict.fromkeys(near)) or 'none'}. "
        "For any other language, give parallel text of your own."
    )


def _language(tag: str) -> str:
    return tag.split("-", maxsplit=1)[0]


def names_of(tag: str, progress: Progress = SILENT) -> dict[str, Annotation]:
    """Return a locale's names over those of the locales that it inherits from."""
    names: dict[str, Annotation] = {}
    for locale in reversed(_chain(tag)):
        names |= annotations(locale, progress)
    return names


def _chain(tag: str) -> list[str]:
    """Return a locale and its parents: without region and variant, but never without a script that is written out."""
    chain, parts = [tag], tag.split("-")
    while len(parts) > 1 and not (len(parts[-1]) == 4 and parts[-1].isalpha()):
        parts.pop()
        if parts == ["es"] and tag not in {"es-419", "es-ES"}:
            chain.append("es-419")
        chain.append("-".join(parts))
    return chain


def key(*parts: object) -> str:
    """Return a short hash of the pinned packages and of what else decides the content of a file."""
    pins = [asdict(package) for package in (CLDR, *ICONS.values())]
    return hashlib.sha256(json.dumps([pins, *parts]).encode()).hexdigest()[:12]
