"""What the commands share: two consoles, progress bars, and errors turned into one line."""

import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from mla_extend.plain import ODD, plain
from mla_extend.processes import follows
from mla_extend.progress import SILENT, Pace, Progress

WIDE = 110
"""Columns of a terminal from which bars are drawn."""


class PlainConsole(Console):
    """A console that writes odd characters out, whatever they come from, and takes `:word:` for what it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return what every text goes through: one that is printed, and one in a cell, a heading or a title."""
        return super().render_str(plain(text), **options)

    @property
    def encoding(self) -> str:
        """Return the stream's encoding, also of one that was not given, which decides what lines are drawn with."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()


OUT = PlainConsole()
ERR = PlainConsole(stderr=True)


def write_out_what_cannot_be_shown() -> None:
    """Let streams of few characters, such as ASCII's, take each text: what they lack is written as `\\u72d7`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """Print JSON, and nothing else, to standard output."""
    text = json.dumps(value, indent=2, ensure_ascii=not OUT.encoding.startswith("utf"), allow_nan=False)
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


class LineProgress:
    """Print a line on long work now and then, on standard error, where no terminal draws bars.

    A thread looks whether one is due, so that work which says nothing of itself is told of too.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace = Pace(clock)
        self.task = ""
        self._lock = threading.Lock()

    def start(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Begin a task."""
        self.finish()
        with self._lock:
            self.task, self.total, self.unit, self.done = task, total, unit, 0
            self.figures: dict[str, float] = {}
            self.told = False
            self.started = self.last = self.pace.clock()
            self.then = 0

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count what is done, and keep its figures."""
        with self._lock:
            if self.task:
                if not self.done and self.pace.clock() - self.started < 1:
                    self.then = amount  # what an interrupted run has done is no measure of how fast this one is
                self.done += amount
                self.figures = figures or self.figures
        self.look()

    def note(self, text: str) -> None:
        """Print a sentence."""
        ERR.print(text, highlight=False, markup=False)

    def finish(self) -> None:
        """Print how the task ended, if it was told of."""
        with self._lock:
            if self.task and self.told:
                self._print(ended=True)
            self.task = ""

    def look(self) -> None:
        """Print a line if one is due."""
        with self._lock:
            if self.task and self.pace.due():
                self._print()
                self.told = True

    def _print(self, ended: bool = False) -> None:
        now = self.pace.clock()
        parts = []
        if self.total or self.done:
            share = f" of {self.total:,}" if self.total else ""
            percent = f" ({100 * self.done / self.total:.0f} %)" if self.total else ""
            parts.append(f"{self.done:,}{share} {self.unit}".rstrip() + percent)
        parts.append(f"{'ended after' if ended else 'for'} {duration(now - self.started)}")
        rate = (self.done - self.then) / (now - self.last) if now > self.last else 0.0
        if rate and not ended:
            parts.append(f"{_short(rate)} a second")
            if self.total and self.total > self.done:
                parts.append(f"about {duration((self.total - self.done) / rate)} left")
        self.last, self.then = now, self.done
        parts += [f"{name} {_short(value)}" for name, value in self.figures.items()]
        ERR.print(f"{self.task}: {', '.join(parts)}", highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _lines() -> Iterator[LineProgress]:
    lines, ended = LineProgress(), threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            lines.look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lines
        lines.finish()
    finally:
        ended.set()
        thread.join()


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"


@contextmanager
def progress() -> Iterator[Progress]:
    """Give a progress that draws bars while the context lasts; a narrow terminal has room for the numbers alone.

    Where there is no terminal it prints a line now and then.
    """
    if follows():  # one of several processes, of which the first one speaks
        yield SILENT
        return
    if not ERR.is_terminal:
        with _lines() as lines:
            yield lines
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


def numbers(*headings: str, no_wrap: bool = False) -> list[Column]:
    """Return columns of a table that hold numbers, set to the right."""
    return [Column(heading, justify="right", no_wrap=no_wrap) for heading in headings]


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return decimal(count)


def duration(seconds: float) -> str:
    """Return a number of seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
