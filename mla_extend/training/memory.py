"""Give freed memory back to the system while a run goes on."""

import ctypes
from collections.abc import Callable
from functools import lru_cache

EVERY = 4
"""Steps between: often enough to hold the peak down, too seldom to cost time."""


def give_back(step: int) -> None:
    """Return freed memory every few steps, where the C library can.

    Each batch has a shape of its own, and glibc's heap, which keeps what is freed, grows in fragments to three times
    what a step needs.
    """
    trim = _trim()
    if trim is not None and step % EVERY == 0:
        trim(0)


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no glibc
        return None
    return found
