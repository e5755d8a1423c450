"""Open what is given as `demo`, or as files."""

import re
from dataclasses import replace
from pathlib import Path

from mla_extend.bases.source import DEMO
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import Source, open_sentences, open_source, parse_source
from mla_extend.data.test_sets import TestSet, read_test_set
from mla_extend.progress import Progress

DEMO_WEIGHTED = re.compile(r"demo(?:=(\d+(?:\.\d+)?))?")


def open_training_source(
    text: str | Path,
    role: str,
    mapping: ColumnMapping,
    progress: Progress,
    *,
    format_name: str | None = None,
    licence: str | None = None,
) -> Source:
    """Return a source of training data: `demo`, or as the user gave it.

    Args:
        text: `[FORMAT:]PATH[#SPLIT][=WEIGHT]`, or `demo[=WEIGHT]`; of a lexicon or text, only the former.
        role: `parallel`, `image_text`, `lexicon` or `text`.
        mapping: the languages and columns looked for.
        progress: told of long work.
        format_name: the format's name, in place of a prefix.
        licence: what the user says of the data.

    Raises:
        DataError: it is not there or cannot be used.
    """
    if role == "text":
        return open_sentences(text, mapping, licence)
    if role != "lexicon" and (demo := DEMO_WEIGHTED.fullmatch(str(text))) and not Path(text).exists():
        source = _demo_source(role, mapping, progress).with_split()
        return replace(source, text=str(text), weight=float(demo[1] or 1))
    return open_source(text, mapping, format_name, licence)


def read_tests(
    text: str | Path, mapping: ColumnMapping, progress: Progress, format_name: str | None = None
) -> tuple[Source, TestSet]:
    """Return a test set, `demo` or as the user gave it, with where it came from.

    Raises:
        DataError: it is not there or cannot be used.
    """
    if str(text) == DEMO:
        source = _demo_source("test_set", mapping, progress)
        return source, read_test_set(source, DEMO)
    source = parse_source(text, mapping, format_name)
    return source, read_test_set(source)


def _demo_source(role: str, mapping: ColumnMapping, progress: Progress) -> Source:
    """Return one of the demo's files for a language, making it if it is not in the cache."""
    from mla_extend.demo.data import demo_data  # noqa: PLC0415 - only the demo needs its packages

    data = demo_data(mapping.language, progress)
    path = {"parallel": data.parallel, "image_text": data.image_text, "test_set": data.test_set}[role]
    licence = "; ".join(dict.fromkeys(str(part["licence"]) for part in data.licences))
    return replace(parse_source(path, mapping), text=DEMO, stated_licence=licence)
