"""The command `compare`, and its table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mla_extend.cli.console import ERR, OUT, print_json, progress
from mla_extend.cli.options import BaseSource, Device, Json, LanguageVersion, RegistryFolder, Seed, languages_there

NAMES = {
    "mean_recall": "mean recall",
    "t2i_mean_recall": "text to image",
    "i2t_mean_recall": "image to text",
    **{f"image_retrieval_recall@{k}": f"text to image R@{k}" for k in (1, 5, 10)},
    **{f"text_retrieval_recall@{k}": f"image to text R@{k}" for k in (1, 5, 10)},
    "to_native_accuracy": "finds its native sentence",
    "from_native_accuracy": "found by its native sentence",
}
Second = Annotated[
    str | None,
    typer.Argument(
        metavar="[LANG[@VERSION]]",
        help="The language or version to compare with.",
        show_default=False,
        autocompletion=languages_there,
    ),
]


def compare(
    first: LanguageVersion,
    second: Second = None,
    translations: Annotated[
        Path | None,
        typer.Option(
            "--translations",
            metavar="FILE",
            help="Compare with searching in your translations of the test texts: .tsv or .jsonl with caption and "
            "translation, or one per line in the test set's order.",
        ),
    ] = None,
    test_set: Annotated[
        str | None,
        typer.Option(
            "--test-set",
            metavar="PATH|demo",
            help="Images with text, or parallel text, as for evaluate.  \\[default: the one on the cards]",
            show_default=False,
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare two versions, two languages, or a language with translate-then-search, on the same images."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.evaluation.compare import compare as run  # noqa: PLC0415 - imports torch

        bars.finish()
        found = run(
            first,
            second,
            translations=translations,
            test_set=test_set,
            base=base,
            registry=registry,
            seed=seed,
            device=device,
            progress=bars,
        )
    if json:
        print_json(found)
        return
    for name, split in found["splits"].items():
        if any(split["left_out"]):
            left = ", ".join(f"{count} of {of}" for count, of in zip(split["left_out"], (first, second), strict=True))
            ERR.print(f"{name}: left out, because only one of the test sets has it: {left}.", highlight=False)
    OUT.print(comparison_table(found))


def comparison_table(found: Mapping[str, Any]) -> Table:
    """Draw a comparison: one row a figure, per cent."""
    one, other = found["first"], found["second"]
    headings = [f"{side['language']} {side.get('version') or side['translations']}" for side in (one, other)]
    table = Table(
        title=f"{headings[1]} against {headings[0]} on {found['test_set']} (base {found['base']}), per cent",
        caption=(
            "difference: the second minus the first, with its 95 % paired-bootstrap interval; p: two-sided, for each "
            "figure by itself"
        ),
    )
    table.add_column("split")
    table.add_column("figure")
    for heading in ("first", "second", "difference", "95 %", "p"):
        table.add_column(heading, justify="right")
    for name, split in found["splits"].items():
        for figure, line in split["figures"].items():
            low, high = line["ci95"]
            table.add_row(
                name,
                NAMES[figure],
                f"{100 * line['first']:.1f}",
                f"{100 * line['second']:.1f}",
                f"{100 * line['difference']:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                f"{line['p_value']:.3f}",
                end_section=figure == list(split["figures"])[-1],
            )
    return table
