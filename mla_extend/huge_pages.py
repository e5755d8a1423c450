"""Let torch take its memory in huge pages, which training frees and takes again with each batch."""

import os

VARIABLE = "THP_MEM_ALLOC_ENABLE"


def ask_for_huge_pages() -> None:
    """Ask torch, which reads it once: call this before torch is imported. What the user has set stays.

    Taking memory in ordinary pages is a sixth of a training run's time on a CPU, where Linux gives huge ones to those
    that ask. Without them in the system nothing changes.
    """
    os.environ.setdefault(VARIABLE, "1")
