"""What the cells of a source's rows hold: a text, native texts, an image's name or its bytes."""

import functools
import hashlib
import math
import re
import reprlib
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.cache import cache_folder
from mla_extend.data.columns import IMAGES, choose, kind_of
from mla_extend.data.formats.format import ROLES, ColumnMapping, Fault, Role, Row
from mla_extend.data.formats.unfolding import ROW
from mla_extend.errors import DataError
from mla_extend.files import is_there, writing_to

if TYPE_CHECKING:
    from mla_extend.data.source import Source

ODD = 0.1
"""Share of rows up to which cells that hold no sentence count as empty; more are a fault of the whole."""
LONGEST_TEXT = 1 << 19
"""Characters of a sentence or caption; a longer one is none. Text towers read under 600 tokens."""
NO_TEXT = "Write a text there, take the lines out, or name other columns with --columns."
NUMBERED = re.compile(r"#\d+$")


class Cells:
    """Read the values of a source's rows by role."""

    def __init__(self, source: "Source", *roles: Role) -> None:
        self.source, self.mapping = source, source.mapping
        self.chosen = choose(source.first, roles, self.mapping) if source.first else {}
        self.odd = 0
        self.first_odd: Fault | None = None

    def remedy(self) -> str:
        """Return what to do where wrong columns were read."""
        first = self.source.first
        seen = {key: [row.get(key) for row in first] for row in first[:1] for key in row}
        if set(seen) <= set(ROLES):
            return "Check the file, and the codes of the languages."
        kinds = {key: kind_of(cells) for key, cells in seen.items()}
        held = ", ".join(f"{key!r} ({kind or 'text'})" for key, kind in list(kinds.items())[:8])
        by = " (numbers count from 0)" if all(key.isdigit() for key in seen) else ""
        roles = ",".join(f"{role}=COLUMN" for role in self.chosen)
        if IMAGES in kinds.values() and "image" not in self.chosen:
            by += "; images with text are given with --image-text"
        return f"There are: {held}. Say which to read with --columns {roles}{by}."

    def refuse_odd(self, rows: int) -> None:
        """Refuse a source in which many cells hold what is no text or no sentence; a few count as empty."""
        if self.first_odd is not None and self.odd > ODD * rows:
            more = f" (and {self.odd - 1} more)" if self.odd > 1 else ""
            raise DataError(f"{self.first_odd.what}{more}. {self.first_odd.remedy}")

    def whole(self, row: Row) -> bool:
        """Say whether a row has no fault; one that has is noted."""
        if row.fault is not None:
            self.odd += 1
            self.first_odd = self.first_odd or row.fault
        return row.fault is None

    def text(self, row: Row, role: Role, what: str) -> str:
        """Return a row's one text; "" for what is none, which is noted."""
        name = self._column(row, role, what)
        return self._sentence(row, name, row.values[name], what, "a text")

    def texts(self, row: Row) -> Sequence[str]:
        """Return a row's texts; none for what is none, which is noted."""
        name = self._column(row, "text", "text")
        value = row.values[name]
        values = value if isinstance(value, list) else [value]
        return [self._sentence(row, name, one, "text", "a text or a list") for one in values]

    def image(self, row: Row) -> Path:
        """Return the path of a row's image, unpacked first if it lies in the row."""
        name = self._column(row, "image", "image path")
        value = row.values[name]
        if isinstance(value, Mapping):  # as the `datasets` library stores images
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return unpacked(value)
        if not isinstance(value, str):
            raise DataError(f"{self._at(row)}: the image path in column {name!r} is {_SHORT.repr(value)}, not a text.")
        if not value.strip():
            raise DataError(f"{self._at(row)}: the image path is empty. Fix or delete the line.")
        return found_image(self.source.folder, value.strip())

    def _at(self, row: Row) -> str:
        return f"{self.source.name}, {self.source.format.unit} {row.number}"

    def _sentence(self, row: Row, name: str, value: Any, what: str, expected: str) -> str:
        """Return a cell as text; "" for what is none, or no sentence, which is noted."""
        text = text_of(value)
        if text is not None and len(text) <= LONGEST_TEXT:
            return whole(text.strip())
        self.odd += 1
        if self.first_odd is None:
            fault = f"not {expected}" if text is None else f"of {len(text):,} characters, too many for a sentence"
            what = f"{self._at(row)}: the {what} in column {name!r} is {_SHORT.repr(value)}, {fault}"
            self.first_odd = Fault(what, NO_TEXT)
        return ""

    def _column(self, row: Row, role: Role, what: str) -> str:
        name = self.chosen.get(role)
        if name is not None and name in row.values:
            return name
        for name in self.mapping.candidates(role, row.values):
            return name
        names = [name for name in self.mapping.names(role) if not name.isdigit()]
        raise DataError(
            f"{self._at(row)}: no column with the {what}. It has {sorted(row.values)}; expected one of {names}. "
            "Name the columns with --columns."
        )


def native_value(mapping: ColumnMapping, values: Mapping[str, Any]) -> Any:
    """Return what a row has as native text, from a named column; `None` if nothing."""
    columns = [name for name in mapping.names("native") if name != "0" or "native" in mapping.columns]
    return next((values[name] for name in columns if name in values), None)


def text_of(value: Any) -> str | None:
    """Return a cell as text: what JSON and pandas write for nothing is "", a number as written; `None` for others."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def whole(text: str) -> str:
    """Return a text that can be written as UTF-8: half a character, as JSON may spell one, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def native_texts(value: Any, count: int) -> list[str]:
    """Return native texts: one for each of `count` texts where one stands for all, else all there are."""
    values = value if isinstance(value, list) else [value]
    texts = [whole(one.strip()) for one in values if isinstance(one, str) and len(one) <= LONGEST_TEXT and one.strip()]
    return texts if isinstance(value, list) else texts * count


def unpacked(content: bytes) -> Path:
    """Return the path of an image that was given as bytes: written once into the cache, under its hash."""
    path = cache_folder() / "unpacked" / hashlib.sha256(content).hexdigest()
    if not path.exists() or path.stat().st_size != len(content):
        # Renamed into place but not made durable: for a cache of many small files that would take most of the time.
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with writing_to(path):
            try:
                temporary.write_bytes(content)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    return path


def found_image(folder: Path, name: str) -> Path:
    """Return the path of an image that a file names; one that is there in another Unicode form, or without `#0`, is it.

    macOS writes accents of names apart, and most programs do not; Flickr's lists number an image's captions so.
    """
    path = folder / name
    if (name.isascii() and "#" not in name) or is_there(path):
        return path
    for bare in dict.fromkeys((name, NUMBERED.sub("", name))):
        there = folder
        for part in Path(bare).parts:
            there = there / part if is_there(there / part) else _alike(there, part)
        if is_there(there):
            return there
    return path


def _alike(folder: Path, name: str) -> Path:
    return folder / _names_in(folder).get(unicodedata.normalize("NFC", name), name)


@functools.lru_cache(maxsize=64)
def _names_in(folder: Path) -> dict[str, str]:
    """Return the names in a folder by their composed form."""
    try:
        return {unicodedata.normalize("NFC", path.name): path.name for path in folder.iterdir()}
    except OSError:
        return {}


def size(value: Any) -> int:
    """Return about how many bytes a cell takes, or a row's cells."""
    if isinstance(value, str | bytes):
        return len(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return ROW + sum(map(size, parts))


def without_bytes(cell: Any) -> Any:
    """Return a cell without the bytes that lie in it."""
    if isinstance(cell, Mapping):
        return {key: without_bytes(value) for key, value in cell.items()}
    return b"" if isinstance(cell, bytes) else cell


class _Short(reprlib.Repr):
    """Write a value in a line, however large it is."""

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value[:40])


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxother = 80
