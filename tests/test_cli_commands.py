"""What holds of every command: its group, `--json`, and one spelling of a version."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mla_extend.cli.app import PANELS, app
from mla_extend.cli.options import languages_there
from mla_extend.cli.serve import serve
from mla_extend.errors import DataError, LanguageError, RegistryError
from mla_extend.registry.languages import BaseRegistry
from tests.conftest import TARGET_WORDS
from tests.test_cli_end_to_end import run
from tests.test_compare import publisher, rows_of, write_rows

COMMANDS: dict[str, Any] = getattr(typer.main.get_command(app), "commands", {})


def test_help_shows_the_commands_in_their_groups() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    titles = re.findall(r"─ (Add|Look|Measure|Search|Share|Versions) ─", shown)
    assert titles == list(PANELS)
    assert set(COMMANDS) == {name for panel in PANELS.values() for name in panel}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


@pytest.fixture
def two(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> tuple[BaseRegistry, list[str]]:
    """Give a registry with two versions of Swahili, and their names; the second is in use."""
    test_set = write_rows(tmp_path / "test.jsonl", rows_of(pictures[:10], TARGET_WORDS, captions=1))
    home, publish = publisher(dual_folder, tmp_path / "adapters")
    return home, [publish("sw", seed, test_set) for seed in (1, 2)]


def read_by(home: BaseRegistry, text: str, out: Path) -> Iterator[tuple[str, str]]:
    """Let each command that reads a language read this one: its name, and the version that it says."""
    root = home.folder.parent
    found = json.loads(run("evaluate", text, "--json", registry=root)[1])
    yield "evaluate", found["version"]
    yield "show", json.loads(run("show", text, "--json", registry=root)[1])["version"]
    yield "pack", json.loads(run("pack", text, "--out", str(out), "--json", registry=root)[1])["version"]
    tool = ["--to", "sentence-transformers", "--out", str(out / text.replace("@", "-"))]
    yield "export", json.loads(run("export", text, *tool, "--json", registry=root)[1])["version"]
    page = ["--out", str(out / "report.html"), "--json"]
    data = json.loads(run("report", text, *page, registry=root)[1])["data"]
    yield "report", data["bases"][0]["languages"][0]["version"]


def test_a_version_is_spelt_one_way_everywhere(two: tuple[BaseRegistry, list[str]], tmp_path: Path) -> None:
    home, names = two
    for text, name in (("sw", names[1]), ("sw@v1", names[0]), (f"sw@{names[0]}", names[0])):
        assert dict(read_by(home, text, tmp_path)) == dict.fromkeys(
            ("evaluate", "show", "pack", "export", "report"), name
        )


def test_what_is_read_is_the_version_that_is_named(two: tuple[BaseRegistry, list[str]], tmp_path: Path) -> None:
    """The figures and the page's examples are those that the version in use has once it is the one in use."""
    root = two[0].folder.parent

    def read(text: str) -> tuple[Any, Any]:
        evaluated = json.loads(run("evaluate", text, "--json", registry=root)[1])["splits"]
        page = ["--out", str(tmp_path / "report.html"), "--json"]
        return evaluated, json.loads(run("report", text, *page, registry=root)[1])["data"]["examples"]

    first, second = read("sw@v1"), read("sw")
    assert first != second
    two[0].use("sw", "v1")
    assert read("sw") == first


def test_what_names_no_version_is_refused(two: tuple[BaseRegistry, list[str]]) -> None:
    root = two[0].folder.parent
    with pytest.raises(RegistryError, match=r"'sw@' names no version after '@'. Write sw@v1, or sw alone"):
        run("show", "sw@", registry=root)
    with pytest.raises(RegistryError, match="has no version 'v3'"):
        run("export", "sw@v3", "--to", "onnx", registry=root)
    for command in (["remove"], ["prune", "--keep", "1"]):
        with pytest.raises(LanguageError, match="'sw@v1' is a version, but a language is needed"):
            run(*command, "sw@v1", registry=root)
    with pytest.raises(DataError, match=r"'sw@v1' names sw a second time.*compare"):
        run("report", "sw", "sw@v1", "--no-examples", registry=root)


def test_list_is_of_one_base_where_it_is_named(two: tuple[BaseRegistry, list[str]], clip_folder: Path) -> None:
    root = two[0].folder.parent
    publisher(clip_folder, root)[1]("de")

    def listed(*given: str) -> list[str]:
        return [row["language"] for row in json.loads(run("list", "--json", *given, registry=root)[1])]

    assert sorted(listed()) == ["de", "sw"]
    assert listed("--base", "tiny-clip") == listed("--base", str(clip_folder)) == ["de"]
    assert [row["version"] for row in json.loads(run("list", "sw", "--json", registry=root)[1])["versions"]] == two[1][
        ::-1
    ]


def test_versions_are_completed(two: tuple[BaseRegistry, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLA_EXTEND_REGISTRY", str(two[0].folder.parent))
    assert list(languages_there("s")) == ["sw"]
    assert list(languages_there("sw@")) == ["sw@v1", "sw@v2"]
    assert list(languages_there("de@")) == []


def test_serve_tells_its_address_as_json_before_it_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    index = SimpleNamespace(count=3, base_stated=True, is_older=lambda: False)
    searcher = SimpleNamespace(index=index, model=SimpleNamespace(languages=["en", "sw"]))
    service = SimpleNamespace(url="http://here:1", searcher=searcher, run=lambda: told.append(capsys.readouterr().out))
    monkeypatch.setattr("mla_extend.serve.server.open_service", lambda *_, **__: service)
    serve(json=True)
    assert json.loads(told[0]) == {"url": "http://here:1", "images": 3, "languages": ["en", "sw"]}


def test_remove_tells_what_it_removed_as_json(two: tuple[BaseRegistry, list[str]]) -> None:
    found = json.loads(run("remove", "sw", "--yes", "--json", registry=two[0].folder.parent)[1])
    assert (found["language"], found["removed"]) == ("sw", two[1])
    assert found["isolation"]["ok"]
