"""The demo's data in any language that CLDR knows: parallel text, images with text, and a test set, as plain files.

About 300 concepts, the same for every language, are held out from everything that a language learns from; the test
set asks for the things that were taught (`seen`), for those that were not (`unseen`) and for both together (`all`).
Training images are of three styles, test images of a fourth.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mla_extend.cache import cache_folder
from mla_extend.demo.base import demo_images, images_place
from mla_extend.demo.cldr import Annotation, annotations
from mla_extend.demo.icons import TEST_STYLE, TRAINING_STYLES, Concept, concepts
from mla_extend.demo.images import image_path
from mla_extend.demo.locales import checked_tag, demo_languages, key, locale_of, names_of
from mla_extend.demo.packages import CLDR, ICONS
from mla_extend.files import atomic_folder, write_json
from mla_extend.progress import SILENT, Progress

__all__ = ["Composition", "DemoData", "demo_data", "demo_languages", "held_out", "parallel_pairs"]

HELD_OUT = 300
"""Concepts that no language is taught."""
GALLERY = 300
"""Concepts of the `seen` test."""
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


def demo_data(language: str, progress: Progress = SILENT) -> DemoData:
    """Return a language's demo data, writing them if they are not in the cache.

    Args:
        language: a BCP-47 tag; `de-AT`, `zh-TW` or `nb` take what CLDR keeps for them under `de`, `zh-Hant`, `no`.
        progress: told of what has to be fetched or drawn first.

    Raises:
        DataError: it is no language code, or English, or CLDR has no names in this language, or too few.
        FetchError: a package cannot be had.
    """
    tag, composition = checked_tag(language), Composition()
    locale = locale_of(tag, progress)
    images = demo_images(progress)
    folder = data_place(composition) / locale
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            _write(temporary, folder, concepts(progress), names_of(locale, progress), images, composition)
    licences: list[dict[str, str]] = json.loads((folder / "licences.json").read_text(encoding="utf-8"))
    return DemoData(tag, folder / "parallel.tsv", folder / "image_text.jsonl", folder / "test", licences)


def data_place(composition: Composition) -> Path:
    """Return the folder of all languages' demo data."""
    parts = key(HELD_OUT, GALLERY, VERSION, asdict(composition), images_place().name)
    return cache_folder() / "demo" / f"data-{parts}"


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
