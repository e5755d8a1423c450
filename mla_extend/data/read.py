"""Read what users have into parallel text and image-text, checked as far as one source can be."""

import functools
import hashlib
import math
import re
import reprlib
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend.cache import cache_folder
from mla_extend.data.columns import IMAGES, LABELLED, SAMPLE, check_pairs_read, choose, kind_of
from mla_extend.data.formats.format import ROLES, ColumnMapping, Role, Row
from mla_extend.data.formats.unfolding import ROW
from mla_extend.data.given import TRAINING_SPLITS, Given, parse_given, split_of
from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.errors import DataError
from mla_extend.files import is_there, writing_to

LEAST = 2
MISSING = 0.1
"""Share of a source's images up to which those that are missing cost their rows alone."""
LOOKED_AT_FIRST = 20
"""Rows by which it is told whether a source names images."""
LONGEST_TEXT = 1 << 19
"""Characters of a sentence or caption; a longer one is none. Text towers read under 600 tokens."""
LOOKED_AT_MOST = 1 << 28
"""Bytes of the first rows that are held to choose columns by."""
ODD = 0.1
"""Share of rows up to which cells that hold no sentence count as empty; more are a fault of the whole."""
NUMBERED = re.compile(r"#\d+$")


def read_parallel(source: Given | Path | str, mapping: ColumnMapping | None = None) -> ParallelText:
    """Read parallel text.

    Columns are found by name (`english`/`non_english`, `source`/`target`, the two language codes, or what the user
    named), else the first is the native one and the second the target. Pairs with an empty side are kept; the checks
    of `data/doctor.py` count and drop them.

    Args:
        source: what to read; of several splits, the training one.
        mapping: the languages and columns looked for.

    Raises:
        DataError: the source or a row cannot be used; the message names it.
    """
    reader = _Reader(source, mapping)
    natives: list[str] = []
    targets: list[str] = []
    numbers: list[int] = []
    for row in reader.rows("native", "target"):
        natives.append(reader.text(row, "native", "native text"))
        targets.append(reader.text(row, "target", "target text"))
        numbers.append(row.number)
    reader.refuse_odd(len(numbers))
    if numbers:
        check_pairs_read(reader.name, reader.chosen, natives, targets, reader.mapping, reader.remedy)
    whole = sum(bool(native and target) for native, target in zip(natives, targets, strict=True))
    if whole < LEAST:
        raise DataError(f"{reader.name} holds {whole} pair(s) of text. Give a file with pairs, one a line.")
    return ParallelText((reader.part,), natives, targets, np.zeros(len(targets), dtype=np.int64), np.array(numbers))


def has_images(source: Given | Path | str, mapping: ColumnMapping | None = None) -> bool:
    """Say whether a source's first rows have an image column, so that it serves both stages."""
    reader = _Reader(source, mapping)
    first = list(islice(reader.rows(), LOOKED_AT_FIRST))
    if not first:
        return False
    if any(name in first[0].values for name in reader.mapping.names("image") if name != "0"):
        return True
    # A file without a header has images if a column names some, there or not.
    unnamed = [[row.values.get(name) for row in first] for name in first[0].values if name.isdigit()]
    one = first[0].values.get("0")
    there = isinstance(one, str) and bool(one) and is_there(reader.folder / one)
    return there or any(kind_of(cells) == IMAGES for cells in unnamed)


def has_native(source: Given | Path | str, mapping: ColumnMapping | None = None) -> bool:
    """Say whether a source's first row names the native text of its text, so that it is parallel text too."""
    reader = _Reader(source, mapping)
    first = next(reader.rows(), None)
    return first is not None and isinstance(reader.native_value(first), str)


def read_image_text(
    source: Given | Path | str, mapping: ColumnMapping | None = None, *, missing: float = MISSING
) -> ImageText:
    """Read images with their texts.

    A text is a string or a list of strings; relative paths are relative to the source. Images that lie in the source
    itself (parquet, tar) are unpacked into the cache. Native text, where each captioned image has some, is kept for
    comparison.

    Args:
        source: what to read; of several splits, the training one.
        mapping: the languages and columns looked for.
        missing: share of the images that may be missing: the caller tells of them with those that cannot be read.

    Raises:
        DataError: the source or a row cannot be used, or images do not exist; the message names one.
    """
    reader = _Reader(source, mapping)
    images: dict[Path, int] = {}
    texts: list[str] = []
    owners: list[int] = []
    numbers: list[int] = []
    natives: list[str] = []
    native_owners: list[int] = []
    apart = False
    for row in reader.rows("image", "text"):
        found = [text for text in reader.texts(row) if text]
        if not found:
            continue  # an image without a text teaches nothing and is not looked for
        place = images.setdefault(reader.image(row), len(images))
        texts += found
        owners += [place] * len(found)
        numbers += [row.number] * len(found)
        value = reader.native_value(row)
        beside = _native_texts(value, len(found))
        apart |= not isinstance(value, str)
        natives += beside
        native_owners += [place] * len(beside)
    reader.refuse_odd(len(numbers))
    if (kind := kind_of(texts)) and kind != LABELLED:  # names of classes are labels, and texts
        raise DataError(
            f"{reader.name}: what was read as the images' text holds {kind} ({texts[0][:40]!r}). {reader.remedy()}"
        )
    if len(texts) < LEAST:
        raise DataError(
            f"{reader.name} holds {len(texts)} image(s) with text. Give a file with an image and its text a line."
        )
    _check_images(reader, images, owners, numbers, missing)
    complete = set(native_owners) == set(owners)
    return ImageText(
        parts=(reader.part,),
        images=list(images),
        texts=texts,
        image_of_text=owners,
        part_of=np.zeros(len(texts), dtype=np.int64),
        rows=np.array(numbers),
        native=natives if complete else None,
        # A string translates the row's text; a list holds captions that somebody wrote for the image on their own.
        native_image_of=native_owners if complete and (apart or native_owners != owners) else None,
    )


class _Reader:
    """Read one source: its rows, and their values by role."""

    def __init__(self, source: Given | Path | str, mapping: ColumnMapping | None) -> None:
        mapping = mapping or ColumnMapping()
        self.given = source if isinstance(source, Given) else parse_given(str(source), mapping)
        split = mapping.split or split_of(self.given, mapping, TRAINING_SPLITS)
        self.mapping = ColumnMapping(mapping.language, mapping.native, mapping.columns, split)
        path, reader = self.given.path, self.given.format
        files = reader.files(path, self.mapping)
        self.name = str(files[0]) if len(files) == 1 else str(path)
        self.part = Part(self.name, reader.unit, self.given.weight)
        self.folder = path if path.is_dir() else path.parent
        self.chosen: dict[Role, str] = {}
        self.seen: dict[str, list[Any]] = {}
        self.odd, self.first_odd = 0, ""

    def rows(self, *roles: Role) -> Iterator[Row]:
        """Give the rows, after columns for the roles were chosen by the first of them."""
        rows = self.given.format.rows(self.given.path, self.mapping)
        first: list[Row] = []
        held = 0
        while roles and len(first) < SAMPLE and held < LOOKED_AT_MOST and (row := next(rows, None)) is not None:
            first.append(row)
            held += _size(row.values)
        self.chosen = choose([row.values for row in first], roles, self.mapping) if first else {}
        # Pictures that lie in the rows are not kept for a message.
        self.seen = {key: [_seen(row.values.get(key)) for row in first] for row in first[:1] for key in row.values}
        return chain(first, rows)

    def remedy(self) -> str:
        """Return what to do where wrong columns were read."""
        if set(self.seen) <= set(ROLES):
            return "Check the file, and the codes of the languages."
        held = ", ".join(f"{key!r} ({kind_of(cells) or 'text'})" for key, cells in list(self.seen.items())[:8])
        by = " (numbers count from 0)" if all(key.isdigit() for key in self.seen) else ""
        roles = ",".join(f"{role}=COLUMN" for role in self.chosen)
        if any(kind_of(cells) == IMAGES for cells in self.seen.values()) and "image" not in self.chosen:
            by += "; images with text are given with --image-text"
        return f"There are: {held}. Say which to read with --columns {roles}{by}."

    def refuse_odd(self, rows: int) -> None:
        """Refuse a source in which many cells hold what is no text or no sentence; a few count as empty."""
        if self.odd > ODD * rows:
            more = f" (and {self.odd - 1} more)" if self.odd > 1 else ""
            raise DataError(
                f"{self.first_odd}{more}. Write a text there, take the lines out, or name other columns with --columns."
            )

    def at(self, row: Row) -> str:
        return f"{self.name}, {self.part.unit} {row.number}"

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

    def _sentence(self, row: Row, name: str, value: Any, what: str, expected: str) -> str:
        """Return a cell as text; "" for what is none, or no sentence, which is noted."""
        text = _text_of(value)
        if text is not None and len(text) <= LONGEST_TEXT:
            return _whole(text.strip())
        self.odd += 1
        if not self.first_odd:
            found = _SHORT.repr(value)
            fault = f"not {expected}" if text is None else f"of {len(text):,} characters, which is no sentence"
            self.first_odd = f"{self.at(row)}: the {what} in column {name!r} is {found}, {fault}"
        return ""

    def native_value(self, row: Row) -> Any:
        """Return what a row has as native text, from a named column; `None` if nothing."""
        columns = [name for name in self.mapping.names("native") if name != "0" or "native" in self.mapping.columns]
        return next((row.values[name] for name in columns if name in row.values), None)

    def image(self, row: Row) -> Path:
        """Return the path of a row's image, unpacked first if it lies in the row."""
        name = self._column(row, "image", "image path")
        value = row.values[name]
        if isinstance(value, Mapping):  # as the `datasets` library stores images
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return unpacked(value)
        if not isinstance(value, str):
            raise DataError(f"{self.at(row)}: the image path in column {name!r} is {_SHORT.repr(value)}, not a text.")
        if not value.strip():
            raise DataError(f"{self.at(row)}: the image path is empty. Mend or delete the line.")
        return found_image(self.folder, value.strip())

    def _column(self, row: Row, role: Role, what: str) -> str:
        name = self.chosen.get(role)
        if name is not None and name in row.values:
            return name
        for name in self.mapping.candidates(role, row.values):
            return name
        names = [name for name in self.mapping.names(role) if not name.isdigit()]
        raise DataError(
            f"{self.at(row)}: no column with the {what}. It has {sorted(row.values)}; expected one of {names}. "
            "Name the columns with --columns."
        )


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


def _text_of(value: Any) -> str | None:
    """Return a cell as text: what JSON and pandas write for nothing is "", a number as written; `None` for others."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _whole(text: str) -> str:
    """Return a text that can be written as UTF-8: half a character, as JSON may spell one, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _native_texts(value: Any, count: int) -> list[str]:
    """Return native texts: one for each of `count` texts where one stands for all, else all there are."""
    values = value if isinstance(value, list) else [value]
    texts = [_whole(one.strip()) for one in values if isinstance(one, str) and len(one) <= LONGEST_TEXT and one.strip()]
    return texts if isinstance(value, list) else texts * count


def _check_images(
    reader: _Reader, images: Mapping[Path, int], owners: Sequence[int], numbers: Sequence[int], tolerated: float
) -> None:
    """Refuse a source of which many images are missing: its paths are wrong. A few are told of with what is broken."""
    missing = [(place, image) for image, place in images.items() if not is_there(image)]
    if len(missing) > tolerated * len(images):
        place, image = missing[0]
        raise DataError(
            f"{reader.name}, {reader.part.unit} {numbers[owners.index(place)]}: the image {image} does not exist"
            + (f" (nor do {len(missing) - 1} others)" if len(missing) > 1 else "")
            + f". Paths are relative to {reader.folder}; mend the path or take the line out."
        )


def _size(value: Any) -> int:
    """Return about how many bytes a cell takes, or a row's cells."""
    if isinstance(value, str | bytes):
        return len(value)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return ROW + sum(map(_size, parts))


def _seen(cell: Any) -> Any:
    """Return a cell without the bytes that lie in it."""
    if isinstance(cell, Mapping):
        return {key: _seen(value) for key, value in cell.items()}
    return b"" if isinstance(cell, bytes) else cell


class _Short(reprlib.Repr):
    """Write a value in a line, however large it is."""

    def repr_bytes(self, value: bytes, level: int) -> str:
        return repr(value[:40])


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxother = 80
