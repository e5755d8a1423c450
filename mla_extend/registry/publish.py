"""The steps of publishing and removing, each safe to be cut off at any moment.

The caller holds the lock, but for the checks and `complete`, which touch the staged folder alone.
"""

import contextlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mla_extend.bases.identity import BaseIdentity
from mla_extend.errors import RegistryError
from mla_extend.files import atomic_path, make_folder, publish_folder, sha256_file, sync_folder, sync_tree
from mla_extend.registry import layout
from mla_extend.registry.card import SCHEMA, Card, card_text, check_base
from mla_extend.registry.history import ADD, REPLACE, in_use, recorded
from mla_extend.registry.layout import Version
from mla_extend.registry.model_card import model_card

REMOVED = "removed."
"""How the name of a removed folder begins in the working folder; no tag has a dot."""
_DIGITS = 1 << 16


def check_staged(staged: Path, work: Path) -> None:
    """Check that a folder may become a version.

    Raises:
        RegistryError: it is not in the working folder, is empty, or holds a file that is not published.
    """
    if not staged.is_dir() or work.resolve() not in staged.resolve().parents:
        raise RegistryError(f"{staged} is not a folder in {work}. Write the version's files in a work_folder().")
    (staged / layout.PENDING).unlink(missing_ok=True)  # where a publish was cut off
    files = layout.files_in(staged)
    if not files:
        raise RegistryError(f"{staged} is empty. Save the language in it first.")
    for name, path in files.items():
        if path.is_symlink() or not path.is_file() or path.stat().st_nlink > 1:
            raise RegistryError(f"{path} is a link. A version shares no file: put a copy in its place.")
        if path.suffix not in layout.SUFFIXES:
            kinds = ", ".join(sorted(layout.SUFFIXES))
            raise RegistryError(f"{name} in {staged} is not of a kind that is published ({kinds}). Remove it.")


def check_card(card: Card, language: str, base: BaseIdentity) -> None:
    """Check that a card belongs to what is being published.

    Raises:
        BaseMismatchError: it is of another base.
        RegistryError: it is of another language.
    """
    if card.language != language:
        raise RegistryError(
            f"The card is of {card.language!r}, and {language!r} is to be published. Give its own card."
        )
    check_base(card, base.name, base.fingerprint)


def put(folder: Path, staged: Path, language: str, name: str, *, isolation: Mapping[str, Any] | None = None) -> Version:
    """Publish a staged folder that is complete, under a name, as the version in use of a language.

    Args:
        folder: where the language lies, or will lie.
        staged: becomes the version; it is put back if anything fails.
        language: its tag.
        name: of the version.
        isolation: the proof for the record, where the version's card has another.

    Raises:
        RegistryError: a version of that name has come into being.
    """
    version = Version(language, name, folder / name)
    before = in_use(folder)
    try:
        (staged / layout.PENDING).touch()
        make_folder(folder)
        if not publish_folder(staged, version.folder):
            raise RegistryError(f"{version.folder} was created by another process meanwhile. Try again.")
        _set_modes(version.folder, 0o444)  # against an editor's slip
        with recorded(folder, language, REPLACE if before else ADD, before, name, isolation=isolation):
            set_current(folder, name)
    except BaseException:
        with contextlib.suppress(OSError):
            if (version.folder / layout.PENDING).exists() and in_use(folder) != name:
                version.folder.rename(staged)
            folder.rmdir()  # it goes only if it is empty, after a failed first publish
        raise
    settle(folder)
    return version


def settle(folder: Path) -> None:
    """Bring to its end what cut-off publishing has left of a language: a version in use stays, a pending one goes."""
    for mark in folder.glob(f"*/{layout.PENDING}"):
        if layout.is_pending(mark.parent):
            remove(mark.parent, folder.parent / layout.WORK)
        elif in_use(folder) is not None:
            with contextlib.suppress(OSError):  # a version in use is one with the mark too
                mark.unlink()


def set_current(folder: Path, name: str) -> None:
    """Put a version into use."""
    with atomic_path(folder / layout.CURRENT) as path:
        path.write_text(f"{name}\n", encoding="utf-8")


def remove(folder: Path, work: Path) -> None:
    """Take a language or a version out of the registry by one rename, then delete what it held."""
    make_folder(work)
    gone = work / f"{REMOVED}{folder.name}.{secrets.token_hex(4)}"
    folder.rename(gone)
    sync_folder(folder.parent)
    sync_folder(work)
    _delete(gone)


def sweep(base_folder: Path, language: str) -> None:
    """Delete what cut-off removals left, and what cut-off publishing left under this tag.

    Raises:
        RegistryError: the folder holds something that no publish left there.
    """
    work = base_folder / layout.WORK
    sweep_removed(work)
    for folder in base_folder.iterdir():
        named = layout.language_of(folder.name)
        if named is None or named.lower() != language.lower():
            continue
        if (folder / layout.CURRENT).exists():
            settle(folder)
            continue
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else [""]
        if not all(layout.is_version_name(name) or fnmatchcase(name, f".{layout.CURRENT}.*.part") for name in names):
            raise RegistryError(f"{folder} is in the way: it is not a language's folder. Move it elsewhere.")
        remove(folder, work)


def sweep_removed(work: Path) -> None:
    """Delete what cut-off removals left."""
    for gone in work.glob(f"{REMOVED}*"):
        _delete(gone)


def _new_name(folder: Path) -> str:
    """Return a name of this second that no version has.

    Names in order are versions in the order of their publishing, as long as the clock is right and none comes from
    elsewhere; the record knows it in any case.
    """
    second = f"{datetime.now(UTC):{layout.MOMENT}}-"
    taken = {int(path.name[-4:], 16) for path in folder.glob(f"{second}*") if layout.is_version_name(path.name)}
    digits = max(taken) + 1 if taken else secrets.randbelow(_DIGITS // 2)
    if digits == _DIGITS:
        digits = min(set(range(_DIGITS)) - taken)
    return f"{second}{digits:04x}"


def complete(folder: Path, staged: Path, card: Card, proof: Mapping[str, Any]) -> str:
    """Write the model card and the card of a staged folder, and make all durable; return the name of the version.

    Args:
        folder: where the language lies, or will lie.
        staged: becomes the version.
        card: what is known of it, without name, time, sizes, hashes and proof.
        proof: that nothing else moved.
    """
    name = _new_name(folder)
    files = layout.files_in(staged)
    size = sum(path.stat().st_size for name, path in files.items() if name not in {layout.CARD, layout.README})
    created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    card = replace(card, version=name, isolation=dict(proof), created=created, bytes=size, schema=SCHEMA)
    card = Card(**card.to_json())  # as it will be read; what is wrong in it is said before anything is written
    (staged / layout.README).write_text(model_card(card), encoding="utf-8")
    hashes = {name: sha256_file(path) for name, path in layout.files_in(staged).items() if name != layout.CARD}
    (staged / layout.CARD).write_text(card_text(replace(card, files=hashes).to_json()), encoding="utf-8")
    sync_tree(staged)
    return name


def _set_modes(folder: Path, mode: int) -> None:
    for name, path in layout.files_in(folder).items():
        with contextlib.suppress(OSError):  # a file system without permissions is no failure
            if name != layout.PENDING:
                path.chmod(mode)


def _delete(folder: Path) -> None:
    # What cannot be deleted now is swept at the next publish. Some systems delete no read-only file.
    _set_modes(folder, 0o644)
    shutil.rmtree(folder, ignore_errors=True)
