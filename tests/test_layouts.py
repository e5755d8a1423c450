"""The layouts of published test sets: each is written small, read as a test set, and broken in every way."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.layouts.clip_benchmark import ClipBenchmark
from mla_extend.data.layouts.coco_captions import CocoCaptions
from mla_extend.data.layouts.crossmodal3600 import Crossmodal3600
from mla_extend.data.layouts.karpathy import Karpathy
from mla_extend.data.layouts.multi30k import Multi30k
from mla_extend.data.layouts.xflickrco import XFlickrCO
from mla_extend.data.layouts.xtd import Xtd
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.source import Source
from mla_extend.data.test_sets import read_test_set
from mla_extend.errors import DataError

ENGLISH = ["Two men sit on a roof.", "A brown dog runs through snow.", "A girl plays an electric guitar."]
GERMAN = ["Zwei Männer sitzen auf einem Dach.", "Ein brauner Hund läuft durch Schnee.", "Ein Mädchen spielt Gitarre."]
JAPANESE = ["２人の男が家の屋根の上に座っている。", "茶色の犬が雪の中を走っている。", "少女がギターを弾いている。"]
SWAHILI = ["Wanaume wawili wameketi juu ya paa.", "Mbwa wa kahawia anakimbia.", "Msichana anapiga gitaa."]
CHINESE = ["两个男人坐在屋顶上。", "一只棕色的狗在雪地里奔跑。", "一个女孩在弹电吉他。"]
FLICKR = ["1007129816.jpg", "1009434119.jpg", "101362133.jpg"]
COCO = ["COCO_val2014_000000391895.jpg", "COCO_train2014_000000061844.jpg", "COCO_val2014_000000522418.jpg"]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MLA_EXTEND_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Return an empty folder for a layout."""
    path = tmp_path / "set"
    path.mkdir()
    return path


def picture(number=0, kind="JPEG"):
    """Return an image file's bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (40 * number, 200 - 40 * number, 90)).save(buffer, kind)
    return buffer.getvalue()


def put(path, content):
    """Write a file, packed where its name says so, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def put_lines(path, lines):
    """Write a file of lines."""
    return put(path, "".join(f"{line}\n" for line in lines))


def put_jsonl(path, records):
    """Write a file with one object a line."""
    return put_lines(path, [json.dumps(record, ensure_ascii=False) for record in records])


def put_images(folder, names):
    """Write images."""
    for number, name in enumerate(names):
        put(folder / name, picture(number))


def read(layout, path, language, split=None, **columns):
    """Return the splits of a test set, after the check that a command makes first."""
    layout.check(path)
    mapping = ColumnMapping(language, split=split, **columns)
    return read_test_set(Source(f"{layout.name}:{path}", path, layout, mapping)).splits


def groups(data):
    """Return the texts by the name of their image."""
    found = {}
    for text, image in zip(data.texts, data.image_of_text, strict=True):
        found.setdefault(data.images[image].name, []).append(text)
    return found


def native_groups(data):
    """Return the native texts by the name of their image."""
    found = {}
    owners = data.image_of_text if data.native_image_of is None else data.native_image_of
    for text, image in zip(data.native, owners, strict=True):
        found.setdefault(data.images[image].name, []).append(text)
    return found


def by_name(names, *columns):
    """Return columns of texts by name."""
    return {name: list(texts) for name, *texts in zip(names, *columns, strict=True)}


# Crossmodal-3600

KEYS = ["0001b3e1ddb6cb0a", "00d8efac8f3f3a4d", "02a4a2ef6b9b2b7e"]
JPGS = [f"{key}.jpg" for key in KEYS]


def xm3600_record(i):
    """Return a line as it is published."""
    captions = {"en": [ENGLISH[i], f"{ENGLISH[i]} Again."], "sw": [SWAHILI[i]], "fil": ["Dalawang lalaki."]}
    captions["zh"] = [CHINESE[i], CHINESE[i - 1]]
    tokenized = {code: [text.split() for text in texts] for code, texts in captions.items()}
    languages = {code: {"caption": captions[code], "caption/tokenized": tokenized[code]} for code in captions}
    return {"image/key": KEYS[i], "image/locale": "sw", **languages}


@pytest.mark.parametrize("place", ["", "images", "imgs"])
def test_xm3600_reads_the_captions_of_the_language_and_the_native_ones(folder, place):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(i) for i in range(3)])
    put_images(folder / place, JPGS)
    splits = read(Crossmodal3600(), folder, "sw")
    assert list(splits) == ["test"]
    assert groups(splits["test"]) == by_name(JPGS, SWAHILI)
    assert native_groups(splits["test"]) == by_name(JPGS, ENGLISH, [f"{text} Again." for text in ENGLISH])
    assert splits["test"].where(1) == f"{folder / 'captions.jsonl'}, record 2"


@pytest.mark.parametrize(
    ("language", "first"), [("zh-Hans", CHINESE[0]), ("fil", "Dalawang lalaki."), ("en", ENGLISH[0])]
)
def test_xm3600_finds_a_language_by_its_codes(folder, language, first):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(i) for i in range(3)])
    put_images(folder, JPGS)
    assert read(Crossmodal3600(), folder, language)["test"].texts[0] == first


def test_xm3600_reads_flat_columns_and_the_file_itself(folder):
    records = [{"image/key": KEYS[i], "sw.caption": [SWAHILI[i]], "en.caption": [ENGLISH[i]]} for i in range(3)]
    file = put_jsonl(folder / "captions.jsonl", records)
    put_images(folder, JPGS)
    data = read(Crossmodal3600(), file, "sw")["test"]
    assert groups(data) == by_name(JPGS, SWAHILI)
    assert native_groups(data) == by_name(JPGS, ENGLISH)


def test_xm3600_without_native_captions_has_none(folder):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(i) for i in range(3)])
    put_images(folder, JPGS)
    assert read(Crossmodal3600(), folder, "sw", native="de")["test"].native is None


def test_xm3600_without_the_language_is_refused(folder):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(0)])
    with pytest.raises(DataError, match=r"holds nothing for the language 'mi' \(read as xm3600\)"):
        read(Crossmodal3600(), folder, "mi")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image/key": None}, "record 2: 'image/key' is None, not the key of an image"),
        ({"sw": {"caption": "Mbwa"}}, "record 2: the captions in 'sw' are 'Mbwa', not a list of texts"),
        ({"sw": {"text": ["Mbwa"]}}, "record 2: the captions in 'sw' are 'None', not a list of texts"),
        ({"sw": {"caption": ["Mbwa", 3]}}, "not a list of texts"),
    ],
)
def test_xm3600_names_a_record_that_is_broken(folder, change, message):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(0), {**xm3600_record(1), **change}])
    put_images(folder, JPGS)
    with pytest.raises(DataError, match=message):
        read(Crossmodal3600(), folder, "sw")


def test_xm3600_says_where_it_looked_for_images(folder):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(i) for i in range(3)])
    with pytest.raises(
        DataError, match=rf"There is no image {JPGS[0]} in {folder}, and no folder with images \(images, "
    ):
        read(Crossmodal3600(), folder, "sw")


def test_an_image_that_is_missing_is_named_with_its_record(folder):
    put_jsonl(folder / "captions.jsonl", [xm3600_record(i) for i in range(3)])
    put_images(folder / "images", JPGS[:1])
    with pytest.raises(DataError, match=rf"record 2: the image {folder}/images/{JPGS[1]} does not exist \(nor do 1"):
        read(Crossmodal3600(), folder, "sw")


def xm3600_parquet(file, texts, first=0):
    """Write a parquet file of a language."""
    count = len(texts)
    images = [{"bytes": picture(first + i), "path": None} for i in range(count)]
    ids = KEYS[first : first + count]
    table = {"image_id": ids, "image_locale": ["sw"] * count, "captions": texts, "image": images}
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), file)


@pytest.mark.parametrize("name", ["sw-00000-of-00001.parquet", "data/sw-00000-of-00001.parquet", "sw.parquet"])
def test_xm3600_reads_parquet_of_one_split_a_language(folder, tmp_path, name):
    xm3600_parquet(folder / name, [[text] for text in SWAHILI])
    xm3600_parquet(folder / name.replace("sw", "en"), [[text, "Second."] for text in ENGLISH])
    splits = read(Crossmodal3600(), folder, "sw")
    assert list(splits) == ["test"]
    data = splits["test"]
    assert data.texts == SWAHILI
    assert [image.read_bytes() for image in data.images] == [picture(i) for i in range(3)]
    assert all(image.is_relative_to(tmp_path / "cache") for image in data.images)
    assert list(native_groups(data).values()) == [[text, "Second."] for text in ENGLISH]


def test_xm3600_joins_the_parquet_files_of_a_language(folder):
    xm3600_parquet(folder / "data" / "sw-00000-of-00002.parquet", [[text] for text in SWAHILI[:2]])
    with pytest.raises(DataError, match="holds 1 of the 2 parquet files of 'sw'"):
        read(Crossmodal3600(), folder, "sw")
    xm3600_parquet(folder / "data" / "sw-00001-of-00002.parquet", [[text] for text in SWAHILI[2:]], first=2)
    data = read(Crossmodal3600(), folder, "sw")["test"]
    assert data.texts == SWAHILI
    assert data.native is None
    assert data.rows.tolist() == [1, 2, 3]


def test_xm3600_names_a_parquet_file_without_a_column(folder):
    pq.write_table(pa.table({"image_id": KEYS, "captions": [[text] for text in SWAHILI]}), folder / "sw.parquet")
    with pytest.raises(DataError, match=r"sw\.parquet has no column image; it has image_id, captions"):
        read(Crossmodal3600(), folder, "sw")


def test_xm3600_names_a_parquet_file_that_is_damaged(folder):
    put(folder / "sw.parquet", b"PAR1 no more than this")
    with pytest.raises(DataError, match=r"sw\.parquet cannot be read"):
        read(Crossmodal3600(), folder, "sw")


def test_xm3600_refuses_two_kinds_of_a_language(folder):
    for code in ("pt-BR", "pt-PT"):
        xm3600_parquet(folder / f"{code}.parquet", [["Dois homens."], ["Um cão."]])
    with pytest.raises(DataError, match="holds several kinds of 'pt': pt-BR, pt-PT"):
        read(Crossmodal3600(), folder, "pt")
    assert read(Crossmodal3600(), folder, "pt-BR")["test"].texts == ["Dois homens.", "Um cão."]


def test_xm3600_checks_that_there_are_captions(folder):
    with pytest.raises(DataError, match=r"holds no captions\.jsonl and no parquet file"):
        Crossmodal3600().check(folder)
    with pytest.raises(DataError, match="nowhere does not exist"):
        Crossmodal3600().check(folder / "nowhere")


# Multi30K


def multi30k(folder, place="raw", split="test_2016_flickr", suffix=".gz", **texts):
    """Write the files of a split in several languages."""
    for code, lines in (texts or {"en": ENGLISH, "de": GERMAN}).items():
        put_lines(folder / place / f"{split}.{code}{suffix}", lines)


@pytest.mark.parametrize(
    ("place", "lists"),
    [("raw", "image_splits"), ("", "image_splits"), ("data/task1/raw", "data/task1/image_splits")],
)
@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("images", ["images", "flickr30k-images", "flickr30k_images", ""])
def test_multi30k_reads_images_with_captions(folder, place, lists, suffix, images):
    multi30k(folder, place, suffix=suffix)
    put_lines(folder / lists / "test_2016_flickr.txt", FLICKR)
    put_images(folder / images, FLICKR)
    splits = read(Multi30k(), folder, "de")
    assert list(splits) == ["test_2016_flickr"]
    data = splits["test_2016_flickr"]
    assert groups(data) == by_name(FLICKR, GERMAN)
    assert data.native == ENGLISH
    assert data.native_image_of is None


def test_multi30k_cuts_the_caption_number_behind_coco_images(folder):
    multi30k(folder, split="test_2017_mscoco")
    lines = [f"{name}#{number}" for name, number in zip(COCO, (367178, 657409, 646058), strict=True)]
    put_lines(folder / "image_splits" / "test_2017_mscoco.txt", lines)
    for name in COCO:
        put_images(folder / name.split("_")[1], [name])
    assert groups(read(Multi30k(), folder, "de")["test_2017_mscoco"]) == by_name(COCO, GERMAN)


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("images", [True, False])
def test_multi30k_without_images_or_their_list_is_parallel_text(folder, lists, images):
    multi30k(folder, split="val")
    if lists:
        put_lines(folder / "image_splits" / "val.txt", FLICKR)
    if images:
        put_images(folder / "images", FLICKR)
    data = read(Multi30k(), folder, "de")["val"]
    assert isinstance(data, ImageText if lists and images else ParallelText)
    if isinstance(data, ParallelText):
        assert (data.native, data.target) == (ENGLISH, GERMAN)


def test_multi30k_has_the_splits_of_the_language(folder):
    multi30k(folder, split="train", en=ENGLISH, de=GERMAN, ja=JAPANESE)
    multi30k(folder, split="val", en=ENGLISH, de=GERMAN)
    multi30k(folder, split="test_2018_flickr", en=ENGLISH)
    put(folder / "raw" / "README.md", "Captions.")
    assert Multi30k().splits(folder, ColumnMapping("de")) == ("train", "val")
    assert Multi30k().splits(folder, ColumnMapping("ja")) == ("train",)
    assert list(read(Multi30k(), folder, "de", split="val")) == ["val"]
    with pytest.raises(DataError, match=r"has no split 'test'. Its splits: train, val"):
        read(Multi30k(), folder, "de", split="test")
    with pytest.raises(DataError, match="holds nothing for the language 'cs'"):
        read(Multi30k(), folder, "cs")


def test_multi30k_reads_captions_once_that_lie_there_packed_and_unpacked(folder):
    multi30k(folder, suffix=".gz")
    multi30k(folder, suffix="")
    assert len(read(Multi30k(), folder, "de")["test_2016_flickr"]) == 3


def test_multi30k_names_files_that_differ_in_length(folder):
    multi30k(folder, en=ENGLISH, de=GERMAN[:2])
    with pytest.raises(DataError, match=r"test_2016_flickr\.en\.gz has 3 lines, .*test_2016_flickr\.de\.gz has 2\."):
        read(Multi30k(), folder, "de")


def test_multi30k_names_an_image_list_that_is_too_long(folder):
    multi30k(folder)
    put_lines(folder / "image_splits" / "test_2016_flickr.txt", [*FLICKR, "1039637574.jpg"])
    put_images(folder / "images", FLICKR)
    with pytest.raises(DataError, match=r"test_2016_flickr\.txt has 4 lines, .*\.de\.gz has 3\."):
        read(Multi30k(), folder, "de")


def test_multi30k_without_images_and_native_text_is_refused(folder):
    multi30k(folder, de=GERMAN)
    with pytest.raises(
        DataError, match=r"\.de\.gz has no counterpart in 'en' beside it, and there is no list of images"
    ):
        read(Multi30k(), folder, "de")


def test_multi30k_reads_images_without_native_text(folder):
    multi30k(folder, de=GERMAN)
    put_lines(folder / "image_splits" / "test_2016_flickr.txt", FLICKR)
    put_images(folder / "images", FLICKR)
    assert read(Multi30k(), folder, "de")["test_2016_flickr"].native is None


def task2(folder, numbers=range(1, 6), place="raw"):
    """Write five captions an image in two languages."""
    for number in numbers:
        texts = {"en": [f"{text} {number}" for text in ENGLISH], "de": [f"{text} {number}" for text in GERMAN]}
        multi30k(folder, place, f"test_2016.{number}", **texts)


@pytest.mark.parametrize("name", ["test_2016", "test_2016_images"])
@pytest.mark.parametrize("place", ["", "data/task2/"])
def test_multi30k_task_2_has_five_captions_an_image(folder, name, place):
    task2(folder, place=f"{place}raw")
    put_lines(folder / place / "image_splits" / f"{name}.txt", FLICKR)
    put_images(folder / "images", FLICKR)
    data = read(Multi30k(), folder, "de")["test_2016"]
    assert groups(data) == {n: [f"{t} {i}" for i in range(1, 6)] for n, t in zip(FLICKR, GERMAN, strict=True)}
    assert native_groups(data) == {n: [f"{t} {i}" for i in range(1, 6)] for n, t in zip(FLICKR, ENGLISH, strict=True)}


def test_multi30k_task_2_is_no_parallel_text(folder):
    task2(folder)
    with pytest.raises(DataError, match=r"not translations of one another, and there is no list of images"):
        read(Multi30k(), folder, "de")
    put_lines(folder / "image_splits" / "test_2016.txt", FLICKR)
    with pytest.raises(DataError, match="and there is no folder with images in"):
        read(Multi30k(), folder, "de")


def test_multi30k_task_2_needs_all_five_captions(folder):
    task2(folder, numbers=(1, 2, 4))
    with pytest.raises(DataError, match=r"holds the captions 1, 2, 4 of 'test_2016' such as test_2016\.1\.de\.gz"):
        read(Multi30k(), folder, "de")


def test_multi30k_takes_task_1_of_a_folder_with_both(folder):
    multi30k(folder, "data/task1/raw", "val")
    task2(folder, place="data/task2/raw")
    assert Multi30k().splits(folder, ColumnMapping("de")) == ("val",)
    assert Multi30k().splits(folder / "data" / "task2", ColumnMapping("de")) == ("test_2016",)


def test_multi30k_says_which_split_it_does_not_have(folder):
    multi30k(folder, split="val")
    with pytest.raises(DataError, match="holds no split 'train' in 'de'"):
        list(Multi30k().rows(folder, ColumnMapping("de", split="train")))


# XTD10


def xtd(folder, names=COCO, **texts):
    """Write the files of captions and of image names."""
    for code, lines in (texts or {"en": ENGLISH, "jp": JAPANESE, "zh": CHINESE}).items():
        put_lines(folder / f"test_1kcaptions_{code}.txt", lines)
    put_lines(folder / "test_image_names.txt", names)


@pytest.mark.parametrize("place", ["images", "", "{collection}"])
def test_xtd_reads_captions_and_takes_jp_for_japanese(folder, place):
    xtd(folder)
    for name in COCO:
        put_images(folder / place.format(collection=name.split("_")[1]), [name])
    splits = read(Xtd(), folder, "ja")
    assert list(splits) == ["test"]
    assert groups(splits["test"]) == by_name(COCO, JAPANESE)
    assert splits["test"].native == ENGLISH
    assert splits["test"].native_image_of is None


def test_xtd_reads_the_folders_of_the_published_repository(folder):
    xtd(folder / "XTD10", ko=CHINESE)
    put_lines(folder / "MIC" / "test_1kcaptions_de.txt", GERMAN)
    put_lines(folder / "MIC" / "test_1kcaptions_en.txt", ENGLISH)
    put_images(folder / "images", COCO)
    data = read(Xtd(), folder, "de")["test"]
    assert (data.texts, data.native) == (GERMAN, ENGLISH)


def test_xtd_without_native_captions_has_none(folder):
    xtd(folder, jp=JAPANESE)
    put_images(folder, COCO)
    assert read(Xtd(), folder, "ja")["test"].native is None


def test_xtd_refuses_what_is_incomplete(folder):
    with pytest.raises(DataError, match=r"holds no test_1kcaptions_LANGUAGE\.txt"):
        Xtd().check(folder)
    xtd(folder, en=ENGLISH, jp=JAPANESE[:2])
    with pytest.raises(DataError, match=r"There is no image COCO_val2014_000000391895\.jpg in"):
        read(Xtd(), folder, "ja")
    put_images(folder / "images", COCO)
    with pytest.raises(DataError, match=r"test_1kcaptions_en\.txt has 3 lines, .*test_1kcaptions_jp\.txt has 2\."):
        read(Xtd(), folder, "ja")
    with pytest.raises(DataError, match="holds nothing for the language 'sw'"):
        read(Xtd(), folder, "sw")
    with pytest.raises(DataError, match="has no captions in 'sw', but in en, jp"):
        Xtd().files(folder, ColumnMapping("sw"))
    (folder / "test_image_names.txt").unlink()
    with pytest.raises(DataError, match=r"holds no test_image_names\.txt"):
        Xtd().check(folder)


# Karpathy's splits


def karpathy(file, filepath=False, names=FLICKR, **change):
    """Write a file with two images in `test` and one in `restval`."""
    images = []
    for i, (name, text) in enumerate(zip(names, GERMAN, strict=True)):
        raw = [text, f"{text} Noch einmal."]
        sentences = [{"tokens": one.split(), "raw": one, "imgid": i, "sentid": 2 * i + j} for j, one in enumerate(raw)]
        split = "restval" if i == 2 else "test"
        image = {"sentids": [2 * i, 2 * i + 1], "imgid": i, "sentences": sentences, "split": split, "filename": name}
        if filepath:
            image["filepath"] = name.split("_")[1]
        images.append({**image, **change} if i == 1 else image)
    return put(file, json.dumps({"images": images, "dataset": "flickr30k"}, ensure_ascii=False))


@pytest.mark.parametrize("as_folder", [True, False])
@pytest.mark.parametrize("images", ["images", "", "flickr30k-images"])
def test_karpathy_reads_splits(folder, as_folder, images):
    file = karpathy(folder / "dataset_flickr30k.json")
    put_images(folder / images, FLICKR)
    source = folder if as_folder else file
    splits = read(Karpathy(), source, "de")
    assert list(splits) == ["test"]  # restval is trained on
    splits |= read(Karpathy(), source, "de", "restval")
    expected = by_name(FLICKR, GERMAN, [f"{text} Noch einmal." for text in GERMAN])
    assert groups(splits["test"]) == {name: expected[name] for name in FLICKR[:2]}
    assert groups(splits["restval"]) == {FLICKR[2]: expected[FLICKR[2]]}
    assert splits["test"].native is None
    assert splits["test"].where(2) == f"{file}, image 2"


@pytest.mark.parametrize("place", ["", "images"])
def test_karpathy_finds_images_by_their_filepath(folder, place):
    file = karpathy(folder / "dataset_coco.json", filepath=True, names=COCO)
    for name in COCO:
        put_images(folder / place / name.split("_")[1], [name])
    assert list(groups(read(Karpathy(), file, "de", split="test")["test"])) == COCO[:2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": None}, "image 2: 'split' is 'None', not of the kind str"),
        ({"filename": 7}, "image 2: 'filename' is '7'"),
        ({"sentences": [{"tokens": ["ein"]}]}, "image 2: 'raw' is 'None'"),
        ({"sentences": "Ein Hund"}, "image 2: no list of objects under 'sentences'"),
    ],
)
def test_karpathy_names_an_image_that_is_broken(folder, change, message):
    file = karpathy(folder / "dataset_flickr30k.json", **change)
    put_images(folder, FLICKR)
    with pytest.raises(DataError, match=message):
        read(Karpathy(), file, "de")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"images": [', r"is not JSON \("),
        ("[1, 2]", "is a JSON list, not an object"),
        ('{"info": {}, "pictures": []}', "no list of objects under 'images'; it has info, pictures"),
        ('{"images": [1]}', "no list of objects under 'images'"),
        (b'{"images": "\xe9"}', "not UTF-8"),
    ],
)
def test_karpathy_refuses_a_file_of_another_kind(folder, content, message):
    file = put(folder / "dataset_flickr30k.json", content)
    with pytest.raises(DataError, match=message):
        read(Karpathy(), file, "de")


def test_karpathy_wants_one_file_in_a_folder(folder):
    with pytest.raises(DataError, match=r"Of files with Karpathy's splits, .* holds none"):
        Karpathy().check(folder)
    karpathy(folder / "dataset_flickr30k.json")
    karpathy(folder / "dataset_flickr8k.json")
    with pytest.raises(DataError, match=r"holds several: dataset_flickr30k\.json, dataset_flickr8k\.json\. Give one"):
        Karpathy().check(folder)


# COCO captions


def coco(file, names=COCO, texts=JAPANESE, indent=None, **change):
    """Write images and their annotations, two of the first image."""
    ids = [391895, 61844, 522418]
    images = [{"license": 3, "file_name": name, "id": i} for name, i in zip(names, ids, strict=True)]
    owners, captions = [*ids, ids[0]], [*texts, texts[1]]
    annotations = [
        {"image_id": i, "id": n, "caption": c} for n, (i, c) in enumerate(zip(owners, captions, strict=True))
    ]
    content = {"info": {"year": 2014}, "images": images, "licenses": [], "annotations": annotations, **change}
    return put(file, json.dumps(content, ensure_ascii=False, indent=indent))


@pytest.mark.parametrize("place", ["images", "", "{collection}", "images/{collection}"])
@pytest.mark.parametrize("indent", [None, 1])
def test_coco_reads_a_file(folder, place, indent):
    file = coco(folder / "stair_captions_v1.2_val.json", indent=indent)
    for name in COCO:
        put_images(folder / place.format(collection=name.split("_")[1]), [name])
    splits = read(CocoCaptions(), file, "ja")
    assert list(splits) == ["test"]
    expected = by_name(COCO, JAPANESE)
    assert groups(splits["test"]) == {**expected, COCO[0]: [JAPANESE[0], JAPANESE[1]]}
    assert splits["test"].native is None


def test_coco_reads_a_folder_by_the_names_of_its_files(folder):
    names = [f"{number:012d}.jpg" for number in (391895, 61844, 522418)]
    coco(folder / "annotations" / "captions_val2017.json", names=names)
    coco(folder / "annotations" / "captions_train2017.json", names=names, texts=CHINESE)
    put(folder / "annotations" / "instances_val2017.json", '{"images": [], "annotations": [{"bbox": []}]}')
    put_images(folder / "images" / "val2017", names)
    put_images(folder / "images" / "train2017", names)
    splits = read(CocoCaptions(), folder, "ja")
    assert list(splits) == ["captions_train2017", "captions_val2017"]
    assert {image.parent.name for image in splits["captions_val2017"].images} == {"val2017"}
    assert {image.parent.name for image in splits["captions_train2017"].images} == {"train2017"}
    assert list(read(CocoCaptions(), folder, "ja", split="captions_val2017")) == ["captions_val2017"]


@pytest.mark.parametrize("above", ["val2014", "images"])
def test_coco_finds_the_images_beside_the_folder_of_annotations(folder, above, monkeypatch):
    names = [name.replace("train", "val") for name in COCO]
    coco(folder / "annotations" / "captions_val2014.json", names=names)
    put_images(folder / above, names)
    monkeypatch.chdir(folder / "annotations")
    for path in (folder / "annotations", type(folder)("captions_val2014.json")):
        data = next(iter(read(CocoCaptions(), path, "ja").values()))
        assert list(groups(data)) == names


def test_coco_leaves_out_images_without_captions(folder):
    file = coco(folder / "captions.json", annotations=[{"image_id": i, "caption": "犬"} for i in (391895, 522418)])
    put_images(folder, COCO)
    assert list(groups(read(CocoCaptions(), file, "ja")["test"])) == [COCO[0], COCO[2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"annotations": [{"image_id": 5, "caption": "犬"}]},
            "has captions of 1 images that it does not list, such as 5",
        ),
        ({"annotations": [{"image_id": 391895}]}, "annotation 1: 'caption' is 'None'"),
        ({"annotations": {}}, "no list of objects under 'annotations'"),
        ({"images": [{"id": 391895}]}, "image 1: 'file_name' is 'None'"),
    ],
)
def test_coco_names_what_is_broken(folder, change, message):
    file = coco(folder / "captions_val2014.json", **change)
    put_images(folder, COCO)
    with pytest.raises(DataError, match=message):
        read(CocoCaptions(), file, "ja")


def test_coco_says_where_it_looked_for_images(folder):
    file = coco(folder / "annotations" / "captions_val2014.json")
    with pytest.raises(DataError, match=rf"There is no image {COCO[0]} in {folder}/annotations and {folder}, and no"):
        read(CocoCaptions(), file, "ja")


def test_coco_wants_a_file_with_captions(folder):
    with pytest.raises(DataError, match="holds no file with COCO captions"):
        CocoCaptions().check(folder)
    with pytest.raises(DataError, match=r"captions\.json does not exist"):
        CocoCaptions().check(folder / "captions.json")


# xFlickrCO


def xflickrco(folder, place="annotations", split="test", **texts):
    """Write a file a language; the English sentences stand in another order."""
    names = [FLICKR[0], FLICKR[1], COCO[0]]
    for code, sentences in (texts or {"en": ENGLISH, "ja": JAPANESE}).items():
        pairs = list(zip(names, sentences, strict=True))
        records = [{"sentences": [s], "id": n.removesuffix(".jpg"), "img_path": n} for n, s in pairs]
        put_jsonl(folder / place / code / f"{split}.jsonl", records[::-1] if code == "en" else records)
    return names


@pytest.mark.parametrize("place", ["annotations", ""])
def test_xflickrco_reads_a_folder_and_finds_native_sentences_by_id(folder, place):
    names = xflickrco(folder, place)
    xflickrco(folder, place, split="train_5", ja=SWAHILI)
    put_images(folder / "flickr30k_images", names[:2])
    put_images(folder / "val2014", names[2:])
    splits = read(XFlickrCO(), folder, "ja")
    assert list(splits) == ["test", "train_5"]
    assert groups(splits["test"]) == by_name(names, JAPANESE)
    assert native_groups(splits["test"]) == by_name(names, ENGLISH)
    assert splits["train_5"].native is None


@pytest.mark.parametrize("images", ["images", "annotations/images", "annotations/ja"])
def test_xflickrco_reads_a_file_with_the_native_one_beside_it(folder, images, monkeypatch):
    names = xflickrco(folder)
    put_images(folder / images, names)
    monkeypatch.chdir(folder / "annotations" / "ja")
    for path in (folder / "annotations" / "ja" / "test.jsonl", type(folder)("test.jsonl")):
        data = read(XFlickrCO(), path, "ja")["test"]
        assert groups(data) == by_name(names, JAPANESE)
        assert native_groups(data) == by_name(names, ENGLISH)


def test_xflickrco_reads_the_native_language_itself(folder):
    names = xflickrco(folder)
    put_images(folder / "images", names)
    data = read(XFlickrCO(), folder, "en")["test"]
    assert groups(data) == by_name(names, ENGLISH)
    assert data.source == str(folder / "annotations" / "en" / "test.jsonl")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"sentences": ["犬"], "img_path": "1.jpg"}, "line 2: no id, or sentences that are not texts"),
        ({"sentences": [3], "id": "1", "img_path": "1.jpg"}, "line 2: no id, or sentences"),
        ({"sentences": "犬", "id": "1", "img_path": "1.jpg"}, "line 2: 'sentences' is '犬', not of the kind list"),
        ({"sentences": ["犬"], "id": "1"}, "line 2: 'img_path' is 'None'"),
    ],
)
def test_xflickrco_names_a_line_that_is_broken(folder, record, message):
    good = {"sentences": ["猫"], "id": "1007129816", "img_path": FLICKR[0]}
    put_jsonl(folder / "ja" / "test.jsonl", [good, record])
    put_images(folder / "images", FLICKR)
    with pytest.raises(DataError, match=message):
        read(XFlickrCO(), folder, "ja")


def test_xflickrco_refuses_what_it_does_not_have(folder):
    with pytest.raises(DataError, match=r"holds no LANGUAGE/SPLIT\.jsonl"):
        XFlickrCO().check(folder)
    with pytest.raises(DataError, match=r"test\.jsonl does not exist"):
        XFlickrCO().check(folder / "test.jsonl")
    xflickrco(folder)
    with pytest.raises(DataError, match="holds nothing for the language 'tr'"):
        read(XFlickrCO(), folder, "tr")


# CLIP_benchmark


def clip_benchmark(folder, split="test", shards=((0, 1), (2,)), count=None, kinds=("jpg", "png", "webp")):
    """Write tar files of images with two captions each."""
    put_lines(folder / split / "nshards.txt", [len(shards) if count is None else count])
    for number, places in enumerate(shards):
        with tarfile.open(folder / split / f"{number}.tar", "w") as tar:
            for i in places:
                image = picture(i, {"jpg": "JPEG"}.get(kinds[i], kinds[i].upper()))
                members = {kinds[i]: image, "txt": f"{JAPANESE[i]}\n{CHINESE[i]}\n".encode()}
                for kind, content in members.items():
                    info = tarfile.TarInfo(f"s{i:07d}.{kind}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def test_clip_benchmark_reads_splits_of_tar_files(folder, tmp_path):
    clip_benchmark(folder)
    clip_benchmark(folder, "train", shards=((0, 1),))
    put(folder / "dataset_type.txt", "retrieval\n")
    splits = read(ClipBenchmark(), folder, "ja")
    assert list(splits) == ["test"]
    splits |= read(ClipBenchmark(), folder, "ja", "train")
    data = splits["test"]
    assert data.texts == [JAPANESE[0], CHINESE[0], JAPANESE[1], CHINESE[1], JAPANESE[2], CHINESE[2]]
    assert data.image_of_text == [0, 0, 1, 1, 2, 2]
    kinds = [("JPEG", 0), ("PNG", 1), ("WEBP", 2)]
    assert [image.read_bytes() for image in data.images] == [picture(number, kind) for kind, number in kinds]
    assert all(image.is_relative_to(tmp_path / "cache") for image in data.images)
    assert data.rows.tolist() == [1, 1, 2, 2, 3, 3]
    assert data.native is None
    assert ClipBenchmark().files(folder, ColumnMapping("ja", split="test")) == [
        folder / "test" / f"{i}.tar" for i in (0, 1)
    ]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (4, r"nshards\.txt says 4 tar files, with 2\.tar, 3\.tar missing"),
        (1, r"nshards\.txt says 1 tar files, with 2 there"),
        (0, r"nshards\.txt says '0', not how many"),
        ("many", r"nshards\.txt says 'many', not how many"),
    ],
)
def test_clip_benchmark_counts_the_tar_files(folder, count, message):
    clip_benchmark(folder, count=count)
    with pytest.raises(DataError, match=message):
        read(ClipBenchmark(), folder, "ja")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"jpg": picture()}, r"0\.tar: 's1' has no captions \(\.txt\); it has \['jpg'\]"),
        ({"txt": b"Mbwa"}, r"0\.tar: 's1' has no image \(webp, png, jpg, jpeg\); it has \['txt'\]"),
        ({"jpg": picture(), "txt": b"\xff\xfe"}, r"0\.tar: the captions of 's1' are not UTF-8"),
    ],
)
def test_clip_benchmark_names_a_sample_that_is_broken(folder, members, message):
    put(folder / "test" / "nshards.txt", "1")
    with tarfile.open(folder / "test" / "0.tar", "w") as tar:
        for kind, content in members.items():
            info = tarfile.TarInfo(f"s1.{kind}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(DataError, match=message):
        read(ClipBenchmark(), folder, "sw")


def test_clip_benchmark_wants_a_set_for_retrieval(folder):
    with pytest.raises(DataError, match=r"holds no SPLIT/nshards\.txt"):
        ClipBenchmark().check(folder)
    clip_benchmark(folder)
    put(folder / "dataset_type.txt", "multilabel\n")
    with pytest.raises(DataError, match=r"dataset_type\.txt says 'multilabel'"):
        ClipBenchmark().check(folder)


# Recognition

LAYOUTS = (Crossmodal3600(), Xtd(), XFlickrCO(), ClipBenchmark(), Karpathy(), CocoCaptions(), Multi30k())


def recognised(path, language):
    """Return the names of the layouts that recognise a path."""
    return [layout.name for layout in LAYOUTS if layout.recognises(path, ColumnMapping(language))]


@pytest.mark.parametrize(
    ("name", "write", "language"),
    [
        ("xm3600", lambda folder: put_jsonl(folder / "captions.jsonl", [xm3600_record(0)]), "sw"),
        ("xm3600", lambda folder: xm3600_parquet(folder / "data" / "sw-00000-of-00001.parquet", [["Mbwa"]]), "sw"),
        ("xtd", xtd, "ja"),
        ("xflickrco", xflickrco, "ja"),
        ("clip-benchmark", clip_benchmark, "ja"),
        ("karpathy", lambda folder: karpathy(folder / "dataset_flickr30k.json"), "de"),
        ("coco", lambda folder: coco(folder / "annotations" / "captions_val2014.json"), "ja"),
        ("multi30k", multi30k, "de"),
        ("multi30k", task2, "de"),
    ],
)
def test_each_folder_is_recognised_by_its_own_layout_alone(folder, name, write, language):
    assert recognised(folder, language) == []
    assert recognised(folder / "nowhere", language) == []
    write(folder)
    assert recognised(folder, language) == [name]


def test_files_are_recognised_by_what_they_hold(folder):
    assert recognised(karpathy(folder / "a.json"), "de") == ["karpathy"]
    assert recognised(coco(folder / "b.json"), "ja") == ["coco"]
    assert recognised(coco(folder / "c.json", indent=2), "ja") == ["coco"]
    assert recognised(put_jsonl(folder / "captions.jsonl", [xm3600_record(0)]), "sw") == ["xm3600"]
    xflickrco(folder)
    assert recognised(folder / "annotations" / "ja" / "test.jsonl", "ja") == ["xflickrco"]
    packed = put(folder / "d.json.gz", (folder / "a.json").read_bytes())
    assert recognised(packed, "de") == ["karpathy"]
    assert put(folder / "e.json", b"\xef\xbb\xbf\n" + (folder / "b.json").read_bytes()).exists()
    assert recognised(folder / "e.json", "ja") == ["coco"]


def test_a_large_coco_file_is_recognised_by_its_two_ends(folder):
    images = [{"file_name": f"COCO_val2014_{i:012d}.jpg", "height": 480, "width": 640, "id": i} for i in range(3000)]
    annotations = [{"image_id": i, "id": i, "caption": JAPANESE[i % 3]} for i in range(3000)]
    file = put(folder / "captions.json", json.dumps({"images": images, "annotations": annotations}))
    assert file.stat().st_size > 400_000
    assert recognised(file, "ja") == ["coco"]
    turned = put(folder / "turned.json", json.dumps({"annotations": annotations, "images": images}))
    assert recognised(turned, "ja") == ["coco"]


@pytest.mark.parametrize(
    "content",
    [
        '{"image": "a.jpg", "caption": "Mbwa"}\n{"image": "b.jpg", "caption": "Paka"}\n',
        '{"images": ["a.jpg"], "sentences": ["Mbwa"], "filename": "a", "split": "test"}\n{"images": []}\n',
        '{"images": [{"file_name": "a.jpg"}], "image_id": 1, "caption": "Mbwa"}\n\n{"image_id": 2}\n',
        '{"file_name": "a.jpg", "image_id": 1, "caption": "Mbwa"}\n',
        '[{"image": "a.jpg"}]',
        "",
        b"\x1f\x8b broken",
        b"\xff\xfe{}",
    ],
)
def test_a_json_file_with_one_object_a_line_stays_with_its_format(folder, content):
    file = folder / "captions.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert recognised(file, "sw") == []
    assert recognised(folder, "sw") == []


def test_folders_of_other_kinds_are_not_recognised(folder):
    put_jsonl(folder / "captions.jsonl", [{"image": "a.jpg", "caption": "Mbwa"}])
    put_jsonl(folder / "sw" / "test.jsonl", [{"image": "a.jpg", "caption": "Mbwa"}])
    put_images(folder, FLICKR)
    put(folder / "train-00000-of-00001.parquet", b"PAR1")
    put(folder / "notes.de", "Notizen")
    assert recognised(folder, "sw") == []
    assert recognised(folder, "de") == []
