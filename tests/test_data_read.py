"""Reading data: where it lies, how its columns are found, what several sources make together."""

import gzip
import json
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.formats.jsonl import Jsonl
from mla_extend.data.pairs import ParallelText, Sample, join_images, join_parallel
from mla_extend.data.source import open_source, parse_source
from mla_extend.data.specification import parse_columns
from mla_extend.data.test_sets import read_test_set
from mla_extend.errors import DataError
from mla_extend.training.batches import BucketedBatches

SWAHILI = ColumnMapping("sw")
PAIRS = [
    ("a dog sleeps", "mbwa analala"),
    ("a cat runs", "paka anakimbia"),
    ("the house is old", "nyumba ni ya zamani"),
]


def tsv(path: Path, rows: list[tuple[str, ...]] = PAIRS) -> Path:
    """Write rows with tabs between."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write one object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Write three small images and give their names."""
    for i in range(3):
        Image.new("RGB", (8, 8), (80 * i, 0, 0)).save(tmp_path / f"{i}.png")
    return [f"{i}.png" for i in range(3)]


def test_a_file_without_header_has_the_native_text_first(tmp_path: Path) -> None:
    """The first column is the native one."""
    data = open_source(tsv(tmp_path / "a.tsv"), SWAHILI).parallel()
    assert list(zip(data.native, data.target, strict=True)) == PAIRS
    assert data.where(2) == f"{tmp_path}/a.tsv, line 3"
    assert data.weights is None


@pytest.mark.parametrize(
    ("name", "line", "bad"),
    [
        ("a.tsv", "dog {0}\tmbwa {0}", "only one"),
        ("a.csv", "dog {0},mbwa {0}", "yes, sir,ndiyo"),
        ("a.csv", "dog {0},mbwa {0}", "only one"),
        ("a.jsonl", '{{"en": "dog {0}", "sw": "mbwa {0}"}}', '{{"en": "dog'),
        ("a.jsonl", '{{"en": "dog {0}", "sw": "mbwa {0}"}}', '["dog", "mbwa"]'),
        ("a.en-sw.scored", "-\t-\tdog {0}\tmbwa {0}\t0.5", "-\t-\tdog\tmbwa"),
    ],
)
def test_a_malformed_line_is_left_out_and_many_stop_the_reading(tmp_path: Path, name: str, line: str, bad: str) -> None:
    lines = [line.format(i) for i in range(20)]
    lines[7:7] = [bad.format("")]
    path = tmp_path / name
    path.write_text("\n".join(lines))
    data = open_source(path, SWAHILI).parallel()
    assert list(data.target) == [*(f"mbwa {i}" for i in range(7)), "", *(f"mbwa {i}" for i in range(7, 20))]
    assert data.where(7) == f"{path}, line 8"
    path.write_text("\n".join(lines + 2 * [bad.format("")]))
    with pytest.raises(DataError, match=rf"{name}, line 8: .*\(and 2 more\)"):
        open_source(path, SWAHILI).parallel()


def test_a_sample_takes_each_row_as_often_as_any_other_over_all_sources(tmp_path: Path) -> None:
    """Of 60 rows of two sources 12 are taken; a row's share over 400 seeds is normal, and far from none or all."""
    paths = [
        tsv(tmp_path / f"{name}.tsv", [(f"dog {name}{i}", f"mbwa {name}{i}") for i in range(count)])
        for name, count in (("a", 45), ("b", 15))
    ]

    def sampled(most: int | None, seed: int) -> ParallelText:
        sample = Sample(most, seed)
        return sample.of(join_parallel([open_source(path, SWAHILI).parallel(sample) for path in paths]))

    everything = list(sampled(None, 0).native)
    assert list(sampled(60, 3).native) == everything
    counts = Counter(text for seed in range(400) for text in sampled(12, seed).native)
    assert sum(counts.values()) == 400 * 12
    assert min(counts[text] for text in everything) > 50
    assert max(counts.values()) < 112
    one = sampled(12, 5)
    assert one.native == sampled(12, 5).native
    order = [everything.index(text) for text in one.native]
    assert order == sorted(order)
    assert [one.where(i) for i in (0, 11)] == [f"{paths[0]}, line {order[0] + 1}", f"{paths[1]}, line {order[11] - 44}"]


@pytest.mark.parametrize(
    "header",
    [("sw", "en"), ("target", "source"), ("non_english", "english"), ("SW", "EN"), ("sw", "native")],
)
def test_a_header_decides_which_column_is_which(header: tuple[str, ...], tmp_path: Path) -> None:
    """Language codes and the usual names are known, whatever their case and order."""
    rows = [header, *((target, native) for native, target in PAIRS)]
    data = open_source(tsv(tmp_path / "a.tsv", rows), SWAHILI).parallel()
    assert list(zip(data.native, data.target, strict=True)) == PAIRS
    assert data.where(0).endswith("line 2")


def test_a_header_of_another_language_is_a_row(tmp_path: Path) -> None:
    """Only the codes of the two languages make a header."""
    assert len(open_source(tsv(tmp_path / "a.tsv", [("fr", "lo"), *PAIRS]), SWAHILI).parallel()) == 4


def test_a_base_of_another_native_language_finds_its_column(tmp_path: Path) -> None:
    """With Chinese as the native language, an English column is not taken for it."""
    rows: list[dict[str, object]] = [{"en": "dog", "zh": "狗", "sw": "mbwa"}, {"en": "cat", "zh": "猫", "sw": "paka"}]
    data = open_source(jsonl(tmp_path / "a.jsonl", rows), ColumnMapping("sw", "zh")).parallel()
    assert data.native == ["狗", "猫"]


def test_a_translation_object_is_taken_apart(tmp_path: Path) -> None:
    """The form that data sets of translations have."""
    rows: list[dict[str, object]] = [{"id": i, "translation": {"en": a, "sw": b}} for i, (a, b) in enumerate(PAIRS)]
    data = open_source(jsonl(tmp_path / "a.jsonl", rows), SWAHILI).parallel()
    assert list(zip(data.native, data.target, strict=True)) == PAIRS


def test_the_user_names_columns(tmp_path: Path) -> None:
    """Names and positions that the user gives come before all known ones."""
    rows = [("id", "src", "tgt"), *(("1", *pair) for pair in PAIRS)]
    path = tsv(tmp_path / "a.tsv", rows)
    mapping = ColumnMapping("sw", "en", parse_columns("native=SRC,target=tgt"))
    assert open_source(path, mapping).parallel().target == [target for _, target in PAIRS]
    by_number = ColumnMapping("sw", "en", parse_columns("native=1,target=2"))
    assert open_source(tsv(tmp_path / "b.tsv", rows[1:]), by_number).parallel().native == [
        native for native, _ in PAIRS
    ]
    with pytest.raises(DataError, match=r"line 2: no column with the target text\. It has .*'src'.*--columns"):
        open_source(path, ColumnMapping("sw", "en", parse_columns("native=src,target=other"))).parallel()


@pytest.mark.parametrize("text", ["native", "native=", "source=a", "=a", "native=a,"])
def test_wrong_columns_are_refused(text: str) -> None:
    """The message names the part and the roles."""
    with pytest.raises(DataError, match=r"names no column\. Give ROLE=COLUMN, the roles being native, target"):
        parse_columns(text)


def test_a_packed_file_reads_as_it_does_unpacked(tmp_path: Path) -> None:
    """Gzip is known by its content; a cut file is refused."""
    content = gzip.compress(tsv(tmp_path / "a.tsv").read_bytes())
    packed = tmp_path / "b.tsv.gz"
    packed.write_bytes(content)
    assert open_source(packed, SWAHILI).parallel().target == open_source(tmp_path / "a.tsv", SWAHILI).parallel().target
    packed.write_bytes(content[:20] + b"\xff\xff\xff\xff" + content[24:])
    with pytest.raises(DataError, match=r"b\.tsv\.gz is damaged after line 0"):
        open_source(packed, SWAHILI).parallel()
    packed.write_bytes(content[:-12])
    with pytest.raises(DataError, match=r"b\.tsv\.gz is damaged after line"):
        open_source(packed, SWAHILI).parallel()


def test_empty_sides_are_kept_for_the_checks_to_count(tmp_path: Path) -> None:
    """They are rows, but a file of nothing else is refused."""
    path = tsv(tmp_path / "a.tsv", [*PAIRS, ("a bird", " "), (" ", "ndege")])
    assert open_source(path, SWAHILI).parallel().target == [*(target for _, target in PAIRS), "", "ndege"]
    with pytest.raises(DataError, match="holds 1 pair"):
        open_source(tsv(tmp_path / "b.tsv", [PAIRS[0], ("x", "")]), SWAHILI).parallel()


def test_what_is_given_is_taken_apart(tmp_path: Path) -> None:
    """A format before, a split and a weight behind; a path that is there is taken whole."""
    path = tsv(tmp_path / "a.tsv")
    found = parse_source(f"tsv:{path}=0.25", SWAHILI)
    assert (found.path, found.format.name, found.weight, found.mapping.split) == (path, "tsv", 0.25, None)
    odd = tsv(tmp_path / "odd#1=3.tsv")
    assert (parse_source(str(odd), SWAHILI).path, parse_source(str(odd), SWAHILI).weight) == (odd, 1.0)
    text = tmp_path / "plain.txt"
    text.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"'\.txt' is not known.*--format"):
        parse_source(str(text), SWAHILI)
    assert len(open_source(str(text), SWAHILI, "tsv").parallel()) == 3
    assert len(open_source(f"tsv:{text}", SWAHILI).parallel()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "path of a data file is empty"),
        ("nowhere.tsv", r"nowhere\.tsv does not exist"),
        ("{path}=0", "has weight 0"),
        ("nonsense:{path}", "does not exist"),
        ("{path}#train", r"has no split 'train'\. It has no splits"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(DataError, match=message):
        open_source(text.format(path=tsv(tmp_path / "a.tsv")), SWAHILI).parallel()


def test_images_and_their_texts(tmp_path: Path, photos: list[str]) -> None:
    """One image may have several texts, in one row or several; native text stands beside."""
    rows: list[dict[str, object]] = [
        {"image": photos[0], "caption": ["mbwa", "mbwa mweusi"], "english": "a dog"},
        {"image": photos[1], "caption": "paka", "english": "cat"},
        {"image": photos[0], "caption": "mnyama", "english": "an animal"},
    ]
    data = open_source(jsonl(tmp_path / "a.jsonl", rows), SWAHILI).captions()
    assert data.images == [tmp_path / photos[0], tmp_path / photos[1]]
    assert data.texts == ["mbwa", "mbwa mweusi", "paka", "mnyama"]
    assert data.image_of_text == [0, 0, 1, 0]
    assert data.native == ["a dog", "a dog", "cat", "an animal"]
    assert data.native_image_of is None
    assert data.where_image(1).endswith("line 2")
    kept = data.subset(np.array([False, True, False, True]))
    assert (kept.texts, kept.native, len(kept.images)) == (["mbwa mweusi", "mnyama"], ["a dog", "an animal"], 2)


def test_native_texts_need_not_be_as_many(tmp_path: Path, photos: list[str]) -> None:
    """They then have images of their own; an image without any leaves them out."""
    rows: list[dict[str, object]] = [
        {"image": photos[0], "caption": ["mbwa"], "english": ["dog", "a black dog"]},
        {"image": photos[1], "caption": ["paka", "paka mweupe"], "english": ["cat"]},
    ]
    data = open_source(jsonl(tmp_path / "a.jsonl", rows), SWAHILI).captions()
    assert (data.native, data.native_image_of) == (["dog", "a black dog", "cat"], [0, 0, 1])
    kept = data.subset(np.array([False, True, True]))
    assert (kept.native, kept.native_image_of) == (["cat"], [1])
    equal = jsonl(tmp_path / "c.jsonl", [{"image": name, "caption": ["x"], "english": ["y"]} for name in photos])
    assert open_source(equal, SWAHILI).captions().native_image_of == [0, 1, 2]
    assert not open_source(equal, SWAHILI).has_native
    rows.append({"image": photos[2], "caption": "ndege"})
    assert open_source(jsonl(tmp_path / "b.jsonl", rows), SWAHILI).captions().native is None


def test_what_a_file_serves(tmp_path: Path, photos: list[str]) -> None:
    """An image column makes it images with text, a native one parallel text, both make both."""
    both = jsonl(tmp_path / "both.jsonl", [{"image": name, "caption": "x", "english": "y"} for name in photos])
    images = jsonl(tmp_path / "images.jsonl", [{"image": name, "caption": "x"} for name in photos])
    assert (open_source(both, SWAHILI).has_images, open_source(both, SWAHILI).has_native) == (True, True)
    assert (open_source(images, SWAHILI).has_images, open_source(images, SWAHILI).has_native) == (True, False)
    assert not open_source(tsv(tmp_path / "a.tsv"), SWAHILI).has_images
    bare = tsv(tmp_path / "bare.tsv", [(name, f"picha {i}") for i, name in enumerate(photos)])
    assert open_source(bare, SWAHILI).has_images
    assert open_source(bare, SWAHILI).captions().texts == ["picha 0", "picha 1", "picha 2"]


def test_a_source_is_opened_once_to_be_looked_at_and_read(tmp_path: Path, photos: list[str]) -> None:
    rows: list[dict[str, object]] = [{"image": photos[i], "sw": b, "english": a} for i, (a, b) in enumerate(PAIRS)]
    both = jsonl(tmp_path / "both.jsonl", rows)
    with mock.patch.object(Jsonl, "rows", side_effect=Jsonl.rows, autospec=True) as opened:
        source = open_source(both, SWAHILI)
        assert (source.has_images, source.has_native, len(source.captions())) == (True, True, 3)
        assert opened.call_count == 1
        assert (len(source.parallel()), opened.call_count) == (3, 2)


def test_images_that_lie_in_the_data_are_unpacked_once(
    tmp_path: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal bytes are one file in the cache."""
    from mla_extend.data.cells import unpacked

    monkeypatch.setenv("MLA_EXTEND_CACHE", str(tmp_path / "cache"))
    content = (tmp_path / photos[0]).read_bytes()
    assert unpacked(content) == unpacked(content)
    assert unpacked(content).read_bytes() == content
    assert len(list((tmp_path / "cache" / "unpacked").iterdir())) == 1


def test_sources_join(tmp_path: Path, photos: list[str]) -> None:
    """Rows keep their place and weight; one file named by two sources is one image."""
    first = open_source(str(tsv(tmp_path / "a.tsv")), SWAHILI).parallel()
    second = open_source(f"{tsv(tmp_path / 'b.tsv', PAIRS[:2])}=3", SWAHILI).parallel()
    both = join_parallel([first, second])
    assert len(both) == 5
    assert both.where(4) == f"{tmp_path}/b.tsv, line 2"
    assert both.weights is not None
    assert both.weights.tolist() == [1, 1, 1, 3, 3]
    assert both.subset(np.arange(5) > 2).weights is not None
    assert both.source == f"{tmp_path}/a.tsv, {tmp_path}/b.tsv"
    rows: list[dict[str, object]] = [{"image": name, "caption": f"picha ya {name}"} for name in photos]
    one = open_source(jsonl(tmp_path / "one.jsonl", rows[:2]), SWAHILI).captions()
    other = open_source(jsonl(tmp_path / "two.jsonl", rows[1:]), SWAHILI).captions()
    joined = join_images([one, other])
    assert joined.image_of_text == [0, 1, 1, 2]
    assert len(joined.images) == 3
    assert joined.where(3) == f"{tmp_path}/two.jsonl, line 2"


def test_a_test_set_of_a_folder_has_a_split_a_file(tmp_path: Path, photos: list[str]) -> None:
    """One can be chosen; parallel text is known by having no images."""
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(folder / "images.jsonl", [{"image": f"../{name}", "caption": "x"} for name in photos])
    jsonl(folder / "text.jsonl", [{"en": a, "sw": b} for a, b in PAIRS])
    tests = read_test_set(parse_source(folder, SWAHILI))
    assert (tests.name, list(tests.splits), tests.rows) == ("set", ["images", "text"], 6)
    assert list(read_test_set(parse_source(f"{folder}#text", SWAHILI)).splits) == ["text"]
    with pytest.raises(DataError, match=r"has no split 'dev'\. Its splits: images, text"):
        read_test_set(parse_source(f"{folder}#dev", SWAHILI))
    with pytest.raises(DataError, match=r"several splits\. Say which"):
        open_source(folder, SWAHILI).parallel()
    jsonl(folder / "train.jsonl", [{"en": a, "sw": b} for a, b in PAIRS])
    assert list(read_test_set(parse_source(folder, SWAHILI)).splits) == ["images", "text"]
    assert list(read_test_set(parse_source(f"{folder}#train", SWAHILI)).splits) == ["train"]
    assert open_source(folder, SWAHILI).parallel().where(0).endswith("train.jsonl, line 1")
    jsonl(folder / "text.jsonl", [{"en": "a", "sw": "b"}, {"en": "c", "sw": ""}, {"en": "d", "sw": "e"}])
    with pytest.raises(DataError, match=r"text\.jsonl, line 2: one side is empty"):
        read_test_set(parse_source(folder, SWAHILI))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=8, max_size=60), st.integers(0, 5))
def test_rows_are_drawn_as_their_weights_say(weights: list[float], seed: int) -> None:
    """Over an epoch of N rows each is drawn as often as its share, rounded up or down."""
    wanted = np.array(weights) / np.sum(weights) * len(weights)
    batches = BucketedBatches(np.ones(len(weights), dtype=np.int64), 1, seed, np.array(weights))
    drawn = np.bincount(np.concatenate([batches.rows(i) for i in range(len(weights))]), minlength=len(weights))
    assert drawn.sum() == len(weights)
    assert (np.abs(drawn - wanted) < 1 + 1e-9).all()


def test_a_first_sentence_too_long_for_a_path_is_a_sentence(tmp_path: Path) -> None:
    """It is not looked for as an image, nor one with NUL in it."""
    for first in ("狗" * 400, "a\0b"):
        assert not open_source(tsv(tmp_path / "a.tsv", [(first, "mbwa"), *PAIRS]), SWAHILI).has_images


def test_half_a_character_becomes_a_replacement_character(tmp_path: Path) -> None:
    """JSON can spell what is no text; whole pairs of halves are kept."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"en": "a \\ud83d\\ude00 b", "sw": "moja \\ud800"}\n{"en": "c", "sw": "mbili"}\n')
    data = open_source(path, SWAHILI).parallel()
    assert (data.native[0], data.target[0]) == ("a 😀 b", "moja \ufffd")


def test_columns_of_fixed_names_stay_where_others_are_named(tmp_path: Path) -> None:
    """Several sources may be given at once, of which some have no names of their own."""
    for code, texts in (("en", ["a dog", "a cat"]), ("sw", ["mbwa", "paka"])):
        (tmp_path / f"news.{code}").write_text("".join(f"{text}\n" for text in texts))
    mapping = ColumnMapping("sw", "en", parse_columns("native=src,target=tgt"))
    assert open_source(f"moses:{tmp_path}/news.en,{tmp_path}/news.sw", mapping).parallel().target == ["mbwa", "paka"]
