"""Text-only transfer: closed forms of each figure."""

import numpy as np
import pytest

from mla_extend.errors import DataError
from mla_extend.evaluation import text_transfer


def test_equal_vectors_are_perfect():
    teacher = np.random.default_rng(0).standard_normal((60, 12))
    found = text_transfer(teacher, teacher)
    assert (found.mse, found.to_english, found.from_english) == (0.0, 1.0, 1.0)
    assert found.cosine == pytest.approx(1.0)
    assert (found.pairs, found.candidates, found.english_candidates) == (60, 60, 60)


def test_mse_and_cosine_by_hand():
    found = text_transfer([[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 1.0]])
    assert found.mse == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert found.cosine == pytest.approx(0.5)


def test_scale_changes_mse_only():
    teacher = np.random.default_rng(0).standard_normal((20, 6))
    found = text_transfer(2 * teacher, teacher)
    assert found.mse == pytest.approx(np.mean(teacher**2), rel=1e-5)
    assert (found.to_english, found.from_english) == (1.0, 1.0)


def test_collapsed_finds_nothing():
    teacher = np.random.default_rng(0).standard_normal((20, 6))
    found = text_transfer(np.tile(teacher[0], (20, 1)), teacher)
    assert found.from_english == 0.0
    assert found.to_english == 1 / 20


def test_each_direction_counts_its_own_distractors():
    teacher, ours = np.eye(4), np.eye(4) + 0.1
    assert text_transfer(ours, teacher, english_distractors=ours).to_english == 0.0
    assert text_transfer(ours, teacher, english_distractors=ours).from_english == 1.0
    found = text_transfer(ours, teacher, distractors=teacher[:2])
    assert (found.to_english, found.from_english) == (1.0, 0.5)
    assert (found.candidates, found.english_candidates) == (6, 4)


def test_says_what_does_not_fit():
    with pytest.raises(DataError, match=r"\[3, 4\] and teacher vectors \[2, 4\]"):
        text_transfer(np.ones((3, 4)), np.ones((2, 4)))
    with pytest.raises(DataError, match="English distractors have width 5, not 4"):
        text_transfer(np.ones((2, 4)), np.ones((2, 4)), english_distractors=np.ones((2, 5)))
    with pytest.raises(DataError, match="teacher vectors hold NaN"):
        text_transfer(np.ones((2, 4)), np.full((2, 4), np.nan))
