"""Public data for a language: the package's own table, and the corpora of mtdata's index."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mla_extend.cli.app import app
from mla_extend.data.codes import language_tag
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.pairs import ParallelText
from mla_extend.data.source import open_source, parse_source
from mla_extend.data.sources import TABLE, public_sources
from mla_extend.data.specification import names
from mla_extend.data.test_sets import read_test_set
from mla_extend.errors import DataError, LanguageError
from tests.test_cli_end_to_end import run

INDEX = """\
OPUS-news_commentary-v9.1-eng-swa\thttps://example.org/9\t*.en,*.sw
OPUS-news_commentary-v16-eng-swa\thttps://example.org/16\t*.en,*.sw
OPUS-ubuntu-v14.10-eng_AU-swa\thttps://example.org/au\t
OPUS-ubuntu-v14.10-eng-swa\thttps://example.org/ubuntu\t
Statmt-ccaligned-1-eng-swa_KE\thttps://example.org/cc\t
OPUS-tatoeba-v20230412-abc-eng_GB\thttps://example.org/tatoeba\t
Flores-flores200_dev-1-eng-swa\thttps://example.org/flores\t
Leipzig-web-1-swa\thttps://example.org/leipzig\t
"""


@pytest.fixture
def none_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide mtdata, wherever it is; return a folder of the path."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def fake(folder: Path, body: str) -> None:
    program = folder / "mtdata"
    program.write_text(f"#!{sys.prefix}/bin/python\nimport os, sys\n{body}\n", encoding="utf-8")
    program.chmod(0o755)


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_a_line_of_the_table_is_whole(row: dict[str, str]) -> None:
    assert all(row[key] for key in row if key != "use")
    codes = row["codes"].split()
    assert len(codes) == len(set(codes))
    assert codes == ["*"] or all(map(language_tag, codes))
    assert row["page"].startswith("https://")


@pytest.mark.parametrize("language", ["sw", "de", "ja", "zh", "fo"])
def test_what_is_to_be_typed_can_be_typed(language: str, none_installed: Path) -> None:
    group = typer.main.get_command(app)
    for one in public_sources(language)["sources"]:
        assert not re.search(r"[{}]", one["fetch"] + one["use"])
        if not one["use"]:
            continue
        program, name, *arguments = shlex.split(one["use"])
        assert program == "mla-extend"
        group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]
        assert set(re.findall(r" ([a-z0-9-]+):", one["use"])) <= set(names())


def test_a_source_is_named_for_its_languages_alone(none_installed: Path) -> None:
    def named(language: str) -> set[str]:
        return {one["name"] for one in public_sources(language)["sources"]}

    assert named("sw") == {"CLDR emoji names", "WIT", "Crossmodal-3600", "FLORES-200", "NTREX-128"}
    assert named("fo") == {"CLDR emoji names", "WIT", "GATITOS", "FLORES-200", "NTREX-128"}
    assert {"Multi30K", "XTD10", "xFlickr&CO"} <= named("de")
    assert {"STAIR Captions", "XTD10"} <= named("ja")
    assert "FLORES-200" not in named("sr-Latn")  # it has Cyrillic alone
    uses = {one["name"]: one["use"] for one in public_sources("zh-Hant")["sources"]}
    assert "zho_Hant.devtest" in uses["FLORES-200"]
    assert "ref.zho-TW.txt" in uses["NTREX-128"]


def test_files_of_the_table_are_read_as_it_says(none_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sources without a layout of their own: line-aligned files without codes, and a word list."""
    monkeypatch.chdir(none_installed)
    uses = {one["name"]: one["use"].split() for one in public_sources("fo")["sources"]}
    for name in ("FLORES-200", "NTREX-128"):
        given = uses[name][-1]
        native, target = map(Path, given.removeprefix("moses:").split(","))
        target.parent.mkdir(parents=True)
        native.write_text("one dog\na boat\n", encoding="utf-8")
        target.write_text("ein hundur\nein bátur\n", encoding="utf-8")
        split = read_test_set(parse_source(given, ColumnMapping("fo"))).splits["test"]
        assert isinstance(split, ParallelText)
        assert (split.native[0], split.target[0]) == ("one dog", "ein hundur")
    Path(uses["GATITOS"][-1]).write_text("a\tEin\na little\teitt sindur\na lot\tein rúgva\n", encoding="utf-8")
    assert open_source(uses["GATITOS"][-1], ColumnMapping("fo")).parallel().target == [
        "Ein",
        "eitt sindur",
        "ein rúgva",
    ]


def test_the_index_gives_the_newest_of_each_corpus(none_installed: Path) -> None:
    fake(
        none_installed,
        f"assert sys.argv[1:] == ['list', '--langs', 'eng-sw'] and not os.listdir()\nprint({INDEX!r}, end='')",
    )
    found = public_sources("sw")
    assert found["notes"] == []
    assert [one["name"] for one in found["index"]] == [
        "OPUS-news_commentary-v16-eng-swa", "OPUS-ubuntu-v14.10-eng-swa", "Statmt-ccaligned-1-eng-swa_KE",
        "OPUS-tatoeba-v20230412-abc-eng_GB",
    ]  # fmt: skip
    assert [one["licence"] for one in found["index"]] == ["unknown"] * 3 + ["CC BY 2.0 FR"]
    last = found["index"][-1]
    assert last["fetch"] == "mtdata echo OPUS-tatoeba-v20230412-abc-eng_GB > OPUS-tatoeba-v20230412-abc-eng_GB.tsv"
    assert last["use"].endswith("--parallel-data OPUS-tatoeba-v20230412-abc-eng_GB.tsv --columns native=1,target=0")
    code, out, _ = run("sources", "sw", registry=none_installed)
    assert code == 0
    assert "tatoeba-v20230412-abc-eng_GB (CC BY 2.0 FR)" in " ".join(out.split())


def test_without_mtdata_the_table_is_there_and_what_to_install(none_installed: Path) -> None:
    code, out, _ = run("sources", "pt-BR", "--json", registry=none_installed)
    found = json.loads(out)
    assert code == 0
    assert found["index"] == []
    assert "pip install 'mla-extend[sources]'" in found["notes"][0]
    xtd = next(one for one in public_sources("de")["sources"] if one["name"] == "XTD10")
    assert xtd["noncommercial"]
    out = run("sources", "sw", registry=none_installed)[1]
    assert "mla-extend evaluate sw --test-set xm3600:xm3600" in out
    assert "pip install 'mla-extend[sources]'" in out


def test_what_mtdata_refuses_is_told(none_installed: Path) -> None:
    fake(none_installed, "sys.exit('invalid Langs value: eng-qqq')")
    found = public_sources("sw")
    assert found["sources"]
    assert found["notes"] == ["mtdata's index could not be searched for 'sw': ...invalid Langs value: eng-qqq"]


def test_no_language_and_english_are_refused() -> None:
    with pytest.raises(LanguageError, match="'swahily' is not a language code"):
        public_sources("swahily")
    with pytest.raises(DataError, match="'en-GB' is English, which is the other side"):
        public_sources("en-GB")


@pytest.mark.skipif(shutil.which("mtdata") is None, reason="mtdata is not installed")
def test_the_real_index_is_asked() -> None:
    found = public_sources("sw")
    assert found["notes"] == []
    assert any(one["name"].startswith("OPUS-") and one["name"].endswith("-eng-swa") for one in found["index"])


def test_listing_sources_loads_no_torch() -> None:
    program = "import sys, mla_extend.data.sources as s\ns.public_sources('sw')\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env={"PATH": ""})
