"""Texts and ids as flat arrays: what goes in comes out, in memory and in a file, whole and in views."""

import os
from pathlib import Path

import numpy as np
import pytest

from mla_extend import flat
from mla_extend.errors import DiskError
from mla_extend.flat import IdRows, Texts

TEXTS = ["mbwa", "", "犬が走る", "half \ud83d", "mbwa", "line\nbreak", "x" * 50]


@pytest.fixture(params=[1 << 26, 20, 0], ids=["memory", "both", "file"], autouse=True)
def spilling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "SPILL", request.param)
    monkeypatch.setattr(flat, "BLOCK", 3)


def test_texts_come_out_as_they_went_in() -> None:
    texts = Texts.of(iter(TEXTS))
    assert list(texts) == TEXTS
    assert texts == TEXTS
    assert texts != TEXTS[:-1]
    assert [texts[i] for i in range(-7, 7)] == TEXTS + TEXTS
    assert Texts.of(texts) is texts
    assert len(Texts.of([])) == 0 == len(list(Texts.of([])))
    with pytest.raises(IndexError):
        texts[7]


def test_a_view_of_a_view_names_its_own_rows() -> None:
    texts = Texts.of(TEXTS)
    view = texts.take(np.array([6, 5, 2, 0, 3]))
    assert list(view) == [TEXTS[i] for i in (6, 5, 2, 0, 3)]
    assert list(view[1::2]) == [TEXTS[5], TEXTS[0]]
    assert list(view.take(np.array([False, True, False, False, True]))) == [TEXTS[5], TEXTS[3]]
    assert view[1] == TEXTS[5]
    assert view[-1] == TEXTS[3]
    assert list(texts.evenly(3)) == [TEXTS[0], TEXTS[3], TEXTS[6]]
    assert texts.evenly(7) is texts


def test_equal_texts_have_one_number_and_stay_where_they_stand_first() -> None:
    texts = Texts.of(["b", "a", "b", "", "a", "c"])
    numbers = texts.numbers()
    assert numbers[0] == numbers[2]
    assert numbers[1] == numbers[4]
    assert len(set(numbers.tolist())) == 4
    assert list(texts.different()) == ["b", "a", "", "c"]


def test_rows_that_follow_others_leave_these_as_they_were() -> None:
    first, more, third = Texts.of(TEXTS), Texts.of(["a", "犬"]).take(np.array([1, 0])), Texts.of(["z"])
    view = first[::2]
    both = view.followed_by(more)
    assert list(both) == [*TEXTS[::2], "犬", "a"]
    assert list(first.followed_by(third)) == [*TEXTS, "z"]
    assert list(both.followed_by(third)) == [*TEXTS[::2], "犬", "a", "z"]
    assert list(first) == TEXTS
    assert first.followed_by(Texts.of([])) is first


@pytest.mark.parametrize(("size", "width"), [(1 << 16, 2), ((1 << 16) + 1, 4)])
def test_ids_take_as_many_bytes_as_they_need(size: int, width: int) -> None:
    rows = [[1, 2, 65535], [], [size - 1], [7]]
    found = IdRows.of(rows, size)
    assert found == rows
    assert found.lengths.tolist() == [3, 0, 1, 1]
    assert found.bytes_of_rows.tolist() == [3 * width, 0, width, width]
    assert found[2] == [size - 1]


def test_ids_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "READ_TOGETHER", 2)
    given: list[list[str]] = []

    def tokenise(texts: Texts) -> list[list[int]]:
        given.append(list(texts))
        return [[len(text)] for text in texts]

    found = IdRows.read(Texts.of(["a", "bb", "ccc"]), tokenise, 10)
    assert (found, given) == ([[1], [2], [3]], [["a", "bb"], ["ccc"]])


def test_nothing_is_left_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while the texts are there, where files need no name."""
    monkeypatch.setenv("MLA_EXTEND_CACHE", str(tmp_path / "cache"))
    texts = Texts.of(TEXTS)
    if os.name == "posix":
        assert not list(tmp_path.glob("cache/*"))
    assert texts == TEXTS


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(flat, "SPILL", 0)
    monkeypatch.setattr(flat.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(DiskError, match="No space left on device"):
        Texts.of(TEXTS)
