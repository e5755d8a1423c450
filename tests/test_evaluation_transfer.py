"""Text-only transfer: closed forms of each figure."""

import json

import numpy as np
import pytest

from mla_extend.errors import DataError
from mla_extend.evaluation.intervals import wilson
from mla_extend.evaluation.transfer import text_transfer
from mla_extend.files import dump_json


def test_equal_vectors_are_perfect():
    teacher = np.random.default_rng(0).standard_normal((60, 12))
    found = text_transfer(teacher, teacher)
    assert (found.mse, found.to_native_accuracy, found.from_native_accuracy) == (0.0, 1.0, 1.0)
    assert found.cosine == pytest.approx(1.0)
    assert (found.pairs, found.candidates, found.native_candidates) == (60, 60, 60)
    assert found.to_native_ci95 == found.from_native_ci95 == wilson(60, 60)
    assert found.chance_to_native_accuracy == 1 / 60


def test_mse_and_cosine_by_hand():
    found = text_transfer([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 1.0]])
    assert found.mse == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert found.cosine == pytest.approx(0.5)


def test_scale_changes_mse_only():
    teacher = np.random.default_rng(0).standard_normal((20, 6))
    found = text_transfer(2 * teacher, teacher)
    assert found.mse == pytest.approx(np.mean(teacher**2), rel=1e-5)
    assert (found.to_native_accuracy, found.from_native_accuracy) == (1.0, 1.0)


def test_collapsed_finds_nothing():
    teacher = np.random.default_rng(0).standard_normal((20, 6))
    found = text_transfer(np.tile(teacher[0], (20, 1)), teacher)
    assert (found.from_native_accuracy, found.from_native_ci95) == (0.0, wilson(0, 20))
    assert (found.to_native_accuracy, found.to_native_ci95) == (1 / 20, wilson(1, 20))


def test_distractors_stand_among_the_native_sentences_alone():
    teacher, ours = np.eye(4), np.eye(4) + 0.1
    found = text_transfer(ours, teacher, native_distractors=ours)
    assert (found.to_native_accuracy, found.from_native_accuracy) == (0.0, 1.0)
    assert (found.candidates, found.native_candidates) == (4, 8)


def test_a_native_sentence_may_have_several_translations():
    natives, owner = np.eye(3), [0, 0, 1, 2, 2]
    ours = natives[owner] + 0.01 * np.arange(5)[:, None]
    found = text_transfer(ours, natives, owner)
    assert (found.to_native_accuracy, found.from_native_accuracy, found.pairs) == (1.0, 1.0, 5)
    assert text_transfer(ours[::-1], natives, owner).to_native_accuracy == 1 / 5


def test_the_floor_is_measured_against_the_same_candidates():
    natives = np.eye(4)
    assert text_transfer(natives, natives).floor_to_native_accuracy is None
    assert text_transfer(natives, natives, floor_vectors=np.ones((4, 4))).floor_to_native_accuracy == 0.0
    assert text_transfer(natives, natives, floor_vectors=natives).floor_to_native_accuracy == 1.0


def test_json_holds_intervals_as_lists():
    found = text_transfer(np.eye(4), np.eye(4))
    assert json.loads(dump_json(found.to_json())) == found.to_json()
    assert found.to_json()["to_native_ci95"] == list(wilson(4, 4))
    assert found.to_json()["pairs"] == 4
    assert found.to_json()["floor_to_native_accuracy"] is None


def test_says_what_does_not_fit():
    with pytest.raises(
        DataError, match=r"\[3, 4\] and native vectors \[2, 4\]; give one native vector .* from one base\.$"
    ):
        text_transfer(np.ones((3, 4)), np.ones((2, 4)))
    broken = np.full((2, 4), np.nan)
    with pytest.raises(DataError, match="of 2 text vectors hold NaN"):
        text_transfer(broken, np.ones((2, 4)))
    with pytest.raises(DataError, match="of 2 native distractors hold NaN"):
        text_transfer(np.ones((2, 4)), np.ones((2, 4)), native_distractors=broken)
    with pytest.raises(DataError, match="of 2 floor vectors hold NaN"):
        text_transfer(np.ones((2, 4)), np.ones((2, 4)), floor_vectors=broken)
    with pytest.raises(DataError, match=r"^native_of says 2 at position 1"):
        text_transfer(np.ones((2, 4)), np.ones((2, 4)), [0, 2])
    with pytest.raises(DataError, match="native distractors have width 5, not 4"):
        text_transfer(np.ones((2, 4)), np.ones((2, 4)), native_distractors=np.ones((2, 5)))
    with pytest.raises(DataError, match="native vectors hold NaN"):
        text_transfer(np.ones((2, 4)), np.full((2, 4), np.nan))
    with pytest.raises(DataError, match="no correct item"):
        text_transfer(np.eye(3), np.eye(3), [0, 0, 1])
