"""The command `cache`."""

import datetime
from typing import Annotated

import typer
from rich.table import Table

from mla_extend.cli.console import ERR, OUT, print_json, size
from mla_extend.cli.options import Json


def cache(
    clean: Annotated[
        bool, typer.Option("--clean", help="Remove what this version does not read. All of it can be recomputed.")
    ] = False,
    unused_for: Annotated[
        float | None,
        typer.Option(
            "--unused-for",
            metavar="DAYS",
            min=0,
            help="With --clean, also remove what was not used for this many days.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show the cache's content and size; remove what is not in use."""
    from mla_extend import cache_contents  # noqa: PLC0415 - numpy is slow to import
    from mla_extend.cache import cache_folder  # noqa: PLC0415

    if unused_for is not None and not clean:
        raise typer.BadParameter("--unused-for needs --clean.")
    parts = cache_contents.cache_parts()
    removed, busy = cache_contents.clean(parts, unused_for) if clean else ([], [])
    left = [part for part in parts if part not in removed]
    if json:
        shown = {"parts": left, "removed": removed}
        print_json(
            {"folder": str(cache_folder())} | {name: [part.to_json() for part in some] for name, some in shown.items()}
        )
        return
    for part in busy:
        ERR.print(f"Not removed, because a process has it open: {part.path}", highlight=False, markup=False)
    if clean:
        OUT.print(f"Removed {len(removed)} part(s), {size(sum(part.size for part in removed))}.", highlight=False)
    if not left:
        OUT.print(f"The cache is empty ({cache_folder()}).", highlight=False, markup=False)
        return
    table = Table(title=f"Cache: {cache_folder()}", caption=f"{size(sum(part.size for part in left))} in all")
    for name, justify in (("part", "left"), ("holds", "left"), ("size", "right"), ("last used", "left"), ("", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for part in left:
        used = datetime.datetime.fromtimestamp(part.used).astimezone().strftime("%Y-%m-%d")
        state = f"not in use: {part.unused}" if part.unused else ""
        table.add_row(str(part.path.relative_to(cache_folder())), part.what, size(part.size), used, state)
    OUT.print(table, markup=False)
    if any(part.unused for part in left):
        OUT.print("mla-extend cache --clean removes what is not in use.", highlight=False)
