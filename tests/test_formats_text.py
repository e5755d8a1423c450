"""The text formats: realistic files read back, odd text kept letter by letter, and damage named with its place."""

import csv
import gzip
import io
import json
import random
import re
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import polib
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mla_extend.data.formats.bicleaner import Bicleaner
from mla_extend.data.formats.comma_separated import Csv
from mla_extend.data.formats.format import ColumnMapping, Format
from mla_extend.data.formats.gettext import Gettext
from mla_extend.data.formats.jsonl import Jsonl
from mla_extend.data.formats.moses import Moses
from mla_extend.data.formats.tmx import Tmx
from mla_extend.data.formats.tsv import Tsv
from mla_extend.data.formats.xliff import Xliff
from mla_extend.data.pairs import ParallelText
from mla_extend.data.source import Source
from mla_extend.errors import DataError

Pairs = list[tuple[str, str]]
Writer = Callable[[Path, Pairs], Path]

SW = ColumnMapping("sw")

SENTENCES: Pairs = [
    ("A cat sleeps under the big tree.", "Paka analala chini ya mti mkubwa."),
    ('She said "yes", and left; nobody asked.', 'Alisema "ndiyo", akaondoka; hakuna aliyeuliza.'),
    ("The price is 5 < 6 & rising.", "Bei ni 5 < 6 & inapanda."),
    ("Two dogs run on the beach", "كلبان يركضان على الشاطئ"),
    ("A boat on the river", "नदी पर एक नाव"),
    ("Red flowers 🌺 in a vase", "花瓶里的红花🌺"),
    ("An old house", "ისევ ძველი სახლი"),
    ("Café at night", unicodedata.normalize("NFD", "quán cà phê ban đêm")),
]


def corpus(count: int = 3000) -> Pairs:
    """Make a corpus of different pairs in several scripts."""
    draw = random.Random(0)
    return [(f"{a} No. {i}", f"{b} {i}") for i in range(count) for a, b in [draw.choice(SENTENCES)]]


def read(path: Path, kind: Format, mapping: ColumnMapping = SW) -> ParallelText:
    """Read a path as a given format does, after its own check, as the command does."""
    kind.check(path)
    return Source(str(path), path, kind, mapping).with_split().parallel()


def pairs_of(text: ParallelText) -> Pairs:
    return list(zip(text.native, text.target, strict=True))


def refused(match: str, path: Path, kind: Format, mapping: ColumnMapping = SW) -> None:
    """Assert that reading is refused with one line that names the path."""
    with pytest.raises(DataError, match=match) as caught:
        read(path, kind, mapping)
    assert "\n" not in str(caught.value)
    assert any(part in str(caught.value) for part in str(path).split(","))


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Writers: each puts pairs into a file as the format's own tools do.


def lines(pairs: Pairs, side: int) -> bytes:
    return "".join(f"{pair[side]}\n" for pair in pairs).encode()


def write_moses(folder: Path, pairs: Pairs) -> Path:
    written(folder / "corpus.en", lines(pairs, 0))
    written(folder / "corpus.sw", lines(pairs, 1))
    return Path(f"{folder}/corpus.en,{folder}/corpus.sw")


def write_moses_zip(folder: Path, pairs: Pairs) -> Path:
    path = folder / "en-sw.txt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "Corpus Name: Tatoeba\n")
        archive.writestr("LICENSE", "CC-BY 2.0 FR\n")
        archive.writestr("Tatoeba.en-sw.en", lines(pairs, 0))
        archive.writestr("Tatoeba.en-sw.sw", lines(pairs, 1))
        archive.writestr("Tatoeba.en-sw.ids", "".join(f"{i}\t{i}\n" for i in range(len(pairs))))
    return path


def write_tsv(folder: Path, pairs: Pairs) -> Path:
    return written(folder / "corpus.tsv", "".join(f"{a}\t{b}\n" for a, b in pairs))


def write_jsonl(folder: Path, pairs: Pairs) -> Path:
    rows = (json.dumps({"english": a, "non_english": b}, ensure_ascii=len(a) % 2 == 0) for a, b in pairs)
    return written(folder / "corpus.jsonl", "".join(f"{row}\n" for row in rows))


def csv_text(rows: Sequence[Sequence[str]], **options: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **options).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


def write_csv(folder: Path, pairs: Pairs) -> Path:
    return written(folder / "corpus.csv", csv_text([("en", "sw"), *pairs]))


def in_xml(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def write_tmx(folder: Path, pairs: Pairs) -> Path:
    units = "".join(
        f'<tu>\n <tuv xml:lang="en"><seg>{in_xml(a)}</seg></tuv>\n'
        f' <tuv xml:lang="sw"><seg>{in_xml(b)}</seg></tuv>\n</tu>\n'
        for a, b in pairs
    )
    head = '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4">\n'
    header = '<header srclang="en" adminlang="en" segtype="sentence" datatype="PlainText" />\n'
    return written(folder / "corpus.tmx", f"{head}{header}<body>\n{units}</body>\n</tmx>\n")


def write_xliff(folder: Path, pairs: Pairs) -> Path:
    units = "".join(
        f'<trans-unit id="{i}"><source>{in_xml(a)}</source>\n'
        f'<target state="translated">{in_xml(b)}</target></trans-unit>\n'
        for i, (a, b) in enumerate(pairs)
    )
    head = '<?xml version="1.0"?>\n<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2">'
    file = '<file original="a.html" source-language="en-US" target-language="sw" datatype="html"><body><group id="g">'
    return written(folder / "corpus.xlf", f"{head}{file}{units}</group></body></file></xliff>")


PO_HEADER = (
    'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    '"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n"Language: sw\\n"\n\n'
)


def write_po(folder: Path, pairs: Pairs) -> Path:
    entries = "".join(f'#: a.c:{i}\nmsgid "{po(a)}"\nmsgstr "{po(b)}"\n\n' for i, (a, b) in enumerate(pairs))
    return written(folder / "sw.po", PO_HEADER + entries)


def po(text: str) -> str:
    """Quote as gettext does, in several lines where there are."""
    return polib.escape(text).replace("\\n", '\\n"\n"')


def write_mo(folder: Path, pairs: Pairs) -> Path:
    catalogue = polib.MOFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalogue.extend(polib.MOEntry(msgid=a, msgstr=b) for a, b in pairs)
    return written(folder / "sw.mo", catalogue.to_binary())


def write_bicleaner(folder: Path, pairs: Pairs) -> Path:
    rows = (f"https://a.org/{i}\thttps://a.org/sw/{i}\t{a}\t{b}\t{i}\t0.7{i % 10}\n" for i, (a, b) in enumerate(pairs))
    return written(folder / "en-sw.bicleaner07.txt", "".join(rows))


def pack(write: Writer) -> Writer:
    """Write gzipped."""

    def packed(folder: Path, pairs: Pairs) -> Path:
        path = write(folder, pairs)
        parts = str(path).split(",") if not path.exists() else [str(path)]
        for part in parts:
            written(Path(f"{part}.gz"), gzip.compress(Path(part).read_bytes()))
            Path(part).unlink()
        return Path(",".join(f"{part}.gz" for part in parts))

    return packed


XML_NO = "\0\x01\x08\x0b\x0c\x0e\x1b\x1c\x1d\x1e\x1f\ufffe\uffff"

WRITERS: dict[str, tuple[Format, Writer, str]] = {
    "moses": (Moses(), write_moses, "\n"),
    "moses-gz": (Moses(), pack(write_moses), "\n"),
    "moses-zip": (Moses(), write_moses_zip, "\n"),
    "tsv": (Tsv(), write_tsv, "\t\n"),
    "tsv-gz": (Tsv(), pack(write_tsv), "\t\n"),
    "jsonl": (Jsonl(), write_jsonl, ""),
    "csv": (Csv(), write_csv, ""),
    "csv-gz": (Csv(), pack(write_csv), ""),
    "tmx": (Tmx(), write_tmx, XML_NO),
    "tmx-gz": (Tmx(), pack(write_tmx), XML_NO),
    "xliff": (Xliff(), write_xliff, XML_NO),
    "po": (Gettext(), write_po, ""),
    "po-gz": (Gettext(), pack(write_po), ""),
    "mo": (Gettext(), write_mo, "\0\x04"),
    "bicleaner": (Bicleaner(), write_bicleaner, "\t\n"),
    "bicleaner-gz": (Bicleaner(), pack(write_bicleaner), "\t\n"),
}
"""Formats, how a file of theirs is written, and the characters that they cannot hold."""


@pytest.mark.parametrize("name", WRITERS)
def test_a_corpus_is_recognised_and_reads_back_equal(name: str, tmp_path: Path) -> None:
    """Three thousand pairs in eight scripts."""
    kind, write, _ = WRITERS[name]
    path = write(tmp_path, corpus())
    assert kind.recognises(path, SW)
    text = read(path, kind)
    if name == "mo":  # sorted by message
        assert sorted(pairs_of(text)) == sorted(corpus())
    else:
        assert pairs_of(text) == corpus()
    assert len(set(text.rows.tolist())) == len(text)
    assert text.parts[0].unit == kind.unit
    first = kind.digest(path, SW)
    assert len(first) == 64
    assert kind.digest(write(tmp_path, [*corpus(), ("One more", "Moja zaidi")]), SW) != first


ODD = (
    *"\t\n\r\"'\\,;|&<>#%={}[]~ \0\x01\x08\x0b\x0c\x1b\x1c\x1d\x1e\x1f\x7f\x85\xa0\xad\u200b\u200d\u200e\u200f",
    *"\u2028\u2029\u202b\u202e\u2066\u2069\u3000\ufeff\ufffd\ufffe\uffff\u0301\u0323\u0e48ÅéßıİאبनกШ漢한😀",
    *(
        "\r\n",
        "\\n",
        "\\t",
        '""',
        "\\\\",
        "&amp",
        "&notin",
        "<b>",
        "]]>",
        "<!--",
        "e\u0301",
        "👩\u200d👩\u200d👧",
        "msgid ",
    ),
    *("fuzzy", "-", "0.5", "http://", "en", "sw", "#~", "sep=", "1e999", "NULL"),
)
TEXT = st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=4), st.sampled_from("ab ")), max_size=12).map("".join)
LONG = "neno 'na' \"neno\" \u2028 ".join(str(i) for i in range(6000))


@pytest.mark.parametrize("name", WRITERS)
@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)
@given(pairs=st.lists(st.tuples(TEXT, TEXT), max_size=6))
@example(pairs=[(LONG, LONG[::-1]), ("x" * 300_000, "é" * 140_000)])
@example(pairs=[("", ""), ("", "a"), ("a", ""), (" ", "\u2028"), ("\ufeffa", "\ufeff")])
@example(pairs=[('"', '"'), ('"a', 'a"'), ("a\\", "\\"), ('\\"', '"\\'), ("'", "a\r\nb")])
@example(pairs=[("english", "non_english"), ("url1", "url2"), ("-", "-")])
def test_odd_text_reads_back_equal(name: str, pairs: Pairs, tmp_path: Path) -> None:
    """Whatever characters a format can hold come back, apart from white space around a text."""
    kind, write, cannot = WRITERS[name]
    table = dict.fromkeys(map(ord, cannot), "_") | dict.fromkeys(range(0xD800, 0xE000), "_")

    def clean(text: str) -> str:
        text = text.translate(table)
        if cannot == XML_NO:
            text = re.sub(r"[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "_", text)
        # References in a memory are meant to become what they stand for, and a column of addresses is refused.
        return re.sub(r"&(#?\w+);", r"& \1;", text).replace("://", ": //")

    # Plain pairs at both ends: nothing in between is taken for a header, and there is enough to read.
    plain = [("A first line", "Mstari wa kwanza"), *((clean(a), clean(b)) for a, b in pairs), ("The end", "Mwisho")]
    expected = [(a.strip(), b.strip()) for a, b in plain]
    path = write(tmp_path, plain)
    if name.startswith("csv"):  # a line end in a cell comes back as a line feed
        expected = [(a.replace("\r\n", "\n"), b.replace("\r\n", "\n")) for a, b in expected]
    if name.startswith(("tsv", "csv")):
        expected = [pair for pair in expected if any(pair)]
    if name.startswith("xliff"):
        expected = [pair for pair in expected if pair[1]]
    if isinstance(kind, Gettext):
        expected = [pair for pair in expected if all(pair)]
    found = pairs_of(read(path, kind))
    assert (sorted(found) == sorted(expected)) if name == "mo" else (found == expected)


@pytest.mark.parametrize("name", ["moses", "moses-zip", "tsv", "jsonl", "csv", "po", "bicleaner"])
def test_a_mark_at_the_beginning_and_windows_line_ends_are_no_text(name: str, tmp_path: Path) -> None:
    """As Notepad and Excel save: a byte order mark, and CR LF behind each line."""
    kind, write, _ = WRITERS[name]

    def windows(content: bytes) -> bytes:
        return b"\xef\xbb\xbf" + content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

    path = write(tmp_path, SENTENCES)
    if name == "moses-zip":
        with zipfile.ZipFile(path) as archive:
            members = {member: windows(archive.read(member)) for member in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    else:
        for part in str(path).split(","):
            written(Path(part), windows(Path(part).read_bytes()))
    assert pairs_of(read(path, kind)) == SENTENCES


DAMAGED = [name for name in WRITERS if name.endswith("-gz")]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_gzip_that_is_cut_off_or_changed_is_named(name: str, tmp_path: Path) -> None:
    """As a broken download or a bad disk leaves it."""
    kind, write, _ = WRITERS[name]
    path = write(tmp_path, corpus())
    file = Path(str(path).split(",")[-1])
    whole = file.read_bytes()
    written(file, whole[:-2000])
    refused(rf"{re.escape(str(file))} is damaged", path, kind)
    written(file, whole[:3000] + bytes(60) + whole[3060:])
    refused(rf"{re.escape(str(file))}( is damaged|, line \d+: )", path, kind)


@pytest.mark.parametrize("name", ["moses", "csv", "bicleaner", "po"])
def test_a_line_of_another_encoding_is_named(name: str, tmp_path: Path) -> None:
    kind, write, _ = WRITERS[name]
    path = write(tmp_path, [*SENTENCES, ("A town", "Mji \xe9")])
    file = Path(str(path).split(",")[-1])
    file.write_bytes(file.read_bytes().replace("Mji \xe9".encode(), b"Mji \xe9"))
    refused(rf"{re.escape(str(file))}, line \d+: not (UTF|utf)-8 \(byte 0xe9", path, kind)


@pytest.mark.parametrize("kind", [Moses(), Csv(), Tmx(), Xliff(), Gettext(), Bicleaner()], ids=lambda kind: kind.name)
def test_what_is_not_there_or_empty_or_a_folder_is_named(kind: Format, tmp_path: Path) -> None:
    suffix = next(iter(kind.suffixes), ".txt")
    missing = tmp_path / f"missing{suffix}"
    refused("does not exist|There are no two files", missing, kind)
    with pytest.raises(DataError, match=r"cannot be read|no two files"):  # gone since it was checked
        list(kind.rows(missing, SW))
    assert isinstance(kind.recognises(missing, SW), bool)
    refused("is empty|are no two", written(tmp_path / f"empty{suffix}", b""), kind)
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    assert not kind.recognises(folder, SW)
    refused("is a folder|are no two", folder, kind)


def test_every_format_has_a_name_of_its_own() -> None:
    kinds = [Moses(), Csv(), Tmx(), Xliff(), Gettext(), Bicleaner(), Tsv(), Jsonl()]
    assert [kind.name for kind in kinds[:6]] == ["moses", "csv", "tmx", "xliff", "gettext", "bicleaner"]
    assert len({kind.name for kind in kinds}) == len(kinds)


class TestMoses:
    """Two files whose lines belong together."""

    def pair(self, folder: Path, first: str, second: str, swapped: bool = False) -> Path:
        written(folder / first, lines(SENTENCES, int(swapped)))
        written(folder / second, lines(SENTENCES, int(not swapped)))
        return Path(f"{folder / first},{folder / second}")

    @pytest.mark.parametrize(
        ("first", "second", "swapped"),
        [
            ("a.en", "a.sw", False),
            ("a.sw", "a.en", True),
            ("a.swa", "a.eng", True),
            ("a.sw_KE", "a.en_US", True),
            ("swh_Latn.swa_Latn", "eng_Latn.txt", True),
            ("english.txt", "swahili.txt", False),
            ("corpus.src", "corpus.tgt", False),
            ("train.txt", "train.en", True),
            ("sw", "en", True),
            ("a,b.EN", "a, b.SW", False),
        ],
    )
    def test_codes_say_which_is_which_in_either_order(
        self, first: str, second: str, swapped: bool, tmp_path: Path
    ) -> None:
        path = self.pair(tmp_path, first, second, swapped)
        assert Moses().recognises(path, SW)
        assert pairs_of(read(path, Moses())) == SENTENCES

    @pytest.mark.parametrize("names", [("a.de", "a.sw"), ("a.en", "a.fr"), ("a.en", "b.en"), ("a.sw", "b.sw")])
    def test_a_file_of_another_language_is_refused(self, names: tuple[str, str], tmp_path: Path) -> None:
        path = self.pair(tmp_path, *names)
        with pytest.raises(DataError, match=r"by its name.*'en' and 'sw' are wanted"):
            read(path, Moses())

    def test_without_a_language_any_second_file_is_the_target(self, tmp_path: Path) -> None:
        assert pairs_of(read(self.pair(tmp_path, "a.en", "a.fr"), Moses(), ColumnMapping())) == SENTENCES

    def test_the_same_language_of_two_regions_goes_by_the_very_tags(self, tmp_path: Path) -> None:
        path = self.pair(tmp_path, "a.en-gb", "a.en", swapped=True)
        assert pairs_of(read(path, Moses(), ColumnMapping("en-GB"))) == SENTENCES

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    @pytest.mark.parametrize("stem", ["corpus", "Tatoeba.en-sw", "a[b]*"])
    def test_a_stem_finds_its_two_files(self, stem: str, suffix: str, tmp_path: Path) -> None:
        for code, side in (("en", 0), ("sw", 1)):
            content = lines(SENTENCES, side)
            written(tmp_path / f"{stem}.{code}{suffix}", gzip.compress(content) if suffix else content)
        written(tmp_path / f"{stem}.fr", "autre\n")
        written(tmp_path / f"{stem}.tok.en", "a longer name\n")
        assert Moses().recognises(tmp_path / stem, SW)
        assert not Moses().recognises(tmp_path / stem, ColumnMapping("ki"))
        text = read(tmp_path / stem, Moses())
        assert pairs_of(text) == SENTENCES
        assert Moses().files(tmp_path / stem, SW) == [tmp_path / f"{stem}.{code}{suffix}" for code in ("en", "sw")]

    def test_the_most_specific_code_is_taken_and_the_unpacked_file(self, tmp_path: Path) -> None:
        for name in ("a.en", "a.en.gz", "a.en_GB", "a.zh", "a.zh_Hans", "a.zh_Hant", "a.pt_BR", "a.pt_PT"):
            written(tmp_path / name, "x\n")
        stem = tmp_path / "a"

        def chosen(tag: str) -> list[str]:
            return [file.name for file in Moses().files(stem, ColumnMapping(tag))]

        assert chosen("zh-Hant") == ["a.en", "a.zh_Hant"]
        assert chosen("zh") == ["a.en", "a.zh"]
        assert chosen("pt-PT") == ["a.en", "a.pt_PT"]
        with pytest.raises(DataError, match=r"several files for 'pt': a\.pt_BR, a\.pt_PT"):
            chosen("pt")
        with pytest.raises(DataError, match=r"no two files that end in \.en and \.ki, but: a\.en, .*a\.zh"):
            chosen("ki")

    def test_an_empty_line_is_a_row(self, tmp_path: Path) -> None:
        written(tmp_path / "a.en", "one\n\nthree\nfour")
        written(tmp_path / "a.sw", "moja\nmbili\n\nnne\n")
        text = read(tmp_path / "a", Moses())
        assert pairs_of(text) == [("one", "moja"), ("", "mbili"), ("three", ""), ("four", "nne")]
        assert text.rows.tolist() == [1, 2, 3, 4]
        assert text.where(3).endswith("a, line 4")

    @pytest.mark.parametrize(("first", "second"), [(500, 503), (503, 500), (1, 0), (0, 1)])
    def test_different_lengths_are_both_named(self, first: int, second: int, tmp_path: Path) -> None:
        for code, count in (("en", first), ("sw", second)):
            written(tmp_path / f"a.{code}", "neno\n" * count)
        zipped = tmp_path / "a.zip"
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.write(tmp_path / "a.en", "a.en")
            archive.write(tmp_path / "a.sw", "a.sw")
        match = rf"a\.en has {first} lines and .*a\.sw has {second}"
        refused(match, zipped, Moses())
        if first and second:
            refused(match, Path(f"{tmp_path}/a.sw,{tmp_path}/a.en"), Moses())
        else:
            refused("is empty", Path(f"{tmp_path}/a.sw,{tmp_path}/a.en"), Moses())

    def test_one_file_of_two_or_one_alone_is_named(self, tmp_path: Path) -> None:
        written(tmp_path / "a.en", "one\n")
        typo = Path(f"{tmp_path}/a.en,{tmp_path}/a.ws")
        assert Moses().recognises(typo, SW)
        refused(r"a\.ws does not exist", typo, Moses())
        refused("is a single file, not a zip", tmp_path / "a.en", Moses())
        assert not Moses().recognises(tmp_path / "a.en", SW)
        assert not Moses().recognises(Path("nowhere/at,all"), SW)

    def zipped(self, path: Path, members: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path

    def test_a_zip_made_on_a_mac_with_folders(self, tmp_path: Path) -> None:
        members = {"data/": b"", "data/a.sw": lines(SENTENCES, 1), "data/a.en": lines(SENTENCES, 0)}
        members |= {"__MACOSX/data/._a.en": b"\0\5\x16\7", "__MACOSX/data/._a.sw": b"\0\5\x16\7"}
        path = self.zipped(tmp_path / "a.zip", members)
        assert pairs_of(read(path, Moses())) == SENTENCES
        assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]

    def test_a_zip_with_other_names_or_several_pairs_or_none(self, tmp_path: Path) -> None:
        native, target = lines(SENTENCES, 0), lines(SENTENCES, 1)
        path = self.zipped(tmp_path / "a.zip", {"english.en": native, "kiswahili.sw": target})
        assert pairs_of(read(path, Moses())) == SENTENCES
        path = self.zipped(
            tmp_path / "b.zip", {"train.en": native, "train.sw": target, "dev.en": native, "dev.sw": target}
        )
        refused(r"has 2 pairs of files: train\.en, train\.sw; dev\.en", path, Moses())
        path = self.zipped(tmp_path / "c.zip", {"train.en": native, "train.fr": target})
        refused(r"no two files that end in \.en and \.sw, but: train\.en, train\.fr", path, Moses())
        path = self.zipped(tmp_path / "e.zip", {"one.en": native, "two.en": native, "three.sw": target})
        refused(r"several files for 'en': one\.en, two\.en", path, Moses())
        refused("but: nothing", self.zipped(tmp_path / "d.zip", {}), Moses())

    def test_a_damaged_or_encrypted_zip_is_named(self, tmp_path: Path) -> None:
        path = write_moses_zip(tmp_path, corpus())
        whole = path.read_bytes()
        refused("not a zip, or a damaged zip", written(path, whole[: len(whole) // 2]), Moses())
        broken = bytearray(whole)
        place = whole.index(b"Tatoeba.en-sw.sw") + 2000
        broken[place : place + 50] = bytes(50)
        refused("cannot be unpacked", written(path, bytes(broken)), Moses())
        locked = bytearray(whole)
        for place in [found.start() for found in re.finditer(rb"PK\x01\x02", whole)]:
            locked[place + 8] |= 1
        refused(r"en-sw\.en is encrypted", written(path, bytes(locked)), Moses())
        method = bytearray(whole)
        for place in [found.start() for found in re.finditer(rb"PK\x01\x02", whole)]:
            method[place + 10 : place + 12] = struct.pack("<H", 97)
        refused("cannot be unpacked", written(path, bytes(method)), Moses())

    def test_a_line_of_another_encoding_in_a_zip_is_named(self, tmp_path: Path) -> None:
        path = self.zipped(tmp_path / "a.zip", {"a.en": b"one\ntwo\n", "a.sw": b"moja\nmbil\xee\n"})
        refused(r"a\.zip, a\.sw, line 2: not UTF-8 \(byte 0xee at position 5", path, Moses())


class TestCsv:
    """Comma-separated text and its relatives."""

    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize(
        "header",
        [(), ("en", "sw"), ("English", " Non_English"), ("id", "source", "target", "score"), ("", "english", "sw")],
        ids=lambda header: "-".join(header) or "none",
    )
    def test_the_delimiter_and_the_header_are_found(
        self, delimiter: str, header: tuple[str, ...], tmp_path: Path
    ) -> None:
        before = [""] * (len(header) > 2)
        after = ["0.5"] * (len(header) > 3)
        rows = [(*before, a, b, *after) for a, b in SENTENCES]
        path = written(tmp_path / "a.csv", csv_text([header, *rows] if header else rows, delimiter=delimiter))
        text = read(path, Csv())
        assert pairs_of(text) == SENTENCES
        assert text.rows[0] == 1 + bool(header)

    def test_the_users_own_columns_make_a_header(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", csv_text([("no", "Chanzo", "Tafsiri"), *(("1", *s) for s in SENTENCES)]))
        mapping = ColumnMapping("sw", columns={"native": "chanzo", "target": "tafsiri"})
        assert pairs_of(read(path, Csv(), mapping)) == SENTENCES

    def test_a_record_is_numbered_by_the_line_that_it_begins_in(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", '\nen,sw\r\n"one\r\n\r\n1","moja\n1"\n\n,\n"two, 2",mbili\nthree,tatu')
        text = read(path, Csv())
        assert pairs_of(text) == [("one\n\n1", "moja\n1"), ("two, 2", "mbili"), ("three", "tatu")]
        assert text.rows.tolist() == [3, 9, 10]

    @pytest.mark.parametrize(("delimiter", "header"), [("\t", ("filepath", "title")), (",", ("", "image", "caption"))])
    def test_images_with_text_as_open_clip_and_pandas_write_them(
        self, delimiter: str, header: tuple[str, ...], tmp_path: Path, pictures: list[Path]
    ) -> None:
        number = ("7",) * (len(header) - 2)
        captions = [f'Picha ya {i}, "nzuri"; sana' for i in range(len(pictures))]
        rows = [
            (*number, f"pictures/{picture.name}", caption) for picture, caption in zip(pictures, captions, strict=True)
        ]
        path = written(tmp_path / "train.csv", csv_text([header, *rows], delimiter=delimiter))
        assert Csv().recognises(path, SW)
        data = Source(str(path), path, Csv(), SW).captions()
        assert data.texts == captions
        assert data.images == pictures

    def test_delimiters_within_texts_without_a_header(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", "Hello, friend;Habari, rafiki\nYes;Ndiyo\n")
        assert pairs_of(read(path, Csv()))[0] == ("Hello, friend", "Habari, rafiki")
        path = written(tmp_path / "b.csv", "One; two,Moja; mbili\nYes,Ndiyo\n")
        assert pairs_of(read(path, Csv()))[0] == ("One; two", "Moja; mbili")

    def test_what_is_no_csv_is_named_with_the_line_it_begins_in(self, tmp_path: Path) -> None:
        good = "en,sw\n" + "".join(f"word {i},neno {i}\n" for i in range(200))
        path = tmp_path / "a.csv"
        refused(r"line 202: not CSV \(unexpected end", written(path, good + '"one,moja\ntwo,mbili\n'), Csv())
        refused(r"line 202: not CSV .*expected after", written(path, good + '"one" more,moja\n'), Csv())
        refused("line 1: not CSV", written(path, "one,moja\rtwo,mbili\r"), Csv())
        many = "yes, sir,ndiyo\n" * 30
        refused(r"line 202: 3 cells, and the first line has 2 \(and 29 more\)", written(path, good + many), Csv())
        refused(r"line 202: one column, 'word' \(and 29 more\)", written(path, good + "word\n" * 30), Csv())
        huge = good + '"open' + "text, more\n" * (1 << 21)
        refused("line 202: not CSV .*larger than field limit", written(path, huge), Csv())

    def test_the_field_limit_is_never_lowered(self, tmp_path: Path) -> None:
        before = csv.field_size_limit(1 << 30)
        try:
            read(write_csv(tmp_path, SENTENCES), Csv())
            assert csv.field_size_limit() == 1 << 30
        finally:
            csv.field_size_limit(before)


def tmx(body: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> str:
    return f'{head}<tmx version="1.4">\n<header srclang="*all*"/>\n<body>\n{body}</body>\n</tmx>\n'


def unit(*variants: tuple[str, str], attribute: str = "xml:lang") -> str:
    inner = "".join(f'<tuv {attribute}="{code}"><seg>{text}</seg></tuv>' for code, text in variants)
    return f"<tu>{inner}</tu>\n"


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>\n'
FETCH = '<!DOCTYPE x [<!ENTITY c SYSTEM "file:///etc/hostname">]>\n'
FETCH_ALL = '<!DOCTYPE x [<!ENTITY % c SYSTEM "http://localhost/evil.dtd"> %c;]>\n'


class TestTmx:
    """Translation memories."""

    def test_languages_by_any_attribute_and_the_first_variant_of_each(self, tmp_path: Path) -> None:
        body = (
            unit(("EN-US", "one"), ("sw-KE", "moja"))
            + unit(("swa", "mbili"), ("de", "zwei"), ("eng", "two"), attribute="lang")
            + unit(("en", "three"), ("fr", "trois"))
            + unit(("en", "four"), ("en-GB", "other"), ("sw", "nne"), ("sw-TZ", "nyingine"))
            + "<tu><tuv><seg>no code</seg></tuv><tuv xml:lang='en'/><prop type='a'>b</prop></tu>"
        )
        text = read(written(tmp_path / "a.tmx", tmx(body)), Tmx())
        assert pairs_of(text) == [("one", "moja"), ("two", "mbili"), ("four", "nne")]
        assert text.rows.tolist() == [1, 2, 4]
        assert text.where(2).endswith("a.tmx, unit 4")

    def test_markup_and_references(self, tmp_path: Path) -> None:
        native = (
            'Click <bpt i="1">&lt;a title="<sub>the title</sub>" href="x"&gt;</bpt><hi>here <hi>now</hi></hi>'
            '<ept i="1">&lt;/a&gt;</ept><ph x="1" type="lb">&lt;br&gt;</ph>or <it pos="begin">&lt;i&gt;</it>there'
            "<ut>{\\b}</ut>."
        )
        target = "Tom &amp;amp; Jerry&amp;#39;s &amp;lt;b&amp;gt; caf&amp;eacute; ?a=1&amp;copy=2 AT&amp;T &lt;ok&gt;"
        body = unit(("en", native), ("sw", target)) + unit(("en", "b"), ("sw", "<![CDATA[<c>]]>"))
        text = read(written(tmp_path / "a.tmx", tmx(body)), Tmx())
        assert text.native[0] == "Click the titlehere now or there."
        assert text.target == ["Tom & Jerry's <b> café ?a=1&copy=2 AT&T <ok>", "<c>"]

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
    def test_encodings_that_the_first_line_names(self, encoding: str, tmp_path: Path) -> None:
        head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n'
        body = unit(("en", "café"), ("sw", "mkahawa wa ñ")) * 2
        path = written(tmp_path / "a.tmx", tmx(body, head).encode(encoding))
        assert pairs_of(read(path, Tmx())) == [("café", "mkahawa wa ñ")] * 2

    def test_a_namespace_is_looked_through(self, tmp_path: Path) -> None:
        content = tmx(unit(("en", "one"), ("sw", "moja")) * 2).replace(
            "<tmx ", '<tmx xmlns="http://www.lisa.org/tmx14" '
        )
        assert len(read(written(tmp_path / "a.tmx", content), Tmx())) == 2

    def test_a_memory_without_the_language_names_what_it_has(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.tmx", tmx(unit(("en", "a"), ("fr-FR", "b")) * 3))
        refused("none of 3 units has both 'en' and 'sw'. Its languages: en, fr-FR", path, Tmx())
        refused("none of 0 units.*languages: none", written(path, tmx("")), Tmx())

    def test_memory_stays_flat(self, tmp_path: Path) -> None:
        """Twice the units need no more memory."""
        import tracemalloc

        peaks = []
        for count in (4000, 16000):
            path = write_tmx(tmp_path, corpus(count))
            rows = Tmx().rows(path, SW)
            next(rows)
            tracemalloc.start()
            assert sum(1 for _ in rows) == count - 1
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.2 * peaks[0] + 50_000

    def test_elements_nested_deep_are_no_harm(self, tmp_path: Path) -> None:
        deep = "<hi>" * 100_000 + "ndani" + "</hi>" * 100_000
        path = written(tmp_path / "a.tmx", tmx(unit(("en", "inside"), ("sw", deep)) * 2))
        assert read(path, Tmx()).target == ["ndani", "ndani"]


def xliff2(*segments: str, languages: str = 'srcLang="en" trgLang="sw"') -> str:
    units = "".join(f'<unit id="{i}">{segment}</unit>\n' for i, segment in enumerate(segments))
    return (
        f'<?xml version="1.0"?>\n<xliff version="2.0" xmlns="urn:oasis:names:tc:xliff:document:2.0" {languages}>\n'
        f'<file id="f"><notes><note>read</note></notes>\n<group id="g">{units}</group></file></xliff>'
    )


class TestXliff:
    """What translation tools exchange."""

    def test_version_1_with_markup_and_states(self, tmp_path: Path) -> None:
        units = [
            '<source>Hello <g id="1">big <mrk mtype="x">world</mrk></g><x id="2" ctype="lb"/>you<bx id="3"/></source>'
            '<seg-source><mrk mtype="seg">Hello</mrk></seg-source>'
            '<target>Jambo <g id="1">dunia</g><bpt id="4">&lt;b&gt;</bpt>kubwa<ept id="4">&lt;/b&gt;</ept></target>'
            "<alt-trans><source>Hi</source><target>Mambo</target></alt-trans><note>target</note>",
            "<source>No target</source>",
            "<source>Empty</source><target/>",
            '<source>New</source><target state="new">New</target>',
            '<source>Needs</source><target state="needs-translation">Needs</target>',
            '<source>Seen</source><target state="needs-review-translation">Imeonekana</target>',
            "<source>Only another</source><alt-trans><target>Nyingine</target></alt-trans>",
        ]
        body = "".join(f'<trans-unit id="{i}">{one}</trans-unit>\n' for i, one in enumerate(units))
        content = (
            '<?xml version="1.0"?><xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file '
            f'source-language="en" target-language="sw-KE" original="a"><header/><body>{body}</body></file></xliff>'
        )
        text = read(written(tmp_path / "a.xliff", content), Xliff())
        assert pairs_of(text) == [("Hello big world you", "Jambo duniakubwa"), ("Seen", "Imeonekana")]
        assert text.rows.tolist() == [1, 6]

    def test_version_2_with_segments_and_states(self, tmp_path: Path) -> None:
        content = xliff2(
            '<segment state="final"><source>One <pc id="1">red</pc> cat.<ph id="2" subType="xlf:lb"/></source>'
            '<target>Paka <sc id="3"/>mmoja<ec startRef="3"/> <cp hex="001A"/>mwekundu.</target></segment>'
            "<ignorable><source> </source><target> </target></ignorable>"
            "<segment><source>Two.</source><target>Mbili.</target></segment>",
            '<segment state="initial"><source>Three.</source><target>Three.</target></segment>',
            "<segment><source>Four.</source></segment>",
            '<segment state="reviewed"><source>Five.</source><target>Tano.</target></segment>',
        )
        path = written(tmp_path / "a.xlf", content)
        assert Xliff().recognises(path, SW)
        text = read(path, Xliff())
        assert pairs_of(text) == [("One red cat.", "Paka mmoja mwekundu."), ("Two.", "Mbili."), ("Five.", "Tano.")]
        assert text.rows.tolist() == [1, 1, 4]

    @pytest.mark.parametrize(
        ("languages", "match"),
        [
            ('srcLang="en" trgLang="fr"', "target-language is 'fr', and 'sw' is wanted"),
            ('srcLang="de" trgLang="sw"', "source-language is 'de', and 'en' is wanted"),
            ('srcLang="en" trgLang="no code"', "target-language is 'no code'"),
        ],
    )
    def test_another_language_is_refused(self, languages: str, match: str, tmp_path: Path) -> None:
        segment = "<segment><source>a</source><target>b</target></segment>"
        refused(match, written(tmp_path / "a.xlf", xliff2(segment, segment, languages=languages)), Xliff())
        version_1 = write_xliff(tmp_path, SENTENCES)
        content = version_1.read_text().replace('target-language="sw"', 'target-language="ki"')
        refused("target-language is 'ki'", written(version_1, content), Xliff())

    def test_a_file_that_names_no_language_is_read(self, tmp_path: Path) -> None:
        segment = "<segment><source>a</source><target>b</target></segment>"
        assert len(read(written(tmp_path / "a.xlf", xliff2(segment, segment, languages="")), Xliff())) == 2


@pytest.mark.parametrize(("kind", "write"), [(Tmx(), write_tmx), (Xliff(), write_xliff)], ids=["tmx", "xliff"])
class TestXml:
    """What no XML format lets in."""

    @pytest.mark.parametrize("declaration", [BOMB, FETCH, FETCH_ALL], ids=["bomb", "file", "address"])
    def test_entities_are_refused(self, kind: Format, write: Writer, declaration: str, tmp_path: Path) -> None:
        path = write(tmp_path, SENTENCES)
        content = re.sub("<!DOCTYPE.*\n", "", path.read_text(encoding="utf-8"))
        head, end, rest = content.partition("?>\n")
        content = head + end + declaration + rest.replace("Paka", "&c;" if declaration != FETCH_ALL else "Paka")
        refused("declares the entity '[ac]'", written(path, content), kind)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda content: content[:-400], r"line \d\d\d+: not XML, or cut off \((no element|unclosed|not well)"),
            (lambda content: content.replace(b"No. 900<", b"No. 900 \xe9<"), r"line \d+: .*not well-formed"),
            (lambda content: content.replace(b"No. 900<", b"No. 900 &nbsp;<"), r"line \d+: .*undefined entity"),
            (
                lambda content: content.replace(b'<?xml version="1.0"', b'<?xml version="1.0" encoding="klingon"', 1),
                "enc",
            ),
            (lambda content: b"A cat\tPaka\nA dog\tMbwa\n", "line 1: not XML"),
            (lambda content: b"PK\x03\x04" + bytes(500), "line 1: not XML"),
        ],
        ids=["cut", "latin-1", "entity", "encoding", "text", "binary"],
    )
    def test_damage_is_named(
        self, kind: Format, write: Writer, change: Callable[[bytes], bytes], match: str, tmp_path: Path
    ) -> None:
        path = write(tmp_path, corpus(1000))
        content = path.read_bytes().replace(b' encoding="UTF-8" ', b"")
        refused(match, written(path, change(content)), kind)

    def test_a_packed_file_with_a_changed_byte_is_named(self, kind: Format, write: Writer, tmp_path: Path) -> None:
        path = pack(write)(tmp_path, corpus(1000))
        content = bytearray(path.read_bytes())
        content[500:540] = bytes(40)
        refused("is damaged|not XML", written(path, bytes(content)), kind)


class TestGettext:
    """Catalogues, in text and compiled."""

    CATALOGUE = """# Swahili for a viewer of pictures.
msgid ""
msgstr ""
"Project-Id-Version: viewer 3.2\\n"
"Language: sw\\n"
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=n != 1;\\n"

#. A button.
#: src/main.c:12 src/view.c:7
msgctxt "toolbar"
msgid "Open the picture"
msgstr "Fungua picha"

msgctxt "menu"
msgid "Open the picture"
msgstr "Fungua picha hiyo"

#, fuzzy
#| msgid "Shut"
msgid "Close"
msgstr "Funga labda"

#, fuzzy, c-format
msgid "Close %s"
msgstr "Funga labda %s"

msgid "Not yet translated"
msgstr ""

#, python-format
msgid ""
"%(name)s has {count} pictures\\n"
"in \\"%s\\""
msgstr ""
"%(name)s ana picha {count}\\n"
"katika \\"%s\\""

#, c-format
msgid "%d picture was found"
msgid_plural "%d pictures were found"
msgstr[0] "Picha %d imepatikana"
msgstr[1] "Picha %d zimepatikana"

msgid "one file"
msgid_plural "files"
msgstr[0] "faili moja"
msgstr[1] ""

#~ msgid "Obsolete"
#~ msgstr "Ya zamani"
"""
    EXPECTED = (
        ("Open the picture", "Fungua picha"),
        ("Open the picture", "Fungua picha hiyo"),
        ('%(name)s has {count} pictures\nin "%s"', '%(name)s ana picha {count}\nkatika "%s"'),
        ("%d picture was found", "Picha %d imepatikana"),
        ("%d pictures were found", "Picha %d zimepatikana"),
        ("one file", "faili moja"),
    )

    def test_a_catalogue_of_all_kinds_of_entries(self, tmp_path: Path) -> None:
        path = written(tmp_path / "sw.po", self.CATALOGUE)
        text = read(path, Gettext())
        assert pairs_of(text) == list(self.EXPECTED)
        assert text.rows.tolist() == [1, 2, 6, 7, 7, 8]
        assert text.where(0).endswith("sw.po, entry 1")

    def test_the_same_compiled(self, tmp_path: Path) -> None:
        source = polib.pofile(str(written(tmp_path / "sw.po", self.CATALOGUE)))
        path = written(tmp_path / "sw.mo", source.to_binary())
        expected = sorted(self.EXPECTED[:-1])  # an entry that is translated in part is not compiled
        assert sorted(pairs_of(read(path, Gettext()))) == expected
        swapped = path.read_bytes()
        count, first, second = struct.unpack_from("<3I", swapped, 8)
        numbers = (0x950412DE, 0, count, first, second, 0, 0)
        tables = struct.unpack_from(f"<{4 * count}I", swapped, first)
        big = struct.pack(f">{7 + 4 * count}I", *numbers, *tables) + swapped[28 + 16 * count :]
        assert first == 28
        assert sorted(pairs_of(read(written(path, big), Gettext()))) == expected

    @pytest.mark.parametrize(
        ("rule", "forms", "expected"),
        [
            ("nplurals=1; plural=0;", 1, [("apples", "f0")]),
            ("nplurals=2; plural=n > 1;", 2, [("apple", "f0"), ("apples", "f1")]),
            ("nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2);", 3, [("apple", "f0"), ("apples", "f1")]),
            (
                "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);",
                6,
                [("apple", "f1"), ("apples", "f5")],
            ),
            ("nplurals=INTEGER; plural=EXPRESSION;", 3, [("apple", "f0"), ("apples", "f2")]),
            ("nplurals=2; plural=n / 0;", 2, [("apple", "f0"), ("apples", "f1")]),
            ("nplurals=4; plural=n == 1 ? 7 : 9;", 2, [("apples", "f1")]),
            ("", 1, [("apples", "f0")]),
        ],
    )
    def test_plural_forms_go_with_one_and_with_many(
        self, rule: str, forms: int, expected: Pairs, tmp_path: Path
    ) -> None:
        content = PO_HEADER.replace("nplurals=2; plural=(n != 1);", rule)
        content += 'msgid "apple"\nmsgid_plural "apples"\n' + "".join(f'msgstr[{i}] "f{i}"\n' for i in range(forms))
        content += '\nmsgid "a"\nmsgstr "b"\n\nmsgid "c"\nmsgstr "d"\n'
        path = written(tmp_path / "sw.po", content)
        assert pairs_of(read(path, Gettext())) == [*expected, ("a", "b"), ("c", "d")]

    def test_another_encoding_that_the_header_names(self, tmp_path: Path) -> None:
        content = PO_HEADER.replace("UTF-8", "ISO-8859-1") + 'msgid "a"\nmsgstr "é"\n\nmsgid "b"\nmsgstr "ñ"\n'
        path = written(tmp_path / "sw.po", content.encode("latin-1"))
        assert read(path, Gettext()).target == ["é", "ñ"]

    def test_damaged_catalogues_are_named(self, tmp_path: Path) -> None:
        path = write_po(tmp_path, corpus(500))
        whole = path.read_text(encoding="utf-8")
        refused(r"sw\.po, line \d{4}: not a text between", written(path, whole[:-8]), Gettext())
        entry = 'msgid "a"\nmsgstr "b"\n'
        for wrong, match in (
            ('msgid "a"\nmsgstr b"\n', "line 9: not a text between"),
            ('msgid "a"\nmsgstr "b\n', "line 9: not a text between"),
            ('msgid "a"\nmsgstr "\n', "line 9: not a text between"),
            ('msgid "a"\nmsgid "a"\n', "line 9: not as gettext"),
            ('msgid "a"b"\nmsgstr "b"\n', "line 8: not as gettext"),
            ('msgid "a"\nmsgtext "b"\n', "line 9: not as gettext"),
        ):
            refused(rf"sw\.po, {match}", written(path, PO_HEADER + "\n" + wrong + entry), Gettext())
        refused(r"sw\.po, line 1: not", written(path, "A cat\tPaka\n"), Gettext())

    def test_damaged_compiled_catalogues_are_named(self, tmp_path: Path) -> None:
        path = write_mo(tmp_path, corpus(500))
        whole = path.read_bytes()
        for length in (5, 15, 100, 5000, len(whole) - 10):
            refused(r"sw\.mo is damaged", written(path, whole[:length]), Gettext())
        refused("does not begin as a compiled", written(path, b"\0" + whole[1:]), Gettext())
        refused(r"sw\.mo: not as gettext writes it", written(path, whole[:4] + b"\0\0\7\0" + whole[8:]), Gettext())
        wrong = whole.replace(b"Paka", b"Pak\xe9")
        refused("not of the encoding that its header names", written(path, wrong), Gettext())


class TestBicleaner:
    """Scored bitext."""

    @pytest.mark.parametrize(
        "name", ["a.tsv", "a.txt", "a.tab", "a.scored", "a.gz", "en-sw.bicleaner07.gz", "a.txt.gz"]
    )
    def test_it_is_told_by_its_first_line(self, name: str, tmp_path: Path) -> None:
        content = write_bicleaner(tmp_path, SENTENCES).read_bytes()
        path = written(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
        assert Bicleaner().recognises(path, SW)
        rows = list(Bicleaner().rows(path, SW))
        assert rows[3].values == {"native": SENTENCES[3][0], "target": SENTENCES[3][1], "score": 0.73}

    @pytest.mark.parametrize(
        ("line", "known"),
        [
            ("-\t-\tone\tmoja\t1", True),
            ("http://a.org/x y\tHTTPS://b.org\tone\tmoja\tabc\tx\t0.5", True),
            ("www.a.org\tfile:///b\tone\tmoja\t1e-3", True),
            ("one\tmoja\t0.5\t0.6\t0.7", False),
            ("http://a.org\tone\tmoja\tx\t0.5", False),
            ("http://a.org\thttp://b.org\tone\tmoja", False),
            ("http://a.org\thttp://b.org\tone\tmoja\tgood", False),
            ("http://a.org\thttp://b.org\tone\tmoja\tnan", False),
            ("", False),
        ],
    )
    def test_other_text_is_left_to_others(self, line: str, known: bool, tmp_path: Path) -> None:
        path = written(tmp_path / "a.tsv", f"{line}\n" * 3)
        assert Bicleaner().recognises(path, SW) is known
        assert not Bicleaner().recognises(written(tmp_path / "a.csv", f"{line}\n"), SW)

    def test_what_is_no_text_is_left_to_others(self, tmp_path: Path) -> None:
        assert not Bicleaner().recognises(written(tmp_path / "a.txt", b"\xff\xfe\0\0"), SW)
        assert not Bicleaner().recognises(written(tmp_path / "b.gz", gzip.compress(b"abc" * 99)[:-9]), SW)
        assert not Bicleaner().recognises(tmp_path / "missing.txt", SW)

    @pytest.mark.parametrize("name", ["sw-en.tsv", "corpus.sw-en.scored", "swa-eng.bicleaner.txt"])
    def test_the_files_name_can_say_that_the_target_comes_first(self, name: str, tmp_path: Path) -> None:
        content = write_bicleaner(tmp_path, [(b, a) for a, b in SENTENCES]).read_bytes()
        assert pairs_of(read(written(tmp_path / name, content), Bicleaner())) == SENTENCES

    def test_a_line_with_too_little_is_named(self, tmp_path: Path) -> None:
        good = write_bicleaner(tmp_path, SENTENCES).read_text(encoding="utf-8")
        path = tmp_path / "a.tsv"
        refused(r"line 10: 4 column\(s\), the last 'b'", written(path, f"{good}\n-\t-\ta\tb\n"), Bicleaner())
        refused(r"line 9: 5 column\(s\), the last 'x'", written(path, f"{good}-\t-\ta\tb\tx\n"), Bicleaner())


def test_digests_of_two_files_change_with_either(tmp_path: Path) -> None:
    path = write_moses(tmp_path, SENTENCES)
    first = Moses().digest(path, SW)
    written(tmp_path / "corpus.sw", lines(SENTENCES[::-1], 1))
    assert Moses().digest(path, SW) != first
