"""The content of files, by their SHA-256: remembered by path, size and time, so that what is unchanged is read once."""

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mla_extend.cache import cache_folder
from mla_extend.database import ASKED_AT_ONCE, Database
from mla_extend.images.pipeline import Picture, picture_key, read_pictures, stamp_of
from mla_extend.progress import SILENT, Progress

SCHEMA = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
"""
WORTH_TELLING = 2_000
"""Files from which on reading them is told of."""


def memo_path() -> Path:
    """Return where the hashes of files are remembered."""
    return cache_folder() / "files.sqlite3"


class Memo:
    """Remember the hashes of files between runs; a context manager."""

    def __init__(self) -> None:
        self._database = Database(memo_path(), SCHEMA)

    def __enter__(self) -> "Memo":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def recall(self, paths: Sequence[Path]) -> list[bytes | None]:
        """Return the SHA-256 of each file `[N]` that is as it was when it was last read, else `None`."""
        found: list[bytes | None] = []
        for start in range(0, len(paths), ASKED_AT_ONCE):
            some = [_storable(path) for path in paths[start : start + ASKED_AT_ONCE]]
            marks = ",".join("?" * len(some))
            rows = self._database.read(f"SELECT path, stamp, sha256 FROM files WHERE path IN ({marks})", some)
            known = {path: (stamp, sha256) for path, stamp, sha256 in rows}
            for path in some:
                stamp, sha256 = known.get(path, ("", None))
                found.append(sha256 if sha256 is not None and stamp == _stamp(path) else None)
        return found

    def keep(self, pictures: Iterable[Picture[Any]]) -> None:
        """Remember the contents of files that were read."""
        self._database.write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
            [
                (_storable(one.item), one.stamp, one.content)
                for one in pictures
                if one.stamp and one.content is not None and _storable(one.item) == os.path.abspath(str(one.item))  # noqa: PTH100
            ],
        )


def content_hashes(paths: Sequence[Path], progress: Progress = SILENT) -> list[bytes | None]:
    """Return the SHA-256 of each file `[N]`, or `None` where it cannot be read.

    A file is read again only where its size, its times or its place on the disk have changed.
    """
    told = progress if len(paths) >= WORTH_TELLING else SILENT
    different = list(dict.fromkeys(paths))
    told.start("Looking at files", total=len(different))
    try:
        with Memo() as memo:
            found = dict(zip(different, memo.recall(different), strict=True))
            unknown = [path for path, content in found.items() if content is None]
            told.advance(len(different) - len(unknown))
            reading = read_pictures(unknown, lambda _: None, wanted=lambda *_: False)
            pictures = zip(unknown, reading, strict=True)
            while read := list(islice(pictures, ASKED_AT_ONCE)):
                found.update((path, picture.content) for path, picture in read)
                memo.keep(picture for _, picture in read)
                told.advance(len(read))
    finally:
        told.finish()
    return [found[path] for path in paths]


def image_keys(paths: Sequence[Path], progress: Progress = SILENT) -> list[bytes]:
    """Return the key of each image or video `[N]`, see `picture_key`."""
    return [picture_key(path, content) for path, content in zip(paths, content_hashes(paths, progress), strict=True)]


def _stamp(path: str) -> str:
    """Return what changes when a file does; empty if it is not there."""
    try:
        return stamp_of(os.stat(path))  # noqa: PTH116 - Path is slower
    except (OSError, ValueError):
        return ""


def _storable(path: object) -> str:
    """Return an absolute path as text that SQLite takes; of a name that is no UTF-8 it is another, never remembered."""
    return os.path.abspath(str(path)).encode("utf-8", "replace").decode()  # noqa: PTH100 - Path is slower
