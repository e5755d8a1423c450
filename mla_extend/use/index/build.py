"""Encode images and videos into an index: what is new or changed, once.

A file is unchanged where its size and time are as they were, or else its SHA-256. A file with the bytes of another
takes its vector over. Names that begin with a dot are left out; a folder that links lead to twice is read once.
"""

import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mla_extend.bases.base import Base
from mla_extend.bases.video import SUFFIXES as VIDEOS
from mla_extend.bases.video import is_video
from mla_extend.errors import BaseError, DataError
from mla_extend.files import sha256_file
from mla_extend.images.open import open_image
from mla_extend.progress import SILENT, Progress
from mla_extend.use.index.graph import refresh_graph
from mla_extend.use.index.store import About, Item, Store, Vectors, writing

IMAGES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
"""What marks a file of a folder as an image; a file that is given by itself may have any name."""
BATCH = 16
"""Images opened and encoded together: at 12 million pixels, 600 MB."""
KEPT = 256
"""Images after which the index is written."""
SECONDS = 30.0
"""Seconds after which it is written where images take long."""
READERS = 4
"""Threads that open images while others are encoded."""


@dataclass
class Summary:
    """Say what was done.

    Attributes:
        index: the index's folder.
        base: name of its base.
        base_stated: whether the base is known; false where vectors were taken in and nobody said whose they are.
        added: images that were encoded, or taken in.
        reused: images whose bytes were there already under another name.
        unchanged: images that were as they were.
        dropped: images whose files are gone, or cannot be read any more.
        failed: what could not be used: its path and the reason.
        count: images in the index now.
        seconds: what it took.
    """

    index: Path
    base: str
    base_stated: bool = True
    added: int = 0
    reused: int = 0
    unchanged: int = 0
    dropped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return {
            "index": str(self.index),
            "base": self.base,
            "base_stated": self.base_stated,
            "added": self.added,
            "reused": self.reused,
            "unchanged": self.unchanged,
            "dropped": self.dropped,
            "failed": [{"path": path, "reason": reason} for path, reason in self.failed],
            "count": self.count,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Found:
    """A file that may be an image: its absolute path, size in bytes and time in nanoseconds."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class _Opened:
    """A file that was read: its hash, and its picture, or the reason why there is none."""

    found: Found
    hash: bytes | None = None
    picture: Image.Image | None = None
    reason: str = ""


def index_images(source: Path, folder: Path, base: Base, progress: Progress = SILENT) -> Summary:
    """Bring an index up to date with a folder of images and videos, or add one file to it.

    Args:
        source: the folder, or the file.
        folder: of the index; it is made if it is not there.
        base: encodes the images.
        progress: told of what is encoded.

    Raises:
        DataError: there is no image at `source`, or the index cannot be used.
        BaseMismatchError: the index was made with another base.
        BaseError: the base has no image tower.
    """
    began = time.perf_counter()
    identity = base.identity
    summary = Summary(folder, identity.name)
    failed: list[tuple[str, str]] = []
    files = find_images(source, failed)
    if not files and not failed:
        raise DataError(
            f"{source} holds no image or video: no name ends in {', '.join(sorted(IMAGES | VIDEOS))}. Give a folder "
            "that does."
        )
    with writing(folder) as store:
        store.check(identity.name, identity.fingerprint)
        _Run(store, base, summary, progress).bring_up_to_date(files)
        summary.failed[:0] = failed
        if absolute(source).is_dir():
            summary.dropped += store.drop(_gone(store.below(absolute(source)), {str(f.path) for f in files}))
        store.tidy()
        refresh_graph(store, progress)
        summary.count = store.count()
        summary.base_stated = store.about is None or store.about.stated
    summary.seconds = time.perf_counter() - began
    return summary


def find_images(source: Path, failed: list[tuple[str, str]]) -> list[Found]:
    """Return the images and videos below a folder in the order of their paths, or a file that is given by itself.

    Args:
        source: the folder or file.
        failed: takes what cannot be looked at, with the reason.

    Raises:
        DataError: it is not there.
    """
    root = absolute(source)
    try:
        about = root.stat()
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror or error}). Check the path.") from error
    if not stat.S_ISDIR(about.st_mode):
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{source} is neither a folder nor a file. Give a folder of images, or an image.")
        return [Found(root, about.st_size, about.st_mtime_ns)]
    return sorted(_walk(root, set(), failed), key=lambda found: found.path)


def absolute(path: Path) -> Path:
    """Return a path from the root on, without `..`, in which links stay as they are named."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def _walk(folder: Path, seen: set[tuple[int, int]], failed: list[tuple[str, str]]) -> Iterator[Found]:
    """Give the images below a folder; `seen` holds the folders read so far, so that links make no loop."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            about = here.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            failed.append((_shown(here), f"The folder cannot be read ({error.strerror or error})."))
            continue
        folders = []
        for entry in entries:
            path = here / entry.name
            if entry.name.startswith("."):
                continue
            try:
                # Real folders come before links to them, so that a file goes by its own name.
                if entry.is_dir():
                    folders.append((entry.is_symlink(), path))
                elif path.suffix.lower() in IMAGES | VIDEOS:
                    about = entry.stat()
                    if stat.S_ISREG(about.st_mode):
                        yield _named(Found(path, about.st_size, about.st_mtime_ns))
            except OSError as error:
                failed.append((_shown(path), f"It cannot be read ({error.strerror or error})."))
            except UnicodeEncodeError:
                failed.append((_shown(path), "Its name is not valid UTF-8. Rename it."))
        waiting.extend(path for _, path in sorted(folders, reverse=True))


def _named(found: Found) -> Found:
    """Return a file whose name can be kept; raise UnicodeEncodeError where it cannot."""
    str(found.path).encode("utf-8")
    return found


def _shown(path: Path) -> str:
    return str(path).encode("utf-8", "replace").decode("utf-8")


def _gone(names: list[str], found: set[str]) -> list[str]:
    """Return the names whose files are no more; one in a folder that cannot be read just now stays."""
    gone = []
    for name in names:
        if name in found:
            continue
        try:
            os.stat(name)  # noqa: PTH116 - many
        except (FileNotFoundError, NotADirectoryError):
            gone.append(name)
        except OSError:
            continue
    return gone


class _Run:
    """Bring one index up to date."""

    def __init__(self, store: Store, base: Base, summary: Summary, progress: Progress) -> None:
        self.store = store
        self.base = base
        self.summary = summary
        self.progress = progress
        self.items: list[Item] = []
        self.vectors: list[Vectors] = []
        self.written = time.monotonic()

    def bring_up_to_date(self, files: list[Found]) -> None:
        """Encode what is new or changed, and write it every now and then; what was encoded is kept if it is stopped."""
        wanted = [found for found in files if not self._is_unchanged(found)]
        self.progress.start("Encoding images", total=len(wanted))
        try:
            with ThreadPoolExecutor(READERS) as readers:
                batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
                opening = [readers.submit(_open, found) for found in batches[0]] if batches else []
                for place in range(len(batches)):
                    opened = [one.result() for one in opening]
                    following = batches[place + 1] if place + 1 < len(batches) else []
                    opening = [readers.submit(_open, found) for found in following]
                    self._take(opened)
                    self.progress.advance(len(opened))
                    if len(self.items) >= KEPT or time.monotonic() - self.written > SECONDS:
                        self._write()
        except KeyboardInterrupt:
            self._write()
            raise
        finally:
            self.progress.finish()
        self._write()

    def _is_unchanged(self, found: Found) -> bool:
        known = self.store.known(str(found.path))
        unchanged = known is not None and (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
        self.summary.unchanged += unchanged
        return unchanged

    def _take(self, opened: list[_Opened]) -> None:
        """Take a batch of files: by hash where their content is known, else by the base."""
        touched, broken, new = [], [], []
        for one in opened:
            name = str(one.found.path)
            known = self.store.known(name)
            if one.hash is not None and known is not None and known.hash == one.hash:
                self.summary.unchanged += 1
                touched.append((one.found.mtime_ns, known.key))
            elif one.reason:
                self.summary.failed.append((name, one.reason))
                broken.append(name)
            else:
                new.append(one)
        for one, vector in zip(new, self._vectors(new), strict=True):
            if isinstance(vector, str):
                self.summary.failed.append((str(one.found.path), vector))
                broken.append(str(one.found.path))
            else:
                width, height = one.picture.size if one.picture is not None else (0, 0)
                self.items.append(
                    Item(str(one.found.path), True, one.found.size, one.found.mtime_ns, one.hash, width, height)
                )
                self.vectors.append(vector)
        if touched:
            self.store.touch(touched)
        if broken:
            self.summary.dropped += self.store.drop(broken)

    def _vectors(self, new: list[_Opened]) -> list[Vectors | str]:
        """Return the unit vector `[D]` of each file, or the reason why there is none."""
        found: dict[int, Vectors | str] = {}
        pictures = []
        for place, one in enumerate(new):
            same = self.store.same_content(one.hash) if one.hash is not None else None
            if same is not None:
                self.summary.reused += 1
                found[place] = same
            elif one.picture is not None:
                pictures.append((place, one.picture))
            else:
                found[place] = self._video(one.found.path)
                self.summary.added += not isinstance(found[place], str)
        if pictures:
            vectors = self.base.encode_images([picture for _, picture in pictures]).numpy()
            self.summary.added += len(pictures)
            found |= {place: vector for (place, _), vector in zip(pictures, vectors, strict=True)}
        return [found[place] for place in range(len(new))]

    def _video(self, path: Path) -> Vectors | str:
        try:
            vector: Vectors = self.base.encode_images([path]).numpy()[0]
        except DataError as error:
            return str(error)
        return vector

    def _write(self) -> None:
        self.written = time.monotonic()
        if self.items:
            identity = self.base.identity
            vectors = np.stack(self.vectors)
            about = About(identity.name, identity.fingerprint, identity.source, True, vectors.shape[1])
            self.store.add(self.items, [self.store.write(vectors)], about)
            self.items, self.vectors = [], []


def _open(found: Found) -> _Opened:
    """Read a file: its hash and, of an image, its picture."""
    try:
        content = bytes.fromhex(sha256_file(found.path))
        return _Opened(found, content, None if is_video(found.path) else open_image(found.path))
    except OSError as error:
        return _Opened(found, reason=f"It cannot be read ({error.strerror or error}).")
    except (DataError, BaseError) as error:
        return _Opened(found, reason=str(error))
