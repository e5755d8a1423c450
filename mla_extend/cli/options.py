"""The options that several commands share, each with one name and one help text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def languages_there(incomplete: str) -> Iterator[str]:
    """Complete a language from the registry, after an `@` its versions; completion never fails, it only knows less."""
    from mla_extend.errors import MlaExtendError  # noqa: PLC0415 - completion must start fast
    from mla_extend.registry.store import Registry  # noqa: PLC0415

    try:
        root = Registry()
        for name in root.bases():
            home = root.open(name)
            tags = home.tags()
            language, at, _ = incomplete.partition("@")
            if at and language in tags:
                tags = [f"{language}@v{number}" for number, _ in enumerate(home.versions(language), start=1)]
            yield from (text for text in tags if text.startswith(incomplete))
    except (MlaExtendError, OSError):
        return


def _recipes(incomplete: str) -> Iterator[str]:
    for folder in (Path(__file__).parents[1] / "recipes", Path(__file__).parents[2] / "recipes"):
        yield from (path.stem for path in sorted(folder.glob("*.yaml")) if path.stem.startswith(incomplete))


def _formats(incomplete: str) -> Iterator[str]:
    from mla_extend.data.specification import names  # noqa: PLC0415

    yield from (name for name in names() if name.startswith(incomplete))


NewLanguage = Annotated[str, typer.Argument(metavar="LANG", help="Language code (BCP-47), such as sw, pt-BR, zh-Hant.")]
Language = Annotated[
    str,
    typer.Argument(metavar="LANG", help="Language code of a language in the registry.", autocompletion=languages_there),
]
LanguageVersion = Annotated[
    str,
    typer.Argument(
        metavar="LANG[@VERSION]",
        help="A language (its version in use) or one version: sw@v1 is the oldest, sw@v2 the next; a version's name "
        "or its beginning works too.",
        autocompletion=languages_there,
    ),
]
RegistryFolder = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        metavar="DIR",
        envvar="MLA_EXTEND_REGISTRY",
        help="Registry folder.  \\[default: adapters in the current folder]",
        show_default=False,
    ),
]
BaseSource = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="PATH|HUB-ID|demo",
        help="Base model.  \\[default: MLA_EXTEND_BASE, else the registry's, else demo]",
        show_default=False,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="D",
        envvar="MLA_EXTEND_DEVICE",
        help="cpu, cuda, mps, or auto: the device of the settings, else the best available.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output.")]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe", metavar="NAME|FILE", help="default, instant, quick, paper, or a YAML file.", autocompletion=_recipes
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="ROLE=COLUMN,...",
        help="Names of your data's columns, if they are not detected. Roles: native, target, image, text.",
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="The data's format, if it is not detected.", autocompletion=_formats),
]
Filter = Annotated[
    str,
    typer.Option(
        "--filter", metavar="LEVEL", help="Which faulty rows are dropped: strict, default, or off (only empty ones)."
    ),
]
