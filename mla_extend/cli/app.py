"""The commands."""

import atexit
import errno
import gc
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mla_extend import __version__
from mla_extend.cli.add_languages import add_languages
from mla_extend.cli.cache import cache
from mla_extend.cli.compare import compare
from mla_extend.cli.console import ERR, OUT, print_json, progress, write_out_what_cannot_be_shown
from mla_extend.cli.export import export
from mla_extend.cli.history import Yes, print_versions, prune, rollback
from mla_extend.cli.index import index
from mla_extend.cli.inspect import inspect
from mla_extend.cli.options import (
    BaseSource,
    Columns,
    Device,
    Filter,
    FormatName,
    Json,
    Language,
    LanguageVersion,
    NewLanguage,
    RecipeName,
    RegistryFolder,
    Seed,
    languages_there,
)
from mla_extend.cli.report import report
from mla_extend.cli.search import search
from mla_extend.cli.serve import serve
from mla_extend.cli.share import pack, pull, push, unpack
from mla_extend.cli.sources import sources
from mla_extend.cli.verify import verify
from mla_extend.errors import Interrupted, MlaExtendError, fault, remedy
from mla_extend.processes import follows

app = typer.Typer(
    name="mla-extend",
    help="Add a language to an English image-text model. Image vectors, English, and every other language stay "
    "the same, bit for bit. Set base, registry, index and device once in mla-extend.toml.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
FAILED, INTERRUPTED = 1, 130
_debug = False


def _show_version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"mla-extend {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold what goes before a command."""
    del version  # its callback has printed it
    global _debug  # noqa: PLW0603 - one process runs one command
    _debug = debug


def add_language(
    language: NewLanguage,
    parallel_data: Annotated[
        list[str],
        typer.Option(
            "--parallel-data",
            metavar="DATA|demo",
            help="Parallel text, \\[FORMAT:]PATH\\[#SPLIT]\\[=WEIGHT]; may be repeated. With an image column it serves "
            "both stages.",
        ),
    ],
    image_text: Annotated[
        list[str] | None,
        typer.Option(
            "--image-text",
            metavar="DATA|demo",
            help="Images with captions in the language; may be repeated. Without them, Language Exposure is skipped.",
        ),
    ] = None,
    lexicon: Annotated[
        list[str] | None,
        typer.Option(
            "--lexicon",
            metavar="DATA",
            help="A bilingual word list; may be repeated. It teaches words that the parallel text lacks.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="FILE",
            help="Monolingual text, one sentence per line; may be repeated. It shapes the tokenizer and the "
            "initial vectors of words that the parallel text lacks.",
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    recipe: RecipeName = "default",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Change a value of the recipe; may be repeated.")
    ] = None,
    test_set: Annotated[
        str | None,
        typer.Option(
            "--test-set",
            metavar="DATA|demo",
            help="Images with text, or parallel text, to evaluate on; training rows that occur in it are dropped.  "
            "\\[default: the demo's for demo data, else held-out training data]",
            show_default=False,
        ),
    ] = None,
    columns: Columns = None,
    format_name: FormatName = None,
    level: Filter = "default",
    max_pairs: Annotated[
        int | None,
        typer.Option(
            "--max-pairs",
            metavar="N",
            min=2,
            help="Use a random sample of N pairs of the parallel text.  \\[default: all]",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="NAME",
            help="Licence of your data, for the card.  \\[default: what the data states]",
            show_default=False,
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from",
            metavar="LANG",
            help="A related language of the registry to start from. It is copied and stays unchanged.",
            autocompletion=languages_there,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="T",
            help="How long it may take (90s, 30m, 2h): as many steps as fit.  \\[default: the recipe's steps]",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same command.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Publish a new version if the language exists; older versions are kept.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate time and memory; train nothing.")] = False,
    json: Json = False,
) -> None:
    """Add a language: build its tokenizer, embedding and acquirers, train them, evaluate, prove isolation, publish."""
    arguments: dict[str, Any] = {
        "parallel_data": parallel_data,
        "image_text": image_text or (),
        "lexicon": lexicon or (),
        "text": text or (),
        "base": base,
        "registry": registry,
        "recipe": recipe,
        "overrides": overrides or (),
        "test_set": test_set,
        "licence": licence,
        "columns": columns,
        "format": format_name,
        "filter": level,
        "max_pairs": max_pairs,
        "seed": seed,
        "device": device,
        "replace": replace,
        "start_from": start_from,
        "time": time,
    }
    with progress() as bars:
        bars.start("Loading")
        # A sixth of a run on a CPU: torch, which reads this once, then takes its memory in huge pages.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        from mla_extend.add import job as add  # noqa: PLC0415 - imports torch

        bars.finish()
        if dry_run:
            plan = add.plan_language(language, progress=bars, **arguments)
        else:
            published = add.add_language(language, resume=resume, progress=bars, **arguments).to_json()
    if follows():
        return
    if json:
        print_json(plan if dry_run else published)
        return
    from mla_extend.cli import tables  # noqa: PLC0415

    if dry_run:
        OUT.print(tables.plan_table(plan))
        return
    tables.print_card(OUT, published)


def list_languages(
    language: Annotated[
        str | None,
        typer.Argument(
            metavar="[LANG]",
            help="List the versions of this language.  \\[default: all languages]",
            show_default=False,
            autocompletion=languages_there,
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    json: Json = False,
) -> None:
    """List the languages of a registry, or the versions of one with what was done to them."""
    if language is not None:
        print_versions(language, base, registry, json)
        return
    from mla_extend.registry.store import Registry  # noqa: PLC0415
    from mla_extend.registry.summary import open_homes, summaries  # noqa: PLC0415

    root = Registry(registry).root
    rows, problems = summaries(root)
    if base is not None:
        names = {home.base.name for home in open_homes(base, registry)}
        rows = [row for row in rows if row["base"] in names]
    for problem in problems:
        ERR.print(f"[yellow]Left out:[/] {_escape(problem)}", highlight=False)
    if json:
        print_json(rows)
        return
    from mla_extend.cli.tables import list_table  # noqa: PLC0415

    if rows:
        OUT.print(list_table(rows))
    else:
        OUT.print(
            f"{root} holds no language yet. Add one: mla-extend add-language LANG --parallel-data FILE", markup=False
        )


def show(
    language: LanguageVersion, base: BaseSource = None, registry: RegistryFolder = None, json: Json = False
) -> None:
    """Show the card of a version: figures, data and licences, training, cost, proof."""
    from mla_extend.registry.summary import find_version  # noqa: PLC0415

    home, version = find_version(language, base, registry)
    found = home.card(version.language, version.name).to_json()
    if json:
        print_json(found)
        return
    from mla_extend.cli import tables  # noqa: PLC0415

    tables.print_card(OUT, found)
    OUT.print(f"Model card: {version.folder / 'README.md'}", highlight=False, markup=False, soft_wrap=True)


def evaluate(
    language: LanguageVersion,
    test_set: Annotated[
        str | None,
        typer.Option(
            "--test-set",
            metavar="DATA|demo",
            help="Images with text, or parallel text: a file, or LAYOUT:FOLDER.  \\[default: the one on the card]",
            show_default=False,
        ),
    ] = None,
    columns: Columns = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="P",
            help="standard: each caption counts; first: each image's first caption; mla: as in the MLA paper.",
        ),
    ] = "standard",
    distractors: Annotated[
        Path | None,
        typer.Option(
            "--distractors",
            metavar="FILE",
            help="More native sentences for the gallery of parallel text, one per line.",
        ),
    ] = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Evaluate a language: recall in both directions, beside the native language, the floor and chance."""
    with progress() as bars:
        bars.start("Loading")
        from mla_extend.evaluation.evaluate import evaluate as run  # noqa: PLC0415 - imports torch

        bars.finish()
        evaluation = run(
            language,
            test_set=test_set,
            columns=columns,
            protocol=protocol,
            distractors=distractors,
            base=base,
            registry=registry,
            seed=seed,
            device=device,
            progress=bars,
        )
    if json:
        print_json(evaluation)
        return
    from mla_extend.cli.tables import print_evaluation  # noqa: PLC0415

    print_evaluation(OUT, evaluation)


def remove(
    language: Language,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    yes: Yes = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Remove a language with all its versions, after proving that nothing else changes."""
    from mla_extend.registry.summary import find_home  # noqa: PLC0415

    tag, home = find_home(language, base, registry)
    versions = [version.name for version in home.versions(tag)]
    if not yes:
        typer.confirm(f"Remove {tag} ({len(versions)} version(s)) from {home.folder}?", abort=True, err=json)
    with progress() as bars:
        bars.start("Proving isolation")
        from mla_extend.registry.prove import remove as prove_and_remove  # noqa: PLC0415 - imports torch

        proof = prove_and_remove(home, tag, device=device, progress=bars)
        bars.finish()
    if json:
        print_json({"language": tag, "base": home.base.name, "removed": versions, "isolation": proof})
        return
    OUT.print(f"Removed {tag} from {home.folder}.", highlight=False)


PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Add": {"add-language": add_language, "add-languages": add_languages, "sources": sources, "inspect": inspect},
    "Look": {"list": list_languages, "show": show, "cache": cache},
    "Measure": {"evaluate": evaluate, "compare": compare, "report": report},
    "Search": {"index": index, "search": search, "serve": serve},
    "Share": {"export": export, "pack": pack, "unpack": unpack, "push": push, "pull": pull},
    "Versions": {"rollback": rollback, "prune": prune, "remove": remove, "verify": verify},
}
"""The commands, in the groups that `--help` shows."""

for panel, commands in PANELS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line; turn every error into one line and an exit code."""
    warnings.filterwarnings("ignore", module="PIL")  # of odd pictures, which are read or told of all the same
    write_out_what_cannot_be_shown()
    atexit.register(gc.freeze)  # an interpreter that ends collects once more, which takes a second after torch
    try:
        app()
    except Interrupted as stopped:
        ERR.print(str(stopped), highlight=False, markup=False)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        ERR.print("Stopped. Run the same command to continue from what was saved.", highlight=False)
        sys.exit(INTERRUPTED)
    except MlaExtendError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno == errno.EPIPE:
            sys.exit(FAILED)
        _fail(f"{fault(error)}. {remedy(error)}")


def _fail(message: str) -> None:
    if _debug:
        ERR.print_exception()
    if follows():  # the first of several processes has said it
        sys.exit(FAILED)
    ERR.print(f"[bold red]Error:[/] {_escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(FAILED)


def _escape(message: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(message)
