"""The command `continual`, and its table."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mla_extend.cli.console import ERR, OUT, print_json, progress
from mla_extend.cli.options import BaseSource, Device, Json, RegistryFolder, Seed


def continual(
    test_set: Annotated[
        str | None,
        typer.Option(
            "--test-set",
            metavar="PATH|demo",
            help="Images with text, for all languages, as for evaluate.  \\[default: the one on each card]",
            show_default=False,
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure every language after each was added: the continual matrix, forgetting; exit with 1 if vectors moved."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.continual import continual as run  # noqa: PLC0415 - imports torch

        bars.finish()
        found = run(registry, base, test_set, seed, device, bars)
    for language, reason in found["left_out"].items():
        ERR.print(f"[yellow]Left out:[/] {language}: {escape(reason)}", highlight=False)
    if json:
        print_json(found)
    else:
        OUT.print(continual_table(found))
    if not all(column["vectors_equal"] for column in found["columns"]):
        raise typer.Exit(1)


def continual_table(found: Mapping[str, Any]) -> Table:
    """Draw the continual matrix: one row a language added, one column a language measured, per cent."""
    table = Table(
        title=f"Mean recall on each language after each was added (base {found['base']}), per cent",
        caption=(
            "forgetting: mean fall from the best earlier score; backward: mean change from the first score; equal "
            "vectors: the bytes of a language's text vectors were the same in every row"
        ),
    )
    table.add_column("after")
    for heading in (*found["languages"], "average", "forgetting", "backward"):
        table.add_column(heading, justify="right")
    figures = zip(found["average_accuracy"], found["forgetting"], found["backward_transfer"], strict=True)
    rows = list(zip(found["languages"], found["scores"], figures, strict=True))
    for number, (language, scores, (average, forgetting, backward)) in enumerate(rows, start=1):
        table.add_row(
            language,
            *("" if score is None else f"{100 * score:.1f}" for score in scores),
            f"{100 * average:.1f}",
            _percent(forgetting),
            _percent(backward),
            end_section=number == len(rows),
        )
    marks = ("[green]✓[/]" if column["vectors_equal"] else "[red]✗[/]" for column in found["columns"])
    table.add_row("equal vectors", *marks)
    return table


def _percent(value: float | None) -> str:
    # Exactly 0 and nearly 0 are not the same here.
    return "" if value is None else "0" if value == 0 else f"{100 * value:+.2g}"
