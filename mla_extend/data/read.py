"""Read the files that users have into parallel text and image-text, checked as far as one file can be."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mla_extend.data.formats import FORMATS
from mla_extend.data.formats.format import (
    IMAGE_COLUMNS,
    NATIVE_COLUMNS,
    TARGET_COLUMNS,
    TEXT_COLUMNS,
    Format,
    Row,
)
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.errors import DataError

COPIED = 0.5
"""Share of pairs with equal sides from which a target column counts as a copy of the native one."""
LEAST = 2


def read_parallel(path: Path, language: str = "", native: str = "en") -> ParallelText:
    """Read parallel text.

    Columns are found by name (`english`/`non_english`, `source`/`target`; in JSONL also the two language codes), else
    the first is the native one and the second the target. Pairs with an empty side are left out.

    Args:
        path: a TSV or JSONL file.
        language: code of the target language, which may name its column.
        native: code of the base's language, which may name its column.

    Raises:
        DataError: the file or a line cannot be used; the message names it.
    """
    sources: list[str] = []
    targets: list[str] = []
    for row in _rows(path):
        source = _text(path, row, (*NATIVE_COLUMNS, native.lower(), "0"), "native text")
        target = _text(path, row, (*TARGET_COLUMNS, language.lower(), *TEXT_COLUMNS, "1"), "target text")
        if source.strip() and target.strip():
            sources.append(source.strip())
            targets.append(target.strip())
    if len(targets) < LEAST:
        raise DataError(f"{path} holds {len(targets)} pair(s) of text. Give a file with pairs, one a line.")
    same = sum(s.casefold() == t.casefold() and any(map(str.isalpha, s)) for s, t in zip(sources, targets, strict=True))
    if same > COPIED * len(targets):
        raise DataError(
            f"{path}: in {same} of {len(targets)} pairs the target is a copy of the native text, for example "
            f"{sources[0][:60]!r}. Check that the second column holds the new language."
        )
    return ParallelText(path, sources, targets)


def has_images(path: Path) -> bool:
    """Say whether a file's first row has an image column, so that it serves both stages."""
    first = next(iter(_rows(path)), None)
    return first is not None and any(name in first.values for name in IMAGE_COLUMNS)


def read_image_text(path: Path, language: str = "", native: str = "en") -> ImageText:
    """Read images with their texts.

    A text is a string or a list of strings; relative paths are relative to the file. A column of native text
    (`english`), where each row has it, is kept for comparison.

    Raises:
        DataError: the file or a line cannot be used, or an image does not exist; the message names it.
    """
    images: dict[Path, int] = {}
    texts: list[str] = []
    image_of_text: list[int] = []
    lines: list[int] = []
    natives: list[str] = []
    text_columns = (*TEXT_COLUMNS, *TARGET_COLUMNS, language.lower(), "1")
    for row in _rows(path):
        image = _text(path, row, (*IMAGE_COLUMNS, "0"), "image path").strip()
        if not image:
            raise DataError(f"{path}, line {row.line}: the image path is empty. Mend or delete the line.")
        found = [text for text in _texts(path, row, text_columns) if text.strip()]
        if not found:
            continue  # an image without a text teaches nothing and is not looked for
        place = images.setdefault(path.parent / image, len(images))
        native_value = next(
            (row.values[name] for name in (*NATIVE_COLUMNS, native.lower()) if name in row.values), None
        )
        for i, text in enumerate(found):
            texts.append(text.strip())
            image_of_text.append(place)
            lines.append(row.line)
            natives += _native_of(native_value, i)
    if len(texts) < LEAST:
        raise DataError(f"{path} holds {len(texts)} image(s) with text. Give a file with an image and its text a line.")
    _check_images(path, images, image_of_text, lines)
    complete = natives if len(natives) == len(texts) else None
    return ImageText(path, list(images), texts, image_of_text, lines, complete)


def _check_images(path: Path, images: Iterable[Path], image_of_text: Sequence[int], lines: Sequence[int]) -> None:
    missing = [(i, image) for i, image in enumerate(images) if not image.is_file()]
    if missing:
        number, image = missing[0]
        raise DataError(
            f"{path}, line {lines[image_of_text.index(number)]}: the image {image} does not exist"
            + (f" (nor do {len(missing) - 1} others)" if len(missing) > 1 else "")
            + f". Paths are relative to {path.parent}; mend the path or take the line out."
        )


def _native_of(value: Any, number: int) -> list[str]:
    if isinstance(value, str):
        return [value.strip()]
    if isinstance(value, list) and number < len(value) and isinstance(value[number], str):
        return [value[number].strip()]
    return []


def format_of(path: Path) -> Format:
    """Return the format of a file, by its name.

    Raises:
        DataError: there is no such file, it is empty, or of no known format.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}. Give a file of parallel text or of images with text.")
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error
    if empty:
        raise DataError(f"{path} is empty. Give a file with at least {LEAST} lines.")
    for known in FORMATS:
        if path.suffix.lower() in known.suffixes:
            return known
    suffixes = ", ".join(suffix for known in FORMATS for suffix in known.suffixes)
    raise DataError(
        f"{path}: the format of {path.suffix or 'a file without suffix'!r} is not known. Known: {suffixes}."
    )


def _rows(path: Path) -> Iterable[Row]:
    return format_of(path).rows(path)


def _text(path: Path, row: Row, columns: Sequence[str], what: str) -> str:
    """Return a row's one text from the first of the columns that it has."""
    name = _column(path, row, columns, what)
    value = row.values[name]
    if not isinstance(value, str):
        raise DataError(f"{path}, line {row.line}: the {what} in column {name!r} is {value!r}, not a text.")
    return value


def _texts(path: Path, row: Row, columns: Sequence[str]) -> list[str]:
    """Return a row's texts from the first of the columns that it has."""
    name = _column(path, row, columns, "text")
    value = row.values[name]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in values):
        raise DataError(f"{path}, line {row.line}: the text in column {name!r} is {value!r}, not a text or a list.")
    return values


def _column(path: Path, row: Row, columns: Sequence[str], what: str) -> str:
    for name in columns:
        if name and name in row.values:
            return name
    names = [name for name in dict.fromkeys(columns) if name and not name.isdigit()]
    raise DataError(
        f"{path}, line {row.line}: no column with the {what}. It has {sorted(row.values)}; expected one of {names}."
    )
