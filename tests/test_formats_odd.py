"""Text files as programs write them: encodings, JSON in arrays, quoted cells. What is advised helps when it is done."""

import csv
import json
import re
from pathlib import Path

import pytest

from mla_extend.data.formats.format import ColumnMapping, text_lines
from mla_extend.data.source import open_source
from mla_extend.errors import DataError

SW = ColumnMapping("sw")
PAIRS = [
    ("The dog is in the park", "Mbwa anakimbia katika bustani"),
    ('He said "no", and went', "Alisema “hapana” – akaenda"),
    ("It costs ten euros", "Bei ni €10"),
    ("Three red apples", "Matufaha matatu mekundu"),
]
TEXT = "".join(f"{a}\t{b}\n" for a, b in PAIRS)


def read(path: Path) -> list[tuple[str, str]]:
    """Read a file's pairs."""
    data = open_source(path, SW).parallel()
    return list(zip(data.native, data.target, strict=True))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "\ufeffutf-16-be"]
)
def test_unicode_is_read_in_each_of_its_forms(encoding: str, ends: str, tmp_path: Path) -> None:
    """With a byte order mark and without."""
    mark, name = encoding[: encoding.count("\ufeff")], encoding.removeprefix("\ufeff")
    path = tmp_path / "a.tsv"
    path.write_bytes((mark + TEXT.replace("\n", ends)).encode(name))
    assert read(path) == PAIRS


def test_a_file_that_ends_within_a_character_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(TEXT.encode("utf-16")[:-1])
    with pytest.raises(DataError, match="begins as UTF-16 but is not UTF-16 after line"):
        read(path)


OTHERS = {
    "cp1252": ("sw", "Mbwa anakimbia katika “bustani” – €10, mto’s"),
    "cp1250": ("pl", "Pies biegnie łąką, żółty jak słońce i święty"),
    "iso8859-2": ("pl", "Pies biegnie łąką, żółty jak słońce i święty"),
    "cp1251": ("ru", "Собака бежит по зелёному лугу"),
    "koi8-r": ("ru", "Собака бежит по зелёному лугу"),
    "cp1254": ("tr", "Çocuklar okulun arkasında futbol oynuyor, şişe ığdır"),
    "cp1256": ("ar", "الأطفال يلعبون كرة القدم خلف المدرسة"),
    "gb18030": ("zh-Hans", "孩子们在学校后面踢足球"),
    "big5": ("zh-Hant", "孩子們在學校後面踢足球"),
    "shift-jis": ("ja", "子供たちは学校の後ろでサッカーをしています"),
    "cp949": ("ko", "아이들이 학교 뒤에서 축구를 하고 있다"),
}


@pytest.mark.parametrize("encoding", OTHERS)
def test_the_encoding_that_is_advised_is_the_right_one(encoding: str, tmp_path: Path) -> None:
    """Decoded as advised, the file is as it was."""
    language, text = OTHERS[encoding]
    path, content = tmp_path / "a.tsv", "".join(f"{a}\t{text}\n" for a, _ in PAIRS)
    path.write_bytes(content.encode(encoding))
    with pytest.raises(DataError, match=r"line 1: not UTF-8 \(byte 0x.*iconv -f") as caught:
        open_source(path, ColumnMapping(language)).parallel()
    advised = re.search(r"iconv -f (\S+) -t utf-8", str(caught.value))
    assert advised is not None
    assert path.read_bytes().decode(advised[1]) == content


def test_nothing_is_advised_that_would_spoil_the_file(tmp_path: Path) -> None:
    """Of an encoding that cannot be told none is named, and a wrong line among right ones is to be mended."""
    path = tmp_path / "a.tsv"
    path.write_bytes("The dog\tСобака бежит по лугу\n".encode("cp1251"))
    with pytest.raises(DataError, match=r"cannot be told.*iconv -f ENCODING"):
        list(text_lines(path))
    path.write_bytes((TEXT + "x\tna ").encode() + "café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"line 5: not UTF-8.*would spoil them: fix or delete the line 'x.tna caf"):
        read(path)


ROWS = [{"en": a, "sw": b} for a, b in PAIRS]
JSON = {
    "one line": json.dumps(ROWS),
    "indented": json.dumps(ROWS, indent=2, ensure_ascii=False),
    "an object a line": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "commas on their own": "[\n" + "\n,\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "objects one after the other": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "lines": "\n".join(map(json.dumps, ROWS)),
}


@pytest.mark.parametrize("shape", JSON)
def test_json_is_read_however_it_is_laid_out(shape: str, tmp_path: Path) -> None:
    """As an array or without, indented or not; rows are numbered by the line that they begin in."""
    path = tmp_path / "a.json"
    path.write_text(JSON[shape], encoding="utf-8")
    assert read(path) == PAIRS
    number = open_source(path, SW).parallel().rows.tolist()[1]
    assert '"en"' in "".join(JSON[shape].splitlines()[number - 1 : number + 1])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (json.dumps(ROWS)[:-9], "line 1: it ends within an array or object"),
        (json.dumps(ROWS, indent=1)[:-9], "it ends within an array or object"),
        (json.dumps(ROWS, indent=1).replace('park",', 'park"'), r"line 2: not JSON \(Expecting ',' delimiter"),
        ('[["a", "b"], ["c", "d"]]', "line 1: list, not an object"),
        (
            json.dumps({"en": {"0": "a"}, "sw": {"0": "b"}}),
            r"a table's columns \(en, sw\).*'records', lines=True",
        ),
    ],
)
def test_json_that_is_no_rows_is_refused(text: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=match):
        read(path)


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_MINIMAL])
def test_quoted_cells_of_a_table_are_taken_out_of_their_marks(quoting: int, tmp_path: Path) -> None:
    """As spreadsheets and pandas write them with tabs between."""
    path = tmp_path / "a.tsv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", quoting=quoting)  # type: ignore[arg-type]
        writer.writerows([("id", "en", "sw"), *((i, a, b) for i, (a, b) in enumerate(PAIRS))])
    assert read(path) == PAIRS


def test_marks_that_are_text_stay(tmp_path: Path) -> None:
    """A lone one, and whole sentences in marks among others."""
    pairs = [('"Go away!"', '"Nenda zako!"'), ('a 5" pipe', 'bomba la 5"'), ('"Go," he said, "now"', "Alisema nenda")]
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    assert read(path) == pairs
