"""Open a picture as people see it: upright, transparency on white, in eight bits, as large as a model needs.

Everything that reads pictures (training, evaluation, the index, the leak check, the server, reports) opens them here.
"""

import io
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from mla_extend.errors import ImageError, MlaExtendError
from mla_extend.images.budget import BUDGET, OverBudget, decoded_bytes

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "HEIF")
"""What Pillow may open. Its other formats are rare, run other programs (EPS) or have fragile readers."""
LEAST_SIDE = 1_024
"""Pixels that the shorter side keeps: more than twice what a model of 448 takes, so that reducing does not show."""
FEW_PIXELS = 4 << 20
"""Pixels above which a picture is reduced, as far as `LEAST_SIDE` allows."""
MANY_PIXELS = 16 << 20
"""Pixels that no picture keeps, whatever its shape."""
LONGEST = 128
"""Times that one side may be as long as the other: a model that resizes by the shorter side would make lines giants."""

STRIP_PIXELS = 4 << 20
"""Pixels that are converted at a time where a picture is reduced."""

ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_ITS_SIDE = {UPRIGHT[number] for number in (5, 6, 7, 8)}
"""Turns that exchange width and height."""
DEPTHS = (1_023.0, 4_095.0, 16_383.0, 65_535.0)
"""The largest values of 10, 12, 14 and 16 bits."""
CLEAR = ("RGBA", "LA", "PA", "La", "RGBa")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

Image.core.set_block_size(1 << 30)  # type: ignore[attr-defined]
"""One block of memory a picture, which goes back to the system when the picture does: many small ones stay."""

_HEADER = threading.Lock()
"""Held while Pillow reads a header: what it holds against large pictures is a setting of the whole process."""


class TooManyPixels(ImageError):  # noqa: N818 - a bound, not a fault
    """Say that an image has more pixels than are to be decoded."""


Source = str | Path | bytes | Image.Image
T = TypeVar("T")


def open_image(source: Source, *, least_side: int = LEAST_SIDE, few_pixels: int = FEW_PIXELS) -> Image.Image:
    """Return a picture in RGB.

    Args:
        source: a path, a file's bytes, or an image of Pillow's. Of several frames or pages, the first counts.
        least_side: pixels that the shorter side keeps where the picture is reduced.
        few_pixels: pixels up to which it is not.

    Raises:
        ImageError: it is not there, of no known format, damaged, or too large.
    """
    return make_of_image(source, lambda image: image, least_side=least_side, few_pixels=few_pixels)[0]


def make_of_image(
    source: Source,
    make: Callable[[Image.Image], T],
    *,
    name: object = None,
    least_side: int = LEAST_SIDE,
    few_pixels: int = FEW_PIXELS,
    most_pixels: int | None = None,
) -> tuple[T, tuple[int, int]]:
    """Return what is made of a picture in RGB, and its width and height as people see it, before it was reduced.

    Args:
        source, least_side, few_pixels: as `open_image` has them.
        make: is given the picture while its memory counts.
        name: what bytes are called in errors.
        most_pixels: an image with more is not decoded.

    Raises:
        TooManyPixels: it has more than `most_pixels`.
        ImageError: as `open_image`, or `make` fails.
    """
    with image_errors(source if name is None else name):
        if isinstance(source, Image.Image):
            return _as_seen(source, make, least_side, few_pixels)
        with _opened(source) as image:
            if most_pixels is not None and image.width * image.height > most_pixels:
                raise TooManyPixels(
                    name,
                    f"The image has {image.width} x {image.height} pixels, and at most {most_pixels:,} are read. Make "
                    "it smaller.",
                )
            return _as_seen(image, make, least_side, few_pixels)


def image_header(source: str | Path | bytes) -> tuple[str, tuple[int, int]]:
    """Return a picture's media type, and its width and height as they are stored, by a look at its beginning.

    Raises:
        ImageError: it is not there or of no known format.
    """
    with image_errors(source), _opened(source) as image:
        return Image.MIME.get(image.format or "", "application/octet-stream"), image.size


@contextmanager
def image_errors(source: object) -> Iterator[None]:
    """Turn whatever is raised over a picture's file, or by a decoder, into an ImageError."""
    what = "what was sent" if isinstance(source, bytes) else f"the image {source}"
    what = "an image" if isinstance(source, Image.Image) else what
    try:
        yield
    except MlaExtendError:
        raise
    except FileNotFoundError as error:
        raise ImageError(source, f"{_capital(what)} does not exist. Check the path.", "missing") from error
    except UnidentifiedImageError as error:
        known = ", ".join(sorted(_formats()))
        raise ImageError(
            source,
            f"{_capital(what)} cannot be read: it is not a picture, or its format is not one of {known}. Replace it, "
            "or remove its lines.",
            "of no known format",
        ) from error
    except OverBudget as error:
        raise ImageError(source, f"{_capital(what)} is too large: {error}. Make it smaller.", "too large") from error
    except Exception as error:  # decoders of damaged files raise nearly everything
        raise ImageError(
            source,
            f"{_capital(what)} cannot be read ({_reason(error)}). Replace it, or remove its lines.",
            "no permission" if isinstance(error, PermissionError) else "damaged",
        ) from error


@cache
def _formats() -> list[str]:
    """Return the formats that are read here; HEIF where its library is installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif  # noqa: PLC0415 - an extra

        pillow_heif.register_heif_opener(thumbnails=False)
    return [name for name in FORMATS if name in Image.OPEN]


@contextmanager
def _opened(source: str | Path | bytes) -> Iterator[Image.Image]:
    """Open a file as one of the known formats."""
    content: Path | BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    with _HEADER:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(content, formats=_formats())
        finally:
            Image.MAX_IMAGE_PIXELS = before
    with image:
        yield image


def _as_seen(
    image: Image.Image, make: Callable[[Image.Image], T], least_side: int, few_pixels: int
) -> tuple[T, tuple[int, int]]:
    """Reduce, turn upright, put on white, and make of it what is wanted."""
    factor, stored = _factor(image.size, least_side, few_pixels), image.size
    if factor > 1:
        image.draft(None, (image.width // factor, image.height // factor))  # JPEG alone does less for less
    pixels = image.width * image.height
    whole = _factor(image.size, least_side, few_pixels) == 1
    size = decoded_bytes(
        stored,
        image.size,
        image.mode,
        image.format,
        progressive="progressive" in image.info,
        copied=pixels if whole else min(pixels, STRIP_PIXELS),
    )
    with BUDGET.taken(size):
        shown, turn = _decoded(image, least_side, few_pixels)
        return make(shown), stored[::-1] if turn in ON_ITS_SIDE else stored


def _decoded(image: Image.Image, least_side: int, few_pixels: int) -> tuple[Image.Image, Image.Transpose | None]:
    """Return a picture as people see it, and how it was turned."""
    image.load()
    turn = UPRIGHT.get(_orientation(image))
    factor = _factor(image.size, least_side, few_pixels)
    span = _span(image) if image.mode in DEEP else (0.0, 1.0)
    shown = _on_white(_eight_bits(image, span)) if factor == 1 else _reduced(image, factor, span)
    longest = LONGEST * min(shown.size)
    if max(shown.size) > longest:
        shown = shown.resize((min(shown.width, longest), min(shown.height, longest)), Image.Resampling.BOX)
    return (shown if turn is None else shown.transpose(turn)), turn


def _reduced(image: Image.Image, factor: int, span: tuple[float, float]) -> Image.Image:
    """Return the means of squares of pixels, strip by strip: a large picture is held once, as it was decoded."""
    shown = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    rows = max(1, STRIP_PIXELS // (image.width * factor)) * factor
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        shown.paste(_on_white(_eight_bits(strip, span)).reduce(factor), (0, top // factor))
    return shown


def _factor(size: tuple[int, int], least_side: int, few_pixels: int) -> int:
    """Return by what to divide the sides."""
    area = size[0] * size[1]
    if area <= few_pixels:
        return 1
    return max(1, min(size) // least_side, -(-area // MANY_PIXELS) if area > MANY_PIXELS else 1)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - damaged notes beside a picture do not make it unreadable
        return 1


def _span(image: Image.Image) -> tuple[float, float]:
    """Return which values of a deep grey are black and white: those of the fewest bits that hold them all.

    Scanners and microscopes give 10, 12 or 14 bits in files of 16; what is no such picture is shown by its own values.
    """
    low, high = _extremes(image)
    if low < 0:
        return low, high
    few: dict[str, tuple[float, ...]] = {"F": (1.0, 255.0), "I": (255.0,)}
    return 0.0, next((top for top in (*few.get(image.mode, ()), *DEPTHS) if high <= top), high)


def _extremes(image: Image.Image) -> tuple[float, float]:
    """Return the least and the largest of a picture's numbers, strip by strip."""
    low, high = math.inf, -math.inf
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _eight_bits(image: Image.Image, span: tuple[float, float]) -> Image.Image:
    """Return a picture with eight bits a channel, in a mode that Pillow converts to RGB as people see it."""
    if image.mode in DEEP:
        values, (low, high) = np.asarray(image).astype(np.float32), span
        scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (255 / ((high - low) or 1))
        grey = Image.fromarray((scaled + 0.5).clip(0, 255).astype(np.uint8))
        if isinstance(clear := image.info.get("transparency"), int):
            grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
        return grey
    if image.mode in ("CMYK", "LAB") and (profile := image.info.get("icc_profile")):
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            shown = ImageCms.profileToProfile(image, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            shown = None
        if shown is not None:
            return shown
    return image.convert("LA") if image.mode == "La" else image


def _on_white(image: Image.Image) -> Image.Image:
    """Return a picture in RGB, with white behind transparent parts."""
    if image.mode not in CLEAR and "transparency" not in image.info:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    white = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(white, clear).convert("RGB")


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:120]}" if text else type(error).__name__


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
