"""The demo's data in any language that CLDR knows: parallel text, images with text, and a test set, as plain files.

About 300 concepts, the same for every language, are held out from everything that a language learns from; the test
set asks for the things that were taught (`seen`), for those that were not (`unseen`) and for both together (`all`).
Training images are of three styles, test images of a fourth.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend.cache import cache_folder
from mla_extend.demo.base import demo_images, images_place
from mla_extend.demo.cldr import Annotation, annotations
from mla_extend.demo.icons import TEST_STYLE, TRAINING_STYLES, Concept, concepts
from mla_extend.demo.images import image_path
from mla_extend.demo.locales import checked_tag, key, locale_of, names_of
from mla_extend.demo.packages import CLDR, ICONS
from mla_extend.files import atomic_folder, write_json
from mla_extend.progress import SILENT, Progress

HELD_OUT = 300
"""Concepts that no language is taught."""
JOINED = 8
"""Keywords that follow the name in a line of their own, `name: word, word`."""
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


def demo_data(language: str, progress: Progress = SILENT) -> DemoData:
    """Return a language's demo data, writing them if they are not in the cache.

    Args:
        language: a BCP-47 tag; `de-AT`, `zh-TW` or `nb` take what CLDR keeps for them under `de`, `zh-Hant`, `no`.
        progress: told of what has to be fetched or drawn first.

    Raises:
        DataError: it is no language code, or English, or CLDR has no names in this language, or too few.
        FetchError: a package cannot be had.
    """
    tag = checked_tag(language)
    locale = locale_of(tag, progress)
    images = demo_images(progress)
    folder = data_place() / locale
    if not folder.is_dir():
        with atomic_folder(folder) as temporary:
            _write(temporary, folder, concepts(progress), names_of(locale, progress), images)
    licences: list[dict[str, str]] = json.loads((folder / "licences.json").read_text(encoding="utf-8"))
    return DemoData(tag, folder / "parallel.tsv", folder / "image_text.jsonl", folder / "test", licences)


def data_place() -> Path:
    """Return the folder of all languages' demo data."""
    lines = {"joined": JOINED, "keywords": 0, "others": True}  # the folders that there are were named so
    return cache_folder() / "demo" / f"data-{key(HELD_OUT, GALLERY, VERSION, lines, images_place().name)}"


def held_out(listed: Iterable[Concept]) -> set[str]:
    """Return the emoji that no language is taught: those whose code points have the smallest hashes."""
    return {concept.emoji for concept in _by_hash(listed, "held out")[:HELD_OUT]}


def parallel_pairs(
    listed: Sequence[Concept], english: Mapping[str, Annotation], names: Mapping[str, Annotation]
) -> list[tuple[str, str]]:
    """Return English and target lines, without repetition and without anything of the held-out concepts.

    Keywords are lists without alignment, so they are only paired whole: joined, both lists mean about the same.
    """
    unseen = held_out(listed)
    forbidden = {(english[e].name.casefold(), names[e].name.casefold()) for e in unseen if e in names}
    pairs: list[tuple[str, str]] = []
    for emoji, entry in english.items():
        other = names.get(emoji)
        if other is None or emoji in unseen:
            continue
        pairs.append((entry.name, other.name))
        if entry.keywords and other.keywords:
            pairs.append((_joined(entry), _joined(other)))
    return [pair for pair in dict.fromkeys(pairs) if (pair[0].casefold(), pair[1].casefold()) not in forbidden]


def _write(folder: Path, final: Path, listed: Sequence[Concept], names: Mapping[str, Annotation], images: Path) -> None:
    pairs = parallel_pairs(listed, annotations("en"), names)
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


def _joined(entry: Annotation) -> str:
    return f"{entry.name}: {', '.join(entry.keywords[:JOINED])}"


def _by_hash(listed: Iterable[Concept], salt: str) -> list[Concept]:
    return sorted(listed, key=lambda concept: hashlib.sha256(f"{salt} {concept.code}".encode()).digest())
