"""Which columns hold the two texts, by their names and by what they hold; and a refusal where none does.

What a column is called decides, if it holds text; columns without names are told by their cells. Only text is taken
for text: numbers, codes, names of files, addresses and lists written out are not, nor is the native language taken for
the one that is added.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mla_extend.data.codes import language_name
from mla_extend.data.formats.format import ColumnMapping, Role
from mla_extend.data.speech import Speech, share_words, speech_of
from mla_extend.errors import DataError

SAMPLE = 1000
"""Rows at the start by which columns are chosen."""
LOOKED_AT = 5000
"""Rows, evenly taken from all, by which what was read is checked."""
MOST = 0.5
"""Share of cells from which on a column holds what they are."""
LABELS = 0.05
"""Share of different cells up to which short ones are labels: codes, licences, names of splits."""
LABEL_CHARACTERS = 24
LABELLED = "labels"
NATIVE, OTHER = 0.8, 0.3
"""Probability of the native language from which on a column is of it, and up to which it is of another one."""
LETTERS = 25
"""Fewest letters of a text by which its language is told, as in the doctor."""
PIECE = 80
"""Characters of the pieces that shorter cells are joined to, to tell the language of a column."""
PIECES = 24

IMAGES = "names of images"
LISTS = "lists or objects written out"
LONGEST = 200
"""Characters of what may be another thing than text; a list may be longer."""
IMAGE = re.compile(  # its end first, which most text has not
    r"(?=.*\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|avif|svg|ppm)(?:#\d+)?$)(?:.*[\\/])?[^\s\\/]+ ?[^\s\\/]*",
    re.IGNORECASE,
)
KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (IMAGES, IMAGE),
    ("names of files", re.compile(r"\S+[\\/]\S+\.[a-z]\w{1,4}|[\w-]+\.(?:wav|mp[34]|txt|json|xml|html?|pdf)")),
    ("addresses", re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+", re.IGNORECASE)),
    (LISTS, re.compile(r"\[\s*[\"'].*[\"']\s*\]|\{\s*[\"'].*\}|\[\s*\]", re.DOTALL)),
    ("numbers", re.compile(r"(?=.*\d)(?:[\d\s.,:;/%+\-_()#]|(?<=\d)[eE](?=[-+]?\d))+")),
    ("identifiers", re.compile(r"(?=[^\s]*\d)[\w.#:/+@=-]{3,}", re.ASCII)),
)


def kind_of(cells: Sequence[Any]) -> str | None:
    """Return what most cells of a column hold in place of text; `None` for text, and where all are empty."""
    if any(isinstance(cell, list) for cell in cells):  # captions of one image
        cells = [one for cell in cells for one in (cell if isinstance(cell, list) else [cell])]
    odd = [cell for cell in cells if cell is not None and not isinstance(cell, str)]
    filled = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    count = len(filled) + len(odd)
    if not count:
        return None
    if len(odd) > MOST * count:
        numbers = sum(isinstance(cell, int | float) for cell in odd)
        return "numbers" if 2 * numbers > len(odd) else "lists or objects"
    for name, pattern in KINDS:
        likely = filled if name == LISTS else [cell for cell in filled if len(cell) <= LONGEST]
        if len(likely) > MOST * count and sum(pattern.fullmatch(cell) is not None for cell in likely) > MOST * count:
            return name
    different = set(filled)
    labels = len(different) <= max(1, LABELS * count) and count > 2
    return LABELLED if labels and max(map(len, different)) <= LABEL_CHARACTERS else None


def choose(rows: Sequence[Mapping[str, Any]], roles: Sequence[Role], mapping: ColumnMapping) -> dict[Role, str]:
    """Return the columns that hold what is looked for, by the first rows of a source.

    Args:
        rows: their values by name of column.
        roles: `native` and `target` of parallel text, or `image` and `text`.
        mapping: the languages, and the columns that the user names.

    Returns:
        A column for each role for which there is one.
    """
    cells = {key: [row[key] for row in rows if key in row] for row in rows[:1] for key in row}
    cells |= {key: [row.get(key) for row in rows] for row in rows for key in row if key not in cells}
    kinds = {key: kind_of(values) for key, values in cells.items()}
    if all(key.isdigit() for key in cells) and not mapping.columns:
        return _by_content(cells, kinds, roles, mapping)
    chosen: dict[Role, str] = {}
    for role in roles:
        found = [key for key in mapping.candidates(role, cells) if key not in chosen.values()]
        texts = [key for key in found if kinds[key] is None] if role != "image" else []
        if role == "text" and len(texts) > 1 and "text" not in mapping.columns:
            speech = speech_of(mapping.language, mapping.native) if mapping.language else None
            texts = [key for key in texts if speech is None or native_share(cells[key], speech) < NATIVE] or texts
        if found:
            chosen[role] = (texts or found)[0]
    return chosen


def _by_content(
    cells: Mapping[str, Sequence[Any]], kinds: Mapping[str, str | None], roles: Sequence[Role], mapping: ColumnMapping
) -> dict[Role, str]:
    """Return the columns of a source without names: the first two, unless what they hold says otherwise."""
    texts = [key for key in cells if kinds[key] is None and any(cells[key])]
    if "image" in roles:
        image = next((key for key in cells if kinds[key] == IMAGES), "0")
        texts = [key for key in texts if key != image] or ["1"]
        return {"image": image, "text": _foreign(texts, cells, mapping)[0]}
    if len(texts) < 2:
        return {"native": "0", "target": "1"}  # to be refused with what they hold
    speech = speech_of(mapping.language, mapping.native) if mapping.language != mapping.native else None
    if speech is None or not speech.columns[1].any():
        return {"native": texts[0], "target": texts[1]}
    shares = {key: native_share(cells[key], speech) for key in texts}
    native = next((key for key in texts if shares[key] >= NATIVE), texts[0])
    others = [key for key in texts if key != native and shares[key] <= OTHER]
    # Without a column that is surely another language, the order of the file decides.
    after = [key for key in texts if key != native]
    return {"native": native, "target": (others or after)[0]}


def _foreign(texts: list[str], cells: Mapping[str, Sequence[Any]], mapping: ColumnMapping) -> list[str]:
    """Return the columns whose text is not the native language's, or all if there is none."""
    if len(texts) < 2 or not mapping.language or mapping.language == mapping.native:
        return texts
    speech = speech_of(mapping.language, mapping.native)
    return [key for key in texts if native_share(cells[key], speech) < NATIVE] or texts


def native_share(cells: Sequence[Any], speech: Speech) -> float:
    """Return how likely text is the native language's, over pieces of the column; 0 where that cannot be told."""
    pieces, piece = [], ""
    for cell in cells:
        if not isinstance(cell, str) or not any(map(str.isalpha, cell)):
            continue
        piece = f"{piece} {cell.strip()}"
        if len(piece) >= PIECE:
            pieces.append(piece[:300])
            piece = ""
            if len(pieces) == PIECES:
                break
    if not pieces and len(piece) < LETTERS:
        return 0.0
    return float(speech.probabilities(pieces or [piece])[1].mean())


def check_pairs_read(
    name: str,
    columns: Mapping[Role, str],
    natives: Sequence[str],
    targets: Sequence[str],
    mapping: ColumnMapping,
    rest: Callable[[], str],
) -> None:
    """Check that what was read as the two texts is that.

    Args:
        name: the source's, for the message.
        columns: those that were read.
        natives: `[N]`.
        targets: `[N]`.
        mapping: the languages.
        rest: gives what else the message says of the source's columns.

    Raises:
        DataError: a side is no text, or the target is the native language's.
    """
    step = max(1, len(targets) // LOOKED_AT)
    natives, targets = natives[::step], targets[::step]
    language, native = (language_name(tag) if tag else "the language" for tag in (mapping.language, mapping.native))
    sides: tuple[tuple[Role, Sequence[str], str], ...] = (("native", natives, native), ("target", targets, language))
    kinds = [kind_of(cells) for _, cells, _ in sides]
    wrong = []
    for (_, cells, what), kind in zip(sides, kinds, strict=True):
        if kind is not None and kinds != [LABELLED, LABELLED]:
            shown = ", ".join(repr(cell[:40]) for cell in list(dict.fromkeys(filter(None, cells)))[:2])
            wrong.append(f"what was read as {what} holds {kind} ({shown})")
    said = None if wrong else _not_the_language(natives, targets, mapping)
    if said is not None:
        shown = repr(next(filter(None, targets))[:60])
        wrong.append(f"what was read as {language} is {native}{said} ({shown})")
    if wrong:
        read = " and ".join(f"{columns[role]!r} as {what}" for role, _, what in sides if role in columns)
        raise DataError(f"{name}: {'; '.join(wrong)}. The columns were read so: {read}. {rest()}")


def check_captions_read(name: str, captions: Sequence[str], natives: Sequence[str], mapping: ColumnMapping) -> None:
    """Check that captions are not the native language's, by the native side of parallel text.

    Args:
        name: the source's, for the message.
        captions: of images.
        natives: sentences that are surely the native language's.
        mapping: the languages.

    Raises:
        DataError: they are.
    """
    if not mapping.language or mapping.language == mapping.native:
        return
    speech = speech_of(mapping.language, mapping.native)
    captions, natives = (side[:: max(1, len(side) // LOOKED_AT)] for side in (captions, natives))
    if not speech.columns[1].any() or native_share(captions, speech) < NATIVE or not share_words(natives, captions):
        return
    language, native = language_name(mapping.language), language_name(mapping.native)
    raise DataError(
        f"{name}: the captions are {native}, not {language} (for example {captions[0][:60]!r}). Give captions in "
        f"{language}, or name their column with --columns text=COLUMN."
    )


def _not_the_language(natives: Sequence[str], targets: Sequence[str], mapping: ColumnMapping) -> str | None:
    """Return what to say where the targets are of the native language: "" if the natives are too."""
    if not mapping.language or mapping.language == mapping.native:
        return None
    speech = speech_of(mapping.language, mapping.native)
    # Names and loan words are equal on both sides, and tell nothing.
    pairs = [(a, b) for a, b in zip(natives, targets, strict=True) if a and b and a.casefold() != b.casefold()]
    if not pairs or not speech.columns[1].any():
        return None
    if native_share([b for _, b in pairs], speech) < NATIVE:
        return None
    if native_share([a for a, _ in pairs], speech) <= OTHER:
        return f", and what was read as {language_name(mapping.native)} is not"
    long = [(a, b) for a, b in pairs if sum(map(str.isalpha, b)) >= LETTERS]
    if 2 * len(long) <= len(pairs):
        return None
    like = speech.probabilities([b[:300] for _, b in long])[1] >= NATIVE
    return "" if 2 * like.sum() > len(pairs) and share_words([a for a, _ in long], [b for _, b in long]) else None
