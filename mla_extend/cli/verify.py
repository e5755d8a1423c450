"""The command `verify`."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mla_extend.cli.console import OUT, print_json, progress
from mla_extend.cli.options import Device, Json, RegistryFolder

if TYPE_CHECKING:
    from mla_extend.registry.verify_deep import VectorCheck


def verify(
    registry: RegistryFolder = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also encode the probe texts with every version, and compare with the vectors recorded at publishing.",
        ),
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Check every file of a registry against its card; exit with 1 if anything is wrong."""
    from mla_extend.registry.store import Registry  # noqa: PLC0415
    from mla_extend.registry.verify import verify as check  # noqa: PLC0415

    root = Registry(registry).root
    encoded: list[VectorCheck] = []
    if deep:
        with progress() as bars:
            bars.start("Loading")
            from mla_extend.registry.verify_deep import verify_deep  # noqa: PLC0415 - imports torch

            bars.finish()
            problems, encoded = verify_deep(root, device=device, progress=bars)
    else:
        problems = check(root)
    if json:
        found: dict[str, Any] = {"ok": not problems, "problems": [vars(problem) for problem in problems]}
        print_json({**found, "encoded": [vars(line) for line in encoded]} if deep else found)
    else:
        if encoded:
            OUT.print(deep_table(encoded))
        for problem in problems:
            OUT.print(f"[red]✗[/] {escape(str(problem))}", highlight=False)
        for outcome, count in Counter(line.outcome for line in encoded).items():
            OUT.print(f"{count} of {len(encoded)} sets of vectors: {outcome}.", highlight=False)
        if not problems:
            OUT.print("[green]✓[/] Every file is as it was published.")
    if problems:
        raise typer.Exit(1)


def deep_table(encoded: "list[VectorCheck]") -> Table:
    """Draw how the vectors of each version, and the base's own beside it, compare with those recorded."""
    table = Table(
        caption="within tolerance: other bits, as another machine, thread count or library may round them; "
        "not recorded: the version was published before its vectors were recorded"
    )
    table.add_column("base")
    table.add_column("version", no_wrap=True)
    for heading in ("language", "vectors", "not as when recorded"):
        table.add_column(heading)
    for line in encoded:
        far = f" ({line.difference:.2g})" if line.difference else ""
        table.add_row(
            escape(line.base), line.version, line.language, line.outcome + far, escape("; ".join(line.differs))
        )
    return table
