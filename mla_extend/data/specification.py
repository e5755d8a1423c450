"""How users write what to read: `[FORMAT:]PATH[#SPLIT][=WEIGHT]`, and `ROLE=COLUMN,...`."""

import re
from pathlib import Path

from mla_extend.data.formats import FORMATS
from mla_extend.data.formats.format import ROLES, ColumnMapping, Format, Role
from mla_extend.data.layouts import LAYOUTS
from mla_extend.errors import DataError
from mla_extend.files import user_path

WEIGHT = re.compile(r"=(\d{1,9}(?:\.\d{1,9})?)$", re.ASCII)
PREFIX = re.compile(r"([a-z][a-z0-9-]+):(.+)", re.DOTALL)
SPLIT = re.compile(r"(.+)#([^#/\\]+)", re.DOTALL)


def parse_specification(
    text: str, mapping: ColumnMapping, format_name: str | None = None
) -> tuple[Path, Format, str | None, float]:
    """Return path, format, split and weight of a source of data.

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
                raise DataError(f"{text!r} has weight 0, so it would not be used. Leave it out.")
        prefix = PREFIX.fullmatch(rest)
        if prefix and prefix[1] in names():
            name, rest = prefix[1], prefix[2]
        if not _is_there(rest) and (parts := SPLIT.fullmatch(rest)):
            rest, split = parts.groups()
    path = user_path(rest)
    reader = by_name(name) if name else recognise(path, mapping)
    reader.check(path)
    return path, reader, split, weight


def _is_there(text: str) -> bool:
    try:
        return user_path(text).exists()
    except DataError:
        return False


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
            f"{path} is a folder in none of the known layouts. Give a file, or name its layout "
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
