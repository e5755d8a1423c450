"""Scored bitext, as Bicleaner and the tools around it write: two addresses, two texts, and a score last."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from mla_extend.data.codes import fit
from mla_extend.data.formats.format import ColumnMapping, Fault, Format, Row, suffix_of, text_lines
from mla_extend.errors import DataError

ADDRESS = re.compile(r"-|(?:[a-z][a-z0-9+.-]*://|www\.)\S.*", re.IGNORECASE)
LEAST_CELLS = 5
REMEDY = "Each line needs two addresses, two texts and a score last, with tabs between; fix or delete the line."
SUFFIXES = (".tsv", ".txt", ".tab", ".scored")
"""Of files that are looked into, beside all of gzip; none of them marks this format alone."""


class Bicleaner(Format):
    """Tab-separated: address, address, source, target, whatever else, score. Told from other text by its first line.

    The source is the native text, unless the file's name has the two codes the other way about (`sw-en.tsv`).
    """

    name = "bicleaner"

    def recognises(self, path: Path, mapping: ColumnMapping) -> bool:
        """Take a file of text whose first line is of this kind."""
        named = suffix_of(path) in SUFFIXES or path.name.lower().endswith(".gz")
        if not named or not path.is_file():
            return False
        try:
            _, text = next(text_lines(path, mapping.language), (0, ""))
        except DataError:
            return False
        cells = text.split("\t")
        return (
            len(cells) >= LEAST_CELLS
            and all(ADDRESS.fullmatch(cell.strip()) for cell in cells[:2])
            and _score(cells[-1]) is not None
        )

    def rows(self, path: Path, mapping: ColumnMapping) -> Iterator[Row]:
        """Give the rows under the names `native`, `target` and `score`; empty lines are left out."""
        names = ("target", "native") if _target_first(path.name, mapping) else ("native", "target")
        for line, text in text_lines(path, mapping.language):
            if not text.strip():
                continue
            cells = text.split("\t")
            score = _score(cells[-1])
            if len(cells) < LEAST_CELLS or score is None:
                what = f"{path}, line {line}: {len(cells)} column(s), the last {cells[-1][:60]!r}"
                yield Row(line, {}, Fault(what, REMEDY))
                continue
            yield Row(line, {names[0]: cells[2], names[1]: cells[3], "score": score})


def _score(cell: str) -> float | None:
    try:
        score = float(cell)
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def _target_first(name: str, mapping: ColumnMapping) -> bool:
    for part in name.split("."):
        first, dash, second = part.rpartition("-")
        if dash and fit(first, mapping.language) and fit(second, mapping.native):
            return True
    return False
