"""The content of files, by their SHA-256: remembered by path, size and time, so that what is unchanged is read once."""

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mla_extend.cache import cache_folder
from mla_extend.database import ASKED_AT_ONCE, Database
from mla_extend.files import sha256_file
from mla_extend.images.video import is_video, video_key
from mla_extend.progress import SILENT, Progress

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
"""
READERS = 4
"""Threads that read files: hashing frees the interpreter."""
TOO_YOUNG = 2.0
"""Seconds since its last change within which a file is not remembered: another change could leave the same time."""
WORTH_TELLING = 2_000
"""Files from which on reading them is told of."""


def memo_path() -> Path:
    """Return where the hashes of files are remembered."""
    return cache_folder() / "files.sqlite3"


def content_hashes(paths: Sequence[Path], progress: Progress = SILENT) -> list[bytes | None]:
    """Return the SHA-256 of each file `[N]`, or `None` where it cannot be read.

    A file is read again only where its size, its times or its place on the disk have changed.
    """
    memo = Database(memo_path(), SCHEMA)
    told = progress if len(paths) >= WORTH_TELLING else SILENT
    found: list[bytes | None] = []
    told.start("Looking at files", total=len(paths))
    try:
        with ThreadPoolExecutor(READERS) as readers:
            for start in range(0, len(paths), ASKED_AT_ONCE):
                some = [os.path.abspath(path) for path in paths[start : start + ASKED_AT_ONCE]]  # noqa: PTH100 - Path is slower
                found += _hashes(some, memo, readers)
                told.advance(len(some))
    finally:
        told.finish()
        memo.close()
    return found


def image_keys(paths: Sequence[Path], progress: Progress = SILENT) -> list[bytes]:
    """Return the key of each image or video `[N]`: the hash of its bytes, wherever it lies, and how frames are taken.

    One that cannot be read has a key of its own, under which nothing is ever kept.
    """
    return [
        hashlib.sha256(f"unreadable {path}".encode("utf-8", "replace")).digest()
        if content is None
        else video_key(content.hex())
        if is_video(path)
        else content
        for path, content in zip(paths, content_hashes(paths, progress), strict=True)
    ]


def _hashes(paths: list[str], memo: Database, readers: ThreadPoolExecutor) -> list[bytes | None]:
    stamps = {path: _stamp(path) for path in paths}
    known = {
        path: sha256
        for path, stamp, sha256 in memo.read(
            f"SELECT path, stamp, sha256 FROM files WHERE path IN ({','.join('?' * len(stamps))})",
            [_storable(path) for path in stamps],
        )
        if stamp == stamps.get(path, "")
    }
    unknown = [path for path, stamp in stamps.items() if stamp is not None and path not in known]
    read = dict(zip(unknown, readers.map(_read, unknown), strict=True))
    young = time.time() - TOO_YOUNG
    memo.write(
        "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
        [
            (path, stamps[path], content)
            for path, (content, changed) in read.items()
            if content is not None and changed < young and _stamp(path) == stamps[path] and _storable(path) == path
        ],
    )
    return [known[path] if path in known else read.get(path, (None, 0.0))[0] for path in paths]


def _stamp(path: str) -> str | None:
    """Return what changes when a file does, or `None` if it is not there."""
    try:
        about = os.stat(path)  # noqa: PTH116 - Path is slower
    except (OSError, ValueError):
        return None
    return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}"


def _read(path: str) -> tuple[bytes | None, float]:
    """Return a file's SHA-256, and when it was last changed."""
    try:
        about = os.stat(path)  # noqa: PTH116
        return bytes.fromhex(sha256_file(Path(path))), max(about.st_mtime, about.st_ctime)
    except OSError:
        return None, 0.0


def _storable(path: str) -> str:
    """Return a path as text that SQLite takes; a name that is no UTF-8 becomes another, which is never remembered."""
    return path.encode("utf-8", "replace").decode()
