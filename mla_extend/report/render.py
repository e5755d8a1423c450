"""Templates to HTML: all data is escaped, and invisible characters are written out."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.errors import DataError, LanguageError
from mla_extend.extras import optional
from mla_extend.files import user_path

if TYPE_CHECKING:
    from jinja2 import Environment

RIGHT_TO_LEFT = frozenset({"Adlm", "Arab", "Hebr", "Mand", "Mend", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"})
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, those that turn the direction of what follows, and halves of pairs that no file can hold."""


def render(template: str, **values: Any) -> str:
    """Return the HTML page of a template."""
    return _environment().get_template(template).render(**values)


def page_path(out: Path) -> Path:
    """Return where a page is written; raise DataError for a folder, or another suffix than `.html`."""
    path = user_path(out)
    if path.is_dir():
        raise DataError(f"{path} is a folder. Give the name of a file, such as {path / 'report.html'}.")
    if path.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{path} does not end in .html. Give the name of a page, such as {path.stem}.html.")
    return path


def visible(text: str) -> str:
    """Return a text with unseen characters written out, such as `[U+202E]`, so that they have no effect either."""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def direction(tag: str) -> str:
    """Return `rtl` for a language that is written from right to left, else `ltr`."""
    import langcodes  # noqa: PLC0415 - slow to import

    try:
        script = langcodes.Language.get(tag).maximize().script
    except (langcodes.LanguageTagError, LanguageError):
        return "ltr"
    return "rtl" if script in RIGHT_TO_LEFT else "ltr"


def png_uri(content: bytes) -> str:
    """Return a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _environment() -> "Environment":
    jinja2 = optional("jinja2", "The page")
    environment: Environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mla_extend.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # jinja2 marks what is HTML already by a subclass of `str`; that holds escaped text alone, made visible before.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(
        count=_or_dash("{:,}".format),
        direction=direction,
        duration=_or_dash(_duration),
        interval=_or_dash(lambda ends: f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"),
        percent=_or_dash(lambda value: f"{100 * value:.1f}"),
        range=_or_dash(lambda ends: f"{ends[0]:.2f}–{ends[1]:.2f}"),
        ratio=_or_dash("{:.2f}".format),
        # One that is there but rounds to nothing is less than the least.
        share=lambda value: "<0.1" if 0 < value < 0.0005 else f"{100 * value:.1f}",
        size=_or_dash(_size),
        small=_or_dash("{:.3g}".format),
    )
    return environment


def _or_dash(spell: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a filter that writes a dash for what is not known."""
    return lambda value: "–" if value is None else spell(value)


def _size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
