"""The command `export`: what it writes, prints, replaces and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mla_extend
from mla_extend.cli.app import app
from mla_extend.errors import BaseError, DataError, LanguageError
from mla_extend.exports.folder import check_free, export_folder, finish
from tests.conftest import save_dual_encoder
from tests.test_cli_end_to_end import add

RUNNER = CliRunner()


def export(*arguments: str, registry: Path) -> tuple[str, str]:
    """Run the command; return standard output and standard error, or raise what it raised."""
    result = RUNNER.invoke(app, ["export", *arguments], env={"MLA_EXTEND_REGISTRY": str(registry), "COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout, result.stderr


def test_a_published_language_is_exported_to_every_tool(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = tmp_path / "adapters"
    card = add(data, dual_folder, registry)
    version = registry / card["base"]["name"] / "sw" / card["version"]
    found: dict[str, Any] = {}
    for tool in ("onnx", "sentence-transformers", "immich"):
        out = tmp_path / "out" / tool
        found[tool] = json.loads(export("sw", "--to", tool, "--out", str(out), "--json", registry=registry)[0])
        assert (out / "card.json").read_bytes() == (version / "card.json").read_bytes()
        written = json.loads((out / "export.json").read_text(encoding="utf-8"))
        assert found[tool] == {"folder": str(out), **written}
        assert written["version"] == card["version"]
        assert card["version"] in (out / "README.md").read_text(encoding="utf-8")
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []

    out = tmp_path / "out" / "onnx"
    with pytest.raises(DataError, match=r"already exists\. Give --replace"):
        export("sw", "--to", "onnx", "--out", str(out), registry=registry)
    (out / "left-over.txt").write_text("old", encoding="utf-8")
    printed, _ = export("sw", "--to", "onnx", "--int8", "--out", str(out), "--replace", registry=registry)
    assert "int8 weights" in printed
    assert "README.md" in printed
    assert not (out / "left-over.txt").exists()

    monkeypatch.chdir(tmp_path)
    folder = json.loads(export("images", "--to", "onnx", "--json", registry=registry)[0])["folder"]
    assert folder == f"{card['base']['name']}-images-onnx"
    assert (tmp_path / folder / "preprocess_cfg.json").is_file()
    assert not (tmp_path / folder / "card.json").exists()
    with pytest.raises(LanguageError, match="'fr'"):
        export("fr", "--to", "onnx", registry=registry)
    assert not list(tmp_path.glob("*-fr-onnx"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("sw", "coreml", False),
            "There is no export to 'coreml'. Give --to one of onnx, sentence-transformers, immich",
        ),
        (("sw", "immich", True), "--int8 quantises text towers with --to onnx only"),
        (("images", "onnx", True), "--int8 quantises text towers with --to onnx only"),
        (("images", "immich", False), "--to immich takes a language"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_opened(
    arguments: tuple[str, str, bool], message: str
) -> None:
    language, tool, int8 = arguments
    with pytest.raises(DataError, match=message):
        mla_extend.export(language, tool, int8=int8)


def test_a_base_whose_tokenizer_panics_is_told_in_one_sentence(tmp_path: Path) -> None:
    base = save_dual_encoder(tmp_path / "broken")
    parts = json.loads((base / "tokenizer.json").read_text())
    parts["post_processor"]["special_tokens"] = {}
    (base / "tokenizer.json").write_text(json.dumps(parts))
    options = ("--base", str(base), "--out", str(tmp_path / "out"))
    with pytest.raises(BaseError, match=r"the base 'broken' fails \(PanicException: no entry found for key\)"):
        export("en", "--to", "sentence-transformers", *options, registry=tmp_path / "adapters")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_folder_that_is_no_export_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dog.jpg").write_bytes(b"a dog")
    with pytest.raises(DataError, match="is not an export: it holds no"):
        mla_extend.export("sw", "onnx", out=tmp_path / "photos", replace=True)
    assert (tmp_path / "photos" / "dog.jpg").read_bytes() == b"a dog"


def test_an_export_that_fails_leaves_the_older_one_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with export_folder(out, replace=False) as filled:
        finish(filled, {"tool": "first"}, "")
    before = (out / "export.json").read_bytes()

    def fail() -> None:
        with export_folder(out, replace=True) as filled:
            (filled / "half").write_bytes(b"0")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert (out / "export.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    check_free(out, replace=True)


def test_a_folder_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def race() -> None:
        with export_folder(out, replace=False) as filled:
            finish(filled, {"tool": "ours"}, "")
            out.mkdir()
            (out / "theirs").write_bytes(b"1")

    with pytest.raises(DataError, match="already exists"):
        race()
    assert [path.name for path in out.iterdir()] == ["theirs"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
