"""The command `verify`."""

import typer

from mla_extend.cli.console import OUT, print_json
from mla_extend.cli.options import Json, RegistryFolder


def verify(registry: RegistryFolder = None, json: Json = False) -> None:
    """Check every file of a registry against its card; exit with 1 if anything is wrong."""
    from mla_extend.registry.place import registry_root  # noqa: PLC0415
    from mla_extend.registry.verify import verify as check  # noqa: PLC0415

    problems = check(registry_root(registry))
    if json:
        print_json({"ok": not problems, "problems": [vars(problem) for problem in problems]})
    elif problems:
        for problem in problems:
            OUT.print(f"[red]✗[/] {problem}", highlight=False)
    else:
        OUT.print("[green]✓[/] Every file is as it was published.")
    if problems:
        raise typer.Exit(1)
