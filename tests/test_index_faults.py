"""The image index where things fail: a full disk, a kill, power that goes, streams of few characters."""

import io
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from mla_extend.bases.open import open_base
from mla_extend.cli import app
from mla_extend.errors import DataError
from mla_extend.search.index import ImageIndex, graph, store
from mla_extend.search.index import about as about_file
from mla_extend.search.index import shards as shards_file
from mla_extend.search.index.build import index_images
from tests.test_index import DYING, fill, names, picture, shards, unit

FULL = r"index cannot be written \(.*Its earlier content is intact\. Free some space"


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, which to a program is a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("size", [0, 100, 5_000, 20_000, 60_000])
def test_a_full_disk_is_told_and_leaves_the_former_index(tmp_path: Path, size: int) -> None:
    """Whatever is the file that has no room: the database, its journal or a shard."""
    folder, vectors = tmp_path / "index", unit(30)
    with (
        disk_of(size),
        pytest.raises(DataError, match=r"index cannot be written \(.*Its earlier content is intact\. Free some"),
    ):
        fill(folder, unit(1000, seed=1))
    fill(folder, vectors, prefix="first")
    with (
        disk_of(size),
        pytest.raises(DataError, match=r"index cannot be written \(.*Its earlier content is intact\. Free some"),
    ):
        fill(folder, unit(1000, seed=1))
    with closing(ImageIndex.open(folder)) as index:
        assert index.count == 30
        assert [hits[0][0] for hits in index.nearest(vectors, 1)] == [*range(1, 31)]
    fill(folder, unit(1000, seed=1))
    assert len(names(folder)) == 1030
    assert not [path for path in folder.iterdir() if store.PART.fullmatch(path.name)]


@pytest.mark.parametrize("missing", [1, 10_000])
def test_a_full_disk_is_told_while_a_graph_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    pytest.importorskip("usearch")
    monkeypatch.setattr(graph, "FEW", 10)
    folder = tmp_path / "index"
    fill(folder, unit(100))

    def refresh() -> int:
        with store.writing(folder) as opened:
            graph.refresh_graph(opened)
            size = (folder / opened.value("graph")).stat().st_size
            opened.tell({"graph": "", "graph_upto": "0"})
        return size

    whole = refresh()
    with disk_of(whole - missing), pytest.raises(DataError, match="cannot be written"):
        refresh()
    assert refresh() == whole


def test_what_a_kill_left_while_an_index_was_made_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    done = subprocess.run([sys.executable, "-c", DYING, str(folder), "transaction"], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not list(folder.glob("*-journal"))
    for left in (".index.sqlite.0a1b2c3d.part", ".index.sqlite.0a1b2c3d.part-journal", "vectors/.0a.npy.0a1b2c3d.part"):
        (folder / left).write_bytes(b"half")
    fill(folder, unit(5))
    assert {path.name for path in folder.iterdir()} == {about_file.FILE, shards_file.VECTORS, store.LOCK}
    assert len(shards(folder)) == 1


def test_what_is_done_outlasts_power(tmp_path: Path) -> None:
    """SQLite's journal is deleted for good with EXTRA alone: else it may come back, and undo what was done."""
    fill(tmp_path / "index", unit(2))
    with closing(about_file.connect(tmp_path / "index")) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (3,)


def test_a_page_of_the_database_that_is_damaged_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    fill(folder, unit(2000))
    content = bytearray((folder / about_file.FILE).read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    (folder / about_file.FILE).write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged \("):
        fill(folder, unit(5), prefix="late")


@pytest.mark.parametrize("place", [-1, -5, 128, 700])
def test_one_wrong_bit_in_a_shard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """By a reader, and by the next writer whatever the shard's size."""
    folder = tmp_path / "index"
    fill(folder, unit(20))
    [(shard, content)] = shards(folder).items()
    content = bytearray(content)
    content[place] ^= 1
    (folder / shards_file.VECTORS / shard).write_bytes(content)
    with pytest.raises(DataError, match=rf"{shard} is damaged \(its bytes are not those that were written"):
        ImageIndex.open(folder)
    monkeypatch.setattr(shards_file, "SMALL", 10)
    ImageIndex.open(folder).close()
    with pytest.raises(DataError, match="not those that were written"):
        fill(folder, unit(5), prefix="late")


def test_shards_of_before_have_no_checksum_and_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_file, "SUMMED", "")
    monkeypatch.setattr(shards_file, "_checksum", lambda crc: b"")
    fill(tmp_path / "index", unit(20))
    monkeypatch.undo()
    fill(tmp_path / "index", unit(5), prefix="late")
    with closing(ImageIndex.open(tmp_path / "index")) as index:
        assert index.count == 25


def test_a_stream_of_few_characters_takes_each_name(
    tmp_path: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ASCII lacks is written out: in tables, and in JSON that reads as it was."""
    photo = picture(tmp_path / "ውሻ🐕é.png", np.random.default_rng(0))
    index_images(photo, tmp_path / "σ", open_base(str(dual_folder)))
    monkeypatch.setenv("MLA_EXTEND_REGISTRY", str(tmp_path / "none"))

    def said(*arguments: str) -> str:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "argv", ["mla-extend", *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert ended.value.code == 0
        stream.flush()
        return stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]

    assert r"\u03c3: 1 images" in said("index", str(photo), "--index", str(tmp_path / "σ"))
    words = ("search", "cat", "--lang", "en", "--index", str(tmp_path / "σ"))
    assert r"\u12cd\u123b\U0001f415\xe9.png" in said(*words).replace("\n", "")
    assert json.loads(said(*words, "--json"))["hits"][0]["path"] == str(photo)
