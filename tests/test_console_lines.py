"""How long work tells of itself where there is no terminal: seldom, in whole lines, on standard error alone."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mla_extend.cli import console
from mla_extend.cli.add_languages import _Lines
from mla_extend.cli.console import LineProgress, PlainConsole, progress
from mla_extend.jobs import process
from mla_extend.jobs.folder import JobFolder
from mla_extend.jobs.process import JobProgress
from mla_extend.jobs.run import Status
from mla_extend.progress import Pace


class Clock:
    """Stand still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return the lines that stand on standard error."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "ERR", PlainConsole(file=stream, width=40))
    return lambda: stream.getvalue().splitlines()


def test_words_are_due_soon_and_then_seldom(clock: Clock) -> None:
    pace = Pace(clock)
    due = []
    for second in range(301):
        clock.now = 100.0 + second
        if pace.due():
            due.append(second)
    assert due == [10, 30, 70, 130, 190, 250]


def test_a_line_tells_task_share_rate_and_figures(clock: Clock, printed: Callable[[], list[str]]) -> None:
    """A rate is that since the line before; what a resumed run had done already is no part of it."""
    lines = LineProgress(clock)
    lines.start("Exposure", total=2000, unit="steps")
    lines.advance(800)
    for _ in range(100):
        clock.now += 0.25
        lines.advance(1, loss=0.12345, score=0.5)
    lines.finish()
    lines.start("Short")
    lines.finish()
    assert printed() == [
        "Exposure: 840 of 2,000 steps (42 %), for 10 s, 4.000 a second, about 4.8 min left, loss 0.123, score 0.500",
        "Exposure: 900 of 2,000 steps (45 %), ended after 25 s, loss 0.123, score 0.500",
    ]


def test_work_of_no_known_size_is_told_of_too(clock: Clock, printed: Callable[[], list[str]]) -> None:
    lines = LineProgress(clock)
    lines.start("Loading")
    clock.now += 9.9
    lines.look()
    assert printed() == []
    clock.now += 2.1
    lines.look()
    lines.start("Evaluating \x1b[1m")
    clock.now += 120
    lines.look()
    assert printed() == ["Loading: for 12 s", "Loading: ended after 12 s", "Evaluating \\x1b[1m: for 2.0 min"]


def test_work_that_says_nothing_is_looked_after(
    printed: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal `progress` looks by itself whether a word is due, and standard output stays empty."""
    monkeypatch.setattr("mla_extend.progress.FIRST_WORD", 0.1)
    with progress() as bars:
        assert isinstance(bars, LineProgress)
        bars.start("Proving isolation")
        for _ in range(100):
            if printed():
                break
            time.sleep(0.1)
        bars.note("A sentence that stays whole however narrow it is [or not].")
    assert printed()[0].startswith("Proving isolation: for ")
    assert "".join(printed()[1:]).startswith("A sentence that stays whole")
    assert capsys.readouterr().out == ""


def test_a_language_in_a_long_stage_is_told_of(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("mla_extend.cli.add_languages.ERR", PlainConsole(file=stream, width=40))
    shown = _Lines()
    shown.pace = Pace(clock)
    status = Status("sw", "sw.log", state="running", stage="Transfer", step=0, steps=500)
    other = Status("yo", "yo.log")
    shown([status, other], False)
    for second in range(1, 31):
        clock.now = 100.0 + second
        status.step, status.score, status.seconds = 10 * second, 0.5, float(second)
        shown([status, other], False)
    assert stream.getvalue().splitlines() == [
        "[0/2] sw: running, Transfer 0/500",
        "[0/2] sw: running, Transfer 100/500, score 0.500, 10 s",
        "[0/2] sw: running, Transfer 300/500, score 0.500, 30 s",
    ]


def test_the_log_of_a_job_tells_of_a_long_stage(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = JobProgress(JobFolder(tmp_path))
    job._pace = Pace(clock)
    monkeypatch.setattr(process, "EVERY", 1e9)
    job.start("Transfer", total=500, unit="steps")
    for _ in range(20):
        clock.now += 1
        job.advance(1, loss=0.25)
    job.finish()
    told = [re.sub(r"^\S+ ", "", line) for line in capsys.readouterr().err.splitlines()]
    assert told == ["Transfer: 500 steps", "Transfer: 10 of 500 done, loss 0.25", "Transfer: 20 of 500 done, loss 0.25"]
