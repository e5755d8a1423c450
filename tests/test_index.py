"""The image index: what is encoded, what is kept, what is taken in, and what a crash leaves."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mla_extend.bases import base as base_module
from mla_extend.bases.base import Base
from mla_extend.bases.open import open_base
from mla_extend.cli.app import app
from mla_extend.errors import BaseError, BaseMismatchError, DataError, Interrupted
from mla_extend.progress import Silent
from mla_extend.search.index import ImageIndex, build, graph, store
from mla_extend.search.index import about as about_file
from mla_extend.search.index import shards as shards_file
from mla_extend.search.index.about import About
from mla_extend.search.index.build import index_images
from mla_extend.search.index.make import make_index
from mla_extend.search.index.store import Item, writing
from mla_extend.search.index.take_in import recognise, take_in
from tests.families_text import sentence_bert
from tests.test_images_open import damaged_pictures

ABOUT = About("tiny", "f" * 64, "/models/tiny", True, 16)
NAMES = ["mbwa.png", "ውሻ.png", "كلب.png", "狗.png", "สุนัข.png", "chien noir.png", "it's 50 % off.png", "σκύλος.png"]


@pytest.fixture
def base(dual_folder: Path) -> Base:
    """Give a tiny base."""
    return open_base(str(dual_folder))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Give a folder with pictures in folders, under names of several scripts, and things that are none."""
    generator = np.random.default_rng(1)
    folder = tmp_path / "photos"
    for number, name in enumerate(NAMES):
        path = folder / ("2024" if number % 2 else "2025/summer") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(path, generator)
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden").mkdir()
    picture(folder / ".hidden" / "thumbnail.png", generator)
    picture(folder / "._mbwa.png", generator)
    return folder


def picture(path: Path, generator: np.random.Generator) -> Path:
    Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(path)
    return path


def unit(rows: int, seed: int = 0, width: int = 16) -> Any:
    """Draw unit vectors."""
    vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fill(folder: Path, vectors: Any, prefix: str = "image", about: About = ABOUT) -> None:
    """Add vectors under names of their own."""
    with writing(folder) as opened:
        items = [Item(f"{prefix}-{row}.jpg", False) for row in range(len(vectors))]
        opened.add(items, [opened.write(vectors)], about)
        opened.tidy()


def names(folder: Path) -> list[str]:
    with sqlite3.connect(folder / about_file.FILE) as database:
        return sorted(name for (name,) in database.execute("SELECT name FROM entries"))


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / shards_file.VECTORS).iterdir())}


# From images ------------------------------------------------------------------------------------------------------


def test_a_folder_is_indexed_and_each_picture_finds_itself(base: Base, photos: Path, tmp_path: Path) -> None:
    summary = index_images(photos, tmp_path / "index", base)
    assert (summary.added, summary.count, summary.failed) == (len(NAMES), len(NAMES), [])
    index = ImageIndex.open(tmp_path / "index")
    assert (index.count, index.dimension, index.base_name) == (len(NAMES), 16, base.identity.name)
    for name in NAMES:
        path = next(photos.rglob(name))
        [[(key, score), *rest]] = index.nearest(base.encode_images([path]).numpy(), 3)
        entry = index.entry(key)
        assert (entry.path, entry.name, entry.width, entry.height) == (path, str(path), 24, 20)
        assert entry.bytes == path.stat().st_size
        assert score == pytest.approx(1, abs=1e-5)
        assert [score for _, score in rest] == sorted((score for _, score in rest), reverse=True)
    index.close()


def test_a_second_run_encodes_nothing_and_moves_no_byte(base: Base, photos: Path, tmp_path: Path) -> None:
    index_images(photos, tmp_path / "index", base)
    before = shards(tmp_path / "index")
    summary = index_images(photos, tmp_path / "index", base)
    assert (summary.added, summary.unchanged, summary.dropped) == (0, len(NAMES), 0)
    assert shards(tmp_path / "index") == before


def test_only_what_changed_is_encoded_and_what_was_deleted_is_dropped(base: Base, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index_images(photos, folder, base)
    index = ImageIndex.open(folder)
    changed, touched, moved, deleted = (next(photos.rglob(name)) for name in NAMES[:4])
    [[(old, _)]] = index.nearest(base.encode_images([changed]).numpy(), 1)
    picture(changed, np.random.default_rng(9))
    os.utime(touched, (1, 1))
    shutil.move(moved, photos / "moved.png")
    deleted.unlink()
    new = picture(photos / "new.png", np.random.default_rng(10))
    summary = index_images(photos, folder, base)
    assert (summary.added, summary.reused, summary.dropped) == (2, 1, 2)
    assert summary.unchanged == len(NAMES) - 3
    shown = [path for path in photos.rglob("*.png") if not any(part.startswith(".") for part in path.parts)]
    assert names(folder) == sorted(map(str, shown))
    # The index that was open all the while sees it.
    assert index.count == len(NAMES)
    for path in (changed, new):
        [[(key, score)]] = index.nearest(base.encode_images([path]).numpy(), 1)
        assert index.entry(key).path == path
        assert score == pytest.approx(1, abs=1e-5)
    assert old not in index.entries([old])
    with pytest.raises(DataError, match=f"has no image {old}, or no longer"):
        index.entry(old)
    assert index_images(photos, folder, base).unchanged == len(NAMES)
    index.close()


def test_one_file_is_added_beside_a_folder(base: Base, photos: Path, tmp_path: Path) -> None:
    index_images(photos, tmp_path / "index", base)
    other = picture(tmp_path / "scan.png", np.random.default_rng(4))
    assert index_images(other, tmp_path / "index", base).count == len(NAMES) + 1
    # The other folder's images are not missed by a run over this one.
    assert index_images(photos, tmp_path / "index", base).count == len(NAMES) + 1


def test_a_copy_takes_the_vector_over_from_a_picture_that_was_written_meanwhile(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "KEPT", 1)
    (tmp_path / "photos").mkdir()
    first = picture(tmp_path / "photos" / "0.png", np.random.default_rng(0))
    for number in range(1, 9):
        shutil.copy(first, first.with_name(f"{number}.png"))
    summary = index_images(tmp_path / "photos", tmp_path / "index", base)
    assert (summary.added, summary.reused, summary.failed) == (1, 8, [])


def test_what_cannot_be_read_is_named_with_the_reason(base: Base, photos: Path, tmp_path: Path) -> None:
    (photos / "empty.jpg").touch()
    (photos / "text.jpg").write_text("<html>not found</html>")
    whole = (photos / "2024" / NAMES[1]).read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "clip.mp4").write_bytes(b"no video")
    for name, content in damaged_pictures().items():
        (photos / name).write_bytes(content)
    os.mkfifo(photos / "pipe.png")
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    with open(os.fsencode(photos) + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123 - no text
        file.write(whole)
    summary = index_images(photos, tmp_path / "index", base)
    failed = {Path(path).name: reason for path, reason in summary.failed}
    others = {"empty.jpg", "text.jpg", "cut.png", "clip.mp4", "gone.png", "caf?.png"}
    assert failed.keys() == others | damaged_pictures().keys()
    assert "cannot be read" in failed["cut.png"]
    assert "not valid UTF-8" in failed["caf?.png"]
    assert summary.count == len(NAMES)
    assert summary.unreadable[".png", "damaged"] == summary.unreadable[".mp4", "damaged"] == 1
    assert summary.unreadable[".jpg", "of no known format"] >= 2


def test_a_picture_that_breaks_later_is_dropped_and_named(base: Base, photos: Path, tmp_path: Path) -> None:
    index_images(photos, tmp_path / "index", base)
    broken = next(photos.rglob(NAMES[0]))
    broken.write_bytes(b"broken")
    summary = index_images(photos, tmp_path / "index", base)
    assert summary.dropped == 1
    assert [path for path, _ in summary.failed] == [str(broken)]
    assert str(broken) not in names(tmp_path / "index")


def test_links_are_followed_once_and_loops_end(base: Base, photos: Path, tmp_path: Path) -> None:
    (photos / "loop").symlink_to(photos, target_is_directory=True)
    (photos / "2024" / "up").symlink_to("..", target_is_directory=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    picture(elsewhere / "far.png", np.random.default_rng(3))
    (photos / "far").symlink_to(elsewhere, target_is_directory=True)
    index_images(photos, tmp_path / "index", base)
    found = names(tmp_path / "index")
    assert len(found) == len(NAMES) + 1
    assert str(photos / "far" / "far.png") in found


def test_videos_are_indexed_where_the_library_is_there(base: Base, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from clips import encode

    frames = [Image.new("RGB", (32, 32), (12 * level,) * 3) for level in range(20)]
    encode(photos / "clip.mp4", frames, "mpeg4")
    assert index_images(photos, tmp_path / "index", base).count == len(NAMES) + 1
    index = ImageIndex.open(tmp_path / "index")
    [[(key, score)]] = index.nearest(base.encode_images([photos / "clip.mp4"]).numpy(), 1)
    assert index.entry(key).name.endswith("clip.mp4")
    assert score == pytest.approx(1, abs=1e-5)
    index.close()


def test_a_folder_without_images_is_refused_and_drops_nothing(base: Base, photos: Path, tmp_path: Path) -> None:
    index_images(photos, tmp_path / "index", base)
    for path in photos.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match="holds no image or video"):
        index_images(photos, tmp_path / "index", base)
    assert len(names(tmp_path / "index")) == len(NAMES)
    with pytest.raises(DataError, match=r"nowhere cannot be read \(No such file"):
        index_images(tmp_path / "nowhere", tmp_path / "index", base)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a folder nor a file"):
        index_images(tmp_path / "pipe", tmp_path / "index", base)


def test_another_base_is_refused_with_both_names(base: Base, photos: Path, tmp_path: Path, clip_folder: Path) -> None:
    index_images(photos, tmp_path / "index", base)
    other = open_base(str(clip_folder))
    with pytest.raises(BaseMismatchError, match=r"base 'tiny-dual' .* this is 'tiny-clip'"):
        index_images(photos, tmp_path / "index", other)
    index = ImageIndex.open(tmp_path / "index")
    with pytest.raises(BaseMismatchError, match=r"base 'tiny-dual' .* this is 'tiny-clip'"):
        index.check_base(other.identity.name, other.identity.fingerprint)
    index.close()


def test_a_base_without_an_image_tower_is_refused(photos: Path, tmp_path: Path) -> None:
    text_alone = open_base(str(sentence_bert(tmp_path / "tiny-text")))
    with pytest.raises(BaseError, match="is a text model without an image tower"):
        index_images(photos, tmp_path / "index", text_alone)
    with pytest.raises(DataError, match="There is no image index"):
        ImageIndex.open(tmp_path / "index")


# Crashes and neighbours -------------------------------------------------------------------------------------------

DYING = """
import os, signal, sqlite3, sys
from pathlib import Path
import numpy as np
from mla_extend.search.index import store
from mla_extend.search.index.store import Item, writing
from mla_extend.search.index.about import About

folder, point = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
vectors = np.random.default_rng(7).standard_normal((40, 16)).astype(np.float32)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
with writing(folder) as opened:
    if point == "shard":
        opened.write(vectors)
        die()
    if point == "transaction":
        store._tell = die
    if point == "joining":
        for number in range(20):
            opened.add([Item(f"late-{number}", False)], [opened.write(vectors[number:number + 1])], opened.about)
        opened._change = die
        opened.tidy()
    about = About("tiny", "f" * 64, "/models/tiny", True, 16)
    opened.add([Item(f"late-{row}", False) for row in range(40)], [opened.write(vectors)], about)
"""


@pytest.mark.parametrize("point", ["shard", "transaction", "joining"])
def test_a_killed_writer_leaves_what_was_committed(tmp_path: Path, point: str) -> None:
    """Whether it dies before the transaction, in it, or while shards are joined: what counted before counts on."""
    folder, vectors = tmp_path / "index", unit(30)
    fill(folder, vectors)
    done = subprocess.run([sys.executable, "-c", DYING, str(folder), point], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    index = ImageIndex.open(folder)
    assert index.count == (50 if point == "joining" else 30)
    assert [[key for key, _ in row] for row in index.nearest(vectors, 1)] == [[key] for key in range(1, 31)]
    index.close()
    fill(folder, unit(5, seed=3), prefix="after")
    with sqlite3.connect(folder / about_file.FILE) as database:
        kept = {f"{name}.npy" for (name,) in database.execute("SELECT name FROM shards")}
    assert set(shards(folder)) == kept


def test_a_writer_killed_over_the_first_image_leaves_an_index_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    done = subprocess.run([sys.executable, "-c", DYING, str(folder), "shard"], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="There is no image index"):
        ImageIndex.open(folder)
    fill(folder, unit(5))
    index = ImageIndex.open(folder)
    assert index.count == 5
    assert len(shards(folder)) == 1
    index.close()


class Stopping(Silent):
    """Press Ctrl-C over the third picture."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count."""
        self.done += amount
        if self.done == 3:
            signal.raise_signal(signal.SIGINT)


def test_a_stopped_run_keeps_what_was_encoded(
    base: Base, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "IMAGE_BATCH", 3)
    with pytest.raises(Interrupted, match="Stopped with 3 of 8 images done and kept"):
        index_images(photos, tmp_path / "index", base, Stopping())
    assert len(names(tmp_path / "index")) == 3
    summary = index_images(photos, tmp_path / "index", base)
    assert (summary.unchanged, summary.added) == (3, len(NAMES) - 3)


def test_many_small_shards_are_joined_and_keep_their_keys(tmp_path: Path) -> None:
    folder, vectors = tmp_path / "index", unit(200)
    with writing(folder) as opened:
        for start in range(0, 200, 5):
            items = [Item(f"image-{row}.jpg", False) for row in range(start, start + 5)]
            opened.add(items, [opened.write(vectors[start : start + 5])], ABOUT)
    index = ImageIndex.open(folder)
    before = index.nearest(vectors, 4)
    assert len(shards(folder)) == 40
    with writing(folder) as opened:
        assert opened.drop([f"image-{row}.jpg" for row in range(60, 90)]) == 30
        opened.tidy()
    assert len(shards(folder)) == 1
    assert index.count == 170
    for row, hits in enumerate(index.nearest(vectors, 4)):
        assert all(not 61 <= key <= 90 for key, _ in hits)
        if not 60 <= row < 90:
            assert hits[0][0] == row + 1
            assert hits[0][1] == pytest.approx(before[row][0][1], abs=1e-6)
    fill(folder, unit(3, seed=5), prefix="new")
    assert max(key for row in index.nearest(unit(3, seed=5), 1) for key, _ in row) == 203
    index.close()


def test_readers_see_no_half_change_while_another_writes(tmp_path: Path) -> None:
    """Every name found is that of the vector whose cosine is given, whatever is added, dropped and joined meanwhile."""
    folder, vectors = tmp_path / "index", unit(400)
    fill(folder, vectors[:100], prefix="start")
    index = ImageIndex.open(folder)
    where = {f"start-{row}.jpg": row for row in range(100)}
    where |= {f"{start}-{row}.jpg": start + row for start in range(100, 400, 10) for row in range(10)}
    ended, wrong = threading.Event(), []

    def read(seed: int) -> None:
        draws = np.random.default_rng(seed)
        while not ended.is_set():
            query = vectors[draws.integers(400)]
            hits = index.nearest(query[None], 5)[0]
            entries = index.entries([key for key, _ in hits])
            for key, score in hits:
                if key in entries and abs(vectors[where[entries[key].name]] @ query - score) > 1e-5:
                    wrong.append((key, entries[key].name, score))

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for reader in readers:
        reader.start()
    for start in range(100, 400, 10):
        fill(folder, vectors[start : start + 10], prefix=str(start))
        with writing(folder) as opened:
            opened.drop([f"{start}-3.jpg"])
            opened.tidy()
    ended.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert index.count == 370
    index.close()


def test_two_writers_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOCK_WAIT", 0.1)
    with (
        writing(tmp_path / "index"),
        pytest.raises(DataError, match="Another process is writing the index"),
        writing(tmp_path / "index"),
    ):
        pass


# Opening ----------------------------------------------------------------------------------------------------------


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(DataError, match=r"There is no image index at .*index\. Make one: mla-extend index FOLDER"):
        ImageIndex.open(folder)
    fill(folder, unit(20))
    database = (folder / about_file.FILE).read_bytes()
    (folder / about_file.FILE).write_bytes(b"rubbish" * 1000)
    with pytest.raises(DataError, match=r"index\.sqlite is damaged \(file is not a database\)"):
        ImageIndex.open(folder)
    (folder / about_file.FILE).write_bytes(database)
    shard = next((folder / shards_file.VECTORS).iterdir())
    whole = shard.read_bytes()
    for content in (whole[:-4], b"", b"rubbish" * 10):
        shard.write_bytes(content)
        with pytest.raises(DataError, match=rf"{shard.name} is damaged"):
            ImageIndex.open(folder)
    np.save(shard, unit(19))
    with pytest.raises(DataError, match=r"is damaged \(float32 \(19, 16\) in place of float32 \(20, 16\)\)"):
        ImageIndex.open(folder)
    shard.unlink()
    with pytest.raises(DataError, match=r"is damaged .*No such file"):
        ImageIndex.open(folder)
    shard.write_bytes(whole)
    with sqlite3.connect(folder / about_file.FILE) as opened:
        opened.execute("UPDATE about SET value = '2' WHERE name = 'schema'")
    with pytest.raises(DataError, match=r"has schema 2, and this version reads 1\. Upgrade"):
        ImageIndex.open(folder)


def test_other_peoples_folders_are_left_alone(base: Base, photos: Path, tmp_path: Path) -> None:
    before = sorted(photos.rglob("*"))
    with pytest.raises(DataError, match="is not an image index and contains other files"):
        index_images(photos, photos, base)
    assert sorted(photos.rglob("*")) == before
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match="cannot be written"):
        index_images(photos, file, base)


def test_queries_of_another_width_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "index", unit(5))
    index = ImageIndex.open(tmp_path / "index")
    with pytest.raises(DataError, match=r"holds vectors of width 16, and the queries have the shape \(2, 8\)"):
        index.nearest(unit(2, width=8), 3)
    assert len(index.nearest(unit(1), 50)[0]) == 5
    index.close()


def test_images_alike_come_in_the_order_they_were_added(tmp_path: Path) -> None:
    fill(tmp_path / "index", np.repeat(unit(1), 300, axis=0))
    index = ImageIndex.open(tmp_path / "index")
    assert [key for key, _ in index.nearest(unit(1), 7)[0]] == [1, 2, 3, 4, 5, 6, 7]
    index.close()


# Many vectors -----------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """Give an index of 6,000 vectors with a graph."""
    pytest.importorskip("usearch")
    monkeypatch.setattr(graph, "FEW", 1000)
    folder, vectors = tmp_path / "index", unit(6000, width=32)
    fill(folder, vectors, about=About("tiny", "f" * 64, "/models/tiny", True, 32))
    with writing(folder) as opened:
        graph.refresh_graph(opened)
    assert len(list(folder.glob("graph-*"))) == 1
    return folder, vectors


def test_a_graph_finds_what_comparing_all_finds(many: tuple[Path, Any]) -> None:
    folder, vectors = many
    index, queries = ImageIndex.open(folder), unit(100, seed=1, width=32)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10] + 1
    found = index.nearest(queries, 10)
    shares = [len({key for key, _ in one} & set(right)) / 10 for one, right in zip(found, truth, strict=True)]
    assert np.mean(shares) > 0.95
    for query, hits in zip(queries, found, strict=True):
        for key, score in hits:
            assert score == pytest.approx(float(vectors[key - 1] @ query), abs=1e-6)
    index.close()


def test_what_came_or_went_after_the_graph_counts_at_once(many: tuple[Path, Any]) -> None:
    folder, vectors = many
    index = ImageIndex.open(folder)
    before = next(folder.glob("graph-*"))
    late = unit(50, seed=2, width=32)
    fill(folder, late, prefix="late")
    with writing(folder) as opened:
        opened.drop([f"image-{row}.jpg" for row in range(40)])
        opened.tidy()
        graph.refresh_graph(opened)
    assert next(folder.glob("graph-*")) == before
    assert [row[0][0] for row in index.nearest(late, 1)] == list(range(6001, 6051))
    assert all(row[0][0] > 40 for row in index.nearest(vectors[:40], 3))
    # As many again: the graph is built anew.
    fill(folder, unit(3000, seed=3, width=32), prefix="more")
    with writing(folder) as opened:
        graph.refresh_graph(opened)
    assert [path for path in folder.glob("graph-*") if path == before] == []
    assert [row[0][0] for row in index.nearest(late, 1)] == list(range(6001, 6051))
    # All but a few gone: none is needed.
    with writing(folder) as opened:
        opened.drop([f"image-{row}.jpg" for row in range(6000)] + [f"more-{row}.jpg" for row in range(2990)])
        assert [len(row) for row in index.nearest(late[:3], 20)] == [20] * 3
        opened.tidy()
        graph.refresh_graph(opened)
    assert list(folder.glob("graph-*")) == []
    assert index.count == 60
    assert [row[0][0] for row in index.nearest(late, 1)] == list(range(6001, 6051))
    index.close()


def test_a_damaged_graph_is_named(many: tuple[Path, Any]) -> None:
    folder, _ = many
    file = next(folder.glob("graph-*"))
    file.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=rf"{file.name} is damaged"):
        ImageIndex.open(folder)


def test_without_the_library_all_are_compared_and_a_note_says_so(
    many: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, vectors = many
    monkeypatch.setattr(graph, "is_installed", lambda _: False)
    monkeypatch.setattr("mla_extend.search.index.reader.is_installed", lambda _: False)
    index = ImageIndex.open(folder)
    assert [row[0][0] for row in index.nearest(vectors[:50], 1)] == list(range(1, 51))
    index.close()
    notes: list[str] = []

    class Noting(Silent):
        """Keep the notes."""

        def note(self, text: str) -> None:
            notes.append(text)

    fill(folder, unit(3000, seed=3, width=32), prefix="more")
    with writing(folder) as opened:
        graph.refresh_graph(opened, Noting())
    assert "All of the 9,000 vectors are compared in each search" in notes[0]
    assert "pip install 'mla-extend[search]'" in notes[0]


# Vectors made elsewhere -------------------------------------------------------------------------------------------


def parquet(path: Path, **columns: Any) -> Path:
    """Write a parquet file."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    path.parent.mkdir(parents=True, exist_ok=True)
    writer.write_table(pyarrow.table(columns), path)
    return path


def test_vectors_with_a_list_of_paths_are_taken_in(base: Base, photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.rglob("*.png"))[:6]
    vectors = 3 * base.encode_images(paths).numpy()
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float16))
    lines = [str(path.relative_to(tmp_path)) for path in paths[:4]] + [str(paths[4]), "https://example.org/ውሻ.jpg"]
    (tmp_path / "paths.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    parts = recognise(tmp_path / "paths.txt", str(tmp_path / "vectors.npy"))
    summary = take_in(parts, tmp_path / "index", base, stated=True)
    assert (summary.added, summary.count, summary.base_stated, summary.failed) == (6, 6, True, [])
    index = ImageIndex.open(tmp_path / "index")
    found = index.nearest(base.encode_images(paths).numpy(), 1)
    assert [index.entry(row[0][0]).path for row in found] == [*paths[:5], None]
    assert index.entry(found[5][0][0]).name == "https://example.org/ውሻ.jpg"
    assert all(row[0][1] == pytest.approx(1, abs=1e-3) for row in found)
    index.close()
    # Again: nothing is copied twice; the images encoded beside it are known by their paths.
    assert take_in(parts, tmp_path / "index", base, stated=True).unchanged == 6
    assert index_images(photos, tmp_path / "index", base).count == len(NAMES) + 3


def test_clip_retrievals_layout_is_taken_in(base: Base, tmp_path: Path) -> None:
    folder, vectors = tmp_path / "embeddings", unit(25)
    for number, rows in enumerate((range(10), range(10, 25))):
        (folder / "img_emb").mkdir(parents=True, exist_ok=True)
        np.save(folder / "img_emb" / f"img_emb_{number}.npy", vectors[list(rows)].astype(np.float16))
        parquet(
            folder / "metadata" / f"metadata_{number}.parquet",
            caption=[f"picha {row}" for row in rows],
            image_path=[f"/data/{row:05}.jpg" for row in rows],
        )
    (folder / "text_emb").mkdir()
    summary = take_in(recognise(folder), tmp_path / "index", base, stated=False)
    assert (summary.added, summary.count, summary.base_stated) == (25, 25, False)
    index = ImageIndex.open(tmp_path / "index")
    assert not index.base_stated
    assert [index.entry(row[0][0]).name for row in index.nearest(vectors, 1)] == [
        f"/data/{i:05}.jpg" for i in range(25)
    ]
    index.close()
    (folder / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(DataError, match=r"img_emb_1\.npy has no .*metadata_1\.parquet"):
        recognise(folder)
    shutil.rmtree(folder / "img_emb")
    (folder / "img_emb").mkdir()
    with pytest.raises(DataError, match=r"holds no img_emb_0\.npy"):
        recognise(folder)


def test_parquet_with_a_column_of_vectors_is_taken_in(base: Base, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    vectors = unit(12)
    fixed = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), 16)
    for column, values in (("embedding", list(map(list, vectors.astype(float)))), ("mine", fixed)):
        file = parquet(
            tmp_path / f"{column}.parquet", url=[f"https://example.org/{i}" for i in range(12)], **{column: values}
        )
        parts = recognise(file, None if column == "embedding" else column)
        assert take_in(parts, tmp_path / column, base, stated=True).count == 12
        index = ImageIndex.open(tmp_path / column)
        assert index.entry(index.nearest(vectors[5:6], 1)[0][0][0]).name == "https://example.org/5"
        index.close()


def test_rows_that_are_no_vectors_or_come_again_are_left_out(base: Base, tmp_path: Path) -> None:
    vectors = unit(6)
    vectors[1], vectors[3, 2] = 0, np.nan
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "p.txt").write_text("a\nb\nc\nd\na\nf\n")
    summary = take_in(recognise(tmp_path / "p.txt", str(tmp_path / "v.npy")), tmp_path / "index", base, stated=True)
    assert summary.added == 3
    assert summary.failed == [
        (str(tmp_path / "v.npy"), "Left out, since they are all zero or not finite: 2 rows (2, 4).")
    ]
    assert names(tmp_path / "index") == ["a", "c", "f"]


def test_vectors_taken_in_anew_replace_the_former(base: Base, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", unit(4))
    (tmp_path / "p.txt").write_text("a\nb\nc\nd\n")
    parts = recognise(tmp_path / "p.txt", str(tmp_path / "v.npy"))
    take_in(parts, tmp_path / "index", base, stated=False)
    np.save(tmp_path / "v.npy", unit(4, seed=8).astype(np.float64))
    assert take_in(parts, tmp_path / "index", base, stated=True).count == 4
    index = ImageIndex.open(tmp_path / "index")
    assert index.base_stated
    assert [index.entry(row[0][0]).name for row in index.nearest(unit(4, seed=8), 1)] == ["a", "b", "c", "d"]
    index.close()


@pytest.mark.parametrize(
    ("vectors", "lines", "error"),
    [
        (unit(3, width=8), "a\nb\nc\n", r"v\.npy holds vectors of width 8, and those of the base 'tiny-dual' have 16"),
        (unit(3), "a\nb\n", r"v\.npy holds at least 3 vectors, and .*p\.txt names 2"),
        (unit(3), "a\nb\nc\nd\n", r"v\.npy holds 3 vectors, and .*p\.txt names 4"),
        (unit(3), "a\n\nc\n", r"p\.txt, line 2: no path"),
        (unit(3)[0], "a\n", r"v\.npy holds float32 of shape \(16,\), not one vector"),
        (np.array([["a", "b"]]), "a\n", r"v\.npy holds <U1 of shape"),
        (np.array([{"a": 1}], dtype=object), "a\n", r"v\.npy cannot be read as an array"),
        (None, "a\n", r"v\.npy cannot be read as an array"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(base: Base, tmp_path: Path, vectors: Any, lines: str, error: str) -> None:
    if vectors is None:
        (tmp_path / "v.npy").write_bytes(b"rubbish")
    else:
        np.save(tmp_path / "v.npy", vectors, allow_pickle=True)
    (tmp_path / "p.txt").write_text(lines)
    with pytest.raises(DataError, match=error):
        take_in(recognise(tmp_path / "p.txt", str(tmp_path / "v.npy")), tmp_path / "index", base, stated=True)
    with pytest.raises(DataError, match="There is no image index"):
        ImageIndex.open(tmp_path / "index")


def test_files_of_vectors_that_are_not_understood_are_refused(base: Base, photos: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", unit(2))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\nb\n")
    (tmp_path / "bad.parquet").write_bytes(b"rubbish")
    texts = parquet(tmp_path / "texts.parquet", url=["a", "b"], vector=["x", "y"], words=[["a"], ["b"]])
    ragged = parquet(tmp_path / "ragged.parquet", url=["a", "b"], vector=[[1.0] * 16, [1.0] * 15])
    nothing = parquet(tmp_path / "nothing.parquet", caption=["a", "b"])
    cases: list[tuple[Path, str | None, str]] = [
        (tmp_path / "v.npy", None, "holds vectors without names"),
        (tmp_path / "nowhere.txt", str(tmp_path / "v.npy"), "The list .* does not exist"),
        (tmp_path / "latin.txt", str(tmp_path / "nowhere.npy"), "The file of vectors .* does not exist"),
        (tmp_path / "latin.txt", str(tmp_path / "v.npy"), "is not UTF-8"),
        (tmp_path / "latin.txt", "vector", "no parquet file that could have such a column"),
        (photos, "vector", "is a folder, to which --vectors does not apply"),
        (tmp_path / "bad.parquet", None, "cannot be read as parquet"),
        (nothing, None, "has no column of vectors with a known name"),
        (nothing, "vector", "has no column"),
        (texts, None, "holds string in 'vector', not a list of numbers"),
        (texts, "words", "holds string in 'words', not numbers"),
        (ragged, None, "of different widths, in 'vector'"),
        (nothing, str(tmp_path / "v.npy"), "has no column of paths with a known name"),
    ]
    for source, vectors, error in cases:
        with pytest.raises(DataError, match=error):
            take_in(recognise(source, vectors), tmp_path / "index", base, stated=True)


# The command ------------------------------------------------------------------------------------------------------


def run(*arguments: str, folder: Path) -> tuple[int, str, str]:
    """Run the command line in a folder as `main` does."""
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200", "MLA_EXTEND_REGISTRY": str(folder / "none")})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_indexes_and_says_what_it_did(
    photos: Path, dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (photos / "bad.jpg").write_bytes(b"bad")
    code, out, err = run("index", str(photos), "--base", str(dual_folder), folder=tmp_path)
    assert code == 0
    assert "image-index: 8 images, base tiny-dual. 8 added, 1 could not be used" in out
    assert "Could not be read: 1 .jpg (of no known format)." in out
    assert "bad.jpg" in err
    # The base is the index's own from now on.
    code, out, _ = run("index", str(photos), "--json", folder=tmp_path)
    summary = json.loads(out)
    assert (code, summary["unchanged"], len(summary["failed"])) == (0, 8, 1)
    code, out, _ = run("index", str(photos / "bad.jpg"), "--json", folder=tmp_path)
    assert (code, json.loads(out)["count"]) == (1, 8)


def test_the_command_says_that_a_base_cannot_be_checked(dual_folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", unit(2))
    (tmp_path / "p.txt").write_text("a\nb\n")
    given = ["index", str(tmp_path / "p.txt"), "--vectors", str(tmp_path / "v.npy"), "--index", str(tmp_path / "index")]
    make_index(
        tmp_path / "p.txt", tmp_path / "index", vectors=str(tmp_path / "v.npy"), base=str(dual_folder),
        registry=tmp_path / "none",
    )  # fmt: skip
    assert "Nothing says which base" in run(*given, folder=tmp_path)[2]
    assert "Nothing says which base" not in run(*given, "--base", str(dual_folder), folder=tmp_path)[2]
    with pytest.raises(BaseMismatchError, match=r"'tiny-dual' .* 'tiny-clip'"):
        run(*given, "--base", str(clip_folder), folder=tmp_path)
