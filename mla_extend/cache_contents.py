"""What lies in the cache, how large it is, and what of it nothing uses any more. No torch is needed."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mla_extend.bases.encoding import is_current
from mla_extend.cache import FEATURES, cache_folder
from mla_extend.data.same_pictures import LOOKS, look_space
from mla_extend.database import SIDES, in_use, remove_database
from mla_extend.demo.base import base_place, images_place
from mla_extend.demo.data import data_place
from mla_extend.demo.locales import locales_place
from mla_extend.images.contents import memo_path
from mla_extend.platform import hold_folder
from mla_extend.vector_store import SUFFIX, store_name, summarise

LEFTOVER = ".part"
"""How names end of what was being written."""
DEAD = "left by a process that died"
DAY = 86_400.0
OF_FOLDER = {
    "packages": "archives that the demo is made from",
    "unpacked": "images unpacked from parquet and tar files",
    "datasets": "data sets that the `datasets` library has converted",
    "tables": "pretrained token tables",
}


@dataclass(frozen=True)
class Part:
    """Describe one part of the cache.

    Attributes:
        path: a file or folder.
        what: what it holds, for people.
        size: bytes.
        used: seconds since the epoch when it was last written or opened.
        unused: why nothing will read it again; empty where something may.
    """

    path: Path
    what: str
    size: int
    used: float
    unused: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "path": str(self.path)}


def cache_parts() -> list[Part]:
    """Return the parts of the cache."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    whole = (part for part in _parts(folder) if part.path.suffix != LEFTOVER)
    left = (_part(path, "a half-written part", DEAD) for path in _half_written(folder) if _is_left(path))
    return sorted([*whole, *left], key=lambda part: str(part.path))


def clean(parts: list[Part], unused_for: float | None = None) -> tuple[list[Part], list[Part]]:
    """Remove what nothing will read again; it could all be made again.

    Args:
        parts: of the cache.
        unused_for: remove too what was not used for so many days.

    Returns:
        The parts that were removed, and those that were not since a process has them open or is writing them.
    """
    removed, busy = [], []
    for part in parts:
        old = unused_for is not None and time.time() - part.used > unused_for * DAY
        if not (part.unused or old):
            continue
        if not all(map(_is_left, _half_written(part.path))):
            busy.append(part)
            continue
        is_database = part.path.suffix == SUFFIX or part.path == memo_path()
        if is_database and in_use(part.path):
            busy.append(part)
            continue
        if is_database:
            remove_database(part.path)
        elif part.path.is_dir():
            shutil.rmtree(part.path)
        else:
            part.path.unlink(missing_ok=True)
        removed.append(part)
    return removed, busy


def _parts(folder: Path) -> Iterator[Part]:
    for path in folder.iterdir():
        if path.name == FEATURES and path.is_dir():
            yield from _features(path)
        elif path.name == "demo" and path.is_dir():
            yield from _demo(path)
        elif path.name == LOOKS and path.is_dir():
            yield from _looks(path)
        elif path == memo_path():
            yield _part(path, "hashes of files that were read")
        elif not path.name.endswith(SIDES):
            yield _part(path, OF_FOLDER.get(path.name, ""))


def _features(folder: Path) -> Iterator[Part]:
    for path in (path for base in folder.iterdir() for path in (base.iterdir() if base.is_dir() else [base])):
        if path.suffix == SUFFIX:
            about = summarise(path)
            if about is None:
                yield _part(path, "vectors", "damaged")
                continue
            what = f"{about.count:,} vectors of {path.name.partition('-')[0]}, base {about.name or '?'}"
            yield _part(path, what, "" if is_current(about.space) else "made by another version or other libraries")
        elif not path.name.endswith(SIDES):
            yield _part(path, "vectors", "of a layout that is not read any more")


def _looks(folder: Path) -> Iterator[Part]:
    for path in (path for path in folder.iterdir() if path.suffix == SUFFIX):
        unused = "" if path.name == store_name(LOOKS, look_space()) else "of another version"
        yield _part(path, "what pictures look like, for the leak check", unused)


def _demo(folder: Path) -> Iterator[Part]:
    current = {
        base_place(): "the demo base",
        images_place(): "the demo's pictures",
        data_place(): "the demo's data, a folder a language",
        locales_place(): "the demo's languages",
    }
    for path in folder.iterdir():
        yield _part(path, current.get(path, "the demo"), "" if path in current else "of another version")


def _part(path: Path, what: str, unused: str = "") -> Part:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    used = max((file.stat().st_mtime for file in files if file.exists()), default=path.stat().st_mtime)
    files += [side for end in SIDES if (side := path.with_name(f"{path.name}{end}")).is_file()]
    return Part(path, what, sum(file.stat().st_size for file in files if file.exists()), used, unused)


def _half_written(path: Path) -> list[Path]:
    """Return what is being written at a path and below it, or was when its process died."""
    return [*path.rglob(f".*{LEFTOVER}"), *([path] if path.suffix == LEFTOVER else [])]


def _is_left(path: Path) -> bool:
    """Say whether nobody writes it any more: who fills a folder holds it; what cannot be held is a day old by then."""
    try:
        held = hold_folder(path) if path.is_dir() else None
    except OSError:
        return False
    if held is None:
        return time.time() - path.stat().st_mtime > DAY
    os.close(held)
    return True
