"""The translate-test baseline: translations find their captions, and the comparison is that of the same images."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from mla_extend.against import against_report, read_translations
from mla_extend.bases.open import open_base
from mla_extend.errors import DataError
from mla_extend.evaluation import bootstrap, evaluate_retrieval, paired_bootstrap
from tests.conftest import sentences

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


def test_the_report_compares_both_on_the_same_images() -> None:
    draw = np.random.default_rng(0)
    images = draw.standard_normal((90, 16))
    owner = np.repeat(np.arange(90), 2)
    ours = images[owner] + 0.9 * draw.standard_normal((180, 16))
    translated = images[owner] + 1.4 * draw.standard_normal((180, 16))
    mine = evaluate_retrieval(images, ours, owner)
    theirs = evaluate_retrieval(images, translated, owner)
    report = against_report(images, translated, owner, mine, seed=3, protocol="standard")
    assert json.loads(json.dumps(report)) == report
    assert report["name"] == "translate"
    assert report["mean_recall"] == theirs.mean_recall
    assert report["t2i_mean_recall"] == theirs.t2i_mean
    assert report["metrics"] == theirs.metrics()
    assert tuple(report["ci95"]) == bootstrap(theirs, seed=3).mean_recall
    paired = paired_bootstrap(mine, theirs, seed=3)
    assert report["difference"] == mine.mean_recall - theirs.mean_recall > 0
    assert tuple(report["difference_ci95"]) == paired.interval
    assert report["p"] == paired.p_value < 0.01


def test_perfect_translations_by_the_base_differ_by_nothing(clip_folder: Path, pictures: list[Path]) -> None:
    base = open_base(str(clip_folder))
    native, _ = sentences(60, seed=4)
    images, owner = base.encode_images(pictures).numpy(), np.arange(60)
    mine = evaluate_retrieval(images, base.encode_native(native).numpy(), owner, "first")
    report = against_report(images, base.encode_native(native).numpy(), owner, mine, seed=0, protocol="first")
    assert (report["difference"], report["difference_ci95"], report["p"]) == (0, [0, 0], 1)


def test_other_protocols_and_other_images_are_refused() -> None:
    vectors = np.eye(12)
    mine = evaluate_retrieval(vectors, vectors, np.arange(12))
    with pytest.raises(DataError, match="protocol 'standard' and the translated captions by 'mla'; use one"):
        against_report(vectors, vectors, np.arange(12), mine, seed=0, protocol="mla")
    with pytest.raises(DataError, match="evaluate both on the same"):
        against_report(vectors[:11], vectors[:11], np.arange(11), mine, seed=0, protocol="standard")
