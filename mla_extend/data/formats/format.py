"""What a format must do: say whether a file is of its kind, and give its rows under the names of its columns.

A format is one file in `data/formats/` (or, for the layout of a published test set, in `data/layouts/`), named in the
`__init__.py` beside it. Its rows are read by `data/source.py`, which knows the names that columns go by.
"""

import gzip
import hashlib
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NamedTuple, cast

from mla_extend.data.codes import column_fit
from mla_extend.data.formats.encoding import decoded_lines
from mla_extend.data.formats.unfolding import Unfolding
from mla_extend.errors import DataError
from mla_extend.files import sha256_file

NATIVE_COLUMNS = ("english", "en", "native", "source")
TARGET_COLUMNS = ("non_english", "target", "translation")
IMAGE_COLUMNS = ("image", "img", "filepath", "file_name", "img_path", "image_path", "video")
TEXT_COLUMNS = ("caption", "captions", "text", "title", "txt", "sentences")
GZIP = b"\x1f\x8b"

Role = Literal["native", "target", "image", "text"]
ROLES: tuple[Role, ...] = ("native", "target", "image", "text")


@dataclass(frozen=True)
class ColumnMapping:
    """Say which languages are looked for in a file, in which of its columns.

    Attributes:
        language: tag of the language that is added.
        native: tag of the base's own language.
        columns: the user's own names of columns, lower-cased, by role; a role that is not there goes by known names.
        split: the part of a data set to read, where it has parts; `None` is for what has none.
    """

    language: str = ""
    native: str = "en"
    columns: Mapping[Role, str] = field(default_factory=dict)
    split: str | None = None

    def names(self, role: Role) -> tuple[str, ...]:
        """Return the column names to look for, in this order; digits are positions of columns without a name."""
        if role in self.columns:
            return (self.columns[role], role)  # formats with fixed columns call them by their roles
        native, language = self.native.lower(), self.language.lower()
        known = {
            # A column of the native language's code comes first: in a file of another native language, "en" is not it.
            "native": (native, *NATIVE_COLUMNS, "0"),
            "target": (language, *TARGET_COLUMNS, *TEXT_COLUMNS, "1"),
            "image": (*IMAGE_COLUMNS, "0"),
            "text": (*TEXT_COLUMNS, language, *TARGET_COLUMNS, "1"),
        }[role]
        return tuple(dict.fromkeys(name for name in known if name))

    def candidates(self, role: Role, keys: Iterable[str]) -> list[str]:
        """Return which of a row's columns may have a role, the likeliest first: by language, then by known names."""
        keys, names = list(keys), self.names(role)
        exact = [name for name in names if name in keys]
        tag = self.native if role == "native" else self.language if role != "image" else ""
        if role in self.columns or not tag:
            return exact
        fits = {key: column_fit(key, tag) for key in keys if not key.isdigit()}
        named = sorted((key for key in fits if fits[key]), key=lambda key: -fits[key])
        first = exact if role == "text" else [name for name in exact if name == tag.lower()]
        return list(dict.fromkeys([*(name for name in first if not name.isdigit()), *named, *exact]))

    def is_header(self, cells: Sequence[str]) -> bool:
        """Say whether a first line's cells are names of columns.

        They are if all have known names, if one has a name that the user gave, or if there are one for each of the two
        languages, or for an image and its text.
        """
        names = [cell.strip().lower() for cell in cells]
        if len(names) < 2 or not any(names):
            return False
        chosen = {name for name in self.columns.values() if not name.isdigit()}
        if self.header_names.issuperset(filter(None, names)) or not chosen.isdisjoint(names):
            return True
        native, target, image, text = (
            {name for name in self.candidates(role, names) if not name.isdigit()} for role in ROLES
        )
        return bool(image and text - image) or any(a != b for a in native for b in target)

    @property
    def header_names(self) -> frozenset[str]:
        """Return every lower-cased cell that marks a first line as a header rather than as a row."""
        named = (*NATIVE_COLUMNS, *TARGET_COLUMNS, *IMAGE_COLUMNS, *TEXT_COLUMNS, *self.columns.values())
        return frozenset(name.lower() for name in (*named, self.native, self.language) if name)


class Fault(NamedTuple):
    """Say what is wrong with a line, and what to do."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Row:
    """Hold one record: its number (counted from 1, in the format's `unit`), its values by lower-cased column name.

    A format without column names calls its columns `0`, `1`, .... A value is a text, a list of texts, or in an image
    column also the image file's bytes, or an object with `bytes` and `path` as the `datasets` library stores images.
    A relative image path is relative to the data's path where that is a folder, else to the folder it lies in.

    A line that is not as the format wants it has a fault and no values. A few of many do not stop a run.
    """

    number: int
    values: dict[str, Any]
    fault: Fault | None = None


class Format(ABC):
    """Read one kind of file, or of folder."""

    name: ClassVar[str]
    """What `--format` and the prefix of a path call it."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Lower-cased suffixes that mark a file as of this format; `.gz` behind them is looked through."""
    unit: ClassVar[str] = "line"
    """What `Row.number` counts, for messages."""

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Say whether the data at a path (there or not) is of this format: a cheap look at names, or a few bytes."""
        return suffix_of(path) in self.suffixes and not path.is_dir()

    def check(self, path: Path) -> None:
        """Check that there is something to read, before anything slow.

        Raises:
            DataError: it is not there, is a folder (or no folder) where it should not be, or is empty.
        """
        check_file(path)

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the files that rows come from, images apart: what a card's hash is taken over."""
        return [path]

    def digest(self, path: Path, mapping: ColumnMapping) -> str:
        """Return a SHA-256, in hexadecimal, that changes with the data."""
        files = self.files(path, mapping)
        if files == [path]:
            return sha256_file(path)
        parts = sorted((file.name, sha256_file(file)) for file in files)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def splits(self, path: Path, mapping: ColumnMapping) -> tuple[str, ...]:
        """Return the names of the parts that the data has for this language; `("",)` where it is all one."""
        return ("",)

    def licence(self, path: Path) -> str | None:
        """Return the licence that the data says of itself: that in the front matter of a folder's README.md."""
        return front_matter(path / "README.md").get("license") if path.is_dir() else None

    @abstractmethod
    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows one by one, without holding them all; `mapping.split` is one of `splits`.

        A line that cannot be read, where the lines behind it can, is a row with a `fault`.

        Raises:
            DataError: something cannot be read; the message names the file and the place in it.
        """


def whole(rows: Iterable[Row]) -> Iterator[Row]:
    """Give rows none of which may have a fault.

    Raises:
        DataError: one has.
    """
    for row in rows:
        if row.fault:
            raise DataError(f"{row.fault.what}. {row.fault.remedy}")
        yield row


def suffix_of(path: Path) -> str:
    """Return a path's lower-cased suffix, the one before `.gz` where it ends in that."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def check_file(path: Path, what: str = "a file of parallel text or of images with text") -> None:
    """Check that a path is a file with something in it.

    Raises:
        DataError: it is not.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {found}. Give {what}.")
    try:
        empty = path.stat().st_size == 0
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    if empty:
        raise DataError(f"{path} is empty. Give {what}.")


def check_folder(path: Path, what: str) -> None:
    """Check that a path is a folder.

    Raises:
        DataError: it is not.
    """
    if not path.is_dir():
        found = "is a file" if path.is_file() else "does not exist"
        raise DataError(f"{path} {found}. Give {what}.")


def text_lines(path: Path, language: str = "") -> Iterator[tuple[int, str]]:
    """Give a file's lines with their numbers, as `decoded_lines` does.

    A file that begins as gzip does is unpacked on the way, whatever its name.

    Args:
        path: of the file.
        language: the tag of the language that it should hold, by which a wrong encoding is told.

    Raises:
        DataError: the file cannot be read, or a line is neither UTF-8 nor of the Unicode form that the file begins in.
    """
    number = 0
    try:
        with path.open("rb") as start:
            packed = start.read(2) == GZIP
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            for number, line in Unfolding(path).lines(decoded_lines(cast(IO[bytes], file), str(path), language)):
                yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged after line {number} ({error}). Copy or fetch the file again.") from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}). Check the path and its permissions."
        ) from error


def front_matter(path: Path) -> dict[str, str]:
    """Return the texts in a data set card's front matter; `{}` where there is no such file or nothing to read in it."""
    import yaml  # noqa: PLC0415 - few data sets have a card

    from mla_extend.yaml_loader import read_yaml  # noqa: PLC0415

    try:
        start, _, rest = path.read_text(encoding="utf-8").partition("---\n")
        values = read_yaml(rest.partition("\n---")[0]) if not start.strip() else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def known_columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's values by lower-cased name, with `translation: {en, sw}` taken apart into its languages."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).strip().lower()
        if name == "translation" and isinstance(value, Mapping):
            result.update({str(code).lower(): text for code, text in value.items()})
        else:
            result[name] = value
    return result


def repeats(first: Sequence[str], second: Sequence[str]) -> bool:
    """Say whether a cell of what may be a header stands below itself: then it is a label that every line has."""
    return any(cell.strip() and cell == below for cell, below in zip(first, second, strict=False))


def by_position(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Return a line's cells by the header's names; cells without one are called by their position."""
    keys = [*header, *(str(i) for i in range(len(header), len(cells)))]
    return dict(zip(keys, cells, strict=False))
