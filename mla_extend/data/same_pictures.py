"""Tell whether a picture is one of a test set: the same file, or nearly the same pixels.

What a picture looks like is kept by its content, so that unchanged pictures are decoded once and not at each run.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mla_extend.cache import cache_folder
from mla_extend.data.pairs import Mask
from mla_extend.images import PREPARATION
from mla_extend.images.contents import image_keys
from mla_extend.images.pipeline import Picture, Wanted, read_pictures
from mla_extend.images.stored import Stored, stored_pictures
from mla_extend.images.video import is_video
from mla_extend.progress import SILENT, Progress
from mla_extend.vector_store import VectorStore

HASH_DISTANCE = 6
"""Of 64 bits: largest distance of two pictures' difference hashes."""
PIXEL_DISTANCE = 4.0
"""Of 255: largest mean difference between two pictures that are shrunk to 16 x 16 pixels.

With both limits, of 300 of the demo's pictures all are found again after JPEG at quality 75, WebP, halving or doubling,
and 299 after JPEG at quality 30; of its 3,696 training pictures, 1 is taken for one of the 1,532 test pictures (the
same small square in another style), though the hash alone would take 6 %. Of pictures that are cropped by 2 %, one in
four is found; of brightened ones, none."""
BLOCK_PICTURES = 1 << 10
BITS = 64
RULE = "1"
"""Counts the ways in which looks have been taken."""
LOOKS = "looks"

Looks = NDArray[np.float32]


class Pictures:
    """Hold the pictures of a test set: their contents, and what they look like.

    Args:
        paths: of pictures; one that cannot be read is left out. Of a video, the file alone counts.
        progress: told of pictures that are looked at.
    """

    def __init__(self, paths: Sequence[Path], progress: Progress = SILENT) -> None:
        with _looking(len(paths), progress) as look:
            found = look(paths)
        self.contents = frozenset(found.keys)
        self.looks = found.vectors[_seen(found.vectors)]

    def hold(self, paths: Sequence[Path], progress: Progress = SILENT) -> Mask:
        """Say of each picture `[N]` whether it is here."""
        if not self.looks.size:
            return np.array([key in self.contents for key in image_keys(paths, progress)], dtype=np.bool_)
        leaked = np.zeros(len(paths), dtype=np.bool_)
        with _looking(len(paths), progress, self.contents) as look:
            for start in range(0, len(paths), BLOCK_PICTURES):
                found = look(paths[start : start + BLOCK_PICTURES])
                block = leaked[start : start + BLOCK_PICTURES]
                block |= [key in self.contents for key in found.keys]
                rows = np.flatnonzero(_seen(found.vectors) & ~block)
                if not rows.size:
                    continue
                looks = found.vectors[rows]
                # Of vectors of 1 and -1, the product is the bits less twice those that differ.
                distance = (BITS - looks[:, :BITS] @ self.looks[:, :BITS].T) / 2
                for i, j in zip(*np.nonzero(distance <= HASH_DISTANCE), strict=True):
                    block[rows[i]] |= bool(np.abs(looks[i, BITS:] - self.looks[j, BITS:]).mean() <= PIXEL_DISTANCE)
        return leaked


def _seen(looks: Looks) -> Mask:
    """Say of each picture `[N]` whether it has a look."""
    seen: Mask = np.isfinite(looks).all(axis=1) & (looks.shape[1] > 0)
    return seen


def look_space() -> dict[str, str]:
    """Return what decides what a picture looks like, beside its content."""
    return {"rule": RULE, "preparation": PREPARATION}


@contextmanager
def _looking(
    count: int, progress: Progress, without: Collection[bytes] = ()
) -> Iterator[Callable[[Sequence[Path]], Stored]]:
    """Give what returns how some of `count` pictures look `[n, 832]`, but for those of some contents."""
    store = VectorStore(cache_folder() / LOOKS, LOOKS, look_space())
    progress.start("Comparing pictures", total=count)

    def look(paths: Sequence[Path]) -> Stored:
        found = stored_pictures(store, paths, _looks, without=without)
        progress.advance(len(paths))
        return found

    try:
        yield look
    finally:
        progress.finish()
        store.close()


def _looks(paths: Sequence[Path], wanted: Wanted) -> Generator[Picture[Looks], None, None]:
    return read_pictures(
        paths,
        lambda frames: look(frames[0]),
        wanted=lambda path, content: not is_video(path) and wanted(path, content),
        least_side=64,
        few_pixels=0,
    )


def look(image: Image.Image) -> Looks:
    """Return a picture's difference hash as 64 values of 1 and -1, and its copy of 16 x 16 pixels in three colours."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    rising = (grey[:, 1:] > grey[:, :-1]).reshape(-1)
    pixels = np.asarray(image.resize((16, 16), Image.Resampling.BOX), dtype=np.float32)
    return np.concatenate([np.where(rising, 1, -1).astype(np.float32), pixels.reshape(-1)])
