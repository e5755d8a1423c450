"""Where things lie in a registry, and which names may lie there. Reading only; nothing here writes.

<root>/<base>/base.json
<root>/<base>/<language>/current
<root>/<base>/<language>/<version>/card.json, README.md, adapter_config.json, ...
<root>/<base>/<language>/<version>/.pending    only until it is in use for the first time
<root>/<base>/.history/<language>.jsonl
<root>/<base>/.work/
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mla_extend.data.codes import MAX_LENGTH, TAG
from mla_extend.errors import LanguageError, RegistryError
from mla_extend.files import read_plain

BASE_FILE = "base.json"
CARD = "card.json"
CURRENT = "current"
HISTORY = ".history"
LOCK = ".lock"
PENDING = ".pending"
"""In a version whose publishing has not come to its end: where it is not in use, it is none yet."""
README = "README.md"
RECEIVED = ".received.json"
"""Beside the files of a version from elsewhere: where it came from, and the proof made here. It is not packed again."""
WORK = ".work"

SUFFIXES = frozenset({".json", ".jsonl", ".md", ".model", ".png", ".safetensors"})
"""Kinds of file that a version may hold: none of them can run code when it is loaded."""

VERSION_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[0-9a-f]{4}", re.ASCII)
MOMENT = "%Y-%m-%dT%H-%M-%SZ"
BASE_NAME = re.compile(r"\w[\w.-]{0,149}")
RESERVED = frozenset({"aux", "con", "nul", "prn"})
"""Codes of languages that Windows does not take as names of folders; they get an underscore, which no tag has."""


@dataclass(frozen=True)
class Version:
    """Point at one published version of a language.

    Attributes:
        language: the language's tag.
        name: when it was made, and four digits of chance.
        folder: where its files lie.
    """

    language: str
    name: str
    folder: Path


def check_language(language: str) -> str:
    """Return the tag if it can name a language's folder.

    Raises:
        LanguageError: it does not have the form of a BCP-47 tag, so that it could point anywhere.
    """
    if len(language) > MAX_LENGTH or not TAG.fullmatch(language):
        raise LanguageError(
            f"{language!r} cannot name a language in a registry. Give a BCP-47 tag, such as sw or pt-BR."
        )
    return language


def check_base_name(name: str) -> str:
    """Return the name if it can name a base's folder.

    Raises:
        RegistryError: it is not one plain folder name.
    """
    if not BASE_NAME.fullmatch(name) or name.endswith(".") or name.lower().partition(".")[0] in RESERVED:
        raise RegistryError(
            f"{name!r} cannot name a base in a registry. Use letters, digits, '-', '_' and '.', at most 150 of them, "
            "beginning with a letter or digit."
        )
    return name


def folder_name(language: str) -> str:
    """Return the name of a language's folder: its tag, on any file system."""
    return f"{language}_" if language.lower() in RESERVED else language


def language_of(folder: str) -> str | None:
    """Return the language whose folder has this name, or `None` if no language's has."""
    language = folder.removesuffix("_")
    return language if TAG.fullmatch(language) and folder_name(language) == folder else None


def is_version_name(name: str) -> bool:
    """Tell whether a folder of this name holds a version."""
    return moment_of(name) is not None


def moment_of(name: str) -> datetime | None:
    """Return when the version of this name was made; `None` if it is no version's."""
    if VERSION_NAME.fullmatch(name) is None:
        return None
    try:
        return datetime.strptime(name[:-5], MOMENT).replace(tzinfo=UTC)
    except ValueError:  # a month 99
        return None


def is_pending(version: Path) -> bool:
    """Tell whether the publishing of a version was cut off before it was in use."""
    try:
        return (version / PENDING).exists() and read_current(version.parent) != version.name
    except RegistryError:
        return False  # which one is in use cannot be told


def files_in(folder: Path) -> dict[str, Path]:
    """Return every file under a folder by its relative path with `/`, in order, links included."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return dict(sorted((path.relative_to(folder).as_posix(), path) for path in found))


def read_current(language_folder: Path) -> str | None:
    """Return the name of the version in use, or `None` if there is none, so that there is no such language.

    Raises:
        RegistryError: the file cannot be read, or does not hold the name of a version.
    """
    path = language_folder / CURRENT
    try:
        name = read_plain(path).decode().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path} cannot be read ({error}). {_REMEDY}") from error
    if not is_version_name(name):
        raise RegistryError(f"{path} holds {name[:80]!r}, which is not the name of a version. {_REMEDY}")
    return name


_REMEDY = "Write the name of one of the versions beside it into it, or publish the language again."


def is_foreign(folder: Path) -> bool:
    """Say whether a version came from elsewhere."""
    return (folder / RECEIVED).exists()
