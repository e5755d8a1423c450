"""How long work tells of itself: the library calls a `Progress`, and whoever prints decides what it looks like."""

from typing import Protocol


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
