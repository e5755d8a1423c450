"""The command `export`."""

from pathlib import Path
from typing import Annotated

import typer

from mla_extend.cli.console import OUT, print_json, progress, size
from mla_extend.cli.options import BaseSource, Json, RegistryFolder, languages_there


def export(
    language: Annotated[
        str,
        typer.Argument(
            metavar="LANG[@VERSION]|images",
            help="A language of the registry, or one version of it, such as sw@v1; the base's own language; or images "
            "for the image tower.",
            autocompletion=languages_there,
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="TOOL", help="What it is for: onnx, sentence-transformers or immich.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Output folder.  \\[default: BASE-LANG-TOOL in the current folder]",
            show_default=False,
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights: a quarter of the size, slightly lower recall. ONNX only.")
    ] = False,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export.")] = False,
    json: Json = False,
) -> None:
    """Export a language for another tool: onnxruntime, sentence-transformers or Immich."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.exports.run import export as run  # noqa: PLC0415 - imports torch

        bars.finish()
        found = run(language, to, out=out, int8=int8, base=base, registry=registry, replace=replace, progress=bars)
    if json:
        print_json(found)
        return
    total = sum(entry["bytes"] for entry in found["files"].values())
    OUT.print(f"{found['folder']}: {len(found['files'])} files, {size(total)}.", highlight=False, soft_wrap=True)
    OUT.print(found["check"]["sentence"], highlight=False, soft_wrap=True)
    OUT.print(f"How to open it: {found['folder']}/README.md", highlight=False, soft_wrap=True)
