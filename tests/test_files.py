"""Files and folders appear whole or not at all."""

import hashlib
from pathlib import Path

import pytest

from mla_extend.files import atomic_folder, atomic_path, publish_folder, read_json, sha256_file, write_json


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"ñ": 1})
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        _write_half(temporary)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert read_json(path) == {"ñ": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as temporary:
        _write_half(temporary / "a")
    assert list(folder.parent.iterdir()) == []
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_text("whole")
    assert (folder / "a").read_text() == "whole"
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_text("late")
    assert (folder / "a").read_text() == "whole"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_taken_name_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_text(name)
    assert not publish_folder(tmp_path / "a", tmp_path / "b")
    assert publish_folder(tmp_path / "a", tmp_path / "c")
    with pytest.raises(OSError, match="d"):
        publish_folder(tmp_path / "c", tmp_path / "nowhere" / "d")
