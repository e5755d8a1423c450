"""Translations of a test set: each finds its caption, and what does not fit is named."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.data.test_sets import TestSet
from mla_extend.data.translations import read_translations, translated
from mla_extend.errors import DataError

PAIRS = [
    ("Mbwa mweusi anakimbia ufukweni.", "A black dog runs on the beach."),
    ("一只黑狗在沙滩上奔跑。", "A black dog is running on the sand."),
    ("कुत्ता समुद्र तट पर दौड़ रहा है", "The dog is running on the beach"),
    ('Mtoto amesema "habari" kwa paka', 'A child said "hello" to a cat'),
    ("كلب أسود يجري على الشاطئ", "A black dog runs along the shore"),
    ("ᎩᏟ ᎬᎿᎨ", "black dog"),
]
CAPTIONS = [caption for caption, _ in PAIRS]
TRANSLATIONS = [translation for _, translation in PAIRS]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def records(pairs: list[tuple[str, str]]) -> list[str]:
    return [json.dumps({"caption": a, "translation": b}, ensure_ascii=False) for a, b in pairs]


def test_plain_text_is_read_line_by_line(tmp_path: Path) -> None:
    assert read_translations(write(tmp_path / "mt.en", TRANSLATIONS), CAPTIONS) == TRANSLATIONS
    packed = tmp_path / "mt.txt.gz"
    packed.write_bytes(gzip.compress("\r\n".join(TRANSLATIONS).encode()))
    assert read_translations(packed, CAPTIONS) == TRANSLATIONS


def test_columns_are_matched_by_the_caption_in_any_order(tmp_path: Path) -> None:
    more = [*reversed(PAIRS), ("Hakuna picha kama hii", "There is no such picture")]
    table = [f"{a}\t{b}" for a, b in more]
    files = [
        write(tmp_path / "bare.tsv", table),
        write(tmp_path / "header.tsv", ["caption\ttranslation", *table]),
        write(
            tmp_path / "wide.tsv", ["id\ttranslation\tcaption", *(f"{i}\t{b}\t{a}" for i, (a, b) in enumerate(more))]
        ),
        write(tmp_path / "mt.jsonl", records(more)),
    ]
    for file in files:
        assert read_translations(file, CAPTIONS) == TRANSLATIONS, file.name


def test_a_caption_of_several_images_needs_one_translation(tmp_path: Path) -> None:
    captions = [CAPTIONS[0], CAPTIONS[1], CAPTIONS[0]]
    expected = [TRANSLATIONS[0], TRANSLATIONS[1], TRANSLATIONS[0]]
    assert read_translations(write(tmp_path / "mt.jsonl", records(PAIRS + PAIRS)), captions) == expected


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("mt.txt", TRANSLATIONS[:5], r"mt\.txt has 5 lines and the test set 6 captions\. Give one line"),
        ("mt.txt", [*TRANSLATIONS, "one more"], "has 7 lines and the test set 6"),
        ("mt.txt", [*TRANSLATIONS[:5], " "], "line 6 is empty. Translate the caption 'ᎩᏟ ᎬᎿᎨ'"),
        ("mt.jsonl", records(PAIRS[1:]), "no translation of 1 of the test set's 6 different captions: 'Mbwa mweusi"),
        ("mt.jsonl", records(PAIRS[:1]), r"5 of .*: '一只黑狗在沙滩上奔跑。', 'क.*', 'Mtoto.*' and 2 more\. Add"),
        ("mt.jsonl", records([*PAIRS, (CAPTIONS[0], "A dog.")]), "line 7: 'Mbwa .* the beach.' and 'A dog.'. Keep one"),
        ("mt.jsonl", records([(CAPTIONS[0], " ")]), "line 1: the column 'translation' is missing or empty"),
        ("mt.jsonl", ['{"sw": "Mbwa", "en": "dog"}'], "line 1: the column 'caption' is missing"),
        ("mt.jsonl", ['{"caption": ["Mbwa"]}'], "line 1: the column 'caption' is missing"),
        ("mt.jsonl", ['{"caption": "Mbwa", "translation": "dog"}', "[]"], "line 2: list"),
        ("mt.jsonl", ["[]"], "no translation of 6 of"),
        ("mt.tsv", TRANSLATIONS, "line 1: one column"),
        ("mt.tsv", ["caption\ttext", f"{CAPTIONS[0]}\tdog"], "line 2: the column 'translation' is missing"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_translations(write(tmp_path / name, lines), CAPTIONS)


def test_a_file_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.txt does not exist\. Give the captions in the native language"):
        read_translations(tmp_path / "no.txt", CAPTIONS)
    with pytest.raises(DataError, match="is empty"):
        read_translations(write(tmp_path / "mt.txt", []), CAPTIONS)


def test_each_split_gets_its_own_part_of_the_file(tmp_path: Path) -> None:
    """Images, native text and order stay; a plain file goes through the splits in their order."""
    numbers = np.zeros(3, dtype=np.int64)
    photos = ImageText((Part("a"),), [tmp_path / "1", tmp_path / "2"], CAPTIONS[:3], [0, 1, 1], numbers, numbers)
    text = ParallelText((Part("b"),), ["x", "y", "z"], CAPTIONS[3:], numbers, numbers)
    tests = TestSet("tests", {"photos": photos, "text": text})
    for file in (
        write(tmp_path / "mt.txt", TRANSLATIONS),
        write(tmp_path / "mt.jsonl", records([*reversed(PAIRS)])),
    ):
        found = translated(tests, file)
        one, other = found.splits["photos"], found.splits["text"]
        assert isinstance(one, ImageText)
        assert isinstance(other, ParallelText)
        assert (found.name, list(found.splits)) == ("tests", ["photos", "text"])
        assert (one.texts, one.images, one.image_of_text) == (TRANSLATIONS[:3], photos.images, [0, 1, 1])
        assert (other.target, other.native) == (TRANSLATIONS[3:], ["x", "y", "z"])
    with pytest.raises(DataError, match="has 3 lines and the test set 6 captions"):
        translated(tests, write(tmp_path / "short.txt", TRANSLATIONS[:3]))
