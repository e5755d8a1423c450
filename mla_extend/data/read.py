"""Read what users have into parallel text and image-text, checked as far as one source can be."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend.cache import cache_folder
from mla_extend.data.formats.format import Row, Wanted
from mla_extend.data.given import TRAINING_SPLITS, Given, parse_given, split_of
from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.errors import DataError

LEAST = 2
MISSING = 0.1
"""Share of a source's images up to which those that are missing cost their rows alone."""


def read_parallel(source: Given | Path | str, wanted: Wanted | None = None) -> ParallelText:
    """Read parallel text.

    Columns are found by name (`english`/`non_english`, `source`/`target`, the two language codes, or what the user
    named), else the first is the native one and the second the target. Pairs with an empty side are kept; the checks
    of `data/doctor.py` count and drop them.

    Args:
        source: what to read; of several splits, the training one.
        wanted: the languages and columns looked for.

    Raises:
        DataError: the source or a row cannot be used; the message names it.
    """
    reader = _Reader(source, wanted)
    natives: list[str] = []
    targets: list[str] = []
    numbers: list[int] = []
    for row in reader.rows():
        natives.append(reader.text(row, "native", "native text").strip())
        targets.append(reader.text(row, "target", "target text").strip())
        numbers.append(row.number)
    whole = sum(bool(native and target) for native, target in zip(natives, targets, strict=True))
    if whole < LEAST:
        raise DataError(f"{reader.name} holds {whole} pair(s) of text. Give a file with pairs, one a line.")
    return ParallelText((reader.part,), natives, targets, np.zeros(len(targets), dtype=np.int64), np.array(numbers))


def has_images(source: Given | Path | str, wanted: Wanted | None = None) -> bool:
    """Say whether a source's first row has an image column, so that it serves both stages."""
    reader = _Reader(source, wanted)
    first = next(reader.rows(), None)
    if first is None:
        return False
    # A file without a header has images if its first column names one that is there.
    unnamed = first.values.get("0")
    there = isinstance(unnamed, str) and bool(unnamed) and is_there(reader.folder / unnamed)
    return there or any(name in first.values for name in reader.wanted.names("image") if name != "0")


def has_native(source: Given | Path | str, wanted: Wanted | None = None) -> bool:
    """Say whether a source's first row names the native text of its text, so that it is parallel text too."""
    reader = _Reader(source, wanted)
    first = next(reader.rows(), None)
    return first is not None and isinstance(reader.native_value(first), str)


def read_image_text(source: Given | Path | str, wanted: Wanted | None = None, *, missing: float = MISSING) -> ImageText:
    """Read images with their texts.

    A text is a string or a list of strings; relative paths are relative to the source. Images that lie in the source
    itself (parquet, tar) are unpacked into the cache. Native text, where each captioned image has some, is kept for
    comparison.

    Args:
        source: what to read; of several splits, the training one.
        wanted: the languages and columns looked for.
        missing: share of the images that may be missing: the caller tells of them with those that cannot be read.

    Raises:
        DataError: the source or a row cannot be used, or images do not exist; the message names one.
    """
    reader = _Reader(source, wanted)
    images: dict[Path, int] = {}
    texts: list[str] = []
    owners: list[int] = []
    numbers: list[int] = []
    natives: list[str] = []
    native_owners: list[int] = []
    apart = False
    for row in reader.rows():
        found = [text.strip() for text in reader.texts(row) if text.strip()]
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

    def __init__(self, source: Given | Path | str, wanted: Wanted | None) -> None:
        wanted = wanted or Wanted()
        self.given = source if isinstance(source, Given) else parse_given(str(source), wanted)
        split = wanted.split or split_of(self.given, wanted, TRAINING_SPLITS)
        self.wanted = Wanted(wanted.language, wanted.native, wanted.columns, split)
        path, reader = self.given.path, self.given.format
        files = reader.files(path, self.wanted)
        self.name = str(files[0]) if len(files) == 1 else str(path)
        self.part = Part(self.name, reader.unit, self.given.weight)
        self.folder = path if path.is_dir() else path.parent

    def rows(self) -> Iterator[Row]:
        return self.given.format.rows(self.given.path, self.wanted)

    def at(self, row: Row) -> str:
        return f"{self.name}, {self.part.unit} {row.number}"

    def text(self, row: Row, role: Any, what: str) -> str:
        """Return a row's one text from the first of the columns that it has."""
        name = self._column(row, self.wanted.names(role), what)
        value = row.values[name]
        if value is None:
            return ""
        if not isinstance(value, str):
            raise DataError(f"{self.at(row)}: the {what} in column {name!r} is {_short(value)}, not a text.")
        return _whole(value)

    def texts(self, row: Row) -> Sequence[str]:
        """Return a row's texts from the first of the columns that it has."""
        name = self._column(row, self.wanted.names("text"), "text")
        value = row.values[name]
        values = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(text, str) for text in values):
            raise DataError(f"{self.at(row)}: the text in column {name!r} is {_short(value)}, not a text or a list.")
        return [_whole(text) for text in values]

    def native_value(self, row: Row) -> Any:
        """Return what a row has as native text, from a named column; `None` if nothing."""
        columns = [name for name in self.wanted.names("native") if name != "0" or "native" in self.wanted.columns]
        return next((row.values[name] for name in columns if name in row.values), None)

    def image(self, row: Row) -> Path:
        """Return the path of a row's image, unpacked first if it lies in the row."""
        name = self._column(row, self.wanted.names("image"), "image path")
        value = row.values[name]
        if isinstance(value, Mapping):  # as the `datasets` library stores images
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return unpacked(value)
        if not isinstance(value, str):
            raise DataError(f"{self.at(row)}: the image path in column {name!r} is {_short(value)}, not a text.")
        if not value.strip():
            raise DataError(f"{self.at(row)}: the image path is empty. Mend or delete the line.")
        return self.folder / value.strip()

    def _column(self, row: Row, columns: Sequence[str], what: str) -> str:
        for name in columns:
            if name in row.values:
                return name
        names = [name for name in columns if not name.isdigit()]
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
        temporary.write_bytes(content)
        temporary.replace(path)
    return path


def is_there(path: Path) -> bool:
    """Say whether a path is that of a file; a text that is too long for a path, or holds NUL, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _whole(text: str) -> str:
    """Return a text that can be written as UTF-8: half a character, as JSON may spell one, becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _native_texts(value: Any, count: int) -> list[str]:
    """Return native texts: one for each of `count` texts where one stands for all, else all there are."""
    if isinstance(value, str):
        return [_whole(value.strip())] * count if value.strip() else []
    if isinstance(value, list):
        return [_whole(text.strip()) for text in value if isinstance(text, str) and text.strip()]
    return []


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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
