"""JSON objects: one a line, or laid out over several lines, one after the other or in one array."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import ColumnMapping, Fault, Format, Row, known_columns, text_lines
from mla_extend.data.formats.unfolding import ROW, Unfolding
from mla_extend.errors import DataError

WHAT = "Each line must be one object, or the file one array of objects."
ENDS = ("}", "},", "]", "],")
"""What a line ends in behind which an object may be whole."""
LAST: tuple[int, str | None] = (0, None)
NEXT = re.compile(r"[\s,]*([^\s,])")


class Jsonl(Format):
    """Columns by name, whatever their case."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json")

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows; empty lines are left out."""
        return json_rows(path, mapping.language)


def json_rows(path: Path, language: str = "") -> Iterator[Row]:
    """Give the objects of a file as rows, numbered by the line that they begin in, without holding them all.

    Raises:
        DataError: an array of objects is cut off, or all is one object.
    """
    lines = counted(path, text_lines(path, language))
    first = next(lines, None)
    if first is None:
        return
    lines = chain([first], lines)
    if first[1].lstrip().startswith("[") or first[1].strip() == "{":
        yield from _laid_out(path, lines)
        return
    for number, text in lines:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield Row(number, {}, Fault(f"{path}, line {number}: not JSON ({error})", WHAT))
        else:
            yield _row(path, number, value)


def counted(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Give lines of JSON that are not empty, and count what they may become: each value takes more than its text."""
    unfolding: Unfolding | None = None
    for number, text in lines:
        unfolding = unfolding or Unfolding(path)  # once it is known to be there
        unfolding.take(ROW * sum(map(text.count, "[{,")))
        if text.strip():
            yield number, text


def _laid_out(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    """Give the objects of an array, or of a file with one after the other, whatever lines they take."""
    decoder, text, at = json.JSONDecoder(), "", 0
    array = closed = False
    starts: list[int] = []
    numbers: list[int] = []
    least = 0
    for number, line in chain(lines, [LAST]):
        if line is not None:
            if not numbers:
                array = line.lstrip().startswith("[")
                at = line.index("[") + 1 if array else 0
            starts.append(len(text))
            numbers.append(number)
            text += f"{line}\n"
            # Of an object over many lines, each may seem to be its end: it is tried again once it is twice as long.
            if len(text) < least or not line.rstrip().endswith(ENDS):
                continue
        least = 0
        while found := NEXT.match(text, at):
            at = found.start(1)
            if array and not closed and text[at] == "]":
                closed = True
                at += 1
                continue
            began = numbers[bisect_right(starts, at) - 1]
            try:
                value, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                # A text in JSON goes over no line's end: where more may come, the fault is at the end.
                if isinstance(error, json.JSONDecodeError) and error.pos >= len(text.rstrip()):
                    least = 2 * (len(text) - at)
                    break
                raise DataError(f"{path}, line {began}: not JSON ({error}). {WHAT}") from error
            yield _row(path, began, value if isinstance(value, dict) or not array else [value])
        first = bisect_right(starts, at) - 1
        starts, numbers = [max(0, start - at) for start in starts[first:]], numbers[first:]
        text, at = text[at:], 0
    if text.strip(" \r\n\t,") or (array and not closed):
        raise DataError(f"{path}, line {numbers[0]}: it ends within an array or object. Copy or fetch the file again.")


def _row(path: Path, number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        what = f"{path}, line {number}: {type(value).__name__}, not an object with named columns"
        return Row(number, {}, Fault(what, WHAT))
    if value.keys() != {"translation"} and value and all(isinstance(one, dict) for one in value.values()):
        raise DataError(
            f"{path}, line {number}: one object with a table's columns ({', '.join(list(value)[:5])}), not its rows. "
            "Write the rows: pandas does with to_json(PATH, orient='records', lines=True)."
        )
    return Row(number, known_columns(value))
