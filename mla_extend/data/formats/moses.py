"""Parallel text in two files, one for each language, whose lines belong together."""

import functools
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from mla_extend.data.codes import CODE, fit, language_tag, undecided
from mla_extend.data.formats.encoding import decoded_lines
from mla_extend.data.formats.format import ColumnMapping, Format, Row, check_file, text_lines
from mla_extend.data.formats.unfolding import Unfolding
from mla_extend.errors import DataError, LanguageError
from mla_extend.files import user_path

Lines = Iterator[tuple[int, str]]

WHAT = "two files with a comma between (a.en,a.sw), what their names begin with (a), or a .zip with both"


class Moses(Format):
    """Two files with a comma between, what their names begin with, or a zip with both; each may be gzipped.

    Which is which is told by the codes that their names end in; of two without, the first is the native one. An empty
    line is a row, since leaving it out would shift the rest.
    """

    name = "moses"
    suffixes = (".zip",)

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a zip, two files of which one is there at least, or the beginning of the names of a pair."""
        if super().recognises(path, mapping) or _pair(path):
            return True
        codes = [] if path.exists() else [_code(file.name) for file in _beside(path)]
        return all(any(fit(code, tag) for code in codes) for tag in (mapping.native, mapping.language))

    def check(self, path: Path) -> None:
        """Check that both files are there, or that it is a zip."""
        if pair := _pair(path):
            for file in pair:
                check_file(file, WHAT)
        elif not path.is_file() and len(_beside(path)) < 2:
            raise DataError(
                f"There are no two files whose names begin with {path}. and go on with a code. Give {WHAT}."
            )
        elif path.is_file():
            check_file(path, WHAT)
            if not _is_zip(path):
                raise DataError(f"{path} is a single file, not a zip, or a damaged zip. Give {WHAT}.")

    def files(self, path: Path, mapping: ColumnMapping) -> list[Path]:
        """Return the native file and the target file, or the zip.

        Raises:
            DataError: their names do not say which they are, or name other languages.
        """
        if path.is_file():
            return [path]
        if pair := _pair(path):
            return _ordered(pair, mapping)
        native, target = _chosen([file.name for file in _beside(path)], mapping, f"What begins with {path}")
        return [path.with_name(native), path.with_name(target)]

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows under the names `native` and `target`.

        Raises:
            DataError: the two have different numbers of lines, or one cannot be read.
        """
        if path.is_file():
            return _zip_rows(path, mapping)
        native, target = self.files(path, mapping)
        lines = text_lines(native, mapping.native), text_lines(target, mapping.language)
        return _aligned(str(native), lines[0], str(target), lines[1])


def _is_zip(path: Path) -> bool:
    """Say whether a file is a zip that can be read; the library raises over some that are damaged."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def _pair(path: Path) -> tuple[Path, Path] | None:
    """Return the two files that a path with a comma names, where one of them is there at least."""
    text = str(path)
    if "," not in text or path.exists():
        return None
    places = [place for place, letter in enumerate(text) if letter == ","]
    pairs = [(user_path(text[:i]), user_path(text[i + 1 :].strip())) for i in places]
    whole = [pair for pair in pairs if pair[0].is_file() and pair[1].is_file()]
    half = [pair for pair in pairs if pair[0].is_file() or pair[1].is_file()]
    return next(iter(whole + half), None)


def _beside(path: Path) -> list[Path]:
    """Return the files whose names are a path's and a code, `.gz` behind it or not."""
    if not path.parent.is_dir() or not path.name:
        return []
    start = f"{path.name}."
    files = [file for file in path.parent.iterdir() if file.name.startswith(start) and file.is_file()]
    return sorted(file for file in files if "." not in file.name[len(start) :].removesuffix(".gz"))


def _code(name: str) -> str:
    """Return what a name ends in, a code perhaps."""
    return name.removesuffix(".gz").rpartition(".")[2]


@functools.cache
def _tag(code: str) -> str:
    """Return a code's tag, or nothing where it is no code."""
    try:
        return language_tag(code) if CODE.fullmatch(code) else ""
    except LanguageError:
        return ""


def _ordered(pair: tuple[Path, Path], mapping: ColumnMapping) -> list[Path]:
    """Return the native file and the target file of two in either order.

    Raises:
        DataError: a name ends in the code of another language.
    """

    def fits(files: Sequence[Path]) -> int:
        return fit(_code(files[0].name), mapping.native) + fit(_code(files[1].name), mapping.language)

    files = max([pair[0], pair[1]], [pair[1], pair[0]], key=fits)
    for file, tag in zip(files, (mapping.native, mapping.language), strict=True):
        code = _code(file.name)
        # Endings such as txt and src are codes too, of three letters and of languages that hardly anybody means.
        known = _tag(code)
        other = len(known.partition("-")[0]) == 2 or known in (mapping.native, mapping.language)
        if tag and other and not fit(code, tag):
            raise DataError(
                f"{file} is {code!r} by its name, and the other file is not: {mapping.native!r} and "
                f"{mapping.language!r} are wanted. Give the two files of that pair, or rename them to end in .txt: the "
                "native one first."
            )
    return files


def _chosen(names: Sequence[str], mapping: ColumnMapping, where: str) -> tuple[str, str]:
    """Return the names of the native and the target file among several.

    Raises:
        DataError: there is no such pair, or more than one.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.removesuffix(".gz").rpartition(".")[0], []).append(name)
    pairs: list[tuple[str, str]] = []
    for group in [*groups.values(), names]:  # all of them last: two may have nothing but the ends in common
        if pairs and group is names:
            break
        native, target = _best(group, mapping.native, where), _best(group, mapping.language, where)
        if native and target:
            pairs.append((native, target))
    if len(pairs) == 1:
        return pairs[0]
    if pairs:
        shown = "; ".join(", ".join(pair) for pair in pairs[:3])
        raise DataError(f"{where} has {len(pairs)} pairs of files: {shown}. Give the two files of one of them.")
    shown = ", ".join(sorted(names)[:6]) or "nothing"
    raise DataError(
        f"{where} has no two files that end in .{mapping.native} and .{mapping.language}, but: {shown}. Check the "
        "language code, or give the two files."
    )


def _best(names: Sequence[str], tag: str, where: str) -> str | None:
    """Return the name whose code fits a tag best: the very tag, else the longest code; unpacked before packed."""
    fits = {name: (undecided(_code(name), tag), len(_code(name)), not name.endswith(".gz")) for name in names}
    best = max(fits.values(), default=(0, 0, False))
    found = [name for name, fit in fits.items() if fit == best]
    if best[0] == 0:
        return None
    if len(found) > 1:
        raise DataError(f"{where} has several files for {tag!r}: {', '.join(found)}. Give the two files to read.")
    return found[0]


def _aligned(native_name: str, natives: Lines, target_name: str, targets: Lines) -> Iterator[Row]:
    for number, (native, target) in enumerate(zip_longest(natives, targets), start=1):
        if native is None or target is None:
            longer = number + sum(1 for _ in (natives if target is None else targets))
            counts = (longer, number - 1) if target is None else (number - 1, longer)
            raise DataError(
                f"{native_name} has {counts[0]} lines and {target_name} has {counts[1]}. Each line must be the "
                "translation of the same line of the other; fetch both again, or find the line where they diverge."
            )
        yield Row(number, {"native": native[1], "target": target[1]})


def _zip_rows(path: Path, mapping: ColumnMapping) -> Iterator[Row]:
    try:
        with zipfile.ZipFile(path) as archive:
            # What macOS puts beside each file has the file's name.
            names = [name for name in archive.namelist() if not PurePosixPath(name).name.startswith("._")]
            native, target = _chosen([name for name in names if not name.endswith("/")], mapping, str(path))
            for name in (native, target):
                if archive.getinfo(name).flag_bits & 1:
                    raise DataError(f"{path}: {name} is encrypted. Unpack it with its password; give the two files.")
            with archive.open(native) as one, archive.open(target) as other:
                names = [f"{path}, {name}" for name in (native, target)]
                unfolding = Unfolding(path)
                yield from _aligned(
                    names[0],
                    unfolding.lines(decoded_lines(one, names[0], mapping.native)),
                    names[1],
                    unfolding.lines(decoded_lines(other, names[1], mapping.language)),
                )
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Copy or fetch the file again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). Copy or fetch the file again.") from error
