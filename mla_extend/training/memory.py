"""How much memory a device has, and giving what was freed back to the system while a run goes on."""

import mmap
from pathlib import Path

import psutil
import torch

from mla_extend.platform import malloc_trim

GROWTH, GROWTH_OF_SMALL = 2**28, 2**30
"""Bytes that the process may grow by, before a large step and before others: giving memory back costs time, too."""
KEPT_FREE = GROWTH_OF_SMALL // 2
"""Bytes of freed memory that a long run is expected to keep where batches differ in shape: half of what it may."""
LARGE = 0.6
"""Share of the most tokens of any step from which a step is a large one."""
STATM = Path("/proc/self/statm")


class FreedMemory:
    """Return freed memory to the system, above all before large steps, with the C library that needs it.

    Each batch has a shape of its own, and glibc's heap, which keeps what is freed, grows in fragments to three times
    what a step needs. What small steps leave there does little harm until a large one comes.
    """

    def __init__(self) -> None:
        self._trim = malloc_trim() if STATM.exists() else None
        self._size = 0
        self._most = 0

    def make_room(self, tokens: int) -> None:
        """Return freed memory where the process has grown too much for a step of so many tokens."""
        self._most = max(self._most, tokens)
        growth = GROWTH if tokens >= LARGE * self._most else GROWTH_OF_SMALL
        if self._trim is not None and _resident() > self._size + growth:
            self._trim(0)
            self._size = _resident()


def device_memory(device: torch.device) -> int:
    """Return the bytes of memory that a device has: all of it, so that the same machine does the same each time."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def _resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(STATM.read_text().split()[1]) * mmap.PAGESIZE
