"""Read many pictures: the bytes of each once, from which it is hashed, decoded and prepared, by threads and in order.

Three bounds, all of bytes: of files that are read and not yet decoded, of pictures that are being decoded and prepared
(`BUDGET`), and of what was prepared, which is as large whatever the picture, so that a number of them bounds it.
Hashing, decoding and resizing free the interpreter.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image

from mla_extend.errors import ImageError
from mla_extend.files import open_plain, sha256_file
from mla_extend.images.budget import AT_ONCE, BUDGET
from mla_extend.images.open import FEW_PIXELS, LEAST_SIDE, image_errors, make_of_image
from mla_extend.images.video import FRAMES, check_video, is_video, read_frames, video_key
from mla_extend.platform import cores, malloc_trim
from mla_extend.stop import StopRequest

READERS = max(4, min(cores(), 16))
"""Threads. A file on another machine takes long and no processor, so that four are worth it on one."""
AHEAD = 48
"""Pictures that are read, and as many that are prepared, before they are asked for."""
READ_BYTES = 64 << 20
"""Bytes of files that are held before they are decoded; a file that is larger is read where it lies."""
TOO_YOUNG = 2.0
"""Seconds since its last change within which a file has no stamp: another change could leave the same time."""
LARGE = 16_000_000
"""Pixels of a picture after which freed memory is given back: glibc keeps it for each thread apart."""

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

ImageLike = str | Path | Image.Image
Wanted = Callable[[ImageLike, bytes], bool]
"""Say whether a file of a content is to be decoded at all."""


def always(_item: ImageLike, _content: bytes) -> bool:
    """Want each."""
    return True


@dataclass(frozen=True)
class Picture(Generic[T]):
    """A picture or video that was read.

    Attributes:
        item: the path or image that was given.
        content: SHA-256 of the file's bytes; `None` where they cannot be read, and of an image.
        stamp: what changes when the file does; empty where it has just changed.
        made: what was prepared of it; `None` where that was not asked for, or it cannot be read.
        size: width and height as people see it, before it was reduced; zeros where it was not decoded, and of a video.
        error: why it cannot be used.
    """

    item: ImageLike
    content: bytes | None = None
    stamp: str = ""
    made: T | None = None
    size: tuple[int, int] = (0, 0)
    error: ImageError | None = None

    @property
    def key(self) -> bytes:
        """Return what its vectors are kept by."""
        return picture_key(self.item, self.content)


@dataclass(frozen=True)
class _Read:
    """A file that was read; `source` is what it is decoded from."""

    item: ImageLike
    source: ImageLike | bytes = b""
    content: bytes | None = None
    stamp: str = ""
    error: ImageError | None = None
    wanted: bool = True


def picture_key(item: object, content: bytes | None) -> bytes:
    """Return what vectors are kept by: the hash of the bytes, wherever they lie, and how a video's frames are taken.

    One that cannot be read has a key of its own, under which nothing is ever kept.
    """
    if content is None:
        return hashlib.sha256(f"unreadable {item}".encode("utf-8", "replace")).digest()
    return video_key(content.hex()) if is_video(item) else content


def read_pictures(
    items: Iterable[ImageLike],
    prepare: Callable[[list[Image.Image]], T],
    *,
    wanted: Wanted = always,
    least_side: int = LEAST_SIDE,
    few_pixels: int = FEW_PIXELS,
    frames: int = FRAMES,
    stop: StopRequest | None = None,
) -> Generator[Picture[T], None, None]:
    """Give pictures and videos in their order, while the next ones are being read and prepared.

    Args:
        items: paths, or opened images.
        prepare: makes what is wanted of a picture in RGB, or of a video's frames, in any thread.
        wanted: is asked in the caller's thread.
        least_side, few_pixels: as `open_image` has them, for files; an opened image is reduced where it is large.
        frames: of a video; of none, only whether it is one is looked at.
        stop: ends it before the next picture.

    Raises:
        DataError: there are videos, and PyAV is not installed.
    """
    trim = malloc_trim()
    reduced = {"least_side": least_side, "few_pixels": few_pixels}

    def chosen(reads: Iterator[_Read]) -> Iterator[_Read]:
        for read in reads:
            skipped = read.error is not None or (read.content is not None and not wanted(read.item, read.content))
            yield _Read(read.item, b"", read.content, read.stamp, read.error, wanted=False) if skipped else read

    def make(read: _Read) -> Picture[T]:
        size, made, error = (0, 0), None, read.error
        try:
            if not read.wanted:
                pass
            elif is_video(read.source):
                made = _of_video(read.source, prepare, frames)
            else:
                made, size = make_of_image(
                    read.source,
                    lambda image: prepare([image]),
                    name=read.item if isinstance(read.source, bytes) else None,
                    **({} if isinstance(read.source, Image.Image) else reduced),
                )
                if size[0] * size[1] > LARGE and trim is not None:
                    trim(0)
        except ImageError as problem:
            error = problem
        return Picture(read.item, read.content, read.stamp, made, size, error)

    with (
        ThreadPoolExecutor(READERS) as readers,
        closing(_ahead(readers, _read, items, _file_bytes)) as reads,
        closing(_ahead(readers, make, chosen(reads), _held_bytes)) as pictures,
    ):
        for picture in pictures:
            if stop is not None and stop.requested:
                return
            yield picture


def _ahead(
    readers: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A], weigh: Callable[[A], int]
) -> Generator[B, None, None]:
    """Give what work makes of items, in their order, while it is done to the next ones, as far as the bounds let.

    Only who asks hands out work, and one item always goes: so nobody waits for a thread that waits itself.
    """
    waiting: deque[tuple[Future[B], int]] = deque()
    source, held = iter(items), 0
    following = next(source, None)
    try:
        while waiting or following is not None:
            while following is not None and len(waiting) < AHEAD:
                size = weigh(following)
                if waiting and held + size > READ_BYTES:
                    break
                waiting.append((readers.submit(work, following), size))
                held += size
                following = next(source, None)
            done, size = waiting.popleft()
            yield done.result()
            held -= size
    finally:
        for future, _ in waiting:
            future.cancel()


def _file_bytes(item: ImageLike) -> int:
    """Return the bytes that reading an item is going to hold."""
    try:
        size = 0 if isinstance(item, Image.Image) or is_video(item) else os.stat(item).st_size  # noqa: PTH116 - many
    except (OSError, ValueError):
        return 0
    return size if size <= READ_BYTES else 0


def _held_bytes(read: _Read) -> int:
    return len(read.source) if isinstance(read.source, bytes) else 0


def _read(item: ImageLike) -> _Read:
    """Read and hash a file."""
    if isinstance(item, Image.Image):
        return _Read(item, item)
    try:
        with image_errors(item), open_plain(Path(item)) as file:
            before = os.fstat(file.fileno())
            if is_video(item) or before.st_size > READ_BYTES:
                source: ImageLike | bytes = item
                content = bytes.fromhex(sha256_file(Path(item)))
            else:
                source = file.read()
                content = hashlib.sha256(source).digest()
            old = time.time() - max(before.st_mtime, before.st_ctime) > TOO_YOUNG
            same = stamp_of(before) == stamp_of(os.fstat(file.fileno()))
            return _Read(item, source, content, stamp_of(before) if old and same else "")
    except ImageError as error:
        return _Read(item, error=error)


def stamp_of(about: os.stat_result) -> str:
    """Return what changes when a file does: its size, its times, and where it lies."""
    return f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}"


def _of_video(path: ImageLike, prepare: Callable[[list[Image.Image]], T], frames: int) -> T | None:
    """Return what is made of a video's frames; one at a time, since all its frames are held at once."""
    assert isinstance(path, str | Path)
    if not frames:
        check_video(path)
        return None
    with BUDGET.taken(AT_ONCE):
        return prepare(read_frames(path, frames))
