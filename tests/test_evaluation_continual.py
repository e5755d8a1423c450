"""The continual matrix: worked examples, the definitions spelt out in plain Python, and what it refuses."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mla_extend.errors import DataError
from mla_extend.evaluation.continual import continual_matrix

NAN = float("nan")
LANGUAGES = ("en", "sw", "de", "ja", "am", "cy")


def filled(rows):
    """Fill the rows of a triangle up with NaN."""
    return [[float(value) for value in row] + [NAN] * (len(rows) - len(row)) for row in rows]


def plain(rows):
    """Return A, F and B of each row by the definitions, in exact arithmetic."""
    average, forgetting, backward = [], [], []
    for i, row in enumerate(rows):
        average.append(sum(row) / len(row))
        before = range(i)
        forgetting.append(sum(max(rows[k][j] for k in range(j, i)) - row[j] for j in before) / i if i else None)
        backward.append(sum(row[j] - rows[j][j] for j in before) / i if i else None)
    return average, forgetting, backward


def test_a_worked_example():
    """English falls by 0.1 and comes back by half of it; Swahili gains 0.2; German is new."""
    found = continual_matrix([[0.8, NAN, NAN], [0.7, 0.4, NAN], [0.75, 0.6, 0.5]], ("en", "sw", "de"))
    assert found.average_accuracy == pytest.approx((0.8, 0.55, (0.75 + 0.6 + 0.5) / 3))
    assert found.forgetting == (None, pytest.approx(0.1), pytest.approx((0.05 - 0.2) / 2))
    assert found.backward_transfer == (None, pytest.approx(-0.1), pytest.approx((-0.05 + 0.2) / 2))


def test_forgetting_is_against_the_best_and_backward_transfer_against_the_first():
    found = continual_matrix([[0.5, NAN, NAN], [0.9, 0.1, NAN], [0.6, 0.1, 0.3]], ("en", "sw", "de"))
    assert found.forgetting[2] == pytest.approx((0.9 - 0.6) / 2)
    assert found.backward_transfer[2] == pytest.approx((0.6 - 0.5) / 2)


def test_what_does_not_move_is_forgotten_by_exactly_nothing():
    """The scores are no round numbers, and the figures still are 0 and not nearly 0."""
    diagonal = np.random.default_rng(0).random(6)
    scores = np.where(np.tri(6, dtype=bool), diagonal, NAN)
    found = continual_matrix(scores, LANGUAGES)
    assert found.forgetting == (None, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert found.backward_transfer == (None, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_base_alone_has_an_average_and_nothing_to_forget():
    found = continual_matrix([[0.25]], ("en",))
    assert found.average_accuracy == (0.25,)
    assert found.forgetting == found.backward_transfer == (None,)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 6).flatmap(lambda size: st.tuples(*[
    st.lists(st.integers(0, 40).map(lambda n: Fraction(n, 40)), min_size=row + 1, max_size=row + 1)
    for row in range(size)
])))  # fmt: skip
def test_equals_the_definitions_in_exact_arithmetic(rows):
    found = continual_matrix(filled(rows), LANGUAGES[: len(rows)])
    average, forgetting, backward = plain(rows)
    assert found.average_accuracy == pytest.approx([float(value) for value in average])
    for ours, theirs in ((found.forgetting, forgetting), (found.backward_transfer, backward)):
        assert ours[0] is theirs[0] is None
        assert ours[1:] == pytest.approx([float(value) for value in theirs[1:]], abs=1e-12)
    for lost, won in zip(found.forgetting[1:], found.backward_transfer[1:], strict=True):
        assert lost >= -won - 1e-12


def test_json_has_a_square_of_scores_without_nan():
    found = continual_matrix([[0.8, NAN], [0.8, 0.4]], ("en", "zh-Hant")).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "languages": ["en", "zh-Hant"],
        "scores": [[0.8, None], [0.8, 0.4]],
        "average_accuracy": [0.8, pytest.approx(0.6)],
        "forgetting": [None, 0.0],
        "backward_transfer": [None, 0.0],
    }


@pytest.mark.parametrize(
    ("scores", "languages", "message"),
    [
        ([], (), r"0 languages\. Give a row and a column for each of at least one\.$"),
        ([[0.5]], ("en", "sw"), r"shape \[1, 1\], and there are 2 languages"),
        ([[0.5, NAN]], ("en",), r"shape \[1, 2\]"),
        ([0.5], ("en",), r"shape \[1\]"),
        ([[0.5, None], [0.5, "high"]], ("en", "sw"), "no matrix of numbers"),
        ([[0.5], [0.5, 0.5]], ("en", "sw"), "no matrix of numbers.*Fill rows up with NaN"),
        ([[0.5, NAN], [NAN, 0.5]], ("en", "sw"), "score on 'en' after 'sw' is nan"),
        ([[0.5, NAN], [0.5, float("inf")]], ("en", "sw"), "score on 'sw' after 'sw' is inf"),
        ([[0.5, 0.1], [0.5, 0.5]], ("en", "sw"), r"'sw' after 'en' is 0.1, .* Order .*; put NaN above the .*\.$"),
    ],
)  # fmt: skip
def test_says_what_is_no_continual_matrix(scores, languages, message):
    with pytest.raises(DataError, match=message):
        continual_matrix(scores, languages)
