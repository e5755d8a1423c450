"""What several layouts need: where the images lie, files of a language, files side by side, one large JSON object."""

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mla_extend.data.codes import fit, undecided
from mla_extend.data.formats.format import GZIP, text_lines
from mla_extend.data.formats.jsonl import counted
from mla_extend.errors import DataError
from mla_extend.files import is_there, parse_json

FOLDERS = (
    "images",
    "imgs",
    "flickr30k-images",
    "flickr30k_images",
    "Flicker8k_Dataset",
    "train2014",
    "val2014",
    "train2017",
    "val2017",
)
"""Folders that images lie in: two general names, and what the archives of the image collections unpack to."""

PEEK = 65_536
"""Bytes from each end of a file that `peek` returns."""


class Images:
    """Find a test set's images in the folders that people unpack them into."""

    def __init__(self, root: Path, *more: Path) -> None:
        """Look in the known folders under a root and under more folders, then in these themselves.

        Args:
            root: the folder that a row's image path is relative to. Of `annotations/`, the one above counts too.
            more: other folders to look under.
        """
        whole = root.absolute()
        self.root = root
        self.under = (root, *more, *([whole.parent] if whole.name == "annotations" else []))
        self.folders = [base / name for base in self.under for name in FOLDERS if (base / name).is_dir()]
        self.found = False

    def there(self, name: str) -> bool:
        """Say whether there are images: one of the known folders, or this image."""
        return bool(self.folders) or self._find(name) is not None

    def path(self, *names: str) -> str:
        """Return the path of an image as a row gives it; of a missing one, where it was expected.

        Args:
            names: what the image may be called; the first is the usual one.

        Raises:
            DataError: there is no known folder with images, and the image lies in none of the others.
        """
        found = self._find(*names)
        self.found = self.found or found is not None
        if found is None and not self.found and not self.folders:
            looked = " and ".join(str(base) for base in self.under)
            raise DataError(
                f"There is no image {names[0]} in {looked}, and no folder with images ({', '.join(FOLDERS)}). Unpack "
                "the images into one of these folders."
            )
        path = found or (self.folders or [self.root])[0] / names[0]
        # What lies outside the root is named whole, since a reader puts the root before what is not.
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path.absolute())

    def _find(self, *names: str) -> Path | None:
        places = (folder / name for folder in (*self.folders, *self.under) for name in names)
        return next((place for place in places if is_there(place)), None)


def code_of(codes: Iterable[str], tag: str, where: Path) -> str | None:
    """Return which of the codes in a layout means a language: the one that fits it best.

    Raises:
        DataError: several fit alike.
    """
    fits = {code: undecided(code, tag) for code in codes}
    compatible = [code for code, how in fits.items() if how == max(fits.values()) > 0]
    if len(compatible) > 1:
        raise DataError(
            f"{where} holds several kinds of {tag!r}: {', '.join(sorted(compatible))}. Give the language as one of "
            "them."
        )
    return compatible[0] if compatible else None


def has_language(codes: Iterable[str], tag: str) -> bool:
    """Say whether one of the codes in a layout means a language."""
    return any(fit(code, tag) for code in codes)


def side_by_side(files: Sequence[Path]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Give the lines of several files together, with their number.

    Raises:
        DataError: the files differ in length; the message gives both.
    """
    together = zip_longest(*(text_lines(file) for file in files))
    for number, lines in enumerate(together, start=1):
        whole = tuple(line[1] for line in lines if line is not None)
        if len(whole) < len(files):
            lengths = [sum(1 for _ in text_lines(file)) for file in files]
            longest, shortest = lengths.index(max(lengths)), lengths.index(min(lengths))
            raise DataError(
                f"{files[longest]} has {max(lengths)} lines, {files[shortest]} has {min(lengths)}. They belong "
                "together line by line: fetch both again from one source."
            )
        yield number, whole


def peek(path: Path) -> bytes:
    """Return the first and last bytes of a file; of a packed one the first alone; of an unreadable one nothing.

    White space and a byte order mark before the first are left out.
    """
    try:
        with path.open("rb") as file:
            content = file.read(PEEK)
            if content.startswith(GZIP):
                file.seek(0)
                with gzip.open(file) as unpacked:
                    content = unpacked.read(PEEK)
            elif (size := path.stat().st_size) > PEEK:
                file.seek(max(PEEK, size - PEEK))
                content += file.read()
            return content.removeprefix(b"\xef\xbb\xbf").lstrip()
    except (OSError, EOFError, zlib.error):
        return b""


def first_object(content: bytes) -> dict[str, Any]:
    """Return the object that the first line is, or an empty one."""
    try:
        value = parse_json(content.partition(b"\n")[0])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def is_one_object(content: bytes) -> bool:
    """Say whether a file that starts so is one JSON object, and not one with an object a line."""
    several = bool(content.partition(b"\n")[2].strip())
    return content.startswith(b"{") and not (several and first_object(content))


def json_object(path: Path) -> dict[str, Any]:
    """Return a file that is one JSON object.

    Raises:
        DataError: it is not, or cannot be read.
    """
    try:
        value = parse_json("\n".join(text for _, text in counted(path, text_lines(path))))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}). Copy or fetch the file again.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} is a JSON {type(value).__name__}, not an object. Give the file as it was published.")
    return value


def records(value: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Return the list of objects under a key.

    Raises:
        DataError: there is none.
    """
    found = value.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(f"{where}: no list of objects under {key!r}; it has {', '.join(value)}. Check the layout.")
    return found


def field(record: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a record's value, which must be of a kind.

    Raises:
        DataError: it has none.
    """
    value = record.get(key)
    if not isinstance(value, kind):
        raise DataError(f"{where}: {key!r} is {str(value)[:60]!r}, not of the kind {kind.__name__}. Check the layout.")
    return value
