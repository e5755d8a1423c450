"""Files that are made to hang a reader, to take its memory, or to raise what nobody expects: each is one sentence."""

import gzip
import io
import json
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_registry_store import make_base, publish

from mla_extend.bases.fingerprint import weight_files
from mla_extend.bases.source import model_type
from mla_extend.data import source
from mla_extend.data.formats import encoding, parquet, unfolding, webdataset_tars
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.formats.jsonl import json_rows
from mla_extend.data.source import Source, open_source, parse_source
from mla_extend.errors import BaseError, DataError, MlaExtendError, RecipeError, RegistryError
from mla_extend.jobs.plan import read_plan
from mla_extend.training.recipe import load_recipe

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)
YAML = {
    "laughs": (LAUGHS, "more than 100,000 values"),
    "deep": ("a: " + "[" * 20_000 + "]" * 20_000, "nested more than 30 levels deep"),
    "digits": ("languages: " + "9" * 5_000, "a value cannot be read"),
}


@pytest.mark.parametrize(("text", "message"), YAML.values(), ids=YAML.keys())
def test_yaml_that_multiplies_or_nests_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))
    with pytest.raises(DataError, match=message):
        read_plan(path)
    with pytest.raises(RecipeError, match="is not a YAML value"):
        load_recipe("quick", [f"seed={'[' * 5_000}"])


def test_anchors_and_dates_are_read(tmp_path: Path) -> None:
    """A date, and what looks like one, is a text."""
    path = tmp_path / "a.yaml"
    path.write_text("name: 2001-13-45\nx: &x {batch: 3}\ny: *x\n")
    with pytest.raises(RecipeError) as found:
        load_recipe(str(path))
    assert "2001" not in str(found.value).partition("\n")[2]


def refused(path: Path | str, **more: str) -> str:
    """Return why a file of pairs is refused."""
    with pytest.raises(DataError) as found:
        open_source(path, ColumnMapping("sw", **more)).parallel()  # type: ignore[arg-type]
    return str(found.value)


@pytest.mark.parametrize("charset", ["rot13", "zlib", "base64", "punycode", "undefined", "no-such"])
def test_a_catalogue_in_what_is_no_encoding_of_text_is_refused(charset: str, tmp_path: Path) -> None:
    path = tmp_path / "sw.po"
    path.write_text(
        f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset={charset}\\n"\n\nmsgid "dog"\nmsgstr "mbwa"\n'
    )
    if charset != "no-such":  # polib reads that as UTF-8
        assert "not of the encoding that its header names" in refused(path)


@pytest.mark.parametrize("reference", ["#" + "9" * 5_000, "#x" + "f" * 5_000])
def test_a_reference_to_no_character_is_refused(reference: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    path.write_text(f'<tmx version="1.4"><body><tu><tuv xml:lang="en"><seg>&{reference};</seg></tuv></tu></body></tmx>')
    assert "not XML" in refused(path)


def test_a_line_without_an_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "LONGEST", 1 << 20)
    with gzip.open(tmp_path / "a.tsv.gz", "wb") as file:
        file.write(b"dog\tmbwa\n" + b"0" * (3 << 20))
    assert "line 2: longer than 1 MiB" in refused(tmp_path / "a.tsv.gz")
    (tmp_path / "a.tsv").write_text("dog\tmbwa\n" + "0" * (1 << 19), encoding="utf-16")
    assert "line 2: longer than 1 MiB" in refused(tmp_path / "a.tsv")


def test_a_text_that_is_no_sentence_costs_its_row(tmp_path: Path) -> None:
    long = json.dumps({"en": "dog", "sw": "m" * (1 << 19) + "x"})
    (tmp_path / "a.jsonl").write_text(f"{long}\n")
    assert "line 1: the target text in column 'sw' is" in refused(tmp_path / "a.jsonl")
    assert "of 524,289 characters, too many for a sentence. Write" in refused(tmp_path / "a.jsonl")
    rows = [{"en": f"{i} cats and a dog", "sw": f"paka {i} na mbwa"} for i in range(20)]
    (tmp_path / "a.jsonl").write_text("\n".join([long, *map(json.dumps, rows)]))
    assert open_source(tmp_path / "a.jsonl", ColumnMapping("sw")).parallel().target == [
        "",
        *(row["sw"] for row in rows),
    ]


def packed(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(gzip.compress(text.encode()))


def packed_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as file:
        for i in range(4):
            for name, content in ((f"{i}.jpg", b"\0" * 100_000), (f"{i}.txt", b"paka")):
                about = tarfile.TarInfo(name)
                about.size = len(content)
                file.addfile(about, io.BytesIO(content))


def table(path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    same = pa.array(["x" * 2_000] * 1_000)
    pq.write_table(pa.table({"en": same, "sw": same}), path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.en", "dog\n" * 10_000)
        file.writestr("a.sw", "mbwa\n" * 10_000)


def compiled(path: Path) -> None:
    """Write a catalogue whose texts are all the same bytes."""
    count, text = 100, b"x" * 10_000 + b"\0"
    place = struct.pack("<II", len(text) - 1, 28 + 16 * count) * count
    path.write_bytes(struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0) + place * 2 + text)


UNIT = '<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="sw"><seg>b</seg></tuv></tu>'
BOMBS: dict[str, Callable[[Path], object]] = {
    "a.tsv.gz": packed("dog\tmbwa\n" * 10_000),
    "a.jsonl.gz": packed('{"en": "a", "sw": "b"}\n' * 10_000),
    "a.tmx.gz": packed(f"<tmx>{UNIT * 5_000}</tmx>"),
    "a.po.gz": packed('msgid "a"\nmsgstr "b"\n\n' * 1_000),
    "a.mo": compiled,
    "a.tar.gz": packed_tar,
    "a.parquet": table,
    "a.zip": zipped,
    "captions.json.gz": packed(
        '{"images": [' + "[]," * 10_000 + '0], "annotations": [], "image_id": "caption", "file_name": 0}'
    ),
}


@pytest.mark.parametrize(("name", "write"), BOMBS.items(), ids=BOMBS.keys())
def test_a_small_file_that_unfolds_to_much_is_refused(
    name: str, write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name)
    monkeypatch.setattr(unfolding, "FREE", 200_000)
    monkeypatch.setattr(unfolding, "TIMES", 10)
    reading = Source.captions if name.startswith("captions") or "tar" in name else Source.parallel
    with pytest.raises(DataError, match="bytes and expands to over"):
        reading(open_source(tmp_path / name, ColumnMapping("sw")))


def test_a_parquet_of_a_few_kilobytes_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Each batch of 64 rows is within its bound; what is held of all of them is not."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * (1 << 16)]))
    pq.write_table(pa.table({"en": long, "sw": long}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    tracemalloc.start()
    assert "expands to over 268,435,456" in refused(tmp_path / "a.parquet")
    assert tracemalloc.get_traced_memory()[1] < 400 << 20
    tracemalloc.stop()


def test_pictures_of_the_first_rows_are_not_all_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LOOKED_AT_MOST", 150_000)
    packed_tar(tmp_path / "a.tar")
    opened = open_source(tmp_path / "a.tar", ColumnMapping("sw"))
    assert [row["image"] for row in opened.first] == [b""] * 2
    assert [len(row.values["image"]) > 0 for row in opened.rows()] == [True] * 4


def test_values_of_a_dictionary_are_counted_before_they_are_unfolded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "LARGEST", 1 << 22)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000, pa.int32()), pa.array(["x" * (1 << 17)]))
    pq.write_table(pa.table({"en": long, "sw": pa.array(["b"] * 3_000)}), tmp_path / "a.parquet")
    assert "rows 1 to 64: 8," in refused(tmp_path / "a.parquet")
    words = pa.array([f"word {i % 50} and more of it" for i in range(3_000)])
    pq.write_table(pa.table({"en": words, "sw": words}), tmp_path / "b.parquet")
    assert open_source(tmp_path / "b.parquet", ColumnMapping("sw")).parallel().native[51] == "word 1 and more of it"


def test_a_date_beyond_the_calendar_is_told(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    times = pa.array([2**62] * 30, pa.timestamp("us"))
    pq.write_table(pa.table({"en": times, "sw": pa.array(["b"] * 30)}), tmp_path / "a.parquet")
    assert "a value cannot be read" in refused(tmp_path / "a.parquet")


def pax(record: bytes) -> Callable[[io.BytesIO], None]:
    """Return what writes a member with such a header before it."""

    def write(file: io.BytesIO) -> None:
        about = tarfile.TarInfo("header")
        about.type, about.size = tarfile.XHDTYPE, len(record)
        member = tarfile.TarInfo("a.txt")
        member.size = 10
        file.write(about.tobuf() + record + b"\0" * (-len(record) % 512) + member.tobuf() + b"x" * 512)

    return write


def sparse(file: io.BytesIO) -> None:
    """Write a sparse member without its map."""
    about = tarfile.TarInfo("a.txt")
    about.type, about.size = tarfile.GNUTYPE_SPARSE, 10
    file.write(about.tobuf() + b"x" * 512)


TARS = {
    "size": (pax(b"30 size=9999999999999999999999\n"), "bytes, not 0 to"),
    "back": (pax(b"13 size=-999\n"), "bytes, not 0 to"),
    "long": (pax(b"1" * 20_000 + b" "), "a header of 20,001 bytes"),
    "sparse": (pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.realsize=9\n"), "is damaged"),
    "member": (lambda file: file.write(_huge().tobuf() + b"x" * 512), "not 0 to 1,000"),
}


def _huge() -> tarfile.TarInfo:
    about = tarfile.TarInfo("a.txt")
    about.size = 10**9
    return about


@pytest.mark.parametrize(("write", "message"), TARS.values(), ids=TARS.keys())
def test_odd_headers_of_tars_are_damage(
    write: Callable[[io.BytesIO], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset_tars, "LARGEST", 1_000)
    with io.BytesIO() as file:
        write(file)
        (tmp_path / "a.tar").write_bytes(file.getvalue() + b"\0" * 1024)
    with pytest.raises(DataError, match=message):
        list(webdataset_tars.samples(tmp_path / "a.tar"))


def test_ranges_that_multiply_are_refused() -> None:
    with pytest.raises(MlaExtendError, match="stands for over 300,000 files"):
        webdataset_tars._expanded(Path("{0..9999}{0..9999}.tar"))
    assert len(webdataset_tars._expanded(Path("{0..9}{00..09}.tar"))) == 100
    assert len(webdataset_tars._expanded(Path("{0..1990{0..999}}.tar"))) == 1_000  # not of each a range again
    assert webdataset_tars._expanded(Path(f"{{0..{'9' * 5_000}}}.tar")) == [Path(f"{{0..{'9' * 5_000}}}.tar")]


def test_a_version_of_thousands_of_digits_is_none(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    version = publish(base, "sw")
    with pytest.raises(RegistryError, match=r"no version 'v9{79}'"):
        base.find("sw", "v" + "9" * 5_000)
    with pytest.raises(RegistryError, match="no version 'v0'"):
        base.find("sw", "v0")
    assert base.find("sw", "v1") == version


NO_PATHS = {
    "long": ("n" * 300 + ".tsv", "longer than any path"),
    "long-pair": ("n" * 300 + ".en," + "n" * 300 + ".sw", "longer than any path"),
    "long-range": ("{0..1}" + "n" * 300 + ".tar", "longer than any path"),
    "home": ("~no-such-user/a.tsv", "no such user's home"),
    "home-in-a-pair": ("a.en,~no-such-user/a.sw", "no such user's home"),
    "digits": ("a.tsv=" + "9" * 500, "longer than any path"),
}


@pytest.mark.parametrize(("text", "message"), NO_PATHS.values(), ids=NO_PATHS.keys())
def test_what_can_be_no_path_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_source(text, ColumnMapping("sw"))


@pytest.mark.parametrize("weight", ["٣", "9" * 20])
def test_a_weight_is_a_number_of_few_digits(weight: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("dog\tmbwa\n")
    with pytest.raises(DataError, match="does not exist"):
        parse_source(f"{tmp_path / 'a.tsv'}={weight}", ColumnMapping("sw"))


def test_an_object_over_many_lines_is_read_in_time_that_grows_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        '[\n{"en": "dog", "x": [\n' + "{},\n" * 50_000 + '{}], "sw": "mbwa"},\n{"en": "cat", "sw": "paka"}\n]'
    )
    begun = time.process_time()
    rows = list(json_rows(path))
    assert time.process_time() - begun < 5
    assert [(row.number, row.values["sw"]) for row in rows] == [(2, "mbwa"), (50_004, "paka")]


def test_a_model_whose_json_is_nested_deeply_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors.index.json"):
        (tmp_path / name).write_text("[" * 100_000)
    assert model_type(tmp_path) is None
    with pytest.raises(BaseError, match="nested too deeply"):
        weight_files(tmp_path)
