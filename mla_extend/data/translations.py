"""The texts of a test set as someone has translated them into the base's own language: read from a file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from mla_extend.data.formats.format import ColumnMapping, Row, check_file, suffix_of, text_lines, whole
from mla_extend.data.formats.jsonl import Jsonl
from mla_extend.data.formats.tsv import Tsv
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.test_sets import TestSet
from mla_extend.errors import DataError
from mla_extend.flat import Texts

NAMED = 3
"""How many of several captions a message quotes."""


def translated(tests: TestSet, path: Path) -> TestSet:
    """Return a test set with each text of the language replaced by its translation.

    Args:
        tests: any test set; of several splits, a plain text file holds the lines in the order of the splits.
        path: as for `read_translations`.

    Raises:
        DataError: as `read_translations` does.
    """
    texts = {name: data.texts if isinstance(data, ImageText) else data.target for name, data in tests.splits.items()}
    found = iter(read_translations(path, [text for split in texts.values() for text in split]))
    splits: dict[str, ImageText | ParallelText] = {}
    for name, data in tests.splits.items():
        own = list(islice(found, len(data)))
        if isinstance(data, ImageText):
            splits[name] = replace(data, texts=own)
        else:
            splits[name] = replace(data, target=Texts.of(own))
    return replace(tests, splits=splits)


def read_translations(path: Path, captions: Sequence[str]) -> list[str]:
    """Read the captions of a test set in the base's native language, one for each caption and in their order.

    Args:
        path: `.tsv` or `.jsonl` (`.gz` too) with the columns `caption` and `translation`, matched by the caption's
            text and free to hold more captions than these; any other file is plain text with one translation a line,
            in the order of the test set.
        captions: the captions of the test set.

    Raises:
        DataError: the file cannot be read, a caption has no translation or two, or the lines are not as many.
    """
    check_file(path, "the captions in the native language, one per line, or as columns caption and translation")
    suffix = suffix_of(path)
    if suffix in Jsonl.suffixes:
        return _matched(path, Jsonl().rows(path, ColumnMapping()), captions)
    if suffix in Tsv.suffixes:
        mapping = ColumnMapping(columns={"text": "caption", "target": "translation"})
        return _matched(path, Tsv().rows(path, mapping), captions)
    return _in_order(path, captions)


def _in_order(path: Path, captions: Sequence[str]) -> list[str]:
    lines = [text.strip() for _, text in text_lines(path)]
    if len(lines) != len(captions):
        raise DataError(
            f"{path} has {len(lines)} lines and the test set {len(captions)} captions. Give one line per caption in "
            "the test set's order, or a .tsv or .jsonl with the columns caption and translation."
        )
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"{path}, line {number} is empty. Translate the caption {captions[number - 1]!r}.")
    return lines


def _matched(path: Path, rows: Iterator[Row], captions: Sequence[str]) -> list[str]:
    wanted = {caption.strip() for caption in captions}
    found: dict[str, str] = {}
    for row in whole(rows):
        caption = _text(path, row, "caption", "0")
        if caption not in wanted:
            continue
        translation = _text(path, row, "translation", "1")
        if found.setdefault(caption, translation) != translation:
            raise DataError(
                f"{path}, line {row.number}: {caption!r} has the translations {found[caption]!r} and {translation!r}. "
                "Keep one of them."
            )
    missing = [caption for caption in dict.fromkeys(captions) if caption.strip() not in found]
    if missing:
        quoted = ", ".join(repr(caption) for caption in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise DataError(
            f"{path} has no translation of {len(missing)} of the test set's {len(set(captions))} different captions: "
            f"{quoted}{more}. Add them, with the captions exactly as in the test set."
        )
    return [found[caption.strip()] for caption in captions]


def _text(path: Path, row: Row, column: str, position: str) -> str:
    text = row.values.get(column, row.values.get(position))
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"{path}, line {row.number}: the column {column!r} is missing or empty. Each line needs caption and "
            "translation."
        )
    return text.strip()
