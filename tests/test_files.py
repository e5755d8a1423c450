"""Files and folders appear whole or not at all."""

import errno
import hashlib
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from mla_extend.files import (
    atomic_folder,
    atomic_path,
    publish_folder,
    read_json,
    read_plain,
    sha256_file,
    sync_folder,
    write_json,
)


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


def _die_writing(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def _hold(path: Path, ready: "multiprocessing.synchronize.Event", end: "multiprocessing.synchronize.Event") -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("slow")
        ready.set()
        end.wait(60)


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be held there")
def test_what_a_dead_writer_left_is_taken_away_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    path, other = tmp_path / "a[1].json", tmp_path / "a[1].json.bak"
    dead = processes.Process(target=_die_writing, args=(path,))
    dead.start()
    dead.join(60)
    assert [left.name[:11] for left in tmp_path.iterdir()] == [".a[1].json."]
    ready, end = processes.Event(), processes.Event()
    living = processes.Process(target=_hold, args=(path, ready, end))
    living.start()
    assert ready.wait(60)
    write_json(other, 1)  # another's leftovers are not ours
    write_json(path, 2)
    assert len(list(tmp_path.glob(".*.part"))) == 1  # that of the living one
    end.set()
    living.join(60)
    assert living.exitcode == 0
    assert path.read_text() == "slow"
    assert sorted(left.name for left in tmp_path.iterdir()) == [path.name, other.name]


def test_a_folder_that_cannot_be_made_durable_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        def fsync(_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.EINVAL)  # a file system that does not do it for folders
    sync_folder(tmp_path)
    fail(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for read in (read_plain, read_json, sha256_file):
        with pytest.raises(OSError, match="It is no plain file"):
            read(tmp_path / "pipe.json")
    with pytest.raises(OSError, match=r"It is no plain file|Is a directory"):
        read_plain(tmp_path)
