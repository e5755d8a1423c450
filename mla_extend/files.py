"""Files that are never half there: hashing, atomic writing, atomic publishing. Standard library only."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mla_extend.platform import open_folder, sync_flags

CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (no effect where folders cannot be opened, as on Windows)."""
    descriptor = open_folder(folder)
    if descriptor is None:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, sync_flags())
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path to write to; on success it becomes `path` in one step, on failure nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes `folder` in one rename, on failure nothing is left of it.

    If `folder` has come into being meanwhile (another process was quicker), that one stays and ours is dropped.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    temporary.mkdir()
    try:
        yield temporary
        publish_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def publish_folder(temporary: Path, folder: Path) -> bool:
    """Rename a filled folder to its final name after everything in it is durable; return False if the name is taken."""
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(temporary)
    try:
        temporary.rename(folder)
    except OSError:
        if folder.exists():
            return False
        raise
    sync_folder(folder.parent)
    return True


def dump_json(value: Any) -> str:
    """Return JSON for people and diffs: indented, UTF-8, no NaN."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(dump_json(value), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; raise OSError or ValueError as the standard library does."""
    return json.loads(path.read_text(encoding="utf-8"))
