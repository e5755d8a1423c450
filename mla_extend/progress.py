"""How long work tells of itself: the library calls a `Progress`, and whoever prints decides what it looks like."""

import time
from collections.abc import Callable
from typing import Protocol

FIRST_WORD = 10.0
"""Seconds of silence after which someone who reads a log is told how far it is; each next word takes twice as long."""
LONGEST_SILENCE = 60.0


class Progress(Protocol):
    """Be told of long work, one task at a time."""

    def start(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Begin a task of `total` units (`None`: unknown)."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Say that `amount` more units are done, with figures worth showing (for example `loss`)."""

    def note(self, text: str) -> None:
        """Say a sentence that stays on the screen."""

    def finish(self) -> None:
        """End the task."""


class Silent:
    """Tell nobody."""

    def start(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Ignore the task."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Ignore the advance."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def finish(self) -> None:
        """Ignore the end."""


SILENT = Silent()


class Pace:
    """Say when a word on long work is due where it stays: soon at first, then more and more seldom."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._wait = FIRST_WORD
        self._next = clock() + FIRST_WORD

    def due(self) -> bool:
        """Say whether a word is due now; if so, the next one is due later."""
        now = self.clock()
        if now < self._next:
            return False
        self._wait = min(2 * self._wait, LONGEST_SILENCE)
        self._next = now + self._wait
        return True
