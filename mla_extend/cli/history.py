"""The commands `rollback` and `prune`, and the versions that `list LANG` shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from mla_extend.cli.console import ERR, OUT, print_json, progress, size
from mla_extend.cli.options import BaseSource, Device, Json, RegistryFolder, languages_there
from mla_extend.cli.tables import isolated

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
PLAIN: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "show_edge": False}
WIDE = 100
"""Columns of a terminal from which the data of a version is shown."""


def print_versions(language: str, base: str | None, registry: Path | None, json: bool) -> None:
    """Print every version of a language, and when which was put into use, pruned or removed."""
    from mla_extend.registry.summary import history as read  # noqa: PLC0415 - help must start fast

    found = read(language, base, registry)
    if json:
        print_json(found)
        return
    for problem in found["problems"]:
        ERR.print(f"[yellow]![/] {escape(problem)}", highlight=False)
    if found["versions"]:
        OUT.print(versions_table(found, OUT.width))
    for version in found["versions"]:
        for problem in version["problems"]:
            OUT.print(f"[red]✗[/] {escape(problem)}", highlight=False)
    if found["events"]:
        OUT.print(events_table(found))
    if not found["versions"]:
        OUT.print(f"{found['language']} was removed: no version is left.", highlight=False)


def rollback(
    language: Annotated[
        str,
        typer.Argument(
            metavar="LANG[@VERSION]",
            help="The version to put into use, such as sw@v1; for sw alone, the one before the current one.",
            autocompletion=languages_there,
        ),
    ],
    base: BaseSource = None,
    registry: RegistryFolder = None,
    device: Device = "auto",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Put an earlier version of a language into use, after proving that nothing else changes."""
    from mla_extend.registry.summary import find_version  # noqa: PLC0415

    home, chosen = find_version(language, base, registry)
    tag = chosen.language
    if "@" not in language:
        chosen = home.earlier(tag)
    if not yes:
        typer.confirm(f"Put {tag} {chosen.name} into use in {home.folder}?", abort=True, err=json)
    with progress() as bars:
        bars.start("Proving isolation")
        from mla_extend.registry.prove import roll_back  # noqa: PLC0415 - imports torch

        done = roll_back(home, tag, chosen.name, device=device, progress=bars)
        bars.finish()
    if json:
        print_json(done)
        return
    if done["isolation"] is None:
        OUT.print(f"{tag} uses {chosen.name} already.", highlight=False)
        return
    OUT.print(
        f"{tag} uses {chosen.name} now, {done['before'] or 'none'} before. Isolation: {isolated(done['isolation'])}.",
        highlight=False,
    )


def prune(
    keep: Annotated[int, typer.Option("--keep", metavar="N", min=1, help="How many of the newest versions to keep.")],
    language: Annotated[
        str | None,
        typer.Argument(
            metavar="[LANG]",
            help="Language code of a language in the registry.  \\[default: all]",
            show_default=False,
            autocompletion=languages_there,
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete old versions, but never the one in use."""
    from mla_extend.registry.summary import disk_size, find_homes  # noqa: PLC0415

    homes = find_homes(language, base, registry)
    old = [(home, tag, version) for home, tag in homes for version in home.old_versions(tag, keep)]
    sizes = {version: disk_size(version) for _, _, version in old}
    say = OUT.print if not json else ERR.print
    for home, tag, version in old:
        say(f"{home.base.name} {tag} {version.name}: {size(sizes[version])}", highlight=False)
    total = size(sum(sizes.values()))
    if not old:
        say(f"Nothing to delete: the newest {keep} and the one in use are the only versions.", highlight=False)
    elif dry_run:
        say(f"{len(old)} version(s), {total}, would be deleted.", highlight=False)
    elif not yes:
        typer.confirm(f"Delete {len(old)} version(s), {total}?", abort=True, err=json)
    deleted = []
    for home, tag in homes if not dry_run else ():  # where nothing is old, what a cut-off run left is cleared away
        gone = home.prune(tag, keep)
        deleted += gone
        if gone:
            freed = size(sum(sizes.get(version, 0) for version in gone))
            say(f"{home.base.name} {tag}: deleted {len(gone)} version(s), which freed {freed}.", highlight=False)
    if json:
        print_json(
            [
                {
                    "base": home.base.name,
                    "language": tag,
                    "version": version.name,
                    "bytes": sizes[version],
                    "deleted": version in deleted,
                }
                for home, tag, version in old
            ]
        )


def versions_table(found: Mapping[str, Any], width: int = WIDE) -> Table:
    """Draw the versions of a language; their data where there is room."""
    wide = width >= WIDE
    table = Table(
        title=escape(f"{found['language']} for the base {found['base']}"),
        caption="●: in use; recall: mean recall with its 95 % interval (text: sentences that find their native "
        "translation); ratio: to native; ✓: files as published",
        **PLAIN,
    )
    table.add_column()
    table.add_column("version", no_wrap=True)
    for heading in ("recipe", *(("data",) if wide else ())):
        table.add_column(heading)
    table.add_column("recall, %", justify="right", min_width=len("(35.8-39.6)"))
    for heading in ("ratio", "size"):
        table.add_column(heading, justify="right")
    table.add_column("files")
    for row in found["versions"]:
        data = dict.fromkeys(item["path"] for item in row["data"] or () if item["role"] != "test_set")
        table.add_row(
            "[green]●[/]" if row["in_use"] else "",
            f"v{row['number']} {row['version']}",
            escape(row["recipe"] or ""),
            *([escape(", ".join(data))] if wide else []),
            *_figures(row["splits"] or {}),
            size(row["bytes"]),
            "[red]✗[/]" if row["problems"] else "[green]✓[/]",
        )
    return table


def _figures(splits: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Return mean recall with its interval, and the ratio to native, of the first split that has them.

    Where only parallel text was tested, it is how often a sentence finds its native translation.
    """
    for figure, ends, note in (("mean_recall", "ci95", ""), ("to_native_accuracy", "to_native_ci95", " text")):
        split = next((split for split in splits.values() if figure in split), None)
        if split is not None:
            interval = " (" + "-".join(f"{100 * end:.1f}" for end in split[ends]) + ")" if ends in split else ""
            ratio = f"{split['ratio']:.2f}" if "ratio" in split else "-"
            return f"{100 * split[figure]:.1f}{interval}{note}", ratio
    return "-", "-"


def events_table(found: Mapping[str, Any]) -> Table:
    """Draw what was recorded of a language."""
    table = Table(title="record (UTC)", **PLAIN)
    table.add_column("when", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("in use after", no_wrap=True)
    table.add_column("isolation")
    for event in found["events"]:
        what = {
            "add": "added",
            "replace": "new version",
            "switch": "put into use",
            "prune": f"deleted {event['version']}",
            "remove": "removed",
        }.get(event["action"], event["action"])
        what = escape(what)
        proof = event["isolation"]
        table.add_row(
            escape(event["when"].replace("T", " ").removesuffix("Z")),
            what if event["done"] else f"[yellow]{what}: interrupted, or undone by hand[/]",
            escape(event["after"] or "-"),
            ("✓ proven" if proof.get("ok") else "") if proof else "on the card" if event["action"] in ON_CARD else "",
        )
    return table


ON_CARD = ("add", "replace")
"""Events whose proof is on the card of the version that they published."""
