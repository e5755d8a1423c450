"""The command `add-languages`, and its tables."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table

from mla_extend.cli.console import ERR, OUT, duration, numbers, print_json, progress, size
from mla_extend.cli.options import Json
from mla_extend.progress import Pace

if TYPE_CHECKING:
    from mla_extend.jobs.run import Status

FAILED = 1
COLOURS = {"done": "green", "was there": "green", "failed": "red", "left out": "red", "running": "cyan"}
FIRST = ("running", "failed", "left out", "stopped", "done", "waiting", "was there")
"""Which states are shown where there is no room for all languages."""
STOPPING = "Stopping after the current steps, which are saved. Press Ctrl-C again to stop at once."
FRAME = 7
"""Lines of a table that are no rows."""


def add_languages(
    plan: Annotated[
        str,
        typer.Argument(metavar="PLAN.yaml|demo", help="A YAML plan, or demo for every language of the demo."),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="PATH|HUB-ID|demo",
            help="Base model.  \\[default: the plan's, else the registry's, else demo]",
            show_default=False,
        ),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(
            "--registry",
            metavar="DIR",
            help="Registry folder.  \\[default: the plan's, else MLA_EXTEND_REGISTRY, else adapters in this folder]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|FILE",
            help="Recipe for languages without one in the plan.  \\[default: default]",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Languages at a time.  \\[default: 1; on a Ray cluster, as many as it has room for]",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            help="Threads per language; with Ray, CPUs per language.  \\[default: cores / N; 1 with Ray]",
            show_default=False,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS|local",
            help="Run on a Ray cluster. Registry and data must be on a file system shared by all machines.",
        ),
    ] = None,
    gpus: Annotated[
        float, typer.Option("--gpus", metavar="F", min=0, help="GPUs per language with Ray; 0.5 shares one.")
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan with an estimate for each language; train nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Add the languages of a plan, each in its own process with its own log. Run it again to continue."""
    from mla_extend.errors import DataError, Interrupted  # noqa: PLC0415 - help needs none of it

    if gpus and not ray:
        raise DataError(f"--gpus {gpus:g} needs --ray. Leave it out, or set a device in the plan.")
    with progress() as bars:
        bars.start("Reading the plan")
        from mla_extend.jobs import run as running  # noqa: PLC0415 - imports numpy
        from mla_extend.jobs.plan import read_plan  # noqa: PLC0415

        read = read_plan(plan, registry=registry, base=base, recipe=recipe, progress=bars)
        rows = running.estimates(read, bars) if dry_run else None
        if not dry_run:
            running.prepare_base(read, bars)
        bars.finish()
    if rows is not None:
        _print_estimates(rows, json)
        return
    from mla_extend.jobs.runners import LocalRunner, RayRunner, Runner  # noqa: PLC0415

    with redirect_stdout(sys.stderr):  # where Ray prints what befalls a cluster
        runner: Runner = RayRunner(ray, jobs, threads, gpus) if ray else LocalRunner(jobs or 1, threads)
        try:
            with _shown() as shown:
                run = running.Run(read, runner, shown)
                statuses = run.go()
        finally:
            runner.close()
    if json:
        print_json([status.to_json() for status in statuses])
    else:
        OUT.print(status_table(statuses))
    bad = [status for status in statuses if status.state in ("failed", "left out")]
    if bad:
        ERR.print(failure_table(bad))
    if run.interrupted:
        good = sum(status.state in running.GOOD for status in statuses)
        raise Interrupted(
            f"Stopped: {good} of {len(statuses)} languages are published, and the state of the others is saved. "
            "Continue with the same command."
        )
    if bad:
        ERR.print("Run the same command again to retry these; published languages stay as they are.", highlight=False)
        raise typer.Exit(FAILED)


class _Lines:
    """Print a line for every change of a state or stage, and now and then for what runs, where nothing can be drawn."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.seen: dict[str, tuple[str | None, ...]] = {}
        self.stopping = False

    def __call__(self, statuses: "Sequence[Status]", stopping: bool) -> None:
        """Print what has changed."""
        if stopping and not self.stopping:
            ERR.print(STOPPING, highlight=False)
        self.stopping = stopping
        ended = sum(status.state not in ("waiting", "running") for status in statuses)
        due = self.pace.due()
        for status in statuses:
            stage = status.stage if status.state == "running" else None
            now = (status.state, stage)
            if now == self.seen.get(status.language, ("waiting", None)) and not (due and stage):
                continue
            self.seen[status.language] = now
            parts = [status.state, f"{stage} {_steps(status)}".rstrip() if stage else None]
            if status.state in ("done", "was there"):
                parts += [f"score {_figure(status.score)}", f"ratio {_figure(status.ratio)}"]
            elif stage and status.score is not None:
                parts.append(f"score {_figure(status.score)}")
            if stage or status.state == "done":
                parts += [duration(status.seconds)] if status.seconds else []
            if status.error and stage is None:
                parts.append(status.error)
            text = ", ".join(part for part in parts if part)
            ERR.print(
                f"[{ended}/{len(statuses)}] {status.language}: {text}", highlight=False, markup=False, soft_wrap=True
            )


class _Drawn:
    """Redraw the table of a terminal."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def __call__(self, statuses: "Sequence[Status]", stopping: bool) -> None:
        """Draw the table as it is now."""
        table = status_table(statuses, height=ERR.height)
        if stopping:
            table.caption = STOPPING
        self.live.update(table)


@contextmanager
def _shown() -> "Iterator[_Lines | _Drawn]":
    """Give what shows the statuses while they change."""
    if not ERR.is_terminal:
        yield _Lines()
        return
    with Live(console=ERR, refresh_per_second=4, transient=True) as live:
        yield _Drawn(live)


def status_table(statuses: "Sequence[Status]", height: int | None = None) -> Table:
    """Draw how far all languages are; where the height has no room for all, what is going on and what went wrong."""
    counts = Counter[str](status.state for status in statuses)
    caption = ", ".join(f"{counts[state]} {state}" for state in FIRST if counts[state])
    caption += "; score: on held-out data; ratio: mean recall to the base's own language"
    figures = numbers("step", "score", "ratio", "time")
    table = Table("language", "state", "stage", *figures, "where", title="Languages", caption=caption)
    shown = list(statuses)
    if height is not None and len(shown) > height - FRAME:
        by_state = sorted(shown, key=lambda status: FIRST.index(status.state))[: max(1, height - FRAME)]
        shown = [status for status in statuses if status in by_state]
    for status in shown:
        colour = COLOURS.get(status.state, "")
        table.add_row(
            status.language,
            f"[{colour}]{status.state}[/]" if colour else status.state,
            escape(status.stage or "") if status.state in ("running", "stopped", "failed") else "",
            _steps(status) if status.state in ("running", "stopped", "failed") else "",
            _figure(status.score),
            _figure(status.ratio),
            duration(status.seconds) if status.seconds is not None else "",
            escape(status.where or ""),
        )
    return table


def failure_table(bad: "Sequence[Status]") -> Table:
    """Draw why languages failed, and where their logs are."""
    why = Column("reason and log", overflow="fold")
    table = Table("language", why, title="Not added", show_lines=True)
    for status in bad:
        table.add_row(status.language, f"{escape(status.error or '')}\n[dim]{escape(status.log)}[/]")
    return table


def estimate_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Draw what a plan would do."""
    seconds = sum(row.get("seconds", 0) for row in rows)
    columns = [Column(heading, no_wrap=True) for heading in ("language", "state")]
    columns += numbers("pairs", "captions", "steps", "time", "memory", no_wrap=True)
    table = Table(*columns, title="Plan", caption=f"one after another: {duration(seconds)}")
    for row in rows:
        figures = [""] * 5
        if "steps" in row:
            counts = (row["kept"], row["image_text"], row["steps"])
            figures = [*(f"{count:,}" for count in counts), duration(row["seconds"]), size(row["memory_bytes"])]
        start = f" from {row['start_from']}" if row["start_from"] else ""
        colour = COLOURS.get(row["state"], "default")
        table.add_row(row["language"] + start, f"[{colour}]{row['state']}[/]", *figures)
    return table


def _print_estimates(rows: Sequence[Mapping[str, Any]], json: bool) -> None:
    if json:
        print_json(rows)
    else:
        OUT.print(estimate_table(rows))
    bad = [row for row in rows if row["state"] == "failed"]
    for row in bad:
        ERR.print(f"[red]{row['language']}:[/] {escape(row['error'])}", highlight=False, soft_wrap=True)
    if bad:
        raise typer.Exit(FAILED)


def _steps(status: "Status") -> str:
    if status.step is None:
        return ""
    return f"{status.step}/{status.steps}" if status.steps else ""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
