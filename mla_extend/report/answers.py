"""A page of what queries found: each query with its pictures, in one file to look at or to send on."""

from collections.abc import Sequence
from pathlib import Path

from mla_extend.errors import DataError
from mla_extend.files import atomic_path
from mla_extend.report.examples import thumbnail
from mla_extend.report.render import page_path, render
from mla_extend.search.searcher import Answer


def write_answers(answers: Sequence[Answer], out: Path) -> Path:
    """Write one HTML page that needs no other file; return its path.

    Args:
        answers: a section each, in this order.
        out: the page.

    Raises:
        DataError: `out` is a folder, or has another suffix than `.html`.
    """
    path = page_path(out)
    page = render("answers.html", answers=answers, pictures=_pictures(answers))
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _pictures(answers: Sequence[Answer]) -> dict[Path, str]:
    """Return thumbnails of what was found, those that can still be read."""
    pictures = {}
    for path in {hit.entry.path for answer in answers for hit in answer.hits}:
        if path is None:
            continue
        try:
            pictures[path] = thumbnail(path)
        except DataError:
            continue
    return pictures
