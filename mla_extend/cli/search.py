"""The command `search`, and its table."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from mla_extend.cli.console import ERR, OUT, print_json, progress
from mla_extend.cli.index import IndexFolder, tell_of
from mla_extend.cli.options import BaseSource, Device, Json, RegistryFolder, languages_there
from mla_extend.files import user_path

if TYPE_CHECKING:
    from mla_extend.search.searcher import Answer

PREVIEW_WIDTH, PREVIEW_HEIGHT = 16, 14
"""Pixels of a preview: a character shows one across and two down."""


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORDS]...",
            help="The query, in any language of the registry.",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="Find the images that look like this one, in place of words."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Search for each line of a file, in place of words; - reads standard input.",
            allow_dash=True,
        ),
    ] = None,
    language: Annotated[
        str,
        typer.Option(
            "--language",
            "--lang",
            metavar="LANG|auto",
            help="Language of the query; auto detects it.",
            autocompletion=languages_there,
        ),
    ] = "auto",
    top: Annotated[int, typer.Option("--top", metavar="N", help="How many images.")] = 10,
    folder: IndexFolder = None,
    base: BaseSource = None,
    registry: RegistryFolder = None,
    device: Device = "auto",
    previews: Annotated[
        bool | None,
        typer.Option(
            "--previews/--no-previews",
            help="Show small pictures.  \\[default: where the terminal has colours]",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE.html", help="Also write the results as a page with thumbnails."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the best image.")] = False,
    json: Json = False,
) -> None:
    """Search an image index with words or with an image."""
    if sum(given is not None for given in (words or None, image, queries)) != 1:
        raise typer.BadParameter("Give one of three: some words, --image FILE or --queries FILE.")
    from mla_extend.report.render import page_path  # noqa: PLC0415
    from mla_extend.search.searcher import AUTO, check_query, check_top, open_index  # noqa: PLC0415 - imports numpy

    texts = _lines(queries) if queries is not None else [" ".join(words)] if words else []
    for text in texts:
        check_query(text)
    if html is not None:
        page_path(html)  # a wrong one is told before the base is opened
    check_top(top)
    with progress() as bars:
        bars.start("Loading")
        searcher = open_index(
            folder,
            base=base,
            registry=registry,
            device=device,
            auto=bool(texts) and language == AUTO,
            progress=bars,
        )
        bars.finish()
    if image is not None:
        answers = [searcher.search_image(user_path(image), top)]
    else:
        answers = [searcher.search(text, language, top) for text in texts]
    if json:
        found = [answer.to_json() for answer in answers]
        print_json(found if queries is not None else found[0])
    else:
        drawn = _can_draw() if previews is None else previews
        for answer in answers:
            if queries is not None:
                OUT.print(answer.query, style="bold", highlight=False, markup=False)
            OUT.print(answer_table(answer, previews=drawn))
            OUT.print(how(answer), highlight=False, markup=False)
    if html is not None:
        from mla_extend.report.answers import write_answers  # noqa: PLC0415 - not without a page

        # The page's place is no part of an answer, which a script may read.
        ERR.print(f"Wrote {write_answers(answers, html)}", highlight=False, markup=False, soft_wrap=True)
    tell_of(searcher.index)
    if show:
        for answer in answers:
            _open_best(answer)


def _lines(queries: Path) -> list[str]:
    """Return the lines of a file, or of standard input, that are not empty."""
    from mla_extend.data.formats.format import text_lines  # noqa: PLC0415 - not where the words are given
    from mla_extend.errors import DataError  # noqa: PLC0415

    lines = sys.stdin if str(queries) == "-" else (line for _, line in text_lines(user_path(queries)))
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise DataError(f"{queries} has no query. Write one per line.")
    return texts


def answer_table(answer: "Answer", *, previews: bool) -> Table:
    """Draw an answer: one row an image."""
    table = Table(show_lines=previews)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    if previews:
        table.add_column("image")
    table.add_column("file", overflow="fold")
    for hit in answer.hits:
        cells: list[str | Text] = [str(hit.rank), f"{hit.score:.3f}"]
        if previews:
            cells.append(preview(hit.entry.path))
        table.add_row(*cells, Text(hit.entry.name))
    return table


def how(answer: "Answer") -> str:
    """Say which language was taken, how sure that is, and how long it took."""
    from mla_extend.data.codes import language_name  # noqa: PLC0415 - slow to import

    names = [f"{language_name(tag)} ({tag})" for tag in answer.languages]
    count = len(answer.hits)
    took = f"{count} {'image' if count == 1 else 'images'} in {1000 * answer.seconds:.0f} ms."
    if not names:
        return f"Searched with the image {answer.query}. {took}"
    if answer.confidence is None:
        return f"Searched as {names[0]}. {took}"
    if answer.sure:
        return f"Detected as {names[0]}, {100 * answer.confidence:.0f} % sure. {took}"
    return (
        f"Unsure of the language ({names[0]}: {100 * answer.confidence:.0f} %), so searched as "
        f"{' and as '.join(names)}; name it with --language. {took}"
    )


def _can_draw() -> bool:
    return OUT.is_terminal and OUT.color_system is not None and not OUT.options.ascii_only


def preview(path: Path | None) -> Text:
    """Return a small picture in half-block characters; nothing where there is none."""
    from PIL import Image  # noqa: PLC0415 - not needed without previews

    from mla_extend.errors import DataError  # noqa: PLC0415
    from mla_extend.images.open import open_image  # noqa: PLC0415
    from mla_extend.images.video import is_video  # noqa: PLC0415

    if path is None or is_video(path):
        return Text("video" if path else "")
    try:
        image = open_image(path, least_side=PREVIEW_WIDTH, few_pixels=0)
    except DataError:
        return Text("gone" if not path.exists() else "unreadable")
    image.thumbnail((PREVIEW_WIDTH, PREVIEW_HEIGHT), Image.Resampling.BOX)
    drawn = Text()
    for row in range(0, image.height, 2):
        if row:
            drawn.append("\n")
        for column in range(image.width):
            above = _colour(image, column, row)
            below = _colour(image, column, min(row + 1, image.height - 1))
            drawn.append("▀", f"{above} on {below}")
    return drawn


def _colour(image: object, column: int, row: int) -> str:
    red, green, blue = image.getpixel((column, row))  # type: ignore[attr-defined]
    return f"#{red:02x}{green:02x}{blue:02x}"


def _open_best(answer: "Answer") -> None:
    for hit in answer.hits:
        if hit.entry.path is not None and hit.entry.path.exists():
            typer.launch(str(hit.entry.path))
            return
    ERR.print("Nothing to open: none of the images found is a file on this machine.", highlight=False)
