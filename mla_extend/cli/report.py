"""The command that writes a page about a registry."""

from pathlib import Path
from typing import Annotated

import typer

from mla_extend.cli.console import OUT, print_json, progress
from mla_extend.cli.options import Device, Json, RegistryFolder, Seed, languages_there


def report(
    languages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LANG[@VERSION]]...",
            help="Only these languages, or these versions of them.  \\[default: all]",
            show_default=False,
            autocompletion=languages_there,
        ),
    ] = None,
    registry: RegistryFolder = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="NAME", help="Only this base's languages.  \\[default: all bases]", show_default=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="Where the page is written.")] = Path(
        "report.html"
    ),
    no_examples: Annotated[
        bool, typer.Option("--no-examples", help="Leave out example queries; nothing is encoded.")
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Write an HTML page about the languages of a registry: figures, plots, costs, data and licences, examples."""
    with progress() as bars:
        from mla_extend.report.page import make_report  # noqa: PLC0415 - starting the command line needs none of it

        written = make_report(
            registry,
            base,
            out,
            examples=not no_examples,
            device=device,
            seed=seed,
            progress=bars,
            languages=languages or (),
        )
    if json:
        print_json({"report": str(written.path), "plots": [str(path) for path in written.plots], "data": written.data})
        return
    OUT.print(f"Wrote {written.path}", highlight=False, markup=False, soft_wrap=True)
    if written.plots:
        OUT.print(f"Plots as files: {written.plots[0].parent}", highlight=False, markup=False, soft_wrap=True)
