"""What an index takes from a folder: what is left out, what is passed over, and in how much memory."""

import json
import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mla_extend.bases import base as base_module
from mla_extend.bases.base import Base
from mla_extend.bases.open import open_base
from mla_extend.errors import DataError, Interrupted
from mla_extend.progress import Silent
from mla_extend.search.index import ImageIndex, exclude, kinds
from mla_extend.search.index import about as about_file
from mla_extend.search.index import shards as shards_file
from mla_extend.search.index.build import index_images
from mla_extend.search.index.exclude import Excludes
from mla_extend.search.index.make import make_index
from mla_extend.search.index.walk import find_images
from tests.test_index import Stopping, names, picture, run, unit

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def base(dual_folder: Path) -> Base:
    """Give a tiny base."""
    return open_base(str(dual_folder))


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Take PyAV and pillow-heif away."""
    monkeypatch.setattr(kinds, "is_installed", lambda name: False)
    kinds.readable.cache_clear()
    kinds.passed_over.cache_clear()
    yield
    kinds.readable.cache_clear()
    kinds.passed_over.cache_clear()


class Noting(Silent):
    """Keep the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)


def pictures(folder: Path, *below: str) -> None:
    """Write a picture under each path, every one another."""
    generator = np.random.default_rng(len(below))
    for name in below:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(folder / name, generator)


def below(index: Path, folder: Path) -> list[str]:
    """Return what an index holds, relative to a folder."""
    return [str(Path(name).relative_to(folder)) for name in names(index)]


# Left out ---------------------------------------------------------------------------------------------------------


def test_thumbnails_and_recycle_bins_are_left_out_and_counted_a_folder_as_one(base: Base, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    left_out = [
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_S.jpg", "2024/@EADIR/b.png",
        "#recycle/c.png", "@Recycle/d.png", ".@__thumb/e.png", "$RECYCLE.BIN/f.png", "System Volume Information/g.png",
        ".Trash-1000/h.png", "lost+found/i.png", "__MACOSX/j.png", ".thumbnails/k.png", "#snapshot/l.png", "._m.png",
        "SYNOPHOTO_THUMB_XL.jpg", "Mine.photoslibrary/resources/derivatives/n.png",
        "2024/Catalog Previews.lrdata/o.png", "CaptureOne/Cache/p.png",
    ]  # fmt: skip
    pictures(photos, "a.jpg", "Mine.photoslibrary/originals/n.png", "resources/q.png", "#1/r.png", *left_out)
    (photos / "Thumbs.db").write_bytes(b"no picture")
    (photos / ".DS_Store").write_bytes(b"no picture")
    summary = index_images(photos, tmp_path / "index", base)
    assert below(tmp_path / "index", photos) == [
        "#1/r.png",
        "Mine.photoslibrary/originals/n.png",
        "a.jpg",
        "resources/q.png",
    ]
    assert sum(summary.left_out.values()) == len(left_out) - 1
    assert summary.left_out["@eaDir"] == 2
    assert summary.left_out[".*"] == 4
    everything = index_images(photos, tmp_path / "all", base, excludes=Excludes(defaults=False))
    assert (everything.count, everything.left_out) == (len(left_out) + 4, {})


def test_every_default_matches_its_own_name() -> None:
    for pattern in exclude.DEFAULTS:
        assert Excludes().rule(pattern.replace("*", "x").removeprefix("x/").replace("x~", "a.jpg~")) is not None, (
            pattern
        )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("raw*", ["2024/jpg/c.png", "a.png"]),
        ("RAW", ["2024/jpg/c.png", "a.png", "rawish.png"]),
        ("2024/*", ["a.png", "raw/d.png", "rawish.png"]),
        ("2024/", ["a.png", "raw/d.png", "rawish.png"]),
        ("/raw", ["2024/jpg/c.png", "2024/raw/b.png", "a.png", "rawish.png"]),
        ("./2024/raw", ["2024/jpg/c.png", "a.png", "raw/d.png", "rawish.png"]),
        ("**/raw", ["2024/jpg/c.png", "a.png", "rawish.png"]),
        ("?.png", ["rawish.png"]),
    ],
)
def test_patterns_are_globs_on_a_name_or_on_the_path(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    pictures(tmp_path, "a.png", "rawish.png", "2024/raw/b.png", "2024/jpg/c.png", "raw/d.png")
    found = find_images(tmp_path, Excludes([pattern]))
    assert [str(one.path.relative_to(tmp_path)) for one in found.files] == expected


def test_names_are_matched_in_any_unicode_form(tmp_path: Path) -> None:
    pictures(tmp_path, "cafe\u0301/a.png", "b.png")
    assert [one.path.name for one in find_images(tmp_path, Excludes(["Caf\u00e9"])).files] == ["b.png"]


def test_what_was_indexed_and_is_left_out_now_is_dropped(base: Base, tmp_path: Path) -> None:
    photos, index = tmp_path / "photos", tmp_path / "index"
    pictures(photos, "a.png", "@eaDir/a/b.png", "raw/c.png")
    assert index_images(photos, index, base, excludes=Excludes(defaults=False)).count == 3
    summary = index_images(photos, index, base)
    assert (summary.dropped, summary.unchanged, summary.count) == (1, 2, 2)
    assert index_images(photos, index, base, excludes=Excludes(["raw"])).dropped == 1
    assert below(index, photos) == ["a.png"]


def test_what_is_named_itself_is_never_left_out(base: Base, tmp_path: Path) -> None:
    photos, index = tmp_path / "photos", tmp_path / "index"
    pictures(photos, "a.png", ".private/b.png", ".private/@eaDir/c.png", "@eaDir/d.png")
    assert index_images(photos / ".private", index, base).added == 1
    assert index_images(photos / "@eaDir" / "d.png", index, base).added == 1
    summary = index_images(photos, index, base)
    assert (summary.added, summary.dropped) == (1, 0)
    assert below(index, photos) == [".private/b.png", "@eaDir/d.png", "a.png"]
    # Unless somebody asks for it.
    assert index_images(photos, index, base, excludes=Excludes([".private"])).dropped == 1


# Passed over ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_extras")
def test_pictures_and_videos_that_cannot_be_read_are_counted_with_the_reason(base: Base, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    pictures(photos, "a.jpg")
    for number in range(40):
        (photos / f"IMG_{number}.HEIC").write_bytes(HEIC)
    for name in ("d.CR2", "e.nef", "f.PSD", "g.svg", "h.jxl", "clip.mp4", "old.WMV"):
        (photos / name).write_bytes(b"II*\0")
    for name in ("notes.txt", "a.xmp", "a.json", "Makefile", "x.py", "desktop.ini", "music.mp3"):
        (photos / name).write_bytes(b"of no interest")
    (photos / "phone").write_bytes(HEIC)
    summary = index_images(photos, tmp_path / "index", base)
    assert (summary.count, summary.failed) == (1, [])
    counts = {suffix: count for suffix, (count, _) in summary.passed_over.items()}
    assert counts == {
        ".heic": 41, ".cr2": 1, ".nef": 1, ".psd": 1, ".svg": 1, ".jxl": 1, ".mp4": 1, ".wmv": 1,
    }  # fmt: skip
    assert "pip install 'mla-extend[heic]'" in summary.passed_over[".heic"][1]
    assert "pip install 'mla-extend[video]'" in summary.passed_over[".mp4"][1]
    assert "raw photos" in summary.passed_over[".nef"][1]
    (photos / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"holds no image or video that can be read: .* There are, though: 41 \.heic"):
        index_images(photos, tmp_path / "index", base)


def test_a_name_without_a_suffix_is_told_by_its_first_bytes(base: Base, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shown = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        shown.save(photos / kind, format=kind)
    shown.save(photos / "St. Mary 2024.05", format="JPEG")
    shown.save(photos / "tweet.jpg_large", format="JPEG")
    (photos / "LICENSE").write_text("BMW")
    (photos / "empty").touch()
    (photos / "broken").symlink_to("nowhere")
    shown.save(photos / "thumb.dat", format="JPEG")
    summary = index_images(photos, tmp_path / "index", base)
    assert (summary.count, summary.failed, summary.passed_over) == (8, [], {})


def test_jpeg_2000_is_read_where_pillow_can(base: Base, tmp_path: Path) -> None:
    if ".jp2" not in kinds.readable():
        pytest.skip("this Pillow reads no JPEG 2000")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 48), (99, 9, 9)).save(tmp_path / "photos" / "c.jp2")
    assert index_images(tmp_path / "photos", tmp_path / "index", base).added == 1


def test_heic_is_read_where_the_library_is_there(base: Base, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    (tmp_path / "photos").mkdir()
    shown = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    heif.from_pillow(shown).save(tmp_path / "photos" / "IMG_1.HEIC")
    summary = index_images(tmp_path / "photos", tmp_path / "index", base)
    assert (summary.added, summary.failed, summary.passed_over) == (1, [], {})


@pytest.mark.parametrize("error", [OverflowError("too large"), RuntimeError("odd"), MemoryError()])
def test_whatever_a_decoder_raises_the_others_are_indexed(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pytest.importorskip("av")
    from clips import encode

    photos = tmp_path / "photos"
    pictures(photos, "a.png", "b.png")
    encode(photos / "clip.mp4", [Image.new("RGB", (32, 32), (12 * level,) * 3) for level in range(20)], "mpeg4")

    def broken(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("mla_extend.images.video._decode", broken)
    monkeypatch.setattr("mla_extend.images.open._on_white", broken)
    summary = index_images(picture(tmp_path / "fine.png", np.random.default_rng(0)), tmp_path / "index", base)
    assert [type(error).__name__ in reason for _, reason in summary.failed] == [True]
    summary = index_images(photos, tmp_path / "index", base)
    assert {Path(path).name for path, _ in summary.failed} == {"a.png", "b.png", "clip.mp4"}
    monkeypatch.undo()
    assert index_images(photos, tmp_path / "index", base).added == 3


# The picture -----------------------------------------------------------------------------------------------------


def test_the_size_is_that_before_the_picture_is_reduced(base: Base, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (3000, 2400)).save(tmp_path / "photos" / "a.jpg", exif=turned)
    index_images(tmp_path / "photos", tmp_path / "index", base)
    index = ImageIndex.open(tmp_path / "index")
    entry = index.entry(1)
    assert (entry.width, entry.height) == (2400, 3000)
    index.close()


# An older preparation ---------------------------------------------------------------------------------------------


def write_down(index: Path, preparation: str) -> None:
    """Let an index have been made by another preparation."""
    with sqlite3.connect(index / about_file.FILE) as database:
        database.execute("UPDATE about SET value = ? WHERE name = 'preparation'", (preparation,))


def test_an_index_of_an_older_preparation_is_made_anew_and_says_why(base: Base, tmp_path: Path) -> None:
    photos, index = tmp_path / "photos", tmp_path / "index"
    pictures(photos, "a.png", "b.png", "c.png")
    index_images(photos, index, base)
    about = about_file.read_about(index)
    assert about.preparation == json.dumps(json.loads(about.preparation), sort_keys=True)
    assert json.loads(about.preparation).keys() == {"rule", "video", "processor"}  # no library's new version
    older = json.dumps(json.loads(about.preparation) | {"rule": "0"}, sort_keys=True)
    write_down(index, older)
    shard = next((index / shards_file.VECTORS).iterdir())
    other = unit(3, seed=5)
    np.save(shard, other)
    with shard.open("ab") as file:
        file.write(shards_file._checksum(zlib.crc32(other)))
    opened = ImageIndex.open(index)
    assert opened.is_older()
    telling = Noting()
    pictures(photos, "d.png")
    summary = index_images(photos, index, base, telling)
    assert (summary.renewed, summary.added, summary.unchanged, summary.dropped) == (3, 1, 0, 0)
    assert len(telling.notes) == 1
    assert "how this version opens pictures" in telling.notes[0]
    for path in sorted(photos.iterdir()):
        [[(key, score)]] = opened.nearest(base.encode_images([path]).numpy(), 1)
        assert (opened.entry(key).path, score) == (path, pytest.approx(1, abs=1e-5))
    assert not opened.is_older()
    opened.close()
    again = index_images(photos, index, base, telling)
    assert (again.unchanged, again.renewed, len(telling.notes)) == (4, 0, 1)


def test_a_stopped_renewal_goes_on_where_it_was(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, index = tmp_path / "photos", tmp_path / "index"
    pictures(photos, *(f"{number}.png" for number in range(8)))
    index_images(photos, index, base)
    with sqlite3.connect(index / about_file.FILE) as database:
        database.execute("DELETE FROM about WHERE name IN ('preparation', 'prepared_since')")  # as they were before

    monkeypatch.setattr(base_module, "IMAGE_BATCH", 3)
    with pytest.raises(Interrupted, match="Stopped with 3 of 8 images done and kept"):
        index_images(photos, index, base, Stopping())
    opened = ImageIndex.open(index)
    assert (opened.count, opened.is_older()) == (8, True)
    opened.close()
    summary = index_images(photos, index, base)
    assert (summary.unchanged, summary.renewed, summary.count) == (3, 5, 8)


def test_other_folders_and_vectors_without_files_stay_and_are_said(base: Base, tmp_path: Path) -> None:
    index = tmp_path / "index"
    pictures(tmp_path / "one", "a.png")
    pictures(tmp_path / "other", "b.png", "c.png")
    index_images(tmp_path / "one", index, base)
    index_images(tmp_path / "other", index, base)
    np.save(tmp_path / "v.npy", unit(2))
    (tmp_path / "p.txt").write_text("x\ny\n")
    where = base.identity.source
    make_index(tmp_path / "p.txt", index, vectors=str(tmp_path / "v.npy"), base=where, registry=tmp_path / "none")
    write_down(index, "")
    telling = Noting()
    summary = index_images(tmp_path / "one", index, base, telling)
    assert (summary.renewed, summary.older, summary.count) == (1, 2, 5)
    assert "2 imported vectors without files stay" in telling.notes[1]
    # A copy of a picture takes over no older vector.
    shutil.copy(tmp_path / "other" / "b.png", tmp_path / "one" / "copy.png")
    again = index_images(tmp_path / "one", index, base, telling)
    assert (again.added, again.reused, again.older, len(telling.notes)) == (1, 0, 2, 2)
    assert index_images(tmp_path / "other", index, base).older == 0


# The command ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_extras")
def test_the_command_says_what_it_left_out_and_passed_over(dual_folder: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    pictures(photos, "a.png", "@eaDir/b.png", "raw/c.png", "raw/d.png")
    (photos / "e.HEIC").write_bytes(HEIC)
    (photos / "f.cr2").write_bytes(b"II*\0")
    given = ["index", str(photos), "--index", str(tmp_path / "index"), "--base", str(dual_folder)]
    code, out, err = run(*given, "--exclude", "RAW", "--exclude", "nothing*", folder=tmp_path)
    assert code == 0
    assert "1 images" in out
    assert "Left out by name: 1 RAW, 1 @eaDir." in out
    assert "Passed over: 1 .heic (they need pillow_heif: pip install 'mla-extend[heic]')." in out
    assert "Passed over: 1 .cr2 (raw photos are not read" in out
    assert "--exclude 'nothing*' matched nothing" in err
    code, out, _ = run(*given, "--no-default-excludes", "--json", folder=tmp_path)
    summary = json.loads(out)
    assert (code, summary["count"], summary["left_out"]) == (0, 4, [])
    assert {kind["suffix"]: kind["count"] for kind in summary["passed_over"]} == {".heic": 1, ".cr2": 1}
    with pytest.raises(DataError, match="is empty"):
        run(*given, "--exclude", "", folder=tmp_path)
    with pytest.raises(DataError, match="not a folder of images"):
        run("index", str(photos / "a.png"), *given[2:], "--exclude", "x", folder=tmp_path)


def test_a_search_says_that_an_index_is_older(dual_folder: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "photos", "a.png")
    given = ["--index", str(tmp_path / "index"), "--base", str(dual_folder)]
    run("index", str(tmp_path / "photos"), *given, folder=tmp_path)
    asked = ["search", "a red cat", "--lang", "en", *given]
    assert "prepared otherwise" not in run(*asked, folder=tmp_path)[2]
    write_down(tmp_path / "index", "")
    code, out, err = run(*asked, folder=tmp_path)
    assert (code, "a.png" in out) == (0, True)
    assert err.count("mla-extend index FOLDER brings it up to date") == 1
