"""WebDataset: tars whose members belong together by name, in the layout of img2dataset.

The standard library's `tarfile` is enough: members are read in the order they stand in, nothing is written to disk, and
a tar that breaks off is told, which readers made for streaming pass over.
"""

import gzip
import math
import re
import tarfile
from collections.abc import Iterator
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, known_columns, suffix_of
from mla_extend.data.formats.unfolding import Unfolding
from mla_extend.errors import DataError
from mla_extend.files import parse_json

IMAGES = ("jpg", "jpeg", "png", "webp")
RANGE = re.compile(r"\{(\d{1,100})\.\.(\d{1,100})\}", re.ASCII)
MOST_TARS = 300_000
"""Tars that braces may stand for: more than the largest public sets have."""
LARGEST = 1 << 28
"""Bytes of a sample, which is held as a whole."""
LONGEST_JSON = 1 << 24
"""Bytes of a sample's JSON, whose values take many times as much."""
LONGEST_HEADER = 1 << 14
"""Bytes of a header of a header: long names and times take a few hundred."""
PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
HEADERS = (*PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class WebDataset(Format):
    """Samples of `key.jpg` (or png, webp), `key.txt` and `key.json`: one tar, a folder of tars, or `{000..003}.tar`."""

    name = "webdataset"
    suffixes = (".tar",)
    unit = "sample"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a `.tar` (packed or not, or several in braces) and a folder with tars in it."""
        return bool(_tars_in(path)) if path.is_dir() else suffix_of(path) in self.suffixes

    def check(self, path: Path) -> None:
        """Check that each tar is there and not empty."""
        for tar in self.files(path, ColumnMapping()):
            check_file(tar, "a .tar of images with text, or a folder of them")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the tars, in order.

        Raises:
            DataError: the folder has none, or the braces hold no range.
        """
        if not path.is_dir():
            return _expanded(path)
        tars = _tars_in(path)
        if not tars:
            raise DataError(
                f"The folder {path} holds no .tar file. Give a .tar of images with text, or a folder of them."
            )
        return tars

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the samples, numbered over all tars; those whose JSON has a `status` other than `success` are left out.

        A row holds the image's bytes as `image`, the text as `txt` and `caption`, and what the JSON has.
        """
        number = 0
        for tar in self.files(path, mapping):
            for key, parts in samples(tar):
                number += 1
                values = _values(parts, f"{tar}, {key}")
                if values.get("status") in (None, "success"):
                    yield Row(number, values)


def samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Give a tar's samples: a key, and the content of its members by lower-cased extension.

    The key is a member's path up to the first point of its file name (`dir/000.seg.png` is `seg.png` of `dir/000`).
    Members of one key stand next to each other. Folders, links and hidden files are left out, and nothing is written
    to disk. A tar that is packed with gzip is unpacked on the way.

    Raises:
        DataError: the tar cannot be read, is damaged, or a key has two members of one extension.
    """
    key, parts = "", dict[str, bytes]()
    for name, content in _members(path):
        folder, slash, file = name.removeprefix("./").rpartition("/")
        stem, point, extension = file.partition(".")
        if not stem or not point:
            continue
        if folder + slash + stem != key:
            if parts:
                yield key, parts
            key, parts = folder + slash + stem, {}
        if len(content) + sum(map(len, parts.values())) > LARGEST:
            raise DataError(f"{path}: the sample {key[:80]} has over {LARGEST:,} bytes. Take it out.")
        if extension.lower() in parts:
            raise DataError(f"{path} holds {name} twice. Write the tar again with each member once.")
        parts[extension.lower()] = content
    if parts:
        yield key, parts


class _Member(tarfile.TarInfo):
    """Refuse long headers of headers, over which the library takes time that grows with the square, and steps back."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.size < 0 or (self.type in HEADERS and self.size > LONGEST_HEADER):
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


def _open(file: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=file, mode="r:", tarinfo=_Member)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give the names and contents of a tar's files."""
    last = "the start"
    try:
        unfolding = Unfolding(path)
        with path.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file, _open(file) as tar:
            while (member := tar.next()) is not None:
                # The list of members would grow with the tar.
                tar.members.clear()  # type: ignore[attr-defined]
                if member.size < 0 or (member.isreg() and member.size > LARGEST):
                    raise tarfile.ReadError(f"{member.name[:80]} has {member.size:,} bytes, not 0 to {LARGEST:,}")
                unfolding.take(member.size + tarfile.BLOCKSIZE)
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name, content.read()
                    last = member.name
            # The library takes a broken header for the end.
            file.seek(tar.offset)
            block = file.read(tarfile.BLOCKSIZE)
            if any(block) or 0 < len(block) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("no header where one should be")
    except (DataError, MemoryError):
        raise
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is damaged after {last} ({error}). Copy or fetch the file again.") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}). Check the path and its permissions.") from error
    except Exception as error:  # of odd headers the library raises nearly everything
        raise DataError(f"{path} is damaged after {last} ({error}). Copy or fetch the file again.") from error


def _values(parts: dict[str, bytes], where: str) -> dict[str, Any]:
    """Return a sample's values by column name."""
    values: dict[str, Any] = {}
    image = next((parts[extension] for extension in IMAGES if extension in parts), None)
    if "json" in parts:
        try:
            if len(parts["json"]) > LONGEST_JSON:
                raise ValueError(f"{len(parts['json']):,} bytes")
            found = parse_json(parts["json"])
        except ValueError as error:
            raise DataError(f"{where}.json: not JSON ({error}). Write the sample again.") from error
        if not isinstance(found, dict):
            raise DataError(f"{where}.json: {type(found).__name__}, not an object with named values.")
        values = known_columns(found)
    elif image is not None and "txt" not in parts:
        raise DataError(
            f"{where}: an image with neither .txt nor .json next to it. Write the tar with a sample's members one "
            "after the other, for example with tar --sort=name."
        )
    if image is not None:
        values["image"] = image
    if "txt" in parts:
        try:
            text = parts["txt"].decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}.txt: not UTF-8 (position {error.start + 1}). Write the sample again.") from error
        # The text file is what models are trained on; a caption in the JSON is where it came from.
        values["txt"] = values["caption"] = text
    return values


def _tars_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if suffix_of(file) == ".tar" and not file.name.startswith("."))


def _expanded(path: Path) -> list[Path]:
    """Return the paths that `{000..003}` stands for, with as many digits as it is written with."""
    texts = RANGE.split(str(path))  # a text, then the ends of a range and a text for each
    ends = list(zip(texts[1::3], texts[2::3], strict=True))
    if not ends or path.exists():
        return [path]
    counts = [int(last) - int(first) + 1 for first, last in ends]
    if min(counts) >= 1 and math.prod(counts) > MOST_TARS:
        raise DataError(
            f"{path} stands for over {MOST_TARS:,} files. Write a smaller range, and give it and the next one as two "
            "sources."
        )
    if min(counts) < 1:
        first, last = ends[0]
        raise DataError(
            f"{path}: {{{first}..{last}}} is not a range of files. Write the first number, two points, and the last."
        )
    numbers = ([f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)] for first, last in ends)
    return [
        Path("".join(part for pair in zip_longest(texts[::3], chosen, fillvalue="") for part in pair))
        for chosen in product(*numbers)
    ]
