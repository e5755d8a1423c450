"""Data as the user gave it: `[FORMAT:]PATH[#SPLIT][=WEIGHT]`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mla_extend.data.formats import FORMATS
from mla_extend.data.formats.format import ROLES, ColumnMapping, Format, Role
from mla_extend.data.formats.sentences import Sentences
from mla_extend.data.layouts import LAYOUTS
from mla_extend.errors import DataError
from mla_extend.files import user_path

WEIGHT = re.compile(r"=(\d{1,9}(?:\.\d{1,9})?)$", re.ASCII)
PREFIX = re.compile(r"([a-z][a-z0-9-]+):(.+)", re.DOTALL)
SPLIT = re.compile(r"(.+)#([^#/\\]+)", re.DOTALL)
TRAINING_SPLITS = ("train", "training", "restval")


@dataclass(frozen=True)
class Given:
    """Hold one source of data: what the user wrote, where it lies, and how it is read.

    Attributes:
        text: as the user wrote it, for cards and messages.
        path: of a file or folder; for data sets of the hub, the name behind `hf:`.
        format: reads it.
        split: the part to read, or `None`.
        weight: how often its rows are trained on, beside those of other sources.
    """

    text: str
    path: Path
    format: Format
    split: str | None = None
    weight: float = 1.0

    def mapping(self, mapping: ColumnMapping) -> ColumnMapping:
        """Return what is looked for in it: its own split where it names one."""
        return replace(mapping, split=self.split) if self.split else mapping


def parse_given(text: str, mapping: ColumnMapping, format_name: str | None = None) -> Given:
    """Take apart what the user gave, and find what reads it.

    A text that is, whole, the path of something is taken as that path, whatever characters it holds.

    Args:
        text: `[FORMAT:]PATH[#SPLIT][=WEIGHT]`, for example `moses:corpus.en,corpus.sw`, `multi30k:data#train`, or
            `news.tsv=0.5`.
        mapping: the languages and columns looked for.
        format_name: the format's name, in place of a prefix.

    Raises:
        DataError: there is nothing there, its format is not known, or the weight is 0.
    """
    rest, name, split, weight = text.strip(), format_name, None, 1.0
    if not rest:
        raise DataError("The path of a data file is empty. Give a file.")
    if not _is_there(rest):
        if found := WEIGHT.search(rest):
            weight, rest = float(found[1]), rest[: found.start()]
            if weight == 0:
                raise DataError(f"{text!r} has the weight 0, so that it would not be read. Leave it out.")
        prefix = PREFIX.fullmatch(rest)
        if prefix and prefix[1] in names():
            name, rest = prefix[1], prefix[2]
        if not _is_there(rest) and (parts := SPLIT.fullmatch(rest)):
            rest, split = parts.groups()
    path = user_path(rest)
    reader = by_name(name) if name else recognise(path, mapping)
    reader.check(path)
    return Given(text.strip(), path, reader, split, weight)


def _is_there(text: str) -> bool:
    try:
        return user_path(text).exists()
    except DataError:
        return False


def parse_sentences(text: str) -> Given:
    """Return what the user gave as text of the language: a file's path.

    Raises:
        DataError: there is nothing there.
    """
    path = user_path(text.strip())
    reader = Sentences()
    reader.check(path)
    return Given(text.strip(), path, reader)


def names() -> list[str]:
    """Return the names of all formats and layouts."""
    return [known.name for known in (*FORMATS, *LAYOUTS)]


def by_name(name: str) -> Format:
    """Return a format or layout by its name.

    Raises:
        DataError: there is none of that name.
    """
    for known in (*LAYOUTS, *FORMATS):
        if known.name == name:
            return known
    raise DataError(f"There is no format {name!r}. Known: {', '.join(names())}.")


def recognise(path: Path, mapping: ColumnMapping) -> Format:
    """Return the format of the data at a path.

    Raises:
        DataError: there is nothing there, or nothing that reads it.
    """
    for known in (*LAYOUTS, *FORMATS):
        if known.recognises(path, mapping):
            return known
    if path.is_dir():
        raise DataError(
            f"{path} is a folder, of none of the known layouts. Give a file, or name its layout "
            f"({', '.join(layout.name for layout in LAYOUTS)}) as in {LAYOUTS[0].name}:{path}"
        )
    if not path.exists():
        raise DataError(f"{path} does not exist. Check the path.")
    suffixes = ", ".join(suffix for known in FORMATS for suffix in known.suffixes)
    raise DataError(
        f"{path}: the format of {path.suffix or 'a file without suffix'!r} is not known. Known: {suffixes}. "
        f"If it has another name, say what it is with --format ({', '.join(names())})."
    )


def parse_columns(text: str | None) -> dict[Role, str]:
    """Return `native=a,target=b` as column names by role, lower-cased.

    Raises:
        DataError: a role is not one of `native`, `target`, `image`, `text`, or a name is missing.
    """
    columns: dict[Role, str] = {}
    for part in (text or "").split(",") if text else []:
        role, equals, name = part.partition("=")
        known = next((known for known in ROLES if known == role.strip()), None)
        if known is None or not equals or not name.strip():
            raise DataError(
                f"{part!r} names no column. Give ROLE=COLUMN, the roles being {', '.join(ROLES)}, with commas between: "
                "--columns native=src,target=tgt"
            )
        columns[known] = name.strip().lower()
    return columns


def split_of(given: Given, mapping: ColumnMapping, preferred: Sequence[str] = ()) -> str | None:
    """Return the split of a source that is to be read: the one it names, its only one, or a preferred one.

    Raises:
        DataError: there is no such split, or there are several and none is preferred.
    """
    there = given.format.splits(given.path, mapping)
    if not there:
        raise DataError(
            f"{given.path} holds nothing for the language {mapping.language!r} (read as {given.format.name}). Check "
            "the language code and the layout."
        )
    if given.split is not None:
        if given.split not in there:
            known = f"Its splits: {', '.join(there)}." if there != ("",) else "It has no splits."
            raise DataError(f"{given.path} has no split {given.split!r}. {known}")
        return given.split
    if len(there) == 1:
        return there[0] or None
    for name in preferred:
        if name in there:
            return name
    raise DataError(f"{given.path} has several splits. Say which: {given.path}#{there[0]} ({', '.join(there)}).")
