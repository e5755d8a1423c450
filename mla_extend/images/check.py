"""Find the pictures that cannot be read, and why."""

from collections.abc import Sequence
from pathlib import Path

from mla_extend.images.pipeline import read_pictures
from mla_extend.progress import SILENT, Progress

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
        pictures = read_pictures(paths, lambda _: None, least_side=SMALL, few_pixels=0, frames=0)
        for path, picture in zip(paths, pictures, strict=True):
            if picture.error is not None:
                found[path] = str(picture.error)
            progress.advance()
    finally:
        progress.finish()
    return found
