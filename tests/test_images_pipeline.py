"""Reading many pictures: in their order, each file's bytes once, within bounds, and until a stop."""

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.same_pictures import Pictures
from mla_extend.errors import ImageError, Interrupted
from mla_extend.files import open_plain
from mla_extend.images import open as opening
from mla_extend.images import pipeline
from mla_extend.images.budget import Budget
from mla_extend.images.check import unreadable_images
from mla_extend.images.open import make_of_image
from mla_extend.images.pipeline import ImageLike, read_pictures
from mla_extend.search.index.build import index_images
from mla_extend.stop import StopRequest
from mla_extend.training.measure import _image_seconds
from tests.conftest import assert_close


def files(folder: Path, count: int, size: tuple[int, int] = (100, 100)) -> list[Path]:
    """Write pictures that tell their number by their colour."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", size, (number, 0, 0)).save(path)
    return paths


def red(frames: list[Image.Image]) -> int:
    """Return a picture's number."""
    return int(np.asarray(frames[0])[0, 0, 0])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """Count how often each file is opened, by whoever opens it."""
    found: Counter[Path] = Counter()

    def plainly(path: Path) -> BinaryIO:
        found[path] += 1
        return open_plain(path)

    def decode(source: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(source, str | Path):
            found[Path(source)] += 1
        return make_of_image(source, *arguments, **options)

    monkeypatch.setattr(pipeline, "open_plain", plainly)
    monkeypatch.setattr(pipeline, "make_of_image", decode)
    return found


def test_all_users_read_the_bytes_of_a_file_once(tmp_path: Path, dual_folder: Path, opened: Counter[Path]) -> None:
    paths = files(tmp_path / "photos", 5)
    base = open_base(str(dual_folder))
    users = (
        lambda: index_images(tmp_path / "photos", tmp_path / "index", base),
        lambda: Features(base).images(paths),
        lambda: base.encode_images(paths),
        lambda: Pictures(paths),
        lambda: unreadable_images(paths),
    )
    for use in users:
        opened.clear()
        use()
        assert opened == dict.fromkeys(paths, 1)


def test_pictures_come_in_their_order_with_what_is_wrong_in_its_place(tmp_path: Path) -> None:
    paths = files(tmp_path, 120)
    paths[7].write_bytes(b"broken")
    items: list[ImageLike] = [*paths, Image.new("RGB", (3, 4), (120, 0, 0)), tmp_path / "gone.png"]
    found = list(read_pictures(items, red))
    assert [one.item for one in found] == items
    assert [one.made for one in found] == [*range(7), None, *range(8, 121), None]
    assert [number for number, one in enumerate(found) if one.error is not None] == [7, 121]
    assert "gone.png does not exist" in str(found[-1].error)
    assert (found[0].size, found[120].size, found[120].content) == ((100, 100), (3, 4), None)


def test_what_is_not_wanted_is_not_decoded(tmp_path: Path) -> None:
    paths, asked = files(tmp_path, 3), []

    def wanted(item: ImageLike, content: bytes) -> bool:
        asked.append(content)
        return item != paths[1]

    found = list(read_pictures(paths, red, wanted=wanted))
    assert [one.made for one in found] == [0, None, 2]
    assert [one.content for one in found] == asked


def test_few_bytes_are_held_however_many_and_large_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bound of three files holds for what is read and what waits to be decoded; one more of each is on its way."""
    paths = files(tmp_path, 60)
    alive, most, lock = 0, 0, threading.RLock()

    def count(change: int) -> None:
        nonlocal alive, most
        with lock:
            alive += change
            most = max(most, alive)

    class Content(bytes):
        def __del__(self) -> None:
            count(-1)

    class Reading(io.FileIO):
        def read(self, size: int | None = -1) -> Content:
            count(1)
            return Content(self.readall())

    monkeypatch.setattr(pipeline, "open_plain", Reading)
    monkeypatch.setattr(pipeline, "READ_BYTES", 3 * paths[0].stat().st_size)
    for one in read_pictures(paths, red):
        assert one.made is not None
        time.sleep(0.002)
    assert (alive, most <= 3 + 3 + 2) == (0, True)


def test_a_file_that_is_larger_than_all_that_is_held_is_read_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Counter[Path]
) -> None:
    paths = files(tmp_path, 2)
    monkeypatch.setattr(pipeline, "READ_BYTES", 10)
    assert [one.made for one in read_pictures(paths, red)] == [0, 1]
    assert opened == dict.fromkeys(paths, 2)


def test_no_more_is_decoded_and_prepared_at_once_than_the_budget_lets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path, 12)
    beside, most, lock = 0, Counter[int](), threading.Lock()

    def watched(_: list[Image.Image]) -> bool:
        nonlocal beside
        with lock:
            beside += 1
            most[beside] += 1
        time.sleep(0.01)
        with lock:
            beside -= 1
        return True

    for at_once, expected in ((400_000, 2), (160_000, 1), (1_000, 1)):  # a picture takes 160,000 bytes with its copies
        monkeypatch.setattr(opening, "BUDGET", Budget(500_000, at_once))
        most.clear()
        assert all(one.made for one in read_pictures(paths, watched))
        assert max(most) == expected
    monkeypatch.setattr(opening, "BUDGET", Budget(100_000))
    assert all("too large" in str(one.error) for one in read_pictures(paths, watched))


def test_freed_memory_is_given_back_after_large_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [*files(tmp_path / "large", 2, (200, 200)), *files(tmp_path / "small", 3)]
    trimmed: list[int] = []
    monkeypatch.setattr(pipeline, "LARGE", 20_000)
    monkeypatch.setattr(pipeline, "malloc_trim", lambda: trimmed.append)
    assert len(list(read_pictures(paths, red))) == 5
    assert trimmed == [0, 0]


def test_a_stop_is_heard_between_any_two_and_waits_for_no_file_that_is_not_yet_read(tmp_path: Path) -> None:
    paths, stop, read = files(tmp_path, 200), StopRequest(), []

    def given() -> Iterator[Path]:
        for path in paths:
            read.append(path)
            yield path

    with closing(read_pictures(given(), red, stop=stop)) as pictures:
        found = [next(pictures).made for _ in range(5)]
        stop.requested = True
        assert (found, list(pictures)) == ([0, 1, 2, 3, 4], [])
    assert len(read) <= 5 + 2 * pipeline.AHEAD + 2
    assert threading.active_count() < pipeline.READERS


# What is kept -----------------------------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_read_has_no_vector_and_is_asked_for_again(tmp_path: Path, dual_folder: Path) -> None:
    base = open_base(str(dual_folder))
    fine, broken, copy = files(tmp_path, 3)
    for path in (broken, copy):
        path.write_bytes(b"broken")
    for _ in range(2):
        vectors, errors = Features(base).readable_images([broken, fine, copy, broken])
        assert np.isnan(vectors[[0, 2, 3]]).all()
        assert np.isfinite(vectors[1]).all()
        assert errors.keys() == {broken, copy}
    assert Features(base).lacks_images([fine, broken]) == 1
    assert Features(base).readable_images([broken])[0].shape == (1, 0)
    with pytest.raises(ImageError, match=f"{broken.name} cannot be read"):
        Features(base).images([fine, broken])
    (tmp_path / "notes.txt").touch()
    summary = index_images(tmp_path, tmp_path / "index", base)
    assert (summary.count, summary.unreadable) == (1, {(".png", "of no known format"): 2})


def test_each_content_is_encoded_once_wherever_it_lies(
    tmp_path: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(str(dual_folder))
    paths = files(tmp_path, 4)
    copies = [path.with_name(f"copy-{path.name}") for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    prepared: list[int] = []
    real = base.family.pixels
    monkeypatch.setattr(base.family, "pixels", lambda processor, frames: prepared.append(1) or real(processor, frames))
    vectors = Features(base).images([*paths, *copies])
    assert len(prepared) == 4
    assert np.array_equal(vectors[:4], vectors[4:])
    moved = [path.rename(tmp_path / f"moved-{path.name}") for path in paths]
    assert np.array_equal(Features(base).images(moved), vectors[:4])
    assert len(prepared) == 4


def test_pictures_that_are_not_wanted_do_not_wait_for_others(tmp_path: Path, dual_folder: Path) -> None:
    """Of a folder of copies that was moved none has to be encoded: each is given as it is read, and none is kept."""
    (path,) = files(tmp_path / "photos", 1)
    asked: list[int] = []

    def many() -> Iterator[Path]:
        for number in range(3000):
            asked.append(number)
            yield path

    base = open_base(str(dual_folder))
    with closing(base.encoded(many(), wanted=lambda *_: False)) as pictures:
        assert next(pictures).made is None
        assert len(asked) < 300
    asked.clear()
    seen = iter(range(3000))
    with closing(base.encoded(many(), wanted=lambda *_: next(seen) == 0)) as pictures:
        assert next(pictures).made is not None  # it does not wait for a batch that is never full
        assert len(asked) < 1500


def test_a_stop_keeps_what_was_encoded(tmp_path: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, stop = open_base(str(dual_folder)), StopRequest()
    paths = files(tmp_path, 40)
    real = base.family.image_features

    def last(model: Any, pixels: Any) -> Any:
        stop.requested = True
        return real(model, pixels)

    monkeypatch.setattr(base.family, "image_features", last)
    with pytest.raises(Interrupted, match="16 of 40 done and kept"):
        Features(base, stop=stop).images(paths)
    assert Features(base).lacks_images(paths) == 24


def test_an_estimate_is_not_refused_over_a_broken_picture(tmp_path: Path, dual_folder: Path) -> None:
    paths = files(tmp_path, 3)
    paths[1].write_bytes(b"broken")
    seconds = _image_seconds(open_base(str(dual_folder)), Mock(images=paths), 30)
    assert 0 < seconds < 30


# Encoding ---------------------------------------------------------------------------------------------------------


def test_batches_are_halved_until_the_device_has_memory_for_them(
    tmp_path: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, asked = open_base(str(dual_folder)), []
    paths = files(tmp_path, 40)
    expected = base.image_vectors(paths)
    real = base.family.image_features

    def small(model: Any, pixels: Any) -> Any:
        asked.append(len(pixels))
        if len(pixels) > 5:
            raise torch.OutOfMemoryError
        return real(model, pixels)

    monkeypatch.setattr(base.family, "image_features", small)
    assert_close(base.image_vectors(paths), expected)
    assert asked == [16, 8] + 10 * [4]  # what did not fit is not tried again
    monkeypatch.setattr(base.family, "image_features", lambda *_: small(None, range(6)))
    with pytest.raises(torch.OutOfMemoryError):
        base.image_vectors(paths)


def test_many_pictures_are_encoded_in_bf16_where_that_is_fast_and_kept_apart(
    tmp_path: Path, dual_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, seen = open_base(str(dual_folder)), []
    paths = files(tmp_path, 3)
    real = base.family.image_features
    monkeypatch.setattr(
        base.family, "image_features", lambda *a: seen.append(torch.is_autocast_enabled("cpu")) or real(*a)
    )
    for fast in (False, True):
        for module in ("base", "precision"):
            monkeypatch.setattr(f"mla_extend.bases.{module}.computes_bf16", lambda _, fast=fast: fast)
        assert Features(base).lacks_images(paths) == 3
        vectors = torch.from_numpy(Features(base).images(paths))
        exact = base.image_vectors(paths)
        assert torch.nn.functional.cosine_similarity(vectors, exact).min() > 0.99
    assert seen == [False, False, True, False]


def test_a_jpeg_is_decoded_at_the_size_that_the_model_needs(
    tmp_path: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(str(base_folder))
    assert base.family.image_side(base.processor) == 16
    Image.effect_noise((640, 480), 60).convert("RGB").save(tmp_path / "a.jpg")
    sizes: list[tuple[int, int]] = []
    real = base.family.pixels
    monkeypatch.setattr(
        base.family, "pixels", lambda processor, frames: sizes.append(frames[0].size) or real(processor, frames)
    )
    base.image_vectors([tmp_path / "a.jpg"])
    assert sizes == [(80, 60)]  # an eighth, the least that a JPEG is decoded to
    base.processor.do_resize = False
    base.image_vectors([Image.open(tmp_path / "a.jpg").crop((0, 0, 16, 16))])
    assert base.family.image_side(base.processor) is None
