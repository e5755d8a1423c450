"""The command `index`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mla_extend.cli.console import ERR, OUT, duration, print_json, progress
from mla_extend.cli.options import BaseSource, Device, Json, RegistryFolder

if TYPE_CHECKING:
    from mla_extend.search.index import ImageIndex

SHOWN = 20
"""Files that could not be read, printed by name; `--json` has all."""

IndexFolder = Annotated[
    Path | None,
    typer.Option(
        "--index",
        metavar="DIR",
        envvar="MLA_EXTEND_INDEX",
        help="Folder of the index.  \\[default: image-index in the current folder]",
        show_default=False,
    ),
]


def index(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|FILE",
            help="A folder of images and videos, or one file; or vectors made with the same base: clip-retrieval's "
            "output folder, a parquet file, or the list of paths of a .npy file; or demo, for the demo's pictures.",
        ),
    ],
    folder: IndexFolder = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            "--vectors",
            metavar="FILE.npy|COLUMN",
            help="Vectors of a list of paths, or the vector column of a parquet file.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Leave out files and folders of this name or, with a slash, of this path below the folder, ignoring "
            "case; may be repeated.",
        ),
    ] = None,
    default_excludes: Annotated[
        bool,
        typer.Option(
            "--default-excludes/--no-default-excludes",
            help="Leave out hidden files, thumbnails, recycle bins and the like.",
        ),
    ] = True,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Encode images once, to search them in every language. Run it again after changes: only new images are encoded."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.search.index.make import make_index  # noqa: PLC0415 - imports torch

        bars.finish()
        summary = make_index(
            source,
            folder,
            vectors=vectors,
            base=base,
            registry=registry,
            device=device,
            exclude=exclude or (),
            default_excludes=default_excludes,
            progress=bars,
        ).to_json()
    if json:
        print_json(summary)
    else:
        _print(summary)
    if not any(summary[name] for name in ("added", "renewed", "reused", "unchanged")):
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
        "encoded again": summary["renewed"],
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
    for line in (
        *_left_out(summary["left_out"]),
        *_by_reason("Passed over", summary["passed_over"]),
        *_by_reason("Could not be read", summary["unreadable"]),
    ):
        OUT.print(line, highlight=False, markup=False, soft_wrap=True)
    for one in summary["left_out"]:
        if not one["count"]:
            ERR.print(
                f"--exclude {one['pattern']!r} matched nothing. It is a glob on a name, or with a slash on the path "
                "below the folder.",
                style="yellow",
                highlight=False,
                markup=False,
            )
    if summary["older"]:
        ERR.print(
            f"{summary['older']:,} images of other folders have vectors of an earlier preprocessing. Index those "
            "folders too.",
            highlight=False,
            markup=False,
        )
    if not summary["base_stated"]:
        ERR.print(
            f"Nothing says which base these vectors were made with; they are taken for {summary['base']}'s, and what "
            "is found means nothing if they are not. Say it with --base.",
            highlight=False,
            markup=False,
        )


def _left_out(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what was left out by its name."""
    shown = ", ".join(f"{rule['count']:,} {rule['pattern']}" for rule in rules if rule["count"])
    return [f"Left out by name: {shown}."] if shown else []


def _by_reason(what: str, kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what was not taken: a line a reason."""
    reasons: dict[str, list[str]] = {}
    for kind in kinds:
        reasons.setdefault(kind["reason"], []).append(f"{kind['count']:,} {kind['suffix'] or 'without a suffix'}")
    return [f"{what}: {', '.join(shown)} ({reason})." for reason, shown in reasons.items()]


def tell_of(index: "ImageIndex") -> None:
    """Say what makes the answers of an index doubtful."""
    if not index.base_stated:
        ERR.print(
            f"Nothing says which base the index's vectors were made with; {index.base_name} is assumed.",
            highlight=False,
            markup=False,
        )
    if index.is_older():
        ERR.print(
            "The index holds pictures that were prepared otherwise than they are today. mla-extend index FOLDER brings "
            "it up to date.",
            highlight=False,
            markup=False,
        )
