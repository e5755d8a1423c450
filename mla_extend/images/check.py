"""Find the pictures that cannot be read, and why."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mla_extend.errors import ImageError
from mla_extend.images.open import open_image
from mla_extend.images.video import check_video, is_video
from mla_extend.progress import SILENT, Progress

READERS = 2
"""Pictures that are decoded at a time: decoding frees the interpreter, and a scan may take half a gigabyte."""
AT_ONCE = 64
SMALL = 64
"""Pixels of the shorter side that a JPEG is decoded to; its damage shows all the same."""


def unreadable_images(paths: Sequence[Path], progress: Progress = SILENT) -> dict[Path, str]:
    """Return the pictures and videos that cannot be read, and why. Pictures are decoded whole, videos opened.

    Raises:
        DataError: there are videos, and PyAV is not installed.
    """
    found: dict[Path, str] = {}
    progress.start("Looking at images", total=len(paths))
    try:
        with ThreadPoolExecutor(READERS) as readers:
            for start in range(0, len(paths), AT_ONCE):
                part = paths[start : start + AT_ONCE]
                reasons = zip(part, readers.map(_reason, part), strict=True)
                found.update((path, reason) for path, reason in reasons if reason)
                progress.advance(len(part))
    finally:
        progress.finish()
    return found


def _reason(path: Path) -> str:
    """Return why a picture cannot be read, or nothing."""
    try:
        if is_video(path):
            check_video(path)
        else:
            open_image(path, least_side=SMALL, few_pixels=0)
    except ImageError as error:
        return str(error)
    return ""
