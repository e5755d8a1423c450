"""Whether the files of the other languages are as they were, in milliseconds however many there are.

A file is hashed once on a machine. It is read again only where its size, its times (of its content and of its entry on
the disk, to the nanosecond) or its place on the disk have changed; one that changed within the last two seconds is read
in any case. What no write of the system has changed, as a disk that forgets, is for `verify` to find, which reads all.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.errors import CacheError, IsolationError
from mla_extend.files import sha256_file
from mla_extend.images.contents import content_hashes
from mla_extend.registry import layout

if TYPE_CHECKING:
    from mla_extend.registry.languages import BaseRegistry

Prove = Callable[[], Mapping[str, Any]]


def hash_others(registry: "BaseRegistry", skip: str | None) -> dict[str, dict[str, str]]:
    """Return for each language but `skip` the SHA-256 of each of its files, of all versions, by path.

    That of a file that cannot be read is empty.
    """
    found = {tag: layout.files_in(registry.folder_of(tag)) for tag in registry.tags() if tag != skip}
    hashes = iter(_hashes([path for files in found.values() for path in files.values()]))
    return {tag: {name: next(hashes) for name in files} for tag, files in found.items()}


def manifest_hash(files: Mapping[str, str]) -> str:
    """Return the SHA-256 over the paths and hashes of files, in order."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def try_proof(prove: Prove) -> dict[str, Any] | None:
    """Return a proof made while other processes may write; `None` where it failed, perhaps because one did."""
    with suppress(IsolationError, OSError):
        return dict(prove())
    return None


def holds(registry: "BaseRegistry", language: str, proof: Mapping[str, Any] | None) -> bool:
    """Tell whether the files of all other languages are those of which a proof was made; the caller holds the lock."""
    if proof is None:
        return False
    lines = proof.get("languages")
    then = {tag: line["files"] for tag, line in (lines or {}).items() if tag != registry.base.native}
    return lines is None or then == {tag: manifest_hash(now) for tag, now in hash_others(registry, language).items()}


def _hashes(paths: list[Path]) -> list[str]:
    try:
        return [found.hex() if found is not None else "" for found in content_hashes(paths)]
    except CacheError:  # where nothing can be remembered, all is read
        return [_hash(path) for path in paths]


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""
