"""Lines of text files: UTF-8, or UTF-16 by its byte order mark or its zeros; for others, what they seem to be."""

import io
import re
from collections.abc import Iterator
from typing import IO

from mla_extend.errors import DataError

BOM_8 = b"\xef\xbb\xbf"
MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""First bytes of files in other forms of Unicode. Those of UTF-32 begin with those of UTF-16 and come first."""
HEAD = 4096
"""Bytes that are looked at for zeros, which no other text has: UTF-16 without a mark has many."""
LONGEST = 1 << 27
"""Bytes of a line: more than any but a whole data set in one line of JSON."""
SAMPLE = 1 << 18
"""Bytes by which an encoding is told."""

ENCODINGS = {
    "cp1252": "cp1252",
    "cp1250": "cp1250",
    "iso8859-2": "iso-8859-2",
    "cp1254": "cp1254",
    "cp1257": "cp1257",
    "cp1258": "cp1258",
    "cp1251": "cp1251",
    "koi8-r": "koi8-r",
    "cp866": "cp866",
    "cp1253": "cp1253",
    "cp1255": "cp1255",
    "cp1256": "cp1256",
    "cp874": "cp874",
    "mac-roman": "macintosh",
    "gb18030": "gb18030",
    "big5": "big5",
    "shift-jis": "cp932",
    "euc-jp": "euc-jp",
    "cp949": "cp949",
}
"""Encodings that text is looked at in, the commonest first, and what iconv calls them."""
SINGLE = ("cp1252", "cp1250", "iso8859-2", "cp1254", "cp1257", "cp1258")
"""Those of Latin script: they differ in single letters, which only a known language tells apart."""
ODD = re.compile(r"[\0-\x08\x0e-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff]")


def decoded_lines(file: IO[bytes], name: str, language: str = "") -> Iterator[tuple[int, str]]:
    """Give the lines of an open file with their numbers, without line ends (LF or CRLF) and a byte order mark.

    Only a line feed ends a line: other characters that Unicode calls line breaks may stand in a sentence.

    Args:
        file: open for bytes, at its start.
        name: for messages.
        language: the tag of the language that it should hold, by which an unknown encoding is told.

    Raises:
        DataError: a line is of another encoding than the file begins in; the message says which one the file may be of.
    """
    head = file.read(HEAD)
    known = encoding_of(head)
    file.seek(0)
    if known is not None:
        yield from _wide_lines(file, name, known)
        return
    number = 0
    try:
        for number, raw in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), start=1):
            if len(raw) > LONGEST:
                raise _too_long(name, number)
            line = raw.removeprefix(BOM_8) if number == 1 else raw
            yield number, line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        file.seek(0)
        raise DataError(
            f"{name}, line {number}: not UTF-8 (byte 0x{error.object[error.start]:02x} at position {error.start + 1}). "
            f"{advice(file.read(SAMPLE), error.object, language)}"
        ) from error


def encoding_of(head: bytes) -> str | None:
    """Return the form of Unicode that a file is of by its first bytes, in Python's name; `None` for others."""
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    if marked is not None:
        return marked
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even + odd < len(head) / 8:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _wide_lines(file: IO[bytes], name: str, encoding: str) -> Iterator[tuple[int, str]]:
    number = 0
    text = io.TextIOWrapper(file, encoding, newline="\n")
    try:
        for number, line in enumerate(iter(lambda: text.readline(LONGEST // 4 + 1), ""), start=1):
            if len(line) > LONGEST // 4:
                raise _too_long(name, number)
            yield number, line.removesuffix("\n").removesuffix("\r")
    except UnicodeError as error:
        raise DataError(
            f"{name} begins as {encoding.upper()} but is not {encoding.upper()} after line {number} ({error}). "
            "Copy or fetch the file again, or save it as UTF-8 in the program that made it."
        ) from error
    finally:
        if not file.closed:  # as by a reader that has failed
            text.detach()


def _too_long(name: str, number: int) -> DataError:
    return DataError(
        f"{name}, line {number}: longer than {LONGEST >> 20} MiB. Write the file with a pair, or an object, a line."
    )


def advice(sample: bytes, line: bytes, language: str) -> str:
    """Return what to do about a file that is not UTF-8, by a sample of it and the first line that is wrong.

    An encoding is only named if the text reads well in it, with an excerpt to see that by.
    """
    lines = [one for one in sample.split(b"\n")[:-1] or [sample] if not one.isascii()]
    good = sum(map(_is_utf8, lines))
    if good > len(lines) - good:
        return (
            f"Other lines of it are UTF-8, so that converting the file would spoil them: fix or delete the line "
            f"{line[:60].decode('utf-8', 'replace').strip()!r}."
        )
    lines = [one for one in [*lines, line] if not _is_utf8(one)]
    found = _told(lines[:400], language)
    if found is None:
        return (
            "Which encoding it is cannot be told. Save the file as UTF-8 in the program that made it, or convert it "
            "from the encoding that its source names: iconv -f ENCODING -t utf-8 FILE > NEW"
        )
    shown = line.decode(found, "replace").strip()
    place = next((i for i, letter in enumerate(shown) if ord(letter) > 127), 0)
    return (
        f"It reads as {found}, for example {shown[max(0, place - 30) : place + 30]!r}; if that is right, convert it: "
        f"iconv -f {ENCODINGS[found]} -t utf-8 FILE > NEW"
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _told(lines: list[bytes], language: str) -> str | None:
    """Return the encoding that lines with other bytes than ASCII read best in; `None` where none is sure."""
    if not language:
        return None
    from mla_extend.data.speech import Speech, of_scripts  # noqa: PLC0415 - imports numpy; only wrong files need it

    speech = Speech(language, "en")
    readings: dict[str, list[str]] = {}
    for name in ENCODINGS:
        try:
            texts = [line.decode(name) for line in lines]
        except UnicodeDecodeError:
            continue
        if not any(map(ODD.search, texts)):
            readings[name] = texts
    if speech.scripts and "Latn" not in speech.scripts:
        import regex  # noqa: PLC0415 - slow to import

        own = regex.compile(rf"(?V1)[\p{{L}}&&{of_scripts(speech.scripts)}]")
        other = regex.compile(rf"(?V1)[\p{{L}}--{of_scripts(speech.scripts)}--\p{{ASCII}}]")
        shares = {
            name: tuple(float(sum(len(kind.findall(text)) for text in texts)) for kind in (own, other))
            for name, texts in readings.items()
        }
        fitting = {name: mine - 4 * theirs for name, (mine, theirs) in shares.items() if mine > 9 * theirs}
    else:
        for names in (SINGLE, ("mac-roman",)):  # in which nearly all bytes are letters
            fitting = {name: 0.0 for name in names if name in readings and not _is_bad(readings[name])}
            if fitting:
                break
    if not fitting:
        return None
    if len(fitting) > 1 and speech.known:
        fitting = {
            name: float(speech.probabilities([text.strip()[:300] or " " for text in readings[name]])[0].mean())
            for name in fitting
        }
    best = max(fitting.values())
    return next(name for name, value in fitting.items() if value >= best - 1e-9)


def _is_bad(texts: list[str]) -> bool:
    from ftfy.badness import is_bad  # noqa: PLC0415 - slow to import

    return sum(bool(is_bad(text)) for text in texts) > len(texts) / 10
