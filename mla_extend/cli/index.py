"""The command `index`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mla_extend.cli.console import ERR, OUT, duration, print_json, progress
from mla_extend.cli.options import BaseSource, Device, Json, RegistryFolder

DEFAULT = Path("image-index")
"""Where the index is, unless it is said."""
SHOWN = 20
"""Files that could not be read, printed by name; `--json` has all."""

IndexFolder = Annotated[
    Path,
    typer.Option(
        "--index",
        metavar="DIR",
        help="Folder of the index.  \\[default: image-index in the current folder]",
        show_default=False,
    ),
]


def index(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|FILE",
            help="A folder of images and videos, or one file; or vectors made elsewhere with the same base: a folder "
            "that clip-retrieval wrote, a parquet file, or the list of paths that belongs to a .npy file.",
        ),
    ],
    folder: IndexFolder = DEFAULT,
    vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors",
            metavar="FILE.npy|COLUMN",
            help="The vectors of a list of paths, or the column of a parquet file that holds vectors.",
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Encode images once, to search them in every language. Run it again after changes: only they are encoded."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.use.index.make import make_index  # noqa: PLC0415 - imports torch

        bars.finish()
        summary = make_index(
            source, folder, vectors=vectors, base=base, registry=registry, device=device, progress=bars
        ).to_json()
    if json:
        print_json(summary)
    else:
        _print(summary)
    if not summary["added"] + summary["reused"] + summary["unchanged"]:
        raise typer.Exit(1)


def _print(summary: Mapping[str, Any]) -> None:
    """Print what was done."""
    failed = summary["failed"]
    for problem in failed[:SHOWN]:
        ERR.print(f"{problem['path']}: {problem['reason']}", style="yellow", highlight=False, markup=False)
    if len(failed) > SHOWN:
        ERR.print(f"... and {len(failed) - SHOWN} more; --json names all.", style="yellow", highlight=False)
    counts = {
        "added": summary["added"],
        "same as another": summary["reused"],
        "unchanged": summary["unchanged"],
        "dropped": summary["dropped"],
        "could not be used": len(failed),
    }
    shown = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    OUT.print(
        f"{summary['index']}: {summary['count']:,} images, base {summary['base']}. {shown or 'Nothing to do'}, in "
        f"{duration(summary['seconds'])}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if not summary["base_stated"]:
        ERR.print(
            f"Nothing says which base these vectors were made with; they are taken for {summary['base']}'s, and what "
            "is found means nothing if they are not. Say it with --base.",
            highlight=False,
            markup=False,
        )
