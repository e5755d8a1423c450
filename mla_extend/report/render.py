"""Templates to HTML: everything from outside is escaped, and characters that would not be seen are made visible."""

import base64
import re
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
        finalize=_seen,
    )
    environment.filters.update(
        count=_count,
        direction=direction,
        duration=_duration,
        interval=_interval,
        percent=_percent,
        range=_range,
        ratio=_ratio,
        share=_share,
        size=_size,
        small=_small,
    )
    return environment


def _seen(value: Any) -> Any:
    # jinja2 marks what is HTML already by a subclass of `str`; that holds escaped text alone, made visible before.
    return visible(value) if type(value) is str else value


NONE = "–"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def _share(value: float) -> str:
    """Write a fraction in per cent, one that is there but rounds to nothing as less than the least."""
    return "<0.1" if 0 < value < 0.0005 else _percent(value)


def _ratio(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def _small(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _interval(ends: list[float] | None) -> str:
    """Write an interval of fractions in per cent."""
    return NONE if ends is None else f"{100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def _range(ends: list[float] | None) -> str:
    """Write an interval of ratios."""
    return NONE if ends is None else f"{ends[0]:.2f}–{ends[1]:.2f}"


def _size(count: float | None) -> str:
    if count is None:
        return NONE
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
