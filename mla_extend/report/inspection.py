"""The page about data: what the checks found in parallel text or captions, with rows to look at."""

from collections.abc import Mapping
from typing import Any

from mla_extend.data.licences import is_noncommercial
from mla_extend.report.render import render

EXPLANATIONS = {
    "empty": "One side holds no text.",
    "unreadable": "The image is missing, damaged or of an unsupported format.",
    "leaked": "The text or its image is also in the test set, which would bias the evaluation.",
    "duplicate": "The same row occurs earlier in the data.",
    "copy": "The target is the native text itself: it was not translated.",
    "mojibake": "The text was decoded with the wrong encoding, such as “Ã©” for “é”.",
    "wrong_script": "Too many letters are of a script that the language is not written in.",
    "wrong_language": "The text is most likely in another language. Short texts are not judged.",
    "length_ratio": "One side is longer than the other by far more than is usual in this data.",
    "truncated": "Longer than the base's context, so its end is cut off; the rows are kept.",
}
"""What each problem means, in one or two sentences."""
LEVELS = {
    "strict": "doubtful rows are dropped too",
    "default": "rows that are most likely wrong are dropped",
    "off": "nothing is dropped; problems are only counted",
}


def inspection_page(data: Mapping[str, Any]) -> str:
    """Return an HTML page, that needs no other file, about what was found in data.

    Args:
        data: `paths`, `language`, `language_name`, `native`, `level`, `pairs`, `kept`, `problems` (a count for each),
            `samples` (for each, rows of `where`, `native`, `target` and `note`), `tokens` (`per_word`,
            `truncated`, `vocabulary`, and where they are known `native_per_word`, `positions` and `positions_of`; or
            `None`), and `licence` (`None`: unknown).
    """
    problems = sorted(((name, count) for name, count in data["problems"].items() if count), key=lambda one: -one[1])
    return render(
        "inspection.html",
        **{"tokens": None, "licence": None, **data},
        found=problems,
        absent=[name for name, count in data["problems"].items() if not count],
        most=max((count for _, count in problems), default=0),
        explanations=EXPLANATIONS,
        levels=LEVELS,
        noncommercial=is_noncommercial(data.get("licence")),
    )
