"""JSON objects: one a line, or laid out over several lines, one after the other or in one array."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from mla_extend.data.formats.format import Format, Row, Wanted, known_columns, text_lines
from mla_extend.errors import DataError

WHAT = "Each line must be one object, or the file one array of objects."
ENDS = ("}", "},", "]", "],")
"""What a line ends in behind which an object may be whole."""
NEXT = re.compile(r"[\s,]*([^\s,])")


class Jsonl(Format):
    """Columns by name, whatever their case."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson", ".json")

    def rows(self, path: Path, wanted: Wanted) -> Iterator[Row]:
        """Give the rows; empty lines are left out."""
        return json_rows(path, wanted.language)


def json_rows(path: Path, language: str = "") -> Iterator[Row]:
    """Give the objects of a file as rows, numbered by the line that they begin in, without holding them all.

    Raises:
        DataError: something is no object; the message names the line.
    """
    lines: Iterator[tuple[int, str]] = ((number, text) for number, text in text_lines(path, language) if text.strip())
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
            raise DataError(f"{path}, line {number}: not JSON ({error}). {WHAT}") from error
        yield _row(path, number, value)


def _laid_out(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Row]:
    """Give the objects of an array, or of a file with one after the other, whatever lines they take."""
    decoder, text, began = json.JSONDecoder(), "", 0
    array = closed = False
    at = 0
    for number, line in lines:
        if not began:
            array = line.lstrip().startswith("[")
            at = line.index("[") + 1 if array else 0
        if not text.strip(" \n\r\t,"):
            text, began = "", number
        text += f"{line[at:]}\n"
        at = 0
        if not line.rstrip().endswith(ENDS):
            continue
        while found := NEXT.match(text, at):
            at = found.start(1)
            if array and not closed and text[at] == "]":
                closed = True
                at += 1
                continue
            try:
                value, at = decoder.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                # A text in JSON goes over no line's end: where more may come, the fault is at the end.
                if isinstance(error, json.JSONDecodeError) and error.pos >= len(text.rstrip()):
                    break
                raise DataError(f"{path}, line {began}: not JSON ({error}). {WHAT}") from error
            yield _row(path, began, value if isinstance(value, dict) or not array else [value])
            began = number
        text, at = text[at:], 0
    if text.strip(" \r\n\t,") or (array and not closed):
        raise DataError(f"{path}, line {began}: it ends within an array or object. Copy or fetch the file again.")


def _row(path: Path, number: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{path}, line {number}: {type(value).__name__}, not an object with named columns. {WHAT}")
    if value.keys() != {"translation"} and value and all(isinstance(one, dict) for one in value.values()):
        raise DataError(
            f"{path}, line {number}: one object with a table's columns ({', '.join(list(value)[:5])}), not its rows. "
            "Write the rows: pandas does with to_json(PATH, orient='records', lines=True)."
        )
    return Row(number, known_columns(value))
