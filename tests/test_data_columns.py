"""Which columns are read as the two texts: by name, by what they hold, or none, with a message that says why."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image

from mla_extend.add.inspect import inspect_data
from mla_extend.data.columns import check_captions_read
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_source
from mla_extend.data.specification import parse_columns
from mla_extend.data.speech import share_words
from mla_extend.errors import DataError
from tests.conftest import sentences

MAORI = ColumnMapping("mi")
ENGLISH = [
    "The dog is running in the park near the river",
    "She bought three red apples at the market",
    "My father works in a big hospital in town",
    "The children are playing football behind the school",
    "We ate fresh fish with rice yesterday evening",
    "The old house stands on the hill above the village",
]
TEXTS = [
    "E oma ana te kurī i te papa rēhia tata ki te awa",
    "I hokona e ia ngā āporo whero e toru i te mākete",
    "E mahi ana tōku pāpā i te hōhipera nui i te tāone",
    "E tākaro whutupōro ana ngā tamariki i muri i te kura",
    "I kai mātou i te ika hou me te raihi inanahi i te ahiahi",
    "E tū ana te whare tawhito i runga i te puke i runga ake i te kāinga",
]
PAIRS = list(zip(ENGLISH, TEXTS, strict=True))


def table(path: Path, rows: Sequence[Sequence[str]], between: str = "\t") -> Path:
    """Write rows."""
    path.write_text("".join(between.join(row) + "\n" for row in rows), encoding="utf-8")
    return path


Form = Literal["NFC", "NFD"]
Shape = Callable[[int, str, str], tuple[str, ...]]
SHAPES: dict[str, tuple[tuple[str, ...] | None, Shape]] = {
    "ids of both": (None, lambda i, a, b: (str(1276 + i), a, str(530000 + i), b)),
    "a score first": (None, lambda i, a, b: (f"{1.3 - i / 100:.6f}", a, b)),
    "a score between": (None, lambda i, a, b: (a, f"{0.9 - i / 100:.3f}", b)),
    "codes first": (None, lambda _i, a, b: ("eng", "mri", a, b)),
    "an identifier and a split": (None, lambda i, a, b: (f"tatoeba-{i:05}", "train", a, b)),
    "an address first": (None, lambda i, a, b: (f"https://example.org/{i}", a, b)),
    "the other way about": (None, lambda _i, a, b: (b, a)),
    "a score, the other way about": (None, lambda i, a, b: (f"0.{i}", b, a)),
    "a licence last": (None, lambda i, a, b: (a, b, f"CC-BY 2.0 (France) Attribution: tatoeba.org #{i} (CM)")),
    "named with an id": (("id", "en", "mi", "license"), lambda i, a, b: (str(i), a, b, "CC-BY")),
    "an index without a name": (("", "English", "Maori"), lambda i, a, b: (str(i), a, b)),
    "codes of three letters": (("mri", "eng"), lambda _i, a, b: (b, a)),
    "codes with a script": (("sentence_mri_Latn", "sentence_eng_Latn"), lambda _i, a, b: (b, a)),
    "names of languages": (("Māori", "English"), lambda _i, a, b: (b, a)),
    "names of languages in longer names": (("english_text", "maori_text", "split"), lambda _i, a, b: (a, b, "train")),
    "a source that is none": (("source", "en", "mi"), lambda _i, a, b: ("tatoeba", a, b)),
    "a target that is none": (("english", "target", "translation"), lambda i, a, b: (a, str(i), b)),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("between", ["\t", ","])
def test_the_two_texts_are_found(name: str, between: str, tmp_path: Path) -> None:
    """By their names, whatever their order, else by what they hold."""
    header, shape = SHAPES[name]
    rows = [shape(i, *pair) for i, pair in enumerate(PAIRS)]
    path = table(tmp_path / ("a.csv" if between == "," else "a.tsv"), [*([header] if header else []), *rows], between)
    data = open_source(path, MAORI).parallel()
    assert list(zip(data.native, data.target, strict=True)) == PAIRS


REFUSED: dict[str, tuple[tuple[str, ...] | None, Shape, str]] = {
    "only ids beside": (None, lambda i, a, _b: (str(i), a), r"'0' as English and '1' as Maori.*'0' \(numbers\)"),
    "lists written out": (None, lambda _i, a, b: (a, f"['{b}']"), r"read as Maori holds lists .*--columns"),
    "files of sound": (None, lambda i, _a, b: (f"clips/{i}.mp3", b), r"read as English holds names of files"),
    "images": (None, lambda i, _a, b: (f"{i}.jpg#0", b), r"names of images.*--image-text"),
    "English on both sides": (None, lambda _i, a, _b: (a, f"In fact, {a.lower()} now"), r"read as Maori is English \("),
    "names the wrong way about": (("en", "mi"), lambda _i, a, b: (b, a), "Maori is English, and what was read as Engl"),
    "a target of numbers": (("english", "target"), lambda i, a, _b: (a, str(i)), r"'target' \(numbers\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_text_of_the_language_is_refused(name: str, tmp_path: Path) -> None:
    """The message says what was read as what, and how to name the columns; following it helps."""
    header, shape, match = REFUSED[name]
    rows = [shape(i, *PAIRS[i % len(PAIRS)]) for i in range(12)]
    path = table(tmp_path / "a.tsv", [*([header] if header else []), *rows])
    with pytest.raises(DataError, match=match):
        open_source(path, MAORI).parallel()


def test_named_columns_are_read(tmp_path: Path) -> None:
    """As the message says, by their numbers or names; English is refused for Maori all the same."""
    path = table(tmp_path / "a.tsv", [("en", "mi"), *((b, a) for a, b in PAIRS)])
    data = open_source(path, ColumnMapping("mi", columns=parse_columns("native=mi,target=en"))).parallel()
    assert data.target == TEXTS
    with pytest.raises(DataError, match="Maori is English"):
        open_source(path, ColumnMapping("mi", columns=parse_columns("native=en,target=mi"))).parallel()


def test_names_and_loan_words_are_no_english(tmp_path: Path) -> None:
    """A list of them reads as it stands, with a few sentences beside or none."""
    names = ["John Smith", "Robert Brown", "Auckland", "Wellington", "hospital", "television", "computer", "Facebook"]
    theirs = ["Hone Mete", "Ropata Paraone", "Tāmaki Makaurau", "Te Whanganui-a-Tara", "hōhipera", "pouaka whakaata"]
    rows = [*zip(names, [*theirs, "rorohiko", "Facebook"], strict=True)]
    assert len(open_source(table(tmp_path / "a.tsv", rows), MAORI).parallel()) == 8
    loans = [
        ("hospital", "hospitali"),
        ("doctor", "daktari"),
        ("robot", "roboti"),
        ("Zulu", "Zulu"),
        ("film", "filamu"),
    ]
    data = open_source(table(tmp_path / "b.tsv", loans), ColumnMapping("sw")).parallel()
    assert list(zip(data.native, data.target, strict=True)) == loans


def test_a_relative_of_english_has_other_words() -> None:
    """Though the model knows no better than English; English itself has the same, said otherwise too."""
    native, _ = sentences(300)
    relative = [text.translate(str.maketrans("aeo", "eiu")) for text in native]
    assert share_words(native, [*native[1:], native[0]])
    assert not share_words(native, relative)
    assert share_words(ENGLISH, ["Yesterday evening we had some fresh fish", "On the hill stands an old house"])


def test_images_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    """A first column that names images is one, whether they are there or not."""
    path = table(tmp_path / "a.tsv", [(f"photo{i}.jpg", text) for i, text in enumerate(TEXTS)])
    assert open_source(path, MAORI).has_images
    with pytest.raises(DataError, match=r"photo0\.jpg"):
        inspect_data([path], "mi")


def test_of_two_texts_of_an_image_the_language_s_is_read(tmp_path: Path) -> None:
    """English captions stand between, or have the likelier name."""
    for i in range(len(PAIRS)):
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    path = table(tmp_path / "a.tsv", [(f"{i}.png", a, b) for i, (a, b) in enumerate(PAIRS)])
    assert open_source(path, MAORI).captions().texts == TEXTS
    rows = [{"image": f"{i}.png", "caption": a, "mri": b} for i, (a, b) in enumerate(PAIRS)]
    (tmp_path / "b.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    assert open_source(tmp_path / "b.json", MAORI).captions().texts == TEXTS


@pytest.mark.parametrize(("written", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_image_is_found_in_another_unicode_form(written: Form, there: Form, tmp_path: Path) -> None:
    """Folders too; and a number behind the name, as Flickr's lists have it, is none of the name."""
    folder = tmp_path / unicodedata.normalize(there, "Fotografías")
    folder.mkdir()
    for name in ("ñandú", "café"):
        Image.new("RGB", (8, 8)).save(folder / f"{unicodedata.normalize(there, name)}.png")
    names = [unicodedata.normalize(written, f"Fotografías/{name}.png") for name in ("ñandú", "café")]
    path = table(tmp_path / "a.tsv", [(names[0], TEXTS[0]), (f"{names[1]}#0", TEXTS[1]), (f"{names[1]}#1", TEXTS[2])])
    data = open_source(path, MAORI).captions()
    assert data.image_of_text == [0, 1, 1]
    assert all(image.is_file() for image in data.images)


def test_an_odd_cell_is_left_out_and_many_are_refused(tmp_path: Path) -> None:
    """Nothing in pandas' spelling is empty, a number is its text; a list is no text."""
    rows = [{"en": a, "mi": b} for a, b in PAIRS * 4]
    rows[3]["mi"], rows[4]["mi"] = float("nan"), 2020  # type: ignore[assignment]
    rows[5]["mi"], rows[6]["mi"] = True, ["kurī"]  # type: ignore[assignment]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert open_source(path, MAORI).parallel().target[2:7] == [TEXTS[2], "", "2020", "true", ""]
    path.write_text("".join(json.dumps({**row, "mi": [row["mi"]]}) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: .*'mi' is \['E oma.*not a text \(and 23 more\)\. .*--columns"):
        open_source(path, MAORI).parallel()


def test_english_captions_are_refused_for_a_language_that_is_not_english() -> None:
    """Also for one that the model of languages does not know; captions in the language itself pass."""
    for mapping in (MAORI, ColumnMapping("sw"), ColumnMapping("qu")):
        with pytest.raises(DataError, match=r"a\.jsonl: the captions are English, not .*text=COLUMN"):
            check_captions_read("a.jsonl", [f"{text} today" for text in ENGLISH], ENGLISH, mapping)
        check_captions_read("a.jsonl", TEXTS, ENGLISH, mapping)
    check_captions_read("a.jsonl", ENGLISH, ENGLISH, ColumnMapping("en"))
    check_captions_read("a.jsonl", ["Toyota", "WhatsApp", "London"], ENGLISH, MAORI)  # names tell nothing
