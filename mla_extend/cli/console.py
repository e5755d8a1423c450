"""What the commands share: two consoles, progress bars, and errors turned into one line."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from mla_extend.processes import follows
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.plain import ODD, plain

WIDE = 110
"""Columns of a terminal from which bars are drawn."""


class PlainConsole(Console):
    """A console that writes odd characters out, whatever they come from, and takes `:word:` for what it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what every text goes through: one that is printed, and one in a cell, a heading or a title."""
        return super().render_str(plain(text), **options)


OUT = PlainConsole()
ERR = PlainConsole(stderr=True)


def print_json(value: Any) -> None:
    """Print JSON, and nothing else, to standard output."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # Odd characters stand in JSON's texts alone, where they may be written as escapes.
    sys.stdout.write(ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


class BarProgress:
    """Show long work as one bar a task, on standard error."""

    def __init__(self, bars: Bars) -> None:
        self.bars = bars
        self.task: Any = None
        self.name = ""

    def start(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Begin a bar."""
        self.finish()
        self.name = task
        self.task = self.bars.add_task(plain(task), total=total, figures=unit)

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Move the bar and show its figures."""
        if self.task is None:
            return
        if figures:
            shown = "  ".join(f"{name} {_short(value)}" for name, value in figures.items())
            self.bars.update(self.task, advance=amount, figures=shown)
        else:
            self.bars.update(self.task, advance=amount)

    def note(self, text: str) -> None:
        """Print a sentence above the bars."""
        self.bars.console.print(text, highlight=False, markup=False)

    def finish(self) -> None:
        """Leave the bar as it stands."""
        if self.task is not None:
            self.bars.stop_task(self.task)
            self.task = None


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"


@contextmanager
def progress() -> Iterator[Progress]:
    """Give a progress that draws bars while the context lasts; a narrow terminal has room for the numbers alone."""
    if follows():  # one of several processes, of which the first one speaks
        yield SILENT
        return
    wide = (BarColumn(bar_width=24), TimeElapsedColumn()) if ERR.width >= WIDE else ()
    columns = (
        TextColumn("{task.description}", markup=False),
        MofNCompleteColumn(),
        *wide,
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Bars(*columns, console=ERR, refresh_per_second=4) as bars:
        yield BarProgress(bars)


def size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Return a number of seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
