"""The demo's data in any language that CLDR knows: parallel text, images with text, and a test set, as plain files.

About 300 concepts, the same for every language, are held out from everything that a language learns from; the test
set asks for the things that were taught (`seen`), for those that were not (`unseen`) and for both together (`all`).
Training images are of three styles, test images of a fourth.
"""

import difflib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import langcodes

from mla_extend.bases.cldr import Annotation, annotations, coverage
from mla_extend.bases.demo import demo_images
from mla_extend.bases.demo_images import image_path
from mla_extend.bases.icons import TEST_STYLE, TRAINING_STYLES, Concept, concepts
from mla_extend.bases.packages import CLDR, ICONS
from mla_extend.cache import cache_folder
from mla_extend.errors import DataError
from mla_extend.files import atomic_folder, write_json
from mla_extend.progress import SILENT, Progress

HELD_OUT = 300
"""Concepts that no language is taught."""
GALLERY = 300
"""Concepts of the `seen` test."""
ENOUGH = 1000
"""Named concepts below which a language is not offered: too few are left to learn from."""
SAME_LANGUAGE = 5
"""Distance of two tags, as langcodes measures it, up to which only region or default script differ."""
OTHER_NAMES = {"nb": "no"}
"""Languages that CLDR keeps under another code."""
VERSION = 1
"""Counts the ways in which the files have been written."""


@dataclass(frozen=True)
class DemoData:
    """Say where a language's demo data lie.

    Attributes:
        language: BCP-47 tag.
        parallel: TSV, English and the language, without header or quoting.
        image_text: JSONL with `image` (a path relative to the file) and `caption`.
        test_set: folder with `seen.jsonl`, `unseen.jsonl`, `all.jsonl`: `image`, `caption`, `english`.
        licences: what the data are made of.
    """

    language: str
    parallel: Path
    image_text: Path
    test_set: Path
    licences: list[dict[str, str]]


@dataclass(frozen=True)
class Composition:
    """Say what the parallel text is made of, besides the names.

    Attributes:
        joined: keywords after the name in one line, `name: word, word`; 0 leaves such lines out.
        keywords: keywords in a line of their own, `word, word`; 0 leaves such lines out.
        others: also take CLDR's names of what is no concept of the demo.
    """

    joined: int = 8
    keywords: int = 0
    others: bool = True


def demo_languages(progress: Progress = SILENT) -> list[str]:
    """Return the tags of the languages that the demo has data for, sorted; their regional variants work too."""
    path = cache_folder() / "demo" / f"locales-{_key()}.json"
    if not path.is_file():
        counts = coverage([concept.emoji for concept in concepts(progress)], progress)
        write_json(path, sorted(tag for tag, count in counts.items() if count >= ENOUGH and _language(tag) != "en"))
    languages: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return languages


def demo_data(language: str, progress: Progress = SILENT) -> DemoData:
    """Return a language's demo data, writing them if they are not in the cache.

    Args:
        language: a BCP-47 tag; `de-AT`, `zh-TW` or `nb` take what CLDR keeps for them under `de`, `zh-Hant`, `no`.
        progress: told of what has to be fetched or drawn first.

    Raises:
        DataError: CLDR has no names in this language, or too few.
        FetchError: a package cannot be had.
    """
    tag, composition = _tag(language), Composition()
    locale = _locale(tag, progress)
    images = demo_images(progress)
    folder = cache_folder() / "demo" / f"data-{_key(asdict(composition), images.name)}" / locale
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            _write(temporary, folder, concepts(progress), _names(locale, progress), images, composition)
    licences: list[dict[str, str]] = json.loads((folder / "licences.json").read_text(encoding="utf-8"))
    return DemoData(tag, folder / "parallel.tsv", folder / "image_text.jsonl", folder / "test", licences)


def held_out(listed: Iterable[Concept]) -> set[str]:
    """Return the emoji that no language is taught: those whose code points have the smallest hashes."""
    return {concept.emoji for concept in _by_hash(listed, "held out")[:HELD_OUT]}


def parallel_pairs(
    listed: Sequence[Concept],
    english: Mapping[str, Annotation],
    names: Mapping[str, Annotation],
    composition: Composition,
) -> list[tuple[str, str]]:
    """Return English and target lines, without repetition and without anything of the held-out concepts.

    Keywords are lists without alignment, so they are only paired whole: joined, both lists mean about the same.
    """
    unseen = held_out(listed)
    forbidden = {(_fold(english[e].name), _fold(names[e].name)) for e in unseen if e in names}
    taught = {concept.emoji for concept in listed} - unseen
    pairs: list[tuple[str, str]] = []
    for emoji, entry in english.items():
        other = names.get(emoji)
        if other is None or emoji in unseen or not (composition.others or emoji in taught):
            continue
        pairs.append((entry.name, other.name))
        if composition.joined and entry.keywords and other.keywords:
            pairs.append((_joined(entry, composition.joined), _joined(other, composition.joined)))
        if composition.keywords and entry.keywords and other.keywords:
            count = composition.keywords
            pairs.append((", ".join(entry.keywords[:count]), ", ".join(other.keywords[:count])))
    return [pair for pair in dict.fromkeys(pairs) if (_fold(pair[0]), _fold(pair[1])) not in forbidden]


def _write(
    folder: Path,
    final: Path,
    listed: Sequence[Concept],
    names: Mapping[str, Annotation],
    images: Path,
    composition: Composition,
) -> None:
    pairs = parallel_pairs(listed, annotations("en"), names, composition)
    (folder / "parallel.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    unseen = held_out(listed)
    named = [concept for concept in listed if concept.emoji in names]
    seen = [concept for concept in named if concept.emoji not in unseen]
    rows = [
        {"image": _relative(image_path(images, style, c.code), final), "caption": names[c.emoji].name}
        for c in seen
        for style in TRAINING_STYLES
    ]
    _write_rows(folder / "image_text.jsonl", rows)
    gallery = {concept.emoji for concept in _by_hash(seen, "gallery")[:GALLERY]}
    (folder / "test").mkdir()
    for part, chosen in (("seen", gallery), ("unseen", unseen), ("all", {concept.emoji for concept in named})):
        rows = [
            {
                "image": _relative(image_path(images, TEST_STYLE, c.code), final / "test"),
                "caption": names[c.emoji].name,
                "english": c.name,
            }
            for c in named
            if c.emoji in chosen
        ]
        _write_rows(folder / "test" / f"{part}.jsonl", rows)
    write_json(folder / "licences.json", [package.credit for package in (CLDR, *ICONS.values())])


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _joined(entry: Annotation, count: int) -> str:
    return f"{entry.name}: {', '.join(entry.keywords[:count])}"


def _fold(text: str) -> str:
    return text.casefold()


def _by_hash(listed: Iterable[Concept], salt: str) -> list[Concept]:
    return sorted(listed, key=lambda concept: hashlib.sha256(f"{salt} {concept.code}".encode()).digest())


def _tag(language: str) -> str:
    try:
        tag = str(langcodes.standardize_tag(language))
    except ValueError as error:
        raise DataError(
            f"{language!r} is not a language code ({error}). Give a BCP-47 tag, for example 'sw'."
        ) from error
    if _language(tag) == "en":
        raise DataError(f"{language!r} is English, which the demo base knows already. Choose another language.")
    return tag


def _locale(tag: str, progress: Progress) -> str:
    """Return the CLDR locale of a tag; raise DataError if there is none with enough names."""
    listed = concepts(progress)
    names = _names(tag, progress)
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
        f"Codes near it: {', '.join(dict.fromkeys(near)) or 'none'}, of {len(offered)} that there are. "
        "For a language that is not among them, give parallel text of your own."
    )


def _language(tag: str) -> str:
    return tag.split("-", maxsplit=1)[0]


def _names(tag: str, progress: Progress = SILENT) -> dict[str, Annotation]:
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


def _key(*extra: object) -> str:
    pins = [asdict(package) for package in (CLDR, *ICONS.values())]
    text = json.dumps([pins, HELD_OUT, GALLERY, ENOUGH, VERSION, *extra])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
