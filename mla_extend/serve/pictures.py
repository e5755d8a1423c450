"""Give the pictures of an index: each by its key alone, whole or small."""

import io
import mimetypes
import threading
from collections import OrderedDict
from pathlib import Path

from PIL import Image

from mla_extend.errors import DataError, ImageError, MissingExtraError, MlaExtendError
from mla_extend.extras import install
from mla_extend.images.open import TooManyPixels, image_header, make_of_image
from mla_extend.images.video import check_video, is_video, read_frames
from mla_extend.search.index import ImageIndex
from mla_extend.serve.limits import Limits

SIDE = 384
"""Pixels of the longer side of a small picture: sharp on a dense screen, where the page shows half of that."""
QUALITY = 80


class NoPicture(MlaExtendError):  # noqa: N818 - a status, not a fault
    """Say why there is no picture under a key."""


class TooLarge(MlaExtendError):  # noqa: N818 - a status, not a fault
    """Say that an image has too many pixels."""


class Pictures:
    """Give the pictures of one index; small ones are made when they are first asked for, and kept within a bound."""

    def __init__(self, index: ImageIndex, limits: Limits) -> None:
        self._index = index
        self._limits = limits
        self._lock = threading.Lock()
        self._small: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def small(self, key: int) -> bytes:
        """Return a small picture as WebP.

        Raises:
            NoPicture: the index has no such key, or its file is gone or cannot be read.
        """
        with self._lock:
            if key in self._small:
                self._small.move_to_end(key)
                return self._small[key]
        made = draw(self._path(key), self._limits.pixels)
        with self._lock:
            if key not in self._small and len(made) <= self._limits.thumbnails_bytes:
                self._small[key] = made
                self._bytes += len(made)
                while self._bytes > self._limits.thumbnails_bytes:
                    _, dropped = self._small.popitem(last=False)
                    self._bytes -= len(dropped)
        return made

    def whole(self, key: int) -> tuple[Path, str, str]:
        """Return the file of a picture, its media type, and its name.

        Only what is a picture or a video is given, whatever has come to lie under its path since it was indexed.

        Raises:
            NoPicture: the index has no such key, or its file is gone or is no picture.
        """
        path = self._path(key)
        try:
            if is_video(path):
                check_video(path)
                return path, mimetypes.guess_type(path.name)[0] or "application/octet-stream", path.name
            kind, _ = image_header(path)
        except DataError as error:
            raise _unreadable(key, error) from error
        return path, kind, path.name

    def _path(self, key: int) -> Path:
        try:
            entry = self._index.entry(key)
        except (MlaExtendError, LookupError) as error:
            raise NoPicture(f"The index has no picture {key}.") from error
        if entry.path is None:
            raise NoPicture(f"The index has a vector of {entry.name!r}, but no file.")
        return entry.path


def draw(path: Path, pixels: int) -> bytes:
    """Return a small WebP picture of an image, or of a video's first frame.

    Args:
        path: the file.
        pixels: an image with more is not decoded.

    Raises:
        NoPicture: it cannot be read, or is too large.
    """
    try:
        if is_video(path):
            return _small(read_frames(path, 1)[0])
        return make_of_image(path, _small, least_side=SIDE, few_pixels=0, most_pixels=pixels)[0]
    except TooManyPixels as error:
        raise NoPicture(str(error)) from error
    except DataError as error:
        raise _unreadable(path.name, error) from error


def read_query(content: bytes, pixels: int) -> Image.Image:
    """Return an image that was sent as a query, decoded.

    Raises:
        TooLarge: it has more than `pixels` pixels.
        ImageError: it is no image, or damaged.
    """
    try:
        return make_of_image(content, lambda image: image, most_pixels=pixels)[0]
    except TooManyPixels as error:
        raise TooLarge(str(error)) from error
    except ImageError as error:
        raise ImageError(
            "query",
            f"The upload is not an image that can be read ({type(error.__cause__).__name__}, {len(content)} bytes). "
            "Send a JPEG, PNG or WebP file.",
        ) from error


def _small(image: Image.Image) -> bytes:
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def _unreadable(what: object, error: DataError) -> NoPicture:
    if isinstance(error, MissingExtraError):
        return NoPicture(f"Videos need av, which the server does not have. Run {install('av')} where it runs.")
    gone = isinstance(error.__cause__, FileNotFoundError)
    why = "it is gone" if gone else type(error.__cause__ or error).__name__
    return NoPicture(f"The picture {what} cannot be read ({why}). Index the folder again.")
