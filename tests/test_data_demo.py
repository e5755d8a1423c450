"""The demo data: what is in the files, what is held out of them, and which languages there are."""

import json
from pathlib import Path

import pytest
from fake_packages import EMOJI, NAMES, install

from mla_extend.demo import data as data_demo
from mla_extend.demo import icons
from mla_extend.demo import locales as demo_locales
from mla_extend.demo.cldr import Annotation
from mla_extend.demo.data import DemoData, demo_data, held_out, parallel_pairs
from mla_extend.demo.icons import Concept
from mla_extend.demo.locales import demo_languages
from mla_extend.errors import DataError

SWAHILI = {emoji: f"jina {i}" for i, emoji in enumerate(EMOJI)}
LOCALES = {
    "sw": SWAHILI,
    "de": {emoji: f"Name {i}" for i, emoji in enumerate(EMOJI)},
    "de-CH": {EMOJI[0]: "Velo"},
    "zh": {emoji: f"简{i}" for i, emoji in enumerate(EMOJI)},
    "zh-Hant": {emoji: f"繁{i}" for i, emoji in enumerate(EMOJI)},
    "no": {emoji: f"navn {i}" for i, emoji in enumerate(EMOJI)},
    "ast": {EMOJI[0]: "nome"},
}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch, tmp_path, LOCALES)
    monkeypatch.setattr(data_demo, "demo_images", lambda progress=None: tmp_path / "demo" / "images-x")
    monkeypatch.setattr(data_demo, "HELD_OUT", 4)
    monkeypatch.setattr(data_demo, "GALLERY", 5)
    monkeypatch.setattr(demo_locales, "ENOUGH", 10)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def all_text(data: DemoData) -> str:
    return data.parallel.read_text(encoding="utf-8") + data.image_text.read_text(encoding="utf-8")


def test_the_files_are_those_that_any_user_could_have_written(tiny: Path) -> None:
    data = demo_data("sw")
    folder = data.parallel.parent
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "image_text.jsonl",
        "licences.json",
        "parallel.tsv",
        "test/all.jsonl",
        "test/seen.jsonl",
        "test/unseen.jsonl",
    ]
    pairs = [line.split("\t") for line in data.parallel.read_text(encoding="utf-8").splitlines()]
    assert all(len(pair) == 2 for pair in pairs)
    assert len({tuple(pair) for pair in pairs}) == len(pairs)
    shown = rows(data.image_text)
    assert len(shown) == 12 * 3
    assert {row.keys() == {"image", "caption"} for row in shown} == {True}
    sizes = {part: len(rows(data.test_set / f"{part}.jsonl")) for part in ("seen", "unseen", "all")}
    assert sizes == {"seen": 5, "unseen": 4, "all": 16}
    assert {credit["licence"] for credit in data.licences} >= {"Unicode-3.0", "MIT"}


def test_images_are_found_from_the_files_that_name_them(tiny: Path) -> None:
    data = demo_data("sw")
    images = tiny / "demo" / "images-x"
    for path, styles in ((data.image_text, icons.TRAINING_STYLES), (data.test_set / "all.jsonl", [icons.TEST_STYLE])):
        found = {(path.parent / row["image"]).resolve().parent for row in rows(path)}
        assert found == {images / style for style in styles}


def test_nothing_of_a_held_out_concept_is_taught(tiny: Path) -> None:
    data = demo_data("sw")
    unseen = rows(data.test_set / "unseen.jsonl")
    text = all_text(data)
    taught = {line.split("\t")[1] for line in data.parallel.read_text(encoding="utf-8").splitlines()}
    taught |= {row["caption"] for row in rows(data.image_text)}
    for row in unseen:
        assert row["caption"] not in taught
        assert Path(row["image"]).name not in text
    seen = {row["english"] for row in rows(data.test_set / "seen.jsonl")}
    assert seen.isdisjoint(row["english"] for row in unseen)


def test_the_same_concepts_are_held_out_in_every_language(tiny: Path) -> None:
    first, second = ([row["english"] for row in rows(demo_data(tag).test_set / "unseen.jsonl")] for tag in ("sw", "de"))
    assert first == second


def test_a_pair_that_is_a_held_out_name_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_demo, "HELD_OUT", 1)
    listed = [Concept(emoji, name, ()) for emoji, name in zip(EMOJI[:3], ["one", "two", "three"], strict=True)]
    (unseen,) = held_out(listed)
    name = next(concept.name for concept in listed if concept.emoji == unseen)
    english = {concept.emoji: Annotation(concept.name, ()) for concept in listed}
    english["+"] = Annotation(name.upper(), ())
    target = {emoji: Annotation(f"x {entry.name}", ()) for emoji, entry in english.items()}
    pairs = parallel_pairs(listed, english, target)
    assert sorted(pairs) == sorted((c.name, f"x {c.name}") for c in listed if c.emoji != unseen)


def test_the_parallel_text_has_names_and_names_with_keywords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_demo, "HELD_OUT", 0)
    monkeypatch.setattr(data_demo, "JOINED", 1)
    english = {"😺": Annotation("cat", ("pet", "tail")), "x": Annotation("no name elsewhere", ())}
    target = {"😺": Annotation("paka", ("mnyama", "mkia"))}
    listed = [Concept("😺", "cat", ("pet", "tail"))]
    assert parallel_pairs(listed, english, target) == [("cat", "paka"), ("cat: pet", "paka: mnyama")]


def test_languages_are_those_with_enough_names_of_their_own(tiny: Path) -> None:
    assert demo_languages() == ["de", "no", "sw", "zh", "zh-Hant"]


@pytest.mark.parametrize(
    ("asked", "tag", "name"),
    [
        ("de-CH", "de-CH", "Velo"),
        ("de-AT", "de-AT", "Name 0"),
        ("zh-TW", "zh-TW", "繁0"),
        ("zh-Hans", "zh-Hans", "简0"),
        ("nb", "nb", "navn 0"),
        ("SW", "sw", "jina 0"),
    ],
)
def test_a_tag_finds_its_locale(tiny: Path, asked: str, tag: str, name: str) -> None:
    data = demo_data(asked)
    captions = {row["english"]: row["caption"] for row in rows(data.test_set / "all.jsonl")}
    assert (data.language, captions[NAMES[0]]) == (tag, name)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("swh", ["'swh'", "names 0 of its 16", "sw", "parallel text of your own"]),
        ("ast", ["names 1 of its 16"]),
        ("en-GB", ["English"]),
        ("no such", ["not a language code"]),
    ],
)
def test_a_language_that_is_not_there_is_refused_with_a_way_out(tiny: Path, asked: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        demo_data(asked)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.demo
@pytest.mark.parametrize("language", ["sw", "ja"])
def test_the_real_data_have_their_sizes_and_leak_nothing(language: str) -> None:
    data = demo_data(language)
    sizes = {part: len(rows(data.test_set / f"{part}.jsonl")) for part in ("seen", "unseen", "all")}
    assert sizes == {"seen": 300, "unseen": 300, "all": 1532}
    shown = rows(data.image_text)
    assert len(shown) == 1232 * 3
    assert all((data.image_text.parent / row["image"]).is_file() for row in shown[::100])
    pairs = {tuple(line.split("\t")) for line in data.parallel.read_text(encoding="utf-8").splitlines()}
    unseen = rows(data.test_set / "unseen.jsonl")
    assert pairs.isdisjoint((row["english"], row["caption"]) for row in unseen)
    assert {Path(row["image"]).name for row in shown}.isdisjoint(Path(row["image"]).name for row in unseen)
