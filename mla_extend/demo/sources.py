"""Read what is given as `demo`, or as files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mla_extend.bases.source import DEMO
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.given import Given, parse_given
from mla_extend.data.licences import is_noncommercial
from mla_extend.data.test_sets import TestSet, read_test_set
from mla_extend.progress import Progress


@dataclass(frozen=True)
class Source:
    """Hold one source of data, and its licence."""

    given: Given
    licence: str | None

    def record(self, role: str, rows: int, mapping: ColumnMapping, **more: Any) -> dict[str, Any]:
        """Return what the card says of it."""
        given = self.given
        record = {
            "role": role,
            "path": given.text,
            "format": given.format.name,
            "sha256": given.format.digest(given.path, given.mapping(mapping)),
            "pairs": rows,
            **more,
            "licence": self.licence,
        }
        if given.split:
            record["split"] = given.split
        if given.weight != 1:
            record["weight"] = given.weight
        if is_noncommercial(self.licence):
            record["noncommercial"] = True
        return record


def read_tests(
    value: str | Path, mapping: ColumnMapping, progress: Progress, format_name: str | None = None
) -> tuple[Source, TestSet]:
    """Return a test set, `demo` or as `data/given.py` reads it, with where it came from.

    Raises:
        DataError: it is not there or cannot be used.
    """
    if str(value) == DEMO:
        source = demo_source("test_set", mapping.language, progress)
        return source, read_test_set(source.given, mapping, DEMO)
    given = parse_given(str(value), mapping, format_name)
    return Source(given, given.format.licence(given.path)), read_test_set(given, mapping)


def demo_source(role: str, tag: str, progress: Progress) -> Source:
    """Return one of the demo's files for a language, making it if it is not in the cache."""
    from mla_extend.demo.data import demo_data  # noqa: PLC0415 - only the demo needs its packages

    data = demo_data(tag, progress)
    path = {"parallel": data.parallel, "image_text": data.image_text, "test_set": data.test_set}[role]
    licence = "; ".join(dict.fromkeys(str(part["licence"]) for part in data.licences))
    return Source(replace(parse_given(str(path), ColumnMapping(tag)), text=DEMO), licence)
