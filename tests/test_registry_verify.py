"""Damage of every kind is found, named and given a remedy."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_registry_card import write
from test_registry_store import RECORD, make_base, publish

from mla_extend.errors import RegistryError
from mla_extend.files import read_json, sha256_file
from mla_extend.registry import lock as locking
from mla_extend.registry.check import check_version
from mla_extend.registry.layout import Version
from mla_extend.registry.store import Registry
from mla_extend.registry.summary import find_home, summaries
from mla_extend.registry.verify import verify

ADAPTER = "adapter_model.safetensors"


def flip(version: Version) -> None:
    path = version.folder / ADAPTER
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def break_header(version: Version) -> None:
    path = version.folder / ADAPTER
    path.chmod(0o644)
    path.write_bytes(b"\xff" * 40)
    values = read_json(version.folder / "card.json")
    values["files"][ADAPTER] = sha256_file(path)
    (version.folder / "card.json").chmod(0o644)
    write(version.folder, {key: value for key, value in values.items() if key != "digest"})


def link_away(version: Version) -> None:
    path = version.folder / ADAPTER
    path.rename(version.folder.parent.parent / ".elsewhere")
    path.symlink_to(version.folder.parent.parent / ".elsewhere")


def tamper(version: Version) -> None:
    path = version.folder / "card.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))


DAMAGES: list[tuple[Callable[[Version], object], str, str, bool]] = [
    (flip, ADAPTER, "it was changed: the card records the SHA-256", True),
    (lambda version: (version.folder / ADAPTER).unlink(), ADAPTER, "it is missing", True),
    (lambda version: (version.folder / "run.py").write_text("1"), "run.py", "not on the card", True),
    (break_header, ADAPTER, "not a readable safetensors", True),
    (link_away, ADAPTER, "it is a link", True),
    (tamper, "card.json", "changed after it was published", True),
    (lambda version: (version.folder / "card.json").unlink(), "card.json", "is missing", True),
    (
        lambda version: (version.folder.parent / "current").unlink(),
        "current",
        "without it this is not a language",
        False,
    ),
    (lambda version: (version.folder.parent / "current").write_text("../x"), "current", "not the name", False),
    (lambda version: shutil.rmtree(version.folder), "current", "which does not exist", False),
    (lambda version: (version.folder.parent / "x.txt").write_text(""), "x.txt", "it is no version", False),
]


@pytest.mark.parametrize(("damage", "file", "what", "at_load"), DAMAGES)
def test_damage_is_found(
    tmp_path: Path, damage: Callable[[Version], object], file: str, what: str, at_load: bool
) -> None:
    base = make_base(tmp_path)
    publish(base, "yo")
    version = publish(base, "sw")
    assert verify(tmp_path) == []
    assert check_version(version) == base.card("sw")
    damage(version)
    (problem,) = verify(tmp_path)
    assert (problem.base, problem.language, problem.file) == ("demo", "sw", file)
    assert what in problem.what
    assert problem.remedy
    assert str(problem).startswith("demo/sw/")
    assert ".. " not in str(problem)
    if at_load:
        with pytest.raises(RegistryError, match=file):
            check_version(version)


def test_a_language_in_anothers_folder_is_found(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")
    (base.folder / "sw").rename(base.folder / "yo")
    (problem,) = verify(tmp_path)
    assert "it is for 'sw', but is in the folder of 'yo'" in problem.what


def test_a_renamed_version_is_found(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    version = publish(base, "sw")
    other = "2020-01-01T00-00-00Z-0000"
    version.folder.rename(version.folder.with_name(other))
    (version.folder.parent / "current").write_text(other)
    (problem,) = verify(tmp_path)
    assert version.name in problem.what
    assert other in problem.what


def test_a_language_of_another_base_is_found(tmp_path: Path) -> None:
    publish(make_base(tmp_path), "sw")
    other = Registry(tmp_path).create(replace(RECORD, name="other", fingerprint="e" * 64))
    shutil.copytree(tmp_path / "demo" / "sw", other.folder / "sw")
    (problem,) = verify(tmp_path)
    assert problem.base == "other"
    assert "'demo'" in problem.what
    assert "eeee" in problem.what


def test_damage_of_the_base_record_and_strangers_are_found(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")
    (base.folder / "notes.txt").write_text("")
    (problem,) = verify(tmp_path)
    assert problem.file == "notes.txt"
    (base.folder / "notes.txt").unlink()
    base.folder.rename(tmp_path / "moved")
    (problem,) = verify(tmp_path)
    assert "names the base 'demo', but is in the folder 'moved'" in problem.what
    (tmp_path / "moved" / "base.json").write_text("{}")
    (problem,) = verify(tmp_path)
    assert problem.file == "base.json"


def test_there_must_be_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="holds no base"):
        verify(tmp_path)


def test_links_in_place_of_folders_are_found(tmp_path: Path) -> None:
    base = make_base(tmp_path / "registry")
    version = publish(base, "sw")
    shutil.move(version.folder, tmp_path / "elsewhere")
    version.folder.symlink_to(tmp_path / "elsewhere")
    (problem,) = verify(tmp_path / "registry")
    assert str(problem).startswith(f"demo/sw/{version.name}: it is a link. Put a copy")
    with pytest.raises(RegistryError, match="it is a link"):
        check_version(version)
    version.folder.unlink()
    shutil.move(tmp_path / "elsewhere", version.folder)
    shutil.move(base.folder / "sw", tmp_path / "elsewhere")
    (base.folder / "sw").symlink_to(tmp_path / "elsewhere")
    (problem,) = verify(tmp_path / "registry")
    assert str(problem).startswith("demo/sw: it is a link. Put a copy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
@pytest.mark.parametrize("name", ["card.json", "adapter_model.safetensors", "../current", "../../base.json"])
def test_a_pipe_in_place_of_a_file_is_found(tmp_path: Path, name: str) -> None:
    path = publish(make_base(tmp_path), "sw").folder / name
    path.unlink()
    os.mkfifo(path)
    told = " ".join(map(str, verify(tmp_path)))
    assert ("It is no plain file" in told) or (name == "../current" and "sw/current: it is missing" in told)


def test_a_base_that_cannot_be_read_is_told_and_keeps_nobody_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(make_base(tmp_path), "sw")
    publish(Registry(tmp_path).create(replace(RECORD, name="other")), "yo")
    denied = tmp_path / "demo" / "base.json"
    real_lstat, real_open = os.lstat, os.open

    def lstat(path: object, **options: object) -> os.stat_result:
        if Path(str(path)) == denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_lstat(path, **options)  # type: ignore[arg-type]

    def opened(path: object, *options: int) -> int:
        if Path(str(path)) == denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_open(path, *options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "lstat", lstat)
    monkeypatch.setattr(os, "open", opened)
    rows, problems = summaries(tmp_path)
    assert [row["language"] for row in rows] == ["yo"]
    assert len(problems) == 1
    assert "Permission denied" in problems[0]
    assert find_home("yo", None, tmp_path)[0] == "yo"
    with pytest.raises(RegistryError, match="Permission denied"):
        find_home("sw", "demo", tmp_path)
    assert "base.json" in str(verify(tmp_path)[0])
    monkeypatch.setattr(os, "listdir", lambda path: lstat(denied))
    with pytest.raises(RegistryError, match=r"cannot be read .*Permission denied.*Make it readable"):
        summaries(tmp_path)


def test_a_registry_that_is_there_is_opened_without_a_lock_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with locking.lock(base.folder):
        monkeypatch.setattr(locking, "LOCK_SECONDS", 0.0)
        assert Registry(tmp_path).create(RECORD).tags() == ["sw"]
        assert verify(tmp_path) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_version_whose_publishing_was_cut_off_is_none(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    first = publish(base, "sw")
    second = publish(base, "sw", 1, replace=True)
    (second.folder / ".pending").touch()
    assert base.versions("sw") == [first, second]  # it is in use: only the mark was left
    (base.folder / "sw" / "current").write_text(first.name)
    assert base.versions("sw") == [first]
    with pytest.raises(RegistryError, match="no version"):
        base.find("sw", second.name)
    assert verify(tmp_path) == []
    third = publish(base, "sw", 2, replace=True)
    assert base.versions("sw") == [first, third]
    assert {path.name for path in (base.folder / "sw").glob("*Z-*")} == {first.name, third.name}
    (third.folder / ".pending").touch()
    base.use("sw", first.name)
    assert base.versions("sw") == [first, third]  # the mark went before the other was put into use
    (base.folder / "sw" / "current").unlink()
    (first.folder / ".pending").touch()
    (third.folder / ".pending").touch()
    assert base.tags() == []
    assert verify(tmp_path) == []  # as after a first publish that was cut off
    (third.folder / ".pending").unlink()
    assert "without it this is not a language" in str(verify(tmp_path)[0])
