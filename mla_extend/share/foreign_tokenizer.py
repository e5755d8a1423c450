"""Check a tokenizer from elsewhere before a library sees it, which could end the process or take all memory.

A `tokenizer.json` may hold what this package writes and nothing else; a language that reads a frozen table has the
tokenizer of that table. What passes is first run in a process of its own, with limits on memory and time.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mla_extend.errors import DataError
from mla_extend.files import read_plain
from mla_extend.plain import first_line, odd_values
from mla_extend.registry.contents import NOTHING

if TYPE_CHECKING:
    from mla_extend.language.pretrained import FrozenTable

TOKENIZER, PIECES = "tokenizer.json", "sentencepiece.model"
MAX_BYTES = 64 << 20
MOST_VALUES = 4_000_000
"""In a `tokenizer.json`: of empty lists, 64 MiB would take 2 GiB once read."""
LONGEST = 200
"""Characters of a piece: SentencePiece learns 16 at most, and word lists hold longer words."""
MOST_STEPS = 100
LARGEST_SCORE = 1e6
SECONDS, MEMORY = 20, 1 << 30
"""What the trial may take of one processor, and of memory."""


def check_tokenizer(folder: Path, rows: int, table: "FrozenTable | None", what: str) -> None:
    """Check the tokenizer of an adapter from elsewhere, and run it once where it can do no harm.

    Args:
        folder: where it lies.
        rows: of the adapter's table.
        table: the frozen table that the adapter reads, if it has none of its own.
        what: where it came from, for messages.

    Raises:
        DataError: it holds what this package does not write, or cannot be run.
    """
    try:
        if (folder / TOKENIZER).stat().st_size > MAX_BYTES:
            raise DataError(f"{what}: {TOKENIZER} has more than {MAX_BYTES:,} bytes. {NOTHING}")
        content = read_plain(folder / TOKENIZER)
        if sum(map(content.count, (b"[", b"{", b","))) > MOST_VALUES:
            raise DataError(f"{what}: {TOKENIZER} holds more than {MOST_VALUES:,} values. {NOTHING}")
        values = json.loads(content.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{what}: {TOKENIZER} cannot be read ({first_line(error)}). {NOTHING}") from error
    fault = _table_fault(values, table) if table is not None else _fault(values, rows)
    if fault is None and table is None and (folder / PIECES).exists():
        fault = _pieces_fault(folder / PIECES, values["model"]["vocab"])
    if fault is None:
        fault = trial(folder)
    if fault is not None:
        raise DataError(f"{what}: {TOKENIZER} {fault}. {NOTHING}")


def _fault(values: Any, rows: int) -> str | None:
    """Return what in the values is not as this package writes it."""
    from mla_extend.language.pieces import frame  # noqa: PLC0415 - imports sentencepiece

    if not isinstance(values, dict) or not isinstance(values.get("model"), dict):
        return "is no tokenizer"
    vocabulary, normaliser = values["model"].get("vocab"), values.get("normalizer")
    expected = frame()
    first = expected["model"].pop("vocab")
    found = {**values, "normalizer": None, "model": {k: v for k, v in values["model"].items() if k != "vocab"}}
    return (
        _difference(found, expected, "it")
        or _steps_fault(normaliser)
        or _vocabulary_fault(vocabulary, [piece for piece, _ in first], rows)
    )


def _difference(found: Any, expected: Any, where: str) -> str | None:
    """Return where one value differs from another; what only the other has was not written by an older library."""
    if isinstance(found, dict) and isinstance(expected, dict):
        unknown = next((name for name in found if name not in expected), None)
        if unknown is not None:
            return f"holds {str(unknown)[:40]!r} in {where}, which no language's has"
        told = (_difference(value, expected[name], name) for name, value in found.items())
        return next(filter(None, told), None)
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        told = (_difference(one, other, where) for one, other in zip(found, expected, strict=True))
        return next(filter(None, told), None)
    same = type(found) is type(expected) and found == expected
    return None if same else f"holds {str(found)[:40]!r} as {where}, which no language's has"


def _steps_fault(normaliser: Any) -> str | None:
    from mla_extend.language.normaliser import known_steps  # noqa: PLC0415 - imports tokenizers

    steps = normaliser.get("normalizers") if isinstance(normaliser, dict) else None
    if not isinstance(steps, list) or set(normaliser) != {"type", "normalizers"} or normaliser["type"] != "Sequence":
        return "has no normaliser of the kind that languages have"
    known = known_steps()
    if len(steps) > MOST_STEPS or any(step not in known or steps.count(step) > known.count(step) for step in steps):
        odd = next((step for step in steps if step not in known), "too many steps")
        return f"normalises text in a way that no language's does ({str(odd)[:60]!a})"
    return None


def _vocabulary_fault(vocabulary: Any, first: list[str], rows: int) -> str | None:
    if not isinstance(vocabulary, list) or not len(first) <= len(vocabulary) <= rows:
        count = f"{len(vocabulary):,}" if isinstance(vocabulary, list) else "no"
        return f"has {count} pieces, and the table {rows:,} rows"
    for entry in vocabulary:
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            return f"has {str(entry)[:40]!r} in place of a piece and its score"
        piece, score = entry
        if not 1 <= len(piece) <= LONGEST or next(odd_values(piece, "it"), None):
            return f"has the piece {piece[:40]!a} of {len(piece):,} characters"
        if type(score) not in (int, float) or not abs(score) <= LARGEST_SCORE:  # which no NaN is
            return f"has the score {str(score)[:40]} of {piece!r}"
    if [piece for piece, _ in vocabulary[: len(first)]] != first:
        return f"does not begin with the pieces {', '.join(first)}"
    return None


def _pieces_fault(path: Path, vocabulary: list[list[Any]]) -> str | None:
    """Return what keeps a SentencePiece model from being the one that a vocabulary came from."""
    from mla_extend.language.pieces import read_pieces  # noqa: PLC0415 - imports sentencepiece

    try:
        if path.stat().st_size > MAX_BYTES:
            return f"lies beside a {PIECES} of more than {MAX_BYTES:,} bytes"
        pieces = read_pieces(read_plain(path))
    except (OSError, ValueError) as error:
        return f"lies beside a {PIECES} that cannot be read ({first_line(error)})"
    own = [piece for piece, _ in vocabulary[: len(pieces)]]
    return None if own == [piece for piece, _ in pieces] else f"has different pieces from the {PIECES} beside it"


def _table_fault(values: Any, table: "FrozenTable") -> str | None:
    """Return what keeps a tokenizer from being that of a frozen table, as it is or read by its composed form."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    from mla_extend.language.normaliser import composed_first  # noqa: PLC0415

    composed = json.loads(composed_first(Tokenizer.from_str(table.tokenizer)).to_str())
    known = (composed, json.loads(table.tokenizer))
    return None if values in known else f"is not that of the table from {table.source!r}"


def trial(folder: Path) -> str | None:
    """Run a tokenizer over some texts in a process with limits; return what came of it, `None` if it did well."""
    limits = [str(folder.absolute()), str(SECONDS), str(MEMORY)]
    command = [sys.executable, "-P", "-m", "mla_extend.share.trial", *limits]  # -P: no module of where it is run
    try:
        done = subprocess.run(command, capture_output=True, timeout=3 * SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"took more than {3 * SECONDS} s for a few words"
    if done.returncode == 0:
        return None
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"cannot be run ({first_line(ValueError(lines[-1] if lines else f'ended by {done.returncode}'))})"
