"""Translation memories (TMX), and what all XML of translators has in common."""

import gzip
import html
import re
import zlib
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.data.codes import closest, others_meant
from mla_extend.data.formats.format import GZIP, ColumnMapping, Format, Row
from mla_extend.data.formats.unfolding import Unfolding
from mla_extend.errors import DataError
from mla_extend.extras import optional

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CODES = frozenset({"bpt", "ept", "ph", "it", "ut", "x", "bx", "ex", "sc", "ec", "cp", "sm", "em"})
"""Elements that stand for the markup of the translated document; others, such as `hi` and `g`, stand around text."""

MOST_UNIT = 1 << 24

# A reference without its semicolon is more often a part of an address than of a text.
REFERENCE = re.compile(r"&(?:#\d{1,20}|#[xX][0-9a-fA-F]{1,20}|\w{1,40});", re.ASCII)


class Tmx(Format):
    """Units with a variant for each of several languages: the first of each of the two."""

    name = "tmx"
    suffixes = (".tmx",)
    unit = "unit"

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the units that have both languages under the names `native` and `target`.

        Raises:
            DataError: it cannot be read, or no unit has both languages.
        """
        codes: dict[str, None] = {}
        number, found = 0, False
        for name, element in outline(path, {"tu"}):
            if name != "tu":
                continue
            number += 1
            variants = _variants(element)
            codes.update(dict.fromkeys(code for code, _ in variants))
            native, target = (_variant(variants, tag) for tag in (mapping.native, mapping.language))
            if native is not None and target is not None:
                found = True
                yield Row(number, {"native": _text(native), "target": _text(target)})
        if not found:
            shown = ", ".join(list(codes)[:10]) or "none"
            raise DataError(
                f"{path}: none of {number} units has both {mapping.native!r} and {mapping.language!r}. Its languages: "
                f"{shown}. Check the language code.{others_meant(codes, mapping.language)}"
            )


def _variants(unit: "Element") -> list[tuple[str, "Element"]]:
    """Return the language codes of a unit's variants and their segments."""
    variants = []
    for variant in unit:
        code = next((value for name, value in variant.items() if name.lower().endswith("lang")), None)
        segment = child(variant, "seg")
        if code and segment is not None:
            variants.append((code.strip(), segment))
    return variants


def _variant(variants: list[tuple[str, "Element"]], tag: str) -> "Element | None":
    """Return the segment of the variant whose code fits a language best, the first of several."""
    best = closest((code for code, _ in variants), tag)
    return next((segment for code, segment in variants if best and code == best[0]), None)


def _text(segment: "Element") -> str:
    # Memories are often made from web pages, whose references were escaped once more.
    return REFERENCE.sub(lambda found: html.unescape(found[0]), plain_text(segment))


class _Counted:
    """Read a file that goes into a parser, which holds all of a unit until it ends."""

    def __init__(self, file: Any, path: Path) -> None:
        self.file, self.path, self.since, self.unfolding = file, path, 0, Unfolding(path)

    def read(self, size: int) -> bytes:
        content: bytes = self.file.read(size)
        self.unfolding.take(len(content))
        self.since += len(content)
        if self.since > MOST_UNIT:
            raise DataError(f"{self.path}: {MOST_UNIT >> 20} MiB without the end of a unit. Fetch the file again.")
        return content


def outline(path: Path, units: Set[str]) -> Iterator[tuple[str, "Element"]]:
    """Give the elements of an XML file, plain or gzipped, with their names without namespace.

    An element outside units comes when it begins, with its attributes only; a unit when it is whole. Nothing is kept.

    Raises:
        DataError: it is no XML, cut off, of another encoding than it says, or declares entities.
    """
    tree, refused = optional("defusedxml.ElementTree", str(path)), optional("defusedxml", str(path))

    try:
        with path.open("rb") as start:
            packed = start.read(2) == GZIP
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            counted = _Counted(file, path)
            for name, element in _outline(tree.iterparse(counted, events=("start", "end")), units):
                counted.since = 0 if name in units else counted.since
                yield name, element
    except tree.ParseError as error:
        reason = str(error).partition(":")[0]
        raise DataError(
            f"{path}, line {error.position[0]}: not XML, or cut off ({reason} at column {error.position[1] + 1}). "
            "Fetch the file again, or fix it there; its text must be in the encoding that its first line names."
        ) from error
    except refused.DefusedXmlException as error:
        raise DataError(
            f"{path} declares the entity {getattr(error, 'name', error)!r}; entities can fill the memory or read other "
            "files. Put their text in their place, and take the declarations out."
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}). Copy or fetch the file again.") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). Check the path and its permissions."
        ) from error
    except (LookupError, ValueError) as error:
        raise DataError(f"{path}: its encoding cannot be read ({error}). Save the file as UTF-8.") from error


def _outline(events: Iterable[tuple[str, "Element"]], units: Set[str]) -> Iterator[tuple[str, "Element"]]:
    ancestors: list[Element] = []
    unit_depth = 0
    for event, element in events:
        if event == "start":
            ancestors.append(element)
            if not unit_depth and local_name(element) in units:
                unit_depth = len(ancestors)
            elif not unit_depth:
                yield local_name(element), element
            continue
        ancestors.pop()
        if len(ancestors) >= unit_depth > 0:
            continue
        if unit_depth:
            unit_depth = 0
            yield local_name(element), element
        if ancestors:
            ancestors[-1].remove(element)  # so that memory stays flat


def local_name(element: "Element") -> str:
    """Return an element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def child(element: "Element", name: str) -> "Element | None":
    """Return an element's first child of a name, whatever its namespace."""
    return next((one for one in element if local_name(one) == name), None)


def plain_text(element: "Element") -> str:
    """Return an element's text without markup: codes are left out, texts within them and line breaks are not."""
    parts: list[str] = []
    # Not by recursion, which a file that nests deep enough would break.
    rest: list[Element | str] = [element]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            parts.append(one)
            continue
        within: list[Element | str] = []
        if local_name(one) not in CODES:
            within = [one.text or "", *one]
        elif any(one.get(kind, "").rpartition(":")[2] == "lb" for kind in ("type", "ctype", "subType")):
            within = [" "]
        else:
            for text in one:
                if local_name(text) == "sub":
                    within += [text.text or "", *text]  # and not what follows it, which is code again
        if one is not element:
            within.append(one.tail or "")
        rest += reversed(within)
    return "".join(parts)
