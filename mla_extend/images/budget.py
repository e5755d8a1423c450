"""Limit the memory that decoded pictures take in a process: bytes are reserved before a picture is decoded."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_BYTES = 900_000_000
"""Of one picture that is decoded: with what a decoder takes beside it, a process grows by less than 1 GiB."""
AT_ONCE = 400_000_000
"""Bytes of the pictures that are decoded at the same time, in all threads together; one that takes more goes alone."""
DECODED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2, "LA": 4, "PA": 4}
"""Bytes that Pillow holds for a pixel of a mode; of any other, four."""
TIMES = {"WEBP": 4, "AVIF": 3, "HEIF": 2, "JPEG2000": 6, "GIF": 2}
"""Times as much as Pillow that a format's decoder holds at its peak, what Pillow holds included: measured."""
COEFFICIENTS = 6
"""Bytes for each stored pixel that a progressive JPEG takes, however small it is asked for."""
COPIES = 12
"""Bytes for each pixel that is turned to RGB on white, beside the picture itself."""


class OverBudget(Exception):  # noqa: N818 - a bound, not a fault
    """Say how much was requested, and how much is allowed."""


class Budget:
    """Limit the bytes held at a time; a request beyond `at_once` waits until nothing else is held."""

    def __init__(self, most: int, at_once: int | None = None) -> None:
        self.most = most
        self.at_once = most if at_once is None else at_once
        self._held = 0
        self._free = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold some bytes while the context lasts.

        Raises:
            OverBudget: they are more than `most`.
        """
        if size > self.most:
            raise OverBudget(f"it takes {size / 1e6:,.0f} MB to decode, and {self.most / 1e6:,.0f} MB are allowed")
        with self._free:
            self._free.wait_for(lambda: not self._held or self._held + size <= self.at_once)
            self._held += size
        try:
            yield
        finally:
            with self._free:
                self._held -= size
                self._free.notify_all()


BUDGET = Budget(MOST_BYTES, AT_ONCE)


def decoded_bytes(
    stored: tuple[int, int], drawn: tuple[int, int], mode: str, file: str | None, *, progressive: bool, copied: int
) -> int:
    """Return about how many bytes a picture takes while it is decoded and brought to RGB.

    Args:
        stored: width and height in the file.
        drawn: the same as they are decoded, which a JPEG may be to less.
        mode: Pillow's.
        file: its format.
        progressive: whether it is a JPEG that is stored so.
        copied: pixels that are turned to RGB at a time.
    """
    pixels = drawn[0] * drawn[1]
    held = pixels * DECODED.get(mode, 4) * TIMES.get(file or "", 1)
    return held + copied * COPIES + (stored[0] * stored[1] * COEFFICIENTS if progressive else 0)
