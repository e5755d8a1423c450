"""Give freed memory back to the system while a run goes on."""

import ctypes
import mmap
from collections.abc import Callable
from pathlib import Path

GROWTH = 2**29
"""Bytes that the process may grow by before freed memory is given back: giving back costs time, too."""
STATM = Path("/proc/self/statm")


class FreedMemory:
    """Return freed memory to the system where a process has grown, with the C library that needs it.

    Each batch has a shape of its own, and glibc's heap, which keeps what is freed, grows in fragments to three times
    what a step needs.
    """

    def __init__(self) -> None:
        self._trim = _malloc_trim() if STATM.exists() else None
        self._largest = 0

    def give_back(self) -> None:
        """Return freed memory if the process has grown by `GROWTH` since the last time."""
        if self._trim is not None and _resident() > self._largest:
            self._trim(0)
            self._largest = _resident() + GROWTH


def _resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(STATM.read_text().split()[1]) * mmap.PAGESIZE


def _malloc_trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no glibc
        return None
    return found
