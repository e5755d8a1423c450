"""The names and sizes of what comes from elsewhere, checked before any of it is written, fetched or read."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from mla_extend.errors import DataError
from mla_extend.registry import layout

MAX_FILES = 64
MAX_BYTES = 4 * 10**9
"""Of all files together: below it, a zip needs none of its extensions."""
MAX_SMALL = 4 * 10**6
"""Of a card, a setting or a header of tensors, which are read as a whole."""
ADAPTER, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NOTHING = "Nothing was taken from it."
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_DEVICE = re.compile(r"(?:aux|con|nul|prn|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
"""Names that Windows takes for devices, whatever follows the dot."""


def check_contents(entries: Iterable[tuple[str, int]], what: str, outcome: str = NOTHING) -> None:
    """Check the names and sizes (in bytes) of what comes from elsewhere, before any of it is written or fetched.

    Args:
        entries: each file's name and size.
        what: where they are, for the message.
        outcome: the sentence that ends each message.

    Raises:
        DataError: there are too many or too large files, or a name is not one that a version's file may have.
    """
    total, seen = 0, set[str]()
    for number, (name, size) in enumerate(entries, start=1):
        if number > MAX_FILES:
            raise DataError(f"{what} holds more than {MAX_FILES} files, which no version of a language does. {outcome}")
        fault = name_fault(name)
        if fault is not None:
            raise DataError(f"{what} holds {name[:200]!r}, which {fault}. {outcome}")
        if name.lower() in seen:
            raise DataError(f"{what} holds {name!r} twice, ignoring case. {outcome}")
        seen.add(name.lower())
        small = PurePosixPath(name).name in {layout.CARD, ADAPTER}
        total += size
        if size < 0 or total > MAX_BYTES or (small and size > MAX_SMALL):
            limit = MAX_SMALL if small else MAX_BYTES
            raise DataError(
                f"{what}: with {name!r} ({size:,} bytes) it is above the limit of {limit:,} bytes. {outcome}"
            )
    if layout.CARD not in seen:
        raise DataError(f"{what} holds no {layout.CARD}, so it is not a version of a language. {outcome}")


def name_fault(name: str) -> str | None:
    """Return what keeps a name from being that of a version's file, or `None`."""
    parts = name.split("/")
    if len(parts) > 4 or not all(_PART.fullmatch(part) and not part.endswith(".") for part in parts):
        return "is not a plain name inside a folder (letters, digits, '_', '-' and '.')"
    if any(_DEVICE.fullmatch(part) for part in parts):
        return "is a device on some systems"
    if PurePosixPath(name).suffix not in layout.SUFFIXES:
        return f"is not of a kind that a version may hold ({', '.join(sorted(layout.SUFFIXES))})"
    return None
