"""The store of vectors, and the memo of files' contents."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from mla_extend.bases import encoding
from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.errors import CacheError, Interrupted
from mla_extend.files import open_plain, sha256_file
from mla_extend.images import pipeline
from mla_extend.images.contents import content_hashes
from mla_extend.processes import Processes
from mla_extend.stop import StopRequest
from mla_extend.vector_store import VectorStore, text_key

SPACE = {"base": "a", "rule": "1"}


def keys(texts: Sequence[str]) -> list[bytes]:
    return [text_key(text) for text in texts]


class Encoder:
    """Make a vector of a text's length, and keep what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def test_each_content_is_encoded_once_and_found_by_whoever_opens_the_store_next(tmp_path: Path) -> None:
    encode = Encoder()
    store = VectorStore(tmp_path, "text", SPACE)
    assert store.lacks(["a", "bb", "a"], keys) == 2
    assert store.vectors(["a", "bb", "a"], keys, encode).tolist() == [[1, 1], [2, 1], [1, 1]]
    other = VectorStore(tmp_path, "text", SPACE)
    assert other.lacks(["bb", "ccc"], keys) == 1
    assert other.vectors(["ccc", "bb", "ccc"], keys, encode).tolist() == [[3, 1], [2, 1], [3, 1]]
    assert store.vectors(["ccc"], keys, encode).tolist() == [[3, 1]]
    assert encode.asked == ["a", "bb", "ccc"]


@pytest.mark.parametrize("space", [{**SPACE, "rule": "2"}, {**SPACE, "base": "b"}, {**SPACE, "pillow": "12"}])
def test_vectors_that_were_made_otherwise_are_not_found(tmp_path: Path, space: dict[str, str]) -> None:
    VectorStore(tmp_path, "text", SPACE).vectors(["a"], keys, Encoder())
    assert VectorStore(tmp_path, "text", space).lacks(["a"], keys) == 1
    assert VectorStore(tmp_path, "images", SPACE).lacks(["a"], keys) == 1


def test_many_items_come_back_in_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [str(number) for number in rng.integers(0, 9_000, size=12_000)]
    numbers = np.array([[int(text)] for text in texts], dtype=np.float32)

    def encode(part: list[str]) -> np.ndarray:
        return np.array([[int(text)] for text in part], dtype=np.float32)

    store = VectorStore(tmp_path, "text", SPACE)
    store.vectors(texts[:3_000], keys, encode)
    assert np.array_equal(store.vectors(texts, keys, encode, step=100, keep=700), numbers)


def test_a_stop_is_heard_between_two_steps_and_what_was_encoded_is_kept(tmp_path: Path) -> None:
    stop = StopRequest()
    texts = [f"{i}" for i in range(10)]

    def encode(part: list[str]) -> np.ndarray:
        stop.requested = "4" in part
        return np.ones((len(part), 2), dtype=np.float32)

    store = VectorStore(tmp_path, "text", SPACE)
    with pytest.raises(Interrupted, match="6 of 10 done and kept"):
        store.vectors(texts, keys, encode, step=2, keep=4, stop=stop)
    assert store.lacks(texts, keys) == 4


def test_a_damaged_vector_is_encoded_again(tmp_path: Path) -> None:
    encode = Encoder()
    store = VectorStore(tmp_path, "text", SPACE)
    store.vectors(["a", "bb"], keys, encode)
    store.close()
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE vectors SET vector = x'0000803f0000803e' WHERE key = ?", (text_key("a"),))
    connection.close()
    assert store.vectors(["a", "bb"], keys, encode).tolist() == [[1, 1], [2, 1]]
    assert encode.asked == ["a", "bb", "a"]
    assert store.lacks(["a"], keys) == 0


@pytest.mark.parametrize("damage", [b"rubbish" * 9_999, b""])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    store = VectorStore(tmp_path, "text", SPACE)
    store.vectors(["a"], keys, Encoder())
    store.close()
    store.path.write_bytes(damage)
    assert store.vectors(["a"], keys, Encoder()).tolist() == [[1, 1]]
    assert VectorStore(tmp_path, "text", SPACE).lacks(["a"], keys) == 0


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, "text", SPACE)
    store.path.mkdir()
    with pytest.raises(CacheError, match="MLA_EXTEND_CACHE"):
        store.add([text_key("a")], np.ones((1, 2), dtype=np.float32))


WRITE = """
import os, sys
from pathlib import Path
import numpy as np
from mla_extend.vector_store import VectorStore, text_key
folder, first, count, status = Path(sys.argv[1]), *map(int, sys.argv[2:])
store = VectorStore(folder, "text", {"base": "a", "rule": "1"})
for start in range(first, first + count, 8):
    part = [str(i) for i in range(start, start + 8)]
    store.add([text_key(text) for text in part], np.array([[float(text)] for text in part], dtype=np.float32))
os._exit(status)
"""


def test_processes_write_at_once_and_one_that_dies_loses_nothing_it_had_kept(tmp_path: Path) -> None:
    jobs = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), *map(str, job)])
        for job in ((0, 160, 0), (80, 160, 0), (240, 160, 9))
    ]
    assert [job.wait(60) for job in jobs] == [0, 0, 9]
    texts = [str(i) for i in range(400)]
    found = VectorStore(tmp_path, "text", SPACE).find(keys(texts))
    assert [found[text_key(text)].tolist() for text in texts] == [[float(text)] for text in texts]


def test_descriptors_and_memory_do_not_grow_with_what_is_held(tmp_path: Path) -> None:
    store = VectorStore(tmp_path, "text", SPACE)
    rows = 32
    for start in range(0, 300 * rows, rows):
        part = [str(i) for i in range(start, start + rows)]
        store.add(keys(part), np.ones((rows, 4), dtype=np.float32))
    store.close()
    assert len(list(tmp_path.iterdir())) == 1
    tracemalloc.start()
    again = VectorStore(tmp_path, "text", SPACE)
    assert again.lacks([str(i) for i in range(300 * rows)], keys) == 0
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10 * 300 * rows
    descriptors = Path("/proc/self/fd")
    if descriptors.is_dir():
        open_files = [str(one.readlink()) for one in descriptors.iterdir() if one.is_symlink() and one.exists()]
        assert sum(str(tmp_path) in one for one in open_files) <= 3


# What decides a vector --------------------------------------------------------------------------------------------


def test_images_encoded_by_another_preparation_are_not_reused(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "a.png"
    Image.effect_noise((40, 30), 90).convert("RGB").save(picture)
    base = open_base(str(clip_folder))
    Features(base).images([picture])
    assert Features(base).lacks_images([picture]) == 0
    base.processor.image_mean = [0.1, 0.2, 0.3]
    assert Features(base).lacks_images([picture]) == 1
    base = open_base(str(clip_folder))
    monkeypatch.setattr(encoding, "version", lambda name: "99.0.1" if name == "pillow" else "1.0")
    assert Features(base).lacks_images([picture]) == 1


def test_what_a_processor_is_does_not_depend_on_where_it_lies() -> None:
    class Steps:
        def __init__(self) -> None:
            self.step = object()

        def __repr__(self) -> str:
            return f"Steps({self.step!r})"

    first, second = (Mock(processor=Steps(), identity=Mock(fingerprint="0")) for _ in range(2))
    assert encoding.image_encoding(first) == encoding.image_encoding(second)


def test_processes_that_encode_together_stop_together(dual_folder: Path) -> None:
    class Second(Processes):
        def any(self, flag: bool) -> bool:
            assert not flag
            return True  # the first one was asked to stop

    base = open_base(str(dual_folder))
    features = Features(base, processes=Second(1, 2))
    with pytest.raises(Interrupted, match="Run the same command again"):
        features.text(["a", "b", "c"])
    assert Features(base).lacks_text(["a", "b", "c"]) == 2  # its share is kept


# Contents of files ------------------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files whose content was read, as they are."""
    found: list[Path] = []

    def count(path: Path) -> BinaryIO:
        found.append(path)
        return open_plain(path)

    monkeypatch.setattr(pipeline, "open_plain", count)
    return found


def old(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    os.utime(path, (time.time() - 100, time.time() - 100))
    return path


def test_an_unchanged_file_is_read_once_and_a_changed_one_again(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "TOO_YOUNG", -1.0)
    paths = [old(tmp_path / name, name.encode()) for name in "abc"]
    first = content_hashes([*paths, paths[0]])
    assert first == [bytes.fromhex(sha256_file(path)) for path in [*paths, paths[0]]]
    assert len(read) == 3
    assert content_hashes(paths) == first[:3]
    assert len(read) == 3
    before = paths[0].stat()
    paths[0].write_bytes(b"A")  # of the same size, and made to look as old
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content_hashes(paths)[0] == bytes.fromhex(sha256_file(paths[0])) != first[0]
    shutil.copy2(paths[1], paths[2])
    assert content_hashes(paths)[2] == first[1]


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    content_hashes([path])
    content_hashes([path])
    assert len(read) == 2


def test_a_file_that_cannot_be_read_has_no_content(tmp_path: Path) -> None:
    there = old(tmp_path / "a", b"a")
    odd = tmp_path / os.fsdecode(b"\xff")
    odd.write_bytes(b"odd")
    found = content_hashes([tmp_path / "gone", there, odd, tmp_path])
    assert [one is None for one in found] == [True, False, False, True]
