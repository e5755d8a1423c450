"""`mla-extend inspect`: what is wrong with data, before anything is trained on it."""

from pathlib import Path
from typing import Annotated

import typer

from mla_extend.cli.console import OUT, print_json, progress
from mla_extend.cli.options import BaseSource, Columns, Filter, FormatName, Json, RegistryFolder
from mla_extend.files import user_path


def inspect(
    paths: Annotated[list[str], typer.Argument(metavar="DATA...", help="Parallel text, or images with text.")],
    language: Annotated[str, typer.Option("--language", metavar="LANG", help="Code of the language.")],
    native: Annotated[str, typer.Option("--native", metavar="LANG", help="Code of the base's own language.")] = "en",
    test_set: Annotated[
        str | None,
        typer.Option("--test-set", metavar="DATA|demo", help="Sentences and images that must not occur in the data."),
    ] = None,
    columns: Columns = None,
    format_name: FormatName = None,
    level: Filter = "default",
    base: BaseSource = None,
    registry: RegistryFolder = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with samples of each problem.")
    ] = None,
    suggest: Annotated[
        int | None,
        typer.Option(
            "--suggest",
            metavar="N",
            min=1,
            help="Rank the N native sentences most worth translating: those that add the most needed words.",
        ),
    ] = None,
    needed: Annotated[
        Path | None,
        typer.Option(
            "--for",
            metavar="FILE",
            help="Native text whose words are needed, one sentence per line.  \\[default: the test set's captions]",
            show_default=False,
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            "--pool",
            metavar="FILE",
            help="Candidate sentences, one per line.  \\[default: those of --for]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.tsv", help="Write the sentences for a translator to fill in."),
    ] = None,
    json: Json = False,
) -> None:
    """Check data: duplicates, copies, wrong script or language, broken text, leaks from the test set."""
    if suggest is None and (needed or pool or out):
        raise typer.BadParameter("--for, --pool and --out need --suggest N.")
    from mla_extend.add.inspect import inspect_data, summary  # noqa: PLC0415

    with progress() as bars:
        found = inspect_data(
            paths,
            language,
            native=native,
            test_set=test_set,
            columns=columns,
            format=format_name,
            filter=level,
            base=base,
            registry=registry,
            suggest=suggest,
            needed=needed,
            pool=pool,
            progress=bars,
        )
    if html is not None:
        from mla_extend.files import atomic_path  # noqa: PLC0415
        from mla_extend.report.inspection import inspection_page  # noqa: PLC0415

        with atomic_path(user_path(html)) as temporary:
            temporary.write_text(inspection_page(found), encoding="utf-8")
    if out is not None:
        from mla_extend.data.suggest import write_table  # noqa: PLC0415

        sentences = [one["text"] for one in found["suggested"]["sentences"]]
        write_table(user_path(out), sentences, native, found["language"])
    if json:
        print_json(found)
        return
    from mla_extend.cli.tables import problems_table, suggestions_table  # noqa: PLC0415

    OUT.print(problems_table(found))
    OUT.print(summary(found), highlight=False)
    if html is not None:
        OUT.print(f"Samples of each problem: {html}", highlight=False)
    if suggest is not None:
        OUT.print(suggestions_table(found["suggested"]))
    if out is not None:
        OUT.print(f"Fill in the translations, then pass the file as --parallel-data: {out}", highlight=False)
