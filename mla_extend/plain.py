"""What text and numbers may stand in a registry: what a terminal shows as it is, and every reader can hold."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_DEPTH = 20
MAX_NUMBER = 2**63
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but the tab and the line feed, those that turn the line about, and halves of pairs."""


def plain(text: str) -> str:
    """Return a text with its odd characters written out, such as `\\x1b`, so that they have no effect."""
    return ODD.sub(lambda found: ascii(found[0])[1:-1], text)


def plain_values(value: Any) -> Any:
    """Return JSON values with the odd characters in their texts and keys written out."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain(name): plain_values(item) for name, item in value.items()}
    return [plain_values(item) for item in value] if isinstance(value, list) else value


def odd_values(value: Any, where: str, depth: int = 0) -> Iterator[str]:
    """Give what in JSON values could not be shown or kept; `where` says which they are."""
    if depth > MAX_DEPTH:
        yield f"{where[:80]} is nested too deeply"
    elif isinstance(value, str):
        if odd := ODD.search(value):
            yield f"{where[:80]} holds the character {odd[0]!a}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where[:80]} is {value}"
    elif isinstance(value, int | float) and abs(value) >= MAX_NUMBER:
        yield f"{where[:80]} is a number of more than {MAX_NUMBER.bit_length() - 1} bits"
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from odd_values(name, f"a name in {where}", depth + 1)
            yield from odd_values(item, f"{where}.{name}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from odd_values(item, f"{where}.{index}", depth + 1)


def first_line(error: BaseException, *, hidden: Path | None = None) -> str:
    """Return the first line of a message at readable length, without a folder that is soon gone."""
    text = str(error) if hidden is None else str(error).replace(str(hidden), "it")
    line = next(iter(text.strip().splitlines()), "") or type(error).__name__
    return plain(line)[:200]
