"""XLIFF 1.2 and 2, as translation tools exchange it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mla_extend.data.codes import fit, others_meant
from mla_extend.data.formats.format import ColumnMapping, Format, Row
from mla_extend.data.formats.tmx import child, local_name, outline, plain_text
from mla_extend.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

UNITS = frozenset({"trans-unit", "unit"})
UNTRANSLATED = frozenset({"needs-translation", "new", "initial"})


class Xliff(Format):
    """Units with a source and a target; what has no target, or one that is not yet translated, is left out."""

    name = "xliff"
    suffixes = (".xlf", ".xliff")
    unit = "unit"

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the translated segments under the names `native` and `target`, numbered by their units.

        Raises:
            DataError: it cannot be read, or says that it is of other languages.
        """
        number = 0
        for name, element in outline(path, UNITS):
            if name in UNITS:
                number += 1
                for native, target in _translated(element):
                    yield Row(number, {"native": native, "target": target})
            else:
                _check_languages(path, element, mapping)


def _translated(unit: "Element") -> Iterator[tuple[str, str]]:
    # Version 1.2 has one source and target a unit, 2 has them in segments.
    segments = [one for one in unit if local_name(one) == "segment"] if local_name(unit) == "unit" else [unit]
    for segment in segments:
        source, target = child(segment, "source"), child(segment, "target")
        if source is None or target is None:
            continue
        state = target.get("state") or segment.get("state")
        text = plain_text(target)
        if text.strip() and state not in UNTRANSLATED:
            yield plain_text(source), text


def _check_languages(path: Path, element: "Element", mapping: ColumnMapping) -> None:
    for names, tag in (
        (("source-language", "srcLang"), mapping.native),
        (("target-language", "trgLang"), mapping.language),
    ):
        code = next((code for name in names if (code := element.get(name))), None)
        if code and tag and not fit(code, tag):
            raise DataError(
                f"{path}: its {names[0]} is {code!r}, and {tag!r} is wanted. Give the file of that language, or "
                f"correct the attribute.{others_meant([code], tag) if tag == mapping.language else ''}"
            )
