"""Catalogues of gettext: `.po`, and `.mo` as compiled from it."""

import contextlib
import gettext
import gzip
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mla_extend.data.formats.format import GZIP, ColumnMapping, Format, Row
from mla_extend.data.formats.unfolding import Unfolding
from mla_extend.errors import DataError
from mla_extend.extras import optional

ORDERS = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}
"""Byte orders of compiled catalogues by their first bytes."""

QUOTED = re.compile(r'[^"]*".*"', re.DOTALL)
LARGEST = 1 << 27
"""Bytes of a catalogue, which is read as a whole."""
ENTRY = 1500
"""Bytes that an entry takes in memory beside its texts."""
MANY = 100
"""A number that takes the general plural in languages that have others for few, for two or for none."""


class Gettext(Format):
    """Messages and their translations, but for those that are empty, fuzzy or obsolete, and the header.

    Of a message with plural forms, the singular goes with the form for 1 and the plural with the form for many;
    where both are one form, only the plural goes with it.
    """

    name = "gettext"
    suffixes = (".po", ".mo")
    unit = "entry"

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows under the names `native` and `target`, numbered by their entries.

        Raises:
            DataError: it is damaged, or not of the encoding that its header names.
        """
        catalogue = _read(path)
        one, many = _forms(catalogue.metadata)
        for number, entry in enumerate(catalogue, start=1):
            if entry.obsolete or "fuzzy" in entry.flags:
                continue
            pairs = [(entry.msgid, entry.msgstr)]
            if entry.msgid_plural:
                forms: Mapping[int, str] = entry.msgstr_plural
                last = max(forms, default=0)
                singular = min(one, last)
                plural = last if many is None else min(many, last)
                pairs = [(entry.msgid_plural, forms.get(plural, ""))]
                if singular != plural:
                    pairs.insert(0, (entry.msgid, forms.get(singular, "")))
            for native, target in pairs:
                if native.strip() and target.strip():
                    yield Row(number, {"native": native, "target": target})


def _forms(header: Mapping[str, str]) -> tuple[int, int | None]:
    """Return the plural forms for 1 and for many by a catalogue's header; `None` stands for the last."""
    rule = re.search(r"plural\s*=([^;]+)", header.get("Plural-Forms", ""))
    try:
        form = gettext.c2py(rule[1].strip()) if rule else None
        return (form(1), form(MANY)) if form else (0, None)
    except (ValueError, ArithmeticError):
        return 0, None


def _read(path: Path) -> Any:
    """Return a catalogue as `polib` reads it, after what it does not look at was checked.

    Raises:
        DataError: it is damaged; the message names the line where there are lines.
    """
    polib = optional("polib", str(path))

    try:
        with _plain(path) as plain:
            content = plain.read_bytes()
            unfolding = Unfolding(path)
            if order := ORDERS.get(content[:4]):
                _check_compiled(path, content, order, unfolding)
                return polib.mofile(str(plain))
            if path.name.lower().removesuffix(".gz").endswith(".mo"):
                raise DataError(f"{path} does not begin as a compiled catalogue does. Compile it again with msgfmt.")
            unfolding.take(len(content) + ENTRY * content.count(b"msgid"))
            _check_lines(path, content, polib.detect_encoding(str(plain)))
            return polib.pofile(str(plain))
    except (UnicodeError, LookupError) as error:  # the latter of what is a codec and no encoding of text
        raise DataError(f"{path}: not of the encoding that its header names ({error}). Convert it to UTF-8.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}). Copy or fetch the file again.") from error
    except OSError as error:
        if error.errno is None:  # of polib
            place = "".join(f", line {line}" for line in re.findall(r"\(line (\d+)\)", str(error))[-1:])
            raise DataError(f"{path}{place}: not as gettext writes it. Check the file with msgfmt.") from error
        raise DataError(f"{path} cannot be read ({error.strerror}). Check the path and its permissions.") from error


@contextlib.contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """Give a path to a file's content, unpacked where it is packed: `polib` takes only paths without changing text."""
    with path.open("rb") as start:
        packed = start.read(2) == GZIP
    if not packed:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "catalogue"
        with gzip.open(path, "rb") as source, copy.open("wb") as target:
            while part := source.read(1 << 20):
                if target.tell() > LARGEST:
                    raise DataError(f"{path} unpacks to more than {LARGEST >> 20} MiB. Give it in parts.")
                target.write(part)
        yield copy


def _check_lines(path: Path, content: bytes, encoding: str) -> None:
    """Check each line's encoding, and that its text is closed.

    Raises:
        DataError: the message names the line.
    """
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            line = raw.decode(encoding).strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, line {number}: not {encoding} (byte 0x{error.object[error.start]:02x} at position "
                f"{error.start + 1}). Save the file as UTF-8, and name that in its header."
            ) from error
        if line and not line.startswith("#") and not QUOTED.fullmatch(line):
            raise DataError(
                f"{path}, line {number}: not a text between quotation marks, {line[:60]!r}. The file is cut off, or no "
                "gettext; check it with msgfmt."
            )


def _check_compiled(path: Path, content: bytes, order: str, unfolding: Unfolding) -> None:
    """Check that all texts of a compiled catalogue lie within it, and not over one another too often.

    Raises:
        DataError: they do not.
    """
    try:
        count, *tables = (int(number) for number in np.frombuffer(content, f"{order}u4", count=3, offset=8))
        for table in tables:
            places = np.frombuffer(content, f"{order}u4", count=2 * count, offset=table).astype(np.int64)
            if places.reshape(-1, 2).sum(axis=1).max(initial=0) > len(content):
                raise ValueError("it ends before its last text")
            unfolding.take(int(places[::2].sum()) + ENTRY // 2 * count)
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}). Copy or fetch the file again.") from error
