"""Damage of every kind is found, named and given a remedy."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_registry_card import write
from test_registry_store import RECORD, make_base, publish

from mla_extend.errors import RegistryError
from mla_extend.files import read_json, sha256_file
from mla_extend.registry.layout import Version
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import check_version, verify

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
    (break_header, ADAPTER, "no readable safetensors", True),
    (link_away, ADAPTER, "a link to another place", True),
    (tamper, "card.json", "changed after it was published", True),
    (lambda version: (version.folder / "card.json").unlink(), "card.json", "is not there", True),
    (lambda version: (version.folder.parent / "current").unlink(), "current", "this is no language", False),
    (lambda version: (version.folder.parent / "current").write_text("../x"), "current", "not the name", False),
    (lambda version: shutil.rmtree(version.folder), "current", "which is not there", False),
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
    assert "it is of 'sw', and lies in the folder of 'yo'" in problem.what


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
    assert "names the base 'demo', and lies in the folder 'moved'" in problem.what
    (tmp_path / "moved" / "base.json").write_text("{}")
    (problem,) = verify(tmp_path)
    assert problem.file == "base.json"


def test_there_must_be_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="holds no base"):
        verify(tmp_path)
