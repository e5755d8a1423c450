"""Check every file of a version against its card before it is loaded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mla_extend.errors import AGAIN, RegistryError
from mla_extend.files import sha256_file
from mla_extend.registry import layout
from mla_extend.registry.card import Card, check_base, read_card
from mla_extend.registry.layout import Version

if TYPE_CHECKING:
    from mla_extend.registry.languages import BaseRegistry


@dataclass(frozen=True)
class Problem:
    """Say what is wrong where, and what to do; `None` where it is of no one language, version or file."""

    base: str
    language: str | None
    version: str | None
    file: str | None
    what: str
    remedy: str

    def __str__(self) -> str:
        """Return it as one line."""
        where = "/".join(part for part in (self.base, self.language, self.version, self.file) if part)
        return f"{where}: {self.what}. {self.remedy}"


def check_version(version: Version, base: "BaseRegistry | None" = None) -> Card:
    """Check every file of a version against its card before anything is loaded; return the card.

    Args:
        version: where it lies.
        base: the registry that it must belong to and lie in; `None` checks the files alone.

    Raises:
        BaseMismatchError: it was made for another base.
        RegistryError: a file is missing, changed or not on the card, or the version lies in the wrong folder; the
            message names the file and both hashes.
    """
    card = read_card(version.folder)
    if base is not None:
        check_base(card, base.base.name, base.base.fingerprint)
    for problem in _file_problems("", version, card) if base is None else version_problems(base, version):
        raise RegistryError(f"{version.folder / (problem.file or '')}: {problem.what}. {problem.remedy}")
    return card


def version_problems(base: "BaseRegistry", version: Version) -> Iterator[Problem]:
    """Give everything that is wrong with one version."""

    def problem(what: str, remedy: str = AGAIN) -> Problem:
        return Problem(base.base.name, version.language, version.name, layout.CARD, what, remedy)

    try:
        card = read_card(version.folder)
    except RegistryError as error:
        yield problem(_sentence(error), "This version cannot be used until then.")
        return
    if card.language != version.language:
        yield problem(f"it is for {card.language!r}, but is in the folder of {version.language!r}")
    if card.version != version.name:
        yield problem(f"it is for the version {card.version}, but is in the folder of {version.name}")
    made_for = str(card.base.get("fingerprint"))
    if made_for != base.base.fingerprint:
        what = (
            f"it was made for the base {card.base.get('name')!r} (fingerprint {made_for[:16]}), and lies with "
            f"{base.base.name!r} (fingerprint {base.base.fingerprint[:16]})"
        )
        yield problem(what, "Move the language to the registry of its own base.")
    yield from _file_problems(base.base.name, version, card)


def _file_problems(base: str, version: Version, card: Card) -> Iterator[Problem]:
    def problem(file: str | None, what: str, remedy: str = AGAIN) -> Problem:
        return Problem(base, version.language, version.name, file, what, remedy)

    if version.folder.is_symlink():
        yield problem(None, "it is a link", "Put a copy of the folder in its place.")
    found = layout.files_in(version.folder)
    for name, recorded in card.files.items():
        path = found.get(name)
        if path is None:
            yield problem(name, f"it is missing; the card records the SHA-256 {recorded}")
        elif path.is_symlink():
            yield problem(name, "it is a link", "Put a copy of the file in its place.")
        elif path.suffix not in layout.SUFFIXES:
            yield problem(name, "files of this kind are never loaded")
        elif (actual := _sha256(path)) != recorded:
            yield problem(name, f"it was changed: the card records the SHA-256 {recorded}, the file has {actual}")
        elif path.suffix == ".safetensors" and (fault := _safetensors_fault(path)) is not None:
            yield problem(name, f"it is not a readable safetensors file ({fault})")
    for name in sorted(found.keys() - card.files.keys() - {layout.CARD}):
        if not name.startswith("."):
            yield problem(name, "it is not on the card, so it cannot be checked", "Move it out of the registry.")


def _sentence(error: RegistryError) -> str:
    return str(error).removesuffix(".")


def _sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        return f"that cannot be read ({error})"


def _safetensors_fault(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - listing needs none of it

    try:
        with safe_open(path, framework="numpy"):
            return None
    except (SafetensorError, OSError) as error:
        return str(error)
