"""Open files while others are encoded, within a bound on the pixels that are held: pictures are of any size.

Two bounds: of pictures that wait, and of a batch. What is being decoded is bounded where all pictures are opened.
"""

import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from mla_extend.errors import DataError
from mla_extend.files import sha256_file
from mla_extend.images.open import image_header, open_image
from mla_extend.images.video import is_video
from mla_extend.search.index.walk import Found
from mla_extend.training.memory import malloc_trim

BATCH = 16
"""Images encoded together at most."""
READERS = 4
"""Threads that open images while others are encoded."""
LARGE = 16_000_000
"""Pixels of a picture after which freed memory is given back: glibc keeps it for each thread apart."""
HELD = 48_000_000
"""Pixels from which a batch is closed, and from which no further picture is opened ahead: 200 MB each."""


@dataclass(frozen=True)
class Opened:
    """A file that was read.

    Attributes:
        found: the file.
        hash: SHA-256 of its bytes.
        picture: what it shows, upright and in RGB; `None` for a video.
        size: width and height as people see it, before it was reduced; zeros where unknown.
        reason: why it cannot be used, empty if it can.
    """

    found: Found
    hash: bytes | None = None
    picture: Image.Image | None = None
    size: tuple[int, int] = (0, 0)
    reason: str = ""

    @property
    def pixels(self) -> int:
        """Return how many pixels it holds."""
        return 0 if self.picture is None else self.picture.width * self.picture.height


def opened_ahead(files: Sequence[Found]) -> Generator[list[Opened], None, None]:
    """Give files opened, in their order and in batches, while the next ones are being opened."""
    room = _Room()
    waiting: deque[Future[Opened]] = deque()
    batch: list[Opened] = []
    with ThreadPoolExecutor(READERS) as readers:
        try:
            for place in range(len(files)):
                # One batch ahead, and the file that is waited for.
                for following in range(place + len(waiting), min(place + BATCH + 1, len(files))):
                    waiting.append(readers.submit(_open, files[following], following, room))
                room.let_in(place)
                batch.append(waiting.popleft().result())
                room.hold(-batch[-1].pixels)
                if len(batch) == BATCH or sum(one.pixels for one in batch) >= HELD:
                    yield batch
                    batch = []
            if batch:
                yield batch
        finally:
            room.close()
            readers.shutdown(cancel_futures=True)


def _open(found: Found, place: int, room: "_Room") -> Opened:
    """Read a file: its hash and, of an image, its picture."""
    room.wait_for(place)
    try:
        content = bytes.fromhex(sha256_file(found.path))
        if is_video(found.path):
            return Opened(found, content)
        _, stored = image_header(found.path)
        picture = open_image(found.path)
        if stored[0] * stored[1] > LARGE and room.trim is not None:
            room.trim(0)
        room.hold(picture.width * picture.height)
        on_its_side = (stored[0] > stored[1]) != (picture.width > picture.height)
        return Opened(found, content, picture, stored[::-1] if on_its_side else stored)
    except OSError as error:
        return Opened(found, reason=f"It cannot be read ({error.strerror or error}).")
    except DataError as error:
        return Opened(found, reason=str(error))


class _Room:
    """Bound what readers hold.

    A reader waits before it opens a file, until those that are opened and not yet taken hold few enough pixels, or its
    file is the one that is waited for: so nobody waits for a reader that waits itself.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.held = 0
        self.wanted = 0
        self.closed = False
        self.trim = malloc_trim()

    def wait_for(self, place: int) -> None:
        """Wait until the file at a place of the order may be opened."""
        with self.changed:
            self.changed.wait_for(lambda: self.held < HELD or place <= self.wanted or self.closed)

    def let_in(self, place: int) -> None:
        """Say which file is waited for."""
        with self.changed:
            self.wanted = place
            self.changed.notify_all()

    def hold(self, pixels: int) -> None:
        """Count pixels that wait, or with a minus that do no longer."""
        with self.changed:
            self.held += pixels
            self.changed.notify_all()

    def close(self) -> None:
        """Let all go on."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
