"""Tell whether a picture is one of a test set: the same file, or nearly the same pixels.

What a picture looks like is kept by its content, so that unchanged pictures are decoded once and not at each run.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mla_extend.cache import cache_folder
from mla_extend.data.pairs import Mask
from mla_extend.errors import ImageError
from mla_extend.images import PREPARATION
from mla_extend.images.contents import image_keys
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
READERS = 2

Looks = NDArray[np.float32]


class Pictures:
    """Hold the pictures of a test set: their contents, and what they look like.

    Args:
        paths: of pictures; one that cannot be read is left out. Of a video, the file alone counts.
        progress: told of pictures that are looked at.
    """

    def __init__(self, paths: Sequence[Path], progress: Progress = SILENT) -> None:
        different = list(dict.fromkeys(paths))
        keys = image_keys(different, progress)
        self.contents = frozenset(keys)
        with _looking(len(different), progress) as look:
            looks = look(different, keys)
        self.looks = looks[np.isfinite(looks).all(axis=1)] if looks.size else looks

    def hold(self, paths: Sequence[Path], progress: Progress = SILENT) -> Mask:
        """Say of each picture `[N]` whether it is here."""
        keys = image_keys(paths, progress)
        leaked = np.array([key in self.contents for key in keys], dtype=np.bool_)
        if not self.looks.size:
            return leaked
        with _looking(len(paths), progress) as look:
            for start in range(0, len(paths), BLOCK_PICTURES):
                rows = np.arange(start, min(start + BLOCK_PICTURES, len(paths)))
                progress.advance(int(leaked[rows].sum()))
                rows = rows[~leaked[rows]]
                looks = look([paths[row] for row in rows.tolist()], [keys[row] for row in rows.tolist()])
                if not looks.size:
                    continue
                seen = np.isfinite(looks).all(axis=1)
                rows, looks = rows[seen], looks[seen]
                # Of vectors of 1 and -1, the product is the bits less twice those that differ.
                distance = (BITS - looks[:, :BITS] @ self.looks[:, :BITS].T) / 2
                for i, j in zip(*np.nonzero(distance <= HASH_DISTANCE), strict=True):
                    leaked[rows[i]] |= bool(np.abs(looks[i, BITS:] - self.looks[j, BITS:]).mean() <= PIXEL_DISTANCE)
        return leaked


def look_space() -> dict[str, str]:
    """Return what decides what a picture looks like, beside its content."""
    return {"rule": RULE, "preparation": PREPARATION}


@contextmanager
def _looking(count: int, progress: Progress) -> Iterator[Callable[[Sequence[Path], Sequence[bytes]], Looks]]:
    """Give what returns how some of `count` pictures look `[n, 832]`, by their keys: NaN for one without a look."""
    store = VectorStore(cache_folder() / LOOKS, LOOKS, look_space())
    progress.start("Comparing pictures", total=count)
    try:
        with ThreadPoolExecutor(READERS) as readers:

            def make(part: list[Path]) -> Looks:
                return np.stack(list(readers.map(_look, part)))

            def look(paths: Sequence[Path], keys: Sequence[bytes]) -> Looks:
                key = dict(zip(paths, keys, strict=True))
                looks = store.vectors(paths, lambda some: [key[path] for path in some], make)
                progress.advance(len(paths))
                return looks

            yield look
    finally:
        progress.finish()
        store.close()


def _look(path: Path) -> Looks:
    """Return a picture's difference hash as 64 values of 1 and -1, and its copy of 16 x 16 pixels in three colours."""
    from PIL import Image  # noqa: PLC0415 - slow to import

    from mla_extend.images.open import open_image  # noqa: PLC0415

    try:
        if is_video(path):
            raise ImageError(path, "A video is no picture.")
        image = open_image(path, least_side=64, few_pixels=0)
    except ImageError:
        return np.full(BITS + 3 * 16 * 16, np.nan, dtype=np.float32)
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    rising = (grey[:, 1:] > grey[:, :-1]).reshape(-1)
    pixels = np.asarray(image.resize((16, 16), Image.Resampling.BOX), dtype=np.float32)
    return np.concatenate([np.where(rising, 1, -1).astype(np.float32), pixels.reshape(-1)])
