"""Files that are never half there: hashing, atomic writing, atomic publishing. Standard library only."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from mla_extend.errors import REMEDIES, DataError, DiskError, MlaExtendError
from mla_extend.platform import hold_folder, open_folder, swap_folders, sync_flags

CHUNK = 1 << 20
UNSYNCED = {errno.EINVAL, errno.ENOTSUP}
"""What a file system answers that keeps no order of its own for the names in a folder, as some networked ones do."""
CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
"""What numpy says of a disk that took a part alone."""


def user_path(text: str | Path) -> Path:
    """Return the path that a user named, `~` being a home.

    Raises:
        DataError: nothing can have that path.
    """
    try:
        path = Path(text).expanduser()
        path.exists()
    except RuntimeError as error:
        raise DataError(f"{text}: there is no such user's home. Write the path out.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{str(text)[:80]!r} and so on is longer than any path. Check it.") from error
    return path


def is_there(path: Path) -> bool:
    """Say whether a path is that of a file; a text that is too long for a path, or holds NUL, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def open_plain(path: Path) -> BinaryIO:
    """Open a file to read its bytes; raise OSError of what is no plain file, such as a pipe, which would never end."""
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")  # noqa: PTH123, SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "It is no plain file", str(path))
    return file


def read_plain(path: Path) -> bytes:
    """Return a plain file's bytes; raises as `open_plain`."""
    with open_plain(path) as file:
        return file.read()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a plain file's bytes, in hexadecimal."""
    with open_plain(path) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Let whatever a library raises over a disk that is full, fails or may not be written name the path.

    An error that names another path than what is written beside this one keeps it: it may be one that is read.

    Raises:
        DiskError: in place of an OSError, and of what libraries raise that are not written in Python.
    """
    try:
        yield
    except MlaExtendError:
        raise
    except Exception as error:
        number = _disk_fault(error)
        if number is None:
            raise
        named = str(getattr(error, "filename", None) or path)
        raise DiskError(number, os.strerror(number), str(path) if f".{path.name}." in named else named) from error


def _disk_fault(error: Exception) -> int | None:
    """Return the number of the system's error behind an exception, `None` if no disk is behind it."""
    if isinstance(error, OSError) and error.errno:
        return error.errno if error.errno in REMEDIES else None
    said = str(error)
    if CUT_SHORT.search(said):
        return errno.ENOSPC
    return next((number for number in REMEDIES if os.strerror(number) in said), None)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (no effect where folders cannot be opened, as on Windows)."""
    descriptor = open_folder(folder)
    if descriptor is None:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, sync_flags())
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make everything in a folder durable."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sync_file(path)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are not there, all of them durable."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path to write to; on success it becomes `path` in one step, on failure nothing is left of it."""
    with folder_beside(path) as folder:
        temporary = folder / path.name
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes `folder` in one rename, on failure nothing is left of it.

    If `folder` has come into being meanwhile (another process was quicker), that one stays and ours is dropped.
    """
    with folder_beside(folder) as temporary:
        yield temporary
        publish_folder(temporary, folder)


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Give a new folder beside a path, gone afterwards; what processes that died have left of that name goes first.

    A process holds its folder as long as it lives. Where folders cannot be held (Windows), what was left stays.

    Raises:
        DiskError: the disk is full, fails or may not be written.
    """
    with writing_to(path):
        make_folder(path.parent)
        sweep_beside(path)
        folder, held = _held_folder(path)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if held is not None:
                os.close(held)


def sweep_beside(path: Path) -> None:
    """Take away what processes that died have left beside a path."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):  # another process holds it, or has just taken it away
            held = hold_folder(left)
            if held is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(held)


def _held_folder(path: Path) -> tuple[Path, int | None]:
    while True:
        folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        folder.mkdir()
        try:
            held = hold_folder(folder)
        except OSError:  # another process took it for one that was left
            continue
        if folder.is_dir():
            return folder, held


def publish_folder(temporary: Path, folder: Path, *, replace: bool = False) -> bool:
    """Rename a filled folder to its final name after everything in it is durable; return False if the name is taken.

    Where it is to be replaced, what had the name takes the temporary one.
    """
    sync_tree(temporary)
    try:
        if replace and folder.exists():
            swap_folders(temporary, folder)
        else:
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
    """Read a plain JSON file; raise OSError, or ValueError of what is no JSON or too deep."""
    return parse_json(read_plain(path).decode())


def parse_json(text: str | bytes) -> Any:
    """Return the value of JSON; raise ValueError of what is none, or too deep, of which the library says otherwise."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
