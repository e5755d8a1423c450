"""The command `cache`: what lies where, and what of it goes."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mla_extend.bases import encoding
from mla_extend.cli.app import app
from mla_extend.demo.base import base_place
from mla_extend.files import atomic_folder
from mla_extend.images.contents import content_hashes
from mla_extend.vector_store import VectorStore, text_key


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("MLA_EXTEND_CACHE", str(folder))
    return folder


def run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["cache", "--json", *arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def store(cache: Path, base: str = "a" * 32, **changes: str) -> Path:
    space = {"base": base, "rule": encoding.TEXT_RULE, **encoding._versions("transformers", "tokenizers"), **changes}
    made = VectorStore(cache / "features" / base, "text", space, "my-clip")
    made.add([text_key("a"), text_key("b")], np.ones((2, 3), dtype=np.float32))
    made.close()
    return made.path


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 1000)
    return path


def test_nothing_is_told_of_nothing(cache: Path) -> None:
    assert run() == {"folder": str(cache), "parts": [], "removed": []}
    assert "empty" in CliRunner().invoke(app, ["cache"]).stdout


def test_each_part_has_its_size_and_what_it_holds(cache: Path) -> None:
    vectors = store(cache)
    write(cache / "unpacked" / "picture")
    content_hashes([cache / "unpacked" / "picture"])
    write(base_place() / "model.safetensors")
    parts = {part["path"]: part for part in run()["parts"]}
    assert parts.keys() == {str(path) for path in (vectors, cache / "unpacked", cache / "files.sqlite3", base_place())}
    assert parts[str(vectors)]["what"] == "2 vectors of text, base my-clip"
    assert parts[str(cache / "unpacked")]["size"] == 1000
    assert parts[str(base_place())]["what"] == "the demo base"
    assert not any(part["unused"] for part in parts.values())
    shown = CliRunner().invoke(app, ["cache"], env={"COLUMNS": "200"}).stdout
    assert "2 vectors of text, base my-clip" in shown
    assert "--clean" not in shown


def test_what_nothing_reads_any_more_is_removed_and_nothing_else(cache: Path) -> None:
    kept = [store(cache), write(cache / "packages" / "a.whl"), write(base_place() / "model.safetensors")]
    gone = [
        store(cache, rule="0"),
        store(cache, transformers="4.1"),
        write(cache / "features" / ("b" * 32) / "text" / "0123.npy"),
        write(cache / "demo" / "base-0123" / "model.safetensors"),
        write(cache / "packages" / ".b.whl.0123.part").parent.parent / ".tables.0123.part",
    ]
    write(gone[-1])
    damaged = cache / "features" / ("c" * 32) / f"text-0{Path(kept[0]).suffix}"
    gone.append(write(damaged))
    old = time.time() - 3 * 86_400
    os.utime(gone[-2], (old, old))
    assert {part["path"] for part in run()["parts"] if part["unused"]} >= {str(gone[0]), str(gone[1]), str(gone[-1])}
    assert "cache --clean" in CliRunner().invoke(app, ["cache"], env={"COLUMNS": "200"}).stdout
    removed = run("--clean")["removed"]
    assert len(removed) == len(gone)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
    assert not [part for part in run()["parts"] if part["unused"]]


def test_what_was_not_used_for_long_is_removed_when_asked_for(cache: Path) -> None:
    old, young = store(cache), store(cache, base="b" * 32)
    then = time.time() - 40 * 86_400
    os.utime(old, (then, then))
    assert run("--clean")["removed"] == []
    assert [part["path"] for part in run("--clean", "--unused-for", "30")["removed"]] == [str(old)]
    assert young.exists()
    assert CliRunner().invoke(app, ["cache", "--unused-for", "30"]).exit_code == 2


def test_a_store_that_a_process_has_open_stays(cache: Path) -> None:
    stale = store(cache, rule="0")
    with sqlite3.connect(stale) as connection:
        assert connection.execute("SELECT count(*) FROM vectors").fetchone() == (2,)
        assert run("--clean")["removed"] == []
        assert "open" in CliRunner().invoke(app, ["cache", "--clean"], env={"COLUMNS": "200"}).stderr
    connection.close()
    assert [part["path"] for part in run("--clean")["removed"]] == [str(stale)]


def test_what_a_dead_process_was_writing_goes_wherever_it_lies_and_what_a_living_one_writes_stays(cache: Path) -> None:
    dead = write(cache / "tables" / ".0123.abcd.part" / "tensors").parent
    with atomic_folder(cache / "tables" / "4567") as living:
        write(living / "tensors")
        assert [part["path"] for part in run("--clean", "--unused-for", "0")["removed"]] == [str(dead)]
        assert not dead.exists()
    assert (cache / "tables" / "4567" / "tensors").is_file()


def test_looking_at_the_cache_imports_no_torch(cache: Path) -> None:
    store(cache)
    program = (
        "import sys; from typer.testing import CliRunner; from mla_extend.cli.app import app\n"
        "assert CliRunner().invoke(app, ['cache', '--json']).exit_code == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
