"""Parquet, data sets of Hugging Face, image folders and tars: whole, split, odd, damaged."""

import contextlib
import csv
import gzip
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, Image, Translation, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.formats.hugging_face import HuggingFace
from mla_extend.data.formats.image_folder import ImageFolder
from mla_extend.data.formats.parquet import BATCH, Parquet
from mla_extend.data.formats.webdataset_tars import WebDataset, samples
from mla_extend.data.source import Source
from mla_extend.errors import DataError

NATIVE = ("A dog sleeps under the old tree.", "Two children read a book.", "The boat comes back at night.")
TARGET = {
    "sw": ("Mbwa analala chini ya mti mzee.", "Watoto wawili wanasoma kitabu.", "Mashua inarudi usiku."),
    "am": ("ውሻ ከአሮጌው ዛፍ ሥር ይተኛል።", "ሁለት ልጆች መጽሐፍ ያነባሉ።", "ጀልባው በሌሊት ይመለሳል።"),
    "ja": ("犬が古い木の下で眠る。", "二人の子供が本を読む。", "船は夜に戻ってくる。"),
    "ar": ("ينام كلب تحت الشجرة القديمة.", "طفلان يقرآن كتابًا.", "يعود القارب ليلًا."),
}
ROWS = 300
LANGUAGES = sorted(TARGET)


pytestmark = pytest.mark.usefixtures("_no_bars")


@pytest.fixture
def _no_bars():
    """Keep the tests' own writing of data sets quiet."""
    datasets.utils.disable_progress_bars()
    yield
    datasets.utils.enable_progress_bars()


def pairs(language, count=ROWS):
    native = [f"{NATIVE[i % 3]} {i}" for i in range(count)]
    return native, [f"{TARGET[language][i % 3]} {i}" for i in range(count)]


def jpegs(count, size=48, kind="JPEG"):
    generator = np.random.default_rng(0)
    contents = []
    for _ in range(count):
        file = io.BytesIO()
        Picture.fromarray(generator.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(file, kind)
        contents.append(file.getvalue())
    return contents


def source(path, reader, language="sw", split=None, **columns):
    reader.check(path)
    return Source(str(path), path, reader, ColumnMapping(language, columns=columns, split=split)).with_split()


def parallel(path, reader, language="sw", split=None, **columns):
    return source(path, reader, language, split, **columns).parallel()


def images(path, reader, language="sw", split=None, **columns):
    return source(path, reader, language, split, **columns).captions()


def told(call, *parts):
    """Check that a call fails with one line that has all parts in it."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message
    return message


def unpacked_files(tmp_path):
    return sorted(path for path in (tmp_path / "cache" / "unpacked").iterdir() if not path.name.startswith("."))


def without(monkeypatch, *modules):
    """Make libraries look as if they were not installed."""
    for name in [name for name in sys.modules if name.split(".")[0] in modules] + list(modules):
        monkeypatch.setitem(sys.modules, name, None)


# Parquet


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("shape", ["plain", "codes", "translation", "capitals"])
def test_parquet_gives_parallel_text_of_each_shape(tmp_path, language, shape):
    native, target = pairs(language)
    columns = {
        "plain": {"english": native, "non_english": target},
        "codes": {language: target, "en": native},
        "capitals": {" English": native, language.upper(): target},
        "translation": {"translation": [{language: b, "en": a} for a, b in zip(native, target, strict=True)]},
    }[shape]
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"id": list(range(ROWS)), **columns}), path)
    text = parallel(path, Parquet(), language)
    assert (text.native, text.target) == (native, target)
    assert text.where(ROWS - 1) == f"{path}, row {ROWS}"


def test_parquet_is_recognised_by_name_alone(tmp_path):
    assert Parquet().recognises(tmp_path / "a.PARQUET", ColumnMapping())
    assert not Parquet().recognises(tmp_path / "a.tsv", ColumnMapping())
    assert not Parquet().recognises(tmp_path, ColumnMapping())


@pytest.mark.parametrize("kind", ["bytes", "struct", "large"])
def test_images_in_parquet_are_unpacked_once(tmp_path, kind):
    contents = jpegs(5)
    values = [contents[i % 5] for i in range(20)]
    image = {
        "bytes": pa.array(values, pa.binary()),
        "large": pa.array(values, pa.large_binary()),
        "struct": pa.array([{"bytes": value, "path": "gone.jpg"} for value in values]),
    }[kind]
    captions = [f"{TARGET['am'][i % 3]} {i}" for i in range(20)]
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"image": image, "caption": captions}), path)
    text = images(path, Parquet(), "am")
    assert text.texts == captions
    assert [path.read_bytes() for path in text.images] == contents
    assert text.image_of_text == [i % 5 for i in range(20)]
    before = {file: file.stat().st_mtime_ns for file in unpacked_files(tmp_path)}
    assert set(before) == set(text.images)
    assert images(path, Parquet(), "am").images == text.images
    assert {file: file.stat().st_mtime_ns for file in unpacked_files(tmp_path)} == before


@pytest.mark.parametrize("struct", [False, True])
def test_image_paths_in_parquet_are_relative_to_the_file(tmp_path, pictures, struct):
    names = [f"pictures/{picture.name}" for picture in pictures]
    image = [{"bytes": None, "path": name} for name in names] if struct else names
    captions = [[f"{text} {i}" for text in TARGET["ja"]] for i in range(len(names))]
    path = tmp_path / "photos.parquet"
    pq.write_table(pa.table({"file_name": image, "captions": captions, "english": ["A cat."] * len(names)}), path)
    text = images(path, Parquet(), "ja")
    assert text.images == pictures
    assert text.texts == [one for row in captions for one in row]
    assert len(text.native) == len(text.texts)


def test_many_pictures_in_parquet_are_read_as_the_library_for_data_sets_stores_them(tmp_path):
    contents = [np.random.default_rng(i).bytes(100_000) for i in range(100)]
    image = pa.array([{"bytes": content, "path": "a.jpg"} for content in contents])
    table = pa.table({"image": image, "caption": ["a picture"] * 100})
    pq.write_table(table, tmp_path / "photos.parquet", row_group_size=50)
    rows = list(Parquet().rows(tmp_path / "photos.parquet", ColumnMapping("sw")))
    assert [row.values["image"]["bytes"] for row in rows] == contents
    assert [row.number for row in rows] == list(range(1, 101))


def test_parquet_reads_only_columns_that_can_matter_a_few_rows_at_a_time(tmp_path):
    path = tmp_path / "corpus.parquet"
    native, target = pairs("sw")
    table = pa.table({"en": native, "sw": target, "embedding": [[0.5] * 64] * ROWS, "url": ["x"] * ROWS})
    pq.write_table(table, path, row_group_size=ROWS)
    first = next(Parquet().rows(path, ColumnMapping("sw")))
    assert first.values == {"en": native[0], "sw": target[0], "embedding": None, "url": None}
    with pq.ParquetFile(path) as file:
        assert max(batch.num_rows for batch in file.iter_batches(BATCH)) == BATCH < ROWS


def test_columns_that_the_user_names_are_read(tmp_path):
    native, target = pairs("ar")
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"Quelle": native, "Ziel.1": target, "en": ["no"] * ROWS}), path)
    text = parallel(path, Parquet(), "ar", native="quelle", target="ziel.1")
    assert (text.native, text.target) == (native, target)


def test_missing_columns_are_told_with_those_that_are_there(tmp_path):
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"Quelle": ["a", "b"], "Ziel": ["c", "d"]}), path)
    told(lambda: parallel(path, Parquet()), path, "'Quelle', 'Ziel'", "--columns")
    pq.write_table(pa.table({"Quelle": ["a", "b"], "sw": ["c", "d"]}), path)
    told(lambda: parallel(path, Parquet()), path, "row 1", "native text", "'quelle', 'sw'")


def test_empty_values_in_parquet_stay_empty(tmp_path):
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"en": ["a", None, "c"], "sw": ["x", "y", "z"]}), path)
    assert parallel(path, Parquet()).native == ["a", "", "c"]


def test_values_of_another_kind_are_told_with_their_row(tmp_path):
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"en": ["a", "b"], "sw": [["a"], ["b"]]}), path)
    told(lambda: parallel(path, Parquet()), path, "row 1", "not a text")


def test_damaged_parquet_is_told(tmp_path):
    native, target = pairs("sw")
    path = tmp_path / "corpus.parquet"
    pq.write_table(pa.table({"en": native, "sw": target}), path, compression="gzip")
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:200], b"PAR1" + whole[4:10] + b"PAR1", b"en\tsw\n" * 50, whole[20:]):
        path.write_bytes(content)
        told(lambda: parallel(path, Parquet()), path, "cannot be read as parquet")
    path.write_bytes(whole[:100] + bytes(400) + whole[500:])
    told(lambda: parallel(path, Parquet()), path, "cannot be read as parquet")
    path.write_bytes(b"")
    told(lambda: parallel(path, Parquet()), path, "empty")
    told(lambda: parallel(tmp_path / "none.parquet", Parquet()), "does not exist")


def test_text_in_parquet_that_is_not_utf8_is_told_with_its_rows(tmp_path):
    path = tmp_path / "corpus.parquet"
    native, target = pairs("sw", 100)
    raw = [text.encode() for text in target]
    raw[70] = b"caf\xe9"
    broken = pa.array(raw, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"en": native, "sw": broken}), path)
    told(lambda: parallel(path, Parquet()), path, "rows 65 to 100", "0xe9")


def test_parquet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "corpus.parquet"
    path.write_bytes(b"PAR1")
    without(monkeypatch, "pyarrow")
    told(lambda: parallel(path, Parquet()), "pip install 'mla-extend[parquet]'")


ODD = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=150))
def test_any_text_comes_back_from_parquet(tmp_path, rows):
    path = tmp_path / "odd.parquet"
    pq.write_table(pa.table({"en": [a for a, _ in rows], "sw": [b for _, b in rows]}), path)
    found = [(row.number, row.values["en"], row.values["sw"]) for row in Parquet().rows(path, ColumnMapping("sw"))]
    assert found == [(i, *row) for i, row in enumerate(rows, start=1)]


# Data sets of Hugging Face


def translations(language, count=ROWS):
    native, target = pairs(language, count)
    features = Features({"id": Value("int64"), "translation": Translation(["en", language])})
    values = [{"en": a, language: b} for a, b in zip(native, target, strict=True)]
    return Dataset.from_dict({"id": list(range(count)), "translation": values}, features)


@pytest.mark.parametrize("language", LANGUAGES)
def test_saved_data_set_gives_its_translations(tmp_path, language):
    path = tmp_path / "saved"
    translations(language).save_to_disk(path)
    assert HuggingFace().recognises(path, ColumnMapping())
    assert HuggingFace().splits(path, ColumnMapping()) == ("",)
    text = parallel(path, HuggingFace(), language)
    assert (text.native, text.target) == pairs(language)
    assert text.where(4).endswith(", row 5")


def test_splits_of_a_saved_data_set_are_read_apart(tmp_path):
    path = tmp_path / "saved"
    DatasetDict({"train": translations("sw", 100), "test": translations("sw", 7)}).save_to_disk(path)
    reader = HuggingFace()
    assert reader.splits(path, ColumnMapping()) == ("train", "test")
    assert len(parallel(path, reader)) == 100
    assert len(parallel(path, reader, split="test")) == 7
    told(lambda: parallel(path, reader, split="dev"), path, "'dev'", "train, test")
    told(lambda: parallel(path, reader, split="dev"), path, "'dev'", "train, test")


def test_digest_of_a_saved_data_set_follows_its_data_and_split(tmp_path):
    path, again = tmp_path / "saved", tmp_path / "again"
    for folder, count in ((path, 7), (again, 8)):
        DatasetDict({"train": translations("sw", 100), "test": translations("sw", count)}).save_to_disk(folder)
    digest = HuggingFace().digest
    whole, train, test = (digest(path, ColumnMapping(split=split)) for split in (None, "train", "test"))
    assert len({whole, train, test}) == 3
    assert digest(again, ColumnMapping()) != whole
    assert digest(again, ColumnMapping(split="train")) == train
    assert digest(again, ColumnMapping(split="test")) != test
    (path / "train" / "cache-0123.arrow").write_bytes(b"a result of the library's own")
    assert digest(path, ColumnMapping(split="train")) == train


@pytest.mark.parametrize("kind", ["feature", "bytes"])
def test_images_of_a_saved_data_set_are_given_as_they_are_stored(tmp_path, kind):
    contents = [*jpegs(11), b"not an image, which nobody has to decode here"]
    stored = [{"bytes": content, "path": None} for content in contents] if kind == "feature" else contents
    features = Features(
        {"image": Image() if kind == "feature" else Value("binary"), "captions": datasets.List(Value("string"))}
    )
    captions = [[f"{text} {i}" for text in TARGET["ar"]] for i in range(12)]
    path = tmp_path / "saved"
    Dataset.from_dict({"image": stored, "captions": captions}, features).save_to_disk(path)
    assert source(path, HuggingFace(), "ar").has_images
    text = images(path, HuggingFace(), "ar")
    assert [image.read_bytes() for image in text.images] == contents
    assert text.texts == [one for row in captions for one in row]
    assert len(unpacked_files(tmp_path)) == 12


def test_folder_that_the_library_reads_gives_its_splits(tmp_path):
    native, target = pairs("am")
    folder = tmp_path / "corpus" / "data"
    folder.mkdir(parents=True)
    table = pa.table({"english": native, "non_english": target})
    pq.write_table(table.slice(0, 200), folder / "train-00000-of-00002.parquet")
    pq.write_table(table.slice(200, 90), folder / "train-00001-of-00002.parquet")
    pq.write_table(table.slice(290), folder / "test-00000-of-00001.parquet")
    reader = HuggingFace()
    assert not reader.recognises(folder.parent, ColumnMapping())
    assert reader.splits(folder.parent, ColumnMapping()) == ("train", "test")
    assert parallel(folder.parent, reader, "am").target == target[:290]
    assert parallel(folder.parent, reader, "am", split="test").target == target[290:]
    whole, test = (reader.digest(folder.parent, ColumnMapping(split=split)) for split in (None, "test"))
    assert whole != test
    assert whole == reader.digest(folder.parent, ColumnMapping())
    pq.write_table(table.slice(0, 100), folder / "train-00000-of-00002.parquet")
    assert reader.digest(folder.parent, ColumnMapping()) != whole
    assert parallel(folder.parent, reader, "am").target == target[:100] + target[200:290]


def test_folder_of_images_that_the_library_reads_gives_their_own_files(tmp_path, pictures):
    rows = [json.dumps({"file_name": path.name, "text": f"{TARGET['sw'][0]} {path.stem}"}) for path in pictures]
    (tmp_path / "pictures" / "metadata.jsonl").write_text("\n".join(rows))
    text = images(tmp_path / "pictures", HuggingFace())
    assert text.images == pictures
    assert text.texts[-1] == f"{TARGET['sw'][0]} 59"


def test_reading_a_data_set_prints_nothing_and_leaves_the_library_as_it_was(tmp_path, capfd):
    datasets.utils.enable_progress_bars()
    verbosity = datasets.utils.logging.get_verbosity()
    (tmp_path / "corpus").mkdir()
    native, target = pairs("sw")
    pq.write_table(pa.table({"en": native, "sw": target}), tmp_path / "corpus" / "train.parquet")
    assert len(parallel(tmp_path / "corpus", HuggingFace())) == ROWS
    assert capfd.readouterr() == ("", "")
    assert not datasets.utils.are_progress_bars_disabled()
    assert datasets.utils.logging.get_verbosity() == verbosity


def test_damaged_data_sets_are_told(tmp_path):
    saved, reader = tmp_path / "saved", HuggingFace()
    translations("sw").save_to_disk(saved)
    arrow, state = saved / "data-00000-of-00001.arrow", saved / "state.json"
    whole, known = arrow.read_bytes(), state.read_text()
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"nothing of the kind" * 20):
        arrow.write_bytes(content)
        told(lambda: parallel(saved, reader), saved, "cannot be read")
    arrow.unlink()
    told(lambda: parallel(saved, reader), saved, "cannot be read")
    for text in ("", "{}", known[:40], "[]"):
        state.write_text(text)
        told(lambda: parallel(saved, reader), saved, "cannot be read")
    both = tmp_path / "both"
    DatasetDict({"train": translations("sw", 5), "test": translations("sw", 5)}).save_to_disk(both)
    (both / "dataset_dict.json").write_text('{"splits": ')
    told(lambda: parallel(both, reader), both, "cannot be read")


def test_folders_without_data_are_told(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    told(lambda: parallel(folder, HuggingFace()), folder, "cannot be read")
    (folder / "train.jsonl").write_text('{"en": "a", "sw": ')
    told(lambda: parallel(folder, HuggingFace()), folder, "cannot be read", "JSON")


def test_script_in_a_folder_is_never_run(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    mark = tmp_path / "ran"
    (folder / "corpus.py").write_text(f"open({str(mark)!r}, 'w')\n")
    told(lambda: parallel(folder, HuggingFace()), folder, "cannot be read")
    assert not mark.exists()


def test_columns_of_a_data_set_that_are_not_known_are_told(tmp_path):
    Dataset.from_dict({"quelle": ["a", "b"], "ziel": ["c", "d"]}).save_to_disk(tmp_path / "saved")
    told(lambda: parallel(tmp_path / "saved", HuggingFace()), "saved", "'quelle', 'ziel'", "--columns")
    text = parallel(tmp_path / "saved", HuggingFace(), native="quelle", target="ziel")
    assert text.target == ["c", "d"]


def test_names_that_are_neither_folder_nor_of_the_hub_are_told(tmp_path):
    file = tmp_path / "file.txt"
    file.write_text("a")
    told(lambda: HuggingFace().check(file), file, "is a file")
    for name in ("alone", "a/b/c/d", "../up", "org/..", str(tmp_path / "none"), "org/näme"):
        told(lambda name=name: HuggingFace().check(Path(name)), name, "hf:ORG/NAME")
    for name in ("org/name", "org/name/en-sw", "some-org/a_name.v2"):
        HuggingFace().check(Path(name))
        assert HuggingFace().files(Path(name), ColumnMapping()) == [Path(name)]
        assert not HuggingFace().recognises(Path(name), ColumnMapping())


def test_data_sets_without_the_library_say_what_to_install(tmp_path, monkeypatch):
    translations("sw", 5).save_to_disk(tmp_path / "saved")
    without(monkeypatch, "datasets")
    told(lambda: parallel(tmp_path / "saved", HuggingFace()), "pip install 'mla-extend[datasets]'")
    told(lambda: HuggingFace().splits(Path("org/name"), ColumnMapping()), "pip install 'mla-extend[datasets]'")


HUB = """
import sys
from pathlib import Path
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.formats.hugging_face import HuggingFace
from mla_extend.data.source import Source
from mla_extend.errors import DataError

for name in sys.argv[1:]:
    path, reader = Path(name), HuggingFace()
    try:
        reader.check(path)
        text = Source("hf:" + name, path, reader, ColumnMapping("sw")).with_split().parallel()
        print(len(text), text.source, text.target[-1], len(reader.digest(path, ColumnMapping())))
    except DataError as error:
        print("DataError:", error)
"""


def on_the_hub(folder, *names, **settings):
    """Read data sets of the hub in a process of its own, as the library asks its settings at import."""
    environment = {**os.environ, "HF_HOME": str(folder), "PYTHONIOENCODING": "utf-8", **settings}
    command = [sys.executable, "-W", "error", "-c", HUB, *names]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True, timeout=120)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_data_set_of_the_hub_that_was_fetched_before_is_read_offline(tmp_path):
    made = tmp_path / "made" / "name"
    made.mkdir(parents=True)
    native, target = pairs("sw")
    pq.write_table(pa.table({"en": native, "sw": target}), made / "train.parquet")
    datasets.load_dataset(str(made), cache_dir=str(tmp_path / "made" / "cache"))
    # The library keeps what it fetched under the name with three underscores.
    shutil.copytree(tmp_path / "made" / "cache" / "name", tmp_path / "home" / "datasets" / "org___name")
    plain, config, other = on_the_hub(
        tmp_path / "home", "org/name", "org/name/default", "org/name/more", HF_HUB_OFFLINE="1"
    )
    assert plain == f"{ROWS} org/name {target[-1]} 64"
    assert config == f"{ROWS} org/name/default {target[-1]} 64"
    assert other.startswith("DataError: The data set org/name of the hub cannot be read")
    assert "default" in other


def test_data_set_of_the_hub_that_cannot_be_reached_is_told(tmp_path):
    (line,) = on_the_hub(tmp_path / "home", "org/name", HF_HUB_OFFLINE="1")
    assert line.startswith("DataError: There is no folder org/name, and the hub")
    assert "HF_HUB_OFFLINE" in line


class Nothing(http.server.BaseHTTPRequestHandler):
    """Answer as the hub does to who asks for what is not there."""

    def do_GET(self):
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_):
        """Keep quiet."""


@contextlib.contextmanager
def hub_with_nothing():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_data_set_that_the_hub_does_not_have_is_told(tmp_path):
    with hub_with_nothing() as address:
        (line,) = on_the_hub(tmp_path / "home", "org/name", HF_ENDPOINT=address, HF_HUB_OFFLINE="0", no_proxy="*")
    assert line.startswith("DataError: There is no folder org/name, and the hub has no data set of that name")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=150))
def test_any_text_comes_back_from_a_saved_data_set(tmp_path, rows):
    path = tmp_path / "odd"
    shutil.rmtree(path, ignore_errors=True)
    Dataset.from_dict({"en": [a for a, _ in rows], "sw": [b for _, b in rows]}).save_to_disk(path)
    found = [(row.number, row.values["en"], row.values["sw"]) for row in HuggingFace().rows(path, ColumnMapping("sw"))]
    assert found == [(i, *row) for i, row in enumerate(rows, start=1)]


# Image folders


def write_metadata(folder, rows, kind):
    if kind == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), folder / "metadata.parquet")
    else:
        with (folder / "metadata.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.fixture
def folder(pictures):
    """Give a folder with pictures, some in a folder in it."""
    root = pictures[0].parent
    (root / "more").mkdir()
    for picture in pictures[40:]:
        picture.rename(root / "more" / picture.name)
    return root


def photo_rows(folder, language="sw"):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    odd = 'Anasema: "njoo", kisha\nanaondoka'
    texts = [f"{TARGET[language][i % 3]} {odd if i % 7 == 0 else ''}{i}" for i in range(len(names))]
    return [{"file_name": name, "text": text, "image": "elsewhere"} for name, text in zip(names, texts, strict=True)]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("language", ["sw", "ar"])
def test_image_folder_gives_its_images_with_texts(folder, kind, language):
    rows = photo_rows(folder, language)
    write_metadata(folder, rows, kind)
    assert ImageFolder().recognises(folder, ColumnMapping())
    assert ImageFolder().splits(folder, ColumnMapping()) == ("",)
    text = images(folder, ImageFolder(), language)
    assert text.texts == [row["text"] for row in rows]
    assert text.images == [folder / row["file_name"] for row in rows]
    assert text.source == str(folder / f"metadata.{kind}")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_splits_of_an_image_folder_are_read_apart(tmp_path, folder, kind):
    rows = photo_rows(folder)
    for split in ("train", "test"):
        shutil.copytree(folder, tmp_path / "photos" / split)
        write_metadata(tmp_path / "photos" / split, rows if split == "train" else rows[:9], kind)
    path, reader = tmp_path / "photos", ImageFolder()
    assert reader.recognises(path, ColumnMapping())
    assert reader.splits(path, ColumnMapping()) == ("train", "test")
    text = images(path, reader)
    assert text.images == [path / "train" / row["file_name"] for row in rows]
    test = images(path, reader, split="test")
    assert test.images == [path / "test" / row["file_name"] for row in rows[:9]]
    assert len({reader.digest(path, ColumnMapping(split=split)) for split in (None, "train", "test")}) == 3
    told(lambda: images(path, reader, split="validation"), path, "'validation'", "train, test")
    told(lambda: images(path, reader, split="validation"), path, "'validation'", "train, test")


def test_split_that_is_looked_for_everywhere_is_no_matter_where_there_are_none(tmp_path, folder):
    write_metadata(folder, photo_rows(folder), "jsonl")
    translations("sw").save_to_disk(tmp_path / "saved")
    mapping = ColumnMapping("sw", split="train")
    assert len(Source("", folder, ImageFolder(), mapping).captions()) == 60
    assert len(Source("", tmp_path / "saved", HuggingFace(), mapping).parallel()) == ROWS


def test_image_folder_takes_the_columns_that_the_user_names(folder):
    rows = [{"photo": row["file_name"], "maelezo": row["text"]} for row in photo_rows(folder)]
    write_metadata(folder, rows, "csv")
    text = images(folder, ImageFolder(), image="photo", text="maelezo")
    assert text.texts == [row["maelezo"] for row in rows]
    told(lambda: images(folder, ImageFolder(), text="maelezo"), "metadata.csv, line 2", "'file_name'", "'photo'")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["../secret.png", "more/../../secret.png", "link/secret.png", "absolute", "C:\\a.png"])
def test_images_outside_of_the_folder_are_refused(folder, kind, name):
    secret = folder.parent / "secret.png"
    shutil.copy(folder / "00.png", secret)
    (folder / "link").symlink_to(folder.parent)
    rows = photo_rows(folder)[:5]
    rows[3]["file_name"] = str(secret) if name == "absolute" else name
    write_metadata(folder, [{**row, "text": "Mbwa."} for row in rows], kind)
    told(lambda: images(folder, ImageFolder()), f"metadata.{kind}, line {4 + (kind == 'csv')}", "outside")


def test_image_folder_behind_a_link_is_read(tmp_path, folder):
    write_metadata(folder, photo_rows(folder), "jsonl")
    (tmp_path / "link").symlink_to(folder)
    assert len(images(tmp_path / "link", ImageFolder()).images) == 60


@pytest.mark.parametrize("name", ["", "  ", None, 5, "a\0b.png", "loop"])
def test_names_that_are_no_images_are_told(folder, name):
    (folder / "loop").symlink_to(folder / "loop")
    rows = photo_rows(folder)
    rows[3]["file_name"] = name
    write_metadata(folder, rows, "jsonl")
    told(lambda: images(folder, ImageFolder()), "metadata.jsonl, line 4")


def test_images_that_are_missing_are_told(folder):
    write_metadata(folder, photo_rows(folder), "csv")
    for number in range(5, 12):  # a few would cost their rows alone
        (folder / f"{number:02}.png").unlink()
    told(lambda: images(folder, ImageFolder()), folder / "05.png", "does not exist", "6 others")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["empty"]),
        (b"file_name,text\n00.png,Mbwa, paka\n", ["line 2", "3 cells, and the first line has 2"]),
        (b"file_name,text\n00.png\n", ["line 2", "one column"]),
        (b'file_name,text\n00.png,"Mbwa\n', ["not CSV"]),
        (b'file_name,text\n00.png,"Mbwa"x\n', ["line 2", "not CSV"]),
        (b"file_name,text\n00.png,caf\xe9\n", ["line 2", "UTF-8"]),
        (b"file_name;text\n00.png;Mbwa\n", ["1 image(s)"]),
        (b"file_name,text\n\n00.png,Mbwa\n", ["1 image(s)"]),
        (b"file_name,text\n", ["0 image(s)"]),
    ],
)
def test_damaged_metadata_is_told(folder, content, parts):
    (folder / "metadata.csv").write_bytes(content)
    told(lambda: images(folder, ImageFolder()), folder / "metadata.csv", *parts)


def test_folders_without_metadata_or_with_two_are_told(tmp_path, folder):
    assert not ImageFolder().recognises(folder, ColumnMapping())
    told(lambda: images(folder, ImageFolder()), folder, "no metadata file")
    told(lambda: images(tmp_path / "none", ImageFolder()), "does not exist")
    told(lambda: images(folder / "00.png", ImageFolder()), "is a file")
    write_metadata(folder, photo_rows(folder), "csv")
    write_metadata(folder, photo_rows(folder), "jsonl")
    told(lambda: images(folder, ImageFolder()), folder, "metadata.csv and metadata.jsonl")


# Tars


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard(language, count, start=0, kind="JPEG"):
    """Give the members of a shard as img2dataset writes them, and the texts and images in it."""
    extension = {"JPEG": "jpg"}.get(kind, kind.lower())
    contents, texts, members = jpegs(count, kind=kind), [], []
    for i, content in enumerate(contents, start=start):
        text = f"{TARGET[language][i % 3]} {i}"
        about = {"caption": "from the web", "url": "https://example.org/a.jpg", "key": f"{i:09}", "status": "success"}
        members += [
            (f"{i:09}.{extension}", content),
            (f"{i:09}.json", json.dumps(about).encode()),
            (f"{i:09}.txt", text.encode()),
        ]
        texts.append(text)
    return members, texts, contents


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_tar_gives_images_with_texts(tmp_path, language, kind):
    members, texts, contents = shard(language, 20, kind=kind)
    path = write_tar(tmp_path / "00000.tar", members)
    assert WebDataset().recognises(path, ColumnMapping())
    text = images(path, WebDataset(), language)
    assert text.texts == texts
    assert [image.read_bytes() for image in text.images] == contents
    assert text.where(7) == f"{path}, sample 8"
    assert images(path, WebDataset(), language).images == text.images
    assert len(unpacked_files(tmp_path)) == 20


def test_folder_of_tars_and_braces_give_the_same(tmp_path):
    texts = []
    for i in range(12):
        members, some, _ = shard("am", 3, start=3 * i)
        write_tar(tmp_path / f"{i:05}.tar", members)
        texts += some
    (tmp_path / "00000_stats.json").write_text("{}")
    (tmp_path / "._00000.tar").write_bytes(b"of a Mac")
    assert WebDataset().recognises(tmp_path, ColumnMapping())
    whole = images(tmp_path, WebDataset(), "am")
    assert whole.texts == texts
    assert whole.where(35) == f"{tmp_path}, sample 36"
    braces = tmp_path / "{00000..00011}.tar"
    assert WebDataset().recognises(braces, ColumnMapping())
    assert images(braces, WebDataset(), "am").texts == texts
    assert images(tmp_path / "0000{3..4}.tar", WebDataset(), "am").texts == texts[9:15]
    assert images(tmp_path / "0{0..0}0{00..01}.tar", WebDataset(), "am").texts == texts[:6]
    assert WebDataset().digest(braces, ColumnMapping()) == WebDataset().digest(tmp_path, ColumnMapping())
    told(lambda: images(tmp_path / "{00000..00012}.tar", WebDataset()), "00012.tar does not exist")
    told(lambda: images(tmp_path / "{00003..00001}.tar", WebDataset()), "{00003..00001}", "not a range")
    told(lambda: images(tmp_path / "{0..99999999999}.tar", WebDataset()), "stands for over 300,000 files")


def test_packed_tar_is_read(tmp_path):
    members, texts, _ = shard("ja", 20)
    path = tmp_path / "00000.tar.gz"
    path.write_bytes(gzip.compress(write_tar(tmp_path / "a.tar", members).read_bytes()))
    assert WebDataset().recognises(path, ColumnMapping())
    assert images(path, WebDataset(), "ja").texts == texts
    path.write_bytes(path.read_bytes()[:-3000])
    told(lambda: images(path, WebDataset(), "ja"), path, "damaged")


def test_samples_that_did_not_succeed_are_left_out(tmp_path):
    members, texts, _ = shard("sw", 6)
    failed = json.dumps({"status": "failed_to_download", "caption": None}).encode()
    members[3:6] = [("000000001.json", failed), ("000000001.txt", b"")]
    text = images(write_tar(tmp_path / "a.tar", members), WebDataset())
    assert text.texts == [texts[0], *texts[2:]]
    assert list(text.rows) == [1, 3, 4, 5, 6]


def test_caption_in_the_json_serves_where_there_is_no_text_file(tmp_path):
    contents = jpegs(4)
    about = [{"Caption": f"{TARGET['ar'][i % 3]}", "english": NATIVE[i % 3], "title": f"Kichwa {i}"} for i in range(4)]
    members = []
    for i in range(4):
        members += [(f"a/{i}.jpg", contents[i]), (f"a/{i}.json", json.dumps(about[i]).encode("utf-16"))]
    path = write_tar(tmp_path / "a.tar", members)
    text = images(path, WebDataset(), "ar")
    assert text.texts == [row["Caption"] for row in about]
    assert text.native == [row["english"] for row in about]
    assert images(path, WebDataset(), "ar", text="title").texts == [row["title"] for row in about]


def test_text_of_several_lines_is_one_text(tmp_path):
    contents = jpegs(2)
    members = [
        ("0.jpg", contents[0]),
        ("0.txt", b"Mbwa.\nPaka.\n"),
        ("1.jpg", contents[1]),
        ("1.txt", b"\xef\xbb\xbfNdege"),
    ]
    assert images(write_tar(tmp_path / "a.tar", members), WebDataset()).texts == ["Mbwa.\nPaka.", "Ndege"]


def test_samples_are_grouped_by_key(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        link, hidden = tarfile.TarInfo("./b/0.txt"), tarfile.TarInfo("./b/._0.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        folder = tarfile.TarInfo("./b")
        folder.type = tarfile.DIRTYPE
        members = [
            ("./b/0.JPG", b"1"),
            ("./b/0.seg.png", b"2"),
            ("./c/0.jpg", b"3"),
            ("README", b"4"),
            ("../d.jpg", b"5"),
        ]
        for info in (folder, link, hidden):
            tar.addfile(info)
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    before = sorted(tmp_path.rglob("*"))
    found = list(samples(path))
    assert found == [("b/0", {"jpg": b"1", "seg.png": b"2"}), ("c/0", {"jpg": b"3"}), ("../d", {"jpg": b"5"})]
    assert sorted(tmp_path.rglob("*")) == before


def test_long_and_odd_names_of_members_are_read(tmp_path):
    names = ["picha/" + "ndefu" * 60, "ውሻ", "a b"]
    members = [(f"{name}.{kind}", b"x") for name in names for kind in ("jpg", "txt")]
    assert [key for key, _ in samples(write_tar(tmp_path / "a.tar", members))] == names


def test_tar_without_an_end_mark_is_whole(tmp_path):
    members, texts, _ = shard("sw", 5)
    path = write_tar(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes().rstrip(b"\0").ljust(path.stat().st_size // 512 * 512, b"\0")[:-1024])
    assert images(path, WebDataset()).texts == texts


def test_damaged_tars_are_told(tmp_path):
    members, _, _ = shard("sw", 20)
    path = write_tar(tmp_path / "a.tar", members)
    whole = path.read_bytes()
    header = whole.index(b"000000007.jpg")
    cuts = (header + 2000, header + 100, header + 512)
    for content in (*(whole[:cut] for cut in cuts), whole[:header] + b"?" * 512 + whole[header + 512 :]):
        path.write_bytes(content)
        told(lambda: images(path, WebDataset()), path, "damaged after 00000000")
    path.write_bytes(b"nothing of the kind" * 100)
    told(lambda: images(path, WebDataset()), path, "damaged after the start")
    path.write_bytes(b"")
    told(lambda: images(path, WebDataset()), path, "empty")
    path.unlink()
    told(lambda: images(path, WebDataset()), path, "does not exist")
    told(lambda: list(samples(path)), path, "cannot be read")


@pytest.mark.parametrize(
    ("members", "parts"),
    [
        ([("0.jpg", b"1"), ("1.jpg", b"2"), ("0.txt", b"Mbwa"), ("1.txt", b"Paka")], ["0: an image", "--sort=name"]),
        ([("0.jpg", b"1"), ("0.JPG", b"2")], ["0.JPG twice"]),
        ([("0.jpg", b"1"), ("0.json", b"{")], ["0.json", "not JSON"]),
        ([("0.jpg", b"1"), ("0.json", b"\xff{}")], ["0.json", "not JSON"]),
        ([("0.jpg", b"1"), ("0.json", b"[1]")], ["0.json", "list"]),
        ([("0.jpg", b"1"), ("0.txt", b"caf\xe9")], ["0.txt", "UTF-8"]),
        ([("0.txt", b"Mbwa"), ("1.txt", b"Paka")], ["sample 1", "no column with the image"]),
        ([("0.gif", b"1"), ("0.txt", b"Mbwa")], ["sample 1", "no column with the image"]),
        ([("0.jpg", b"1"), ("0.json", b"{}")], ["sample 1", "no column with the text"]),
        ([("README", b"1")], ["0 image(s)"]),
    ],
)
def test_samples_that_cannot_be_used_are_told(tmp_path, members, parts):
    path = write_tar(tmp_path / "a.tar", members)
    told(lambda: images(path, WebDataset()), path, *parts)


def test_folder_without_tars_is_told(tmp_path):
    assert not WebDataset().recognises(tmp_path, ColumnMapping())
    told(lambda: images(tmp_path, WebDataset()), tmp_path, "no .tar file")
