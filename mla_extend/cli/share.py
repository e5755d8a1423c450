"""The commands `pack`, `unpack`, `push` and `pull`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mla_extend.cli.console import OUT, print_json, progress, size
from mla_extend.cli.options import BaseSource, Device, Json, LanguageVersion, RegistryFolder

Replace = Annotated[
    bool, typer.Option("--replace", help="Publish a new version if the language exists; older versions are kept.")
]
Repository = Annotated[str, typer.Argument(metavar="REPO", help="A model repository of the hub, as OWNER/NAME.")]


def pack(
    language: LanguageVersion,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where the archive goes.  \\[default: BASE-LANG-VERSION.zip in the current folder]",
            show_default=False,
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    json: Json = False,
) -> None:
    """Pack a version into one archive; the same version gives the same bytes."""
    from mla_extend.share.pack import pack as run  # noqa: PLC0415 - the registry need not be imported for --help

    found = run(language, out=out, base=base, registry=registry)
    if json:
        print_json(found)
        return
    OUT.print(
        f"Packed {found['language']} {found['version']} into {found['file']} ({size(found['bytes'])}).",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that pack has written.")],
    registry: RegistryFolder = None,
    base: BaseSource = None,
    replace: Replace = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Publish a packed language in the registry, after checking every file and proving isolation."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.share.pack import unpack as run  # noqa: PLC0415 - imports torch

        bars.finish()
        found = run(file, base=base, registry=registry, replace=replace, device=device, progress=bars)
    _tell(found, json)


def push(
    language: LanguageVersion,
    repo: Repository,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="BRANCH", help="Branch to push to.  \\[default: main]", show_default=False),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    json: Json = False,
) -> None:
    """Push a version to the hub in one commit. The token comes from HF_TOKEN or the hub's login."""
    with progress() as bars:
        from mla_extend.share.hub import push as run  # noqa: PLC0415 - the hub's library is slow to import

        found = run(
            language,
            repo,
            private=private,
            revision=revision,
            base=base,
            registry=registry,
            progress=bars,
        )
    if json:
        print_json(found)
        return
    OUT.print(
        f"Sent {found['language']} {found['version']} to {found['repo']} as commit {found['commit']}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def pull(
    repo: Repository,
    revision: Annotated[
        str | None,
        typer.Option(
            "--revision",
            metavar="R",
            help="Branch, tag or commit to pull.  \\[default: main]",
            show_default=False,
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="LANG", help="Refuse the repository unless it holds this language."),
    ] = None,
    registry: RegistryFolder = None,
    base: BaseSource = None,
    replace: Replace = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Publish a language from the hub in the registry, after checking every file and proving isolation."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.share.hub import pull as run  # noqa: PLC0415 - imports torch

        bars.finish()
        found = run(
            repo,
            revision=revision,
            language=language,
            base=base,
            registry=registry,
            replace=replace,
            device=device,
            progress=bars,
        )
    _tell(found, json)


def _tell(found: dict[str, Any], json: bool) -> None:
    """Say what was taken in."""
    if json:
        print_json(found)
        return
    what = "Published" if found["published"] else "Was there already:"
    OUT.print(
        f"{what} {found['language']} {found['version']} in {found['folder']}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
