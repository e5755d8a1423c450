"""Ranks: closed forms, and equality with a ranking by sorting in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mla_extend.errors import DataError
from mla_extend.ranks import as_vectors, ranks, unit


def sorted_rank(scores, correct):
    """Sort by score with the incorrect first among equals; return the place of the first correct one."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item in correct))
    return 1 + next(place for place, item in enumerate(order) if item in correct)


def integer_vectors(rows, width):
    return st.lists(st.lists(st.integers(-2, 2), min_size=width, max_size=width), min_size=rows, max_size=rows)


@st.composite
def problems(draw):
    width, queries, gallery = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 9))
    relevant = st.lists(st.integers(0, gallery - 1), min_size=1, max_size=5)
    return (
        draw(integer_vectors(queries, width)),
        draw(integer_vectors(gallery, width)),
        draw(st.lists(relevant, min_size=queries, max_size=queries)),
    )


@settings(max_examples=300, deadline=None)
@given(problems(), st.sampled_from([1, 64, 1 << 20]))
def test_equals_sorting_with_ties_and_several_correct(problem, chunk_bytes):
    queries, gallery, relevant = problem
    scores = [[sum(a * b for a, b in zip(query, item, strict=True)) for item in gallery] for query in queries]
    expected = [sorted_rank(row, set(correct)) for row, correct in zip(scores, relevant, strict=True)]
    assert ranks(queries, gallery, relevant, chunk_bytes=chunk_bytes).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(problems(), st.data())
def test_groups_equal_sorting_by_each_groups_best(problem, data):
    queries, gallery, _ = problem
    labels = data.draw(st.lists(st.integers(0, 3), min_size=len(gallery), max_size=len(gallery)))
    groups = np.unique(labels, return_inverse=True)[1].reshape(-1)
    count = int(groups.max()) + 1
    right = data.draw(st.lists(st.integers(0, count - 1), min_size=len(queries), max_size=len(queries)))
    expected = []
    for query, correct in zip(queries, right, strict=True):
        scores = [sum(a * b for a, b in zip(query, item, strict=True)) for item in gallery]
        best = [max(s for s, group in zip(scores, groups, strict=True) if group == g) for g in range(count)]
        expected.append(sorted_rank(best, {correct}))
    assert ranks(queries, gallery, right, groups=groups, chunk_bytes=1).tolist() == expected


def test_perfect_and_permuted():
    vectors = unit(as_vectors(np.random.default_rng(0).standard_normal((200, 16)), "vectors"))
    order = np.random.default_rng(1).permutation(200)
    assert (ranks(vectors, vectors, np.arange(200)) == 1).all()
    assert (ranks(vectors[order], vectors, order) == 1).all()
    wrong = ranks(np.eye(6), np.eye(6), np.roll(np.arange(6), 1))
    assert wrong.tolist() == [6] * 6


@pytest.mark.parametrize("width", [1, 7, 64, 512, 1031])
@pytest.mark.parametrize("count", [1, 2, 33, 501])
def test_equal_vectors_tie_whatever_the_blocks(width, count):
    vector = np.random.default_rng(width).standard_normal(width)
    vectors = unit(as_vectors(np.repeat(vector[None], count, axis=0), "vectors"))
    for rows in (1, 17):
        correct = np.arange(rows) % count
        assert (ranks(vectors[np.zeros(rows, int)], vectors, correct, chunk_bytes=4 * count * 5) == count).all()


def test_collapse_up_to_rounding_still_ties():
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.standard_normal((1, 256)), 300, axis=0)
    vectors = unit(as_vectors(vectors * (1 + 1e-7 * generator.standard_normal(vectors.shape)), "vectors"))
    assert (ranks(vectors, vectors, np.arange(300)) == 300).all()


def test_tied_correct_items_do_not_count_against_each_other():
    ones = np.ones((10, 4))
    assert ranks(ones[:1], ones, [[2, 5, 7]]).tolist() == [8]
    assert ranks(ones[:1], ones, [[2, 2, 2]]).tolist() == [10]
    assert ranks(ones[:1], ones, [list(range(10))]).tolist() == [1]
    # Two correct items tie at the top with one incorrect: the incorrect one is put first, the other correct is not.
    assert ranks([[1.0]], [[3.0], [3.0], [3.0], [1.0]], [[0, 2]]).tolist() == [2]


def test_correct_items_may_be_an_array_of_lists():
    lists = np.array([[0], [1, 2]], dtype=object)
    assert ranks(np.eye(3)[:2], np.eye(3), lists).tolist() == [1, 1]


def test_chunks_do_not_change_the_ranks():
    generator = np.random.default_rng(3)
    queries, gallery = generator.standard_normal((300, 24)), generator.standard_normal((170, 24))
    relevant = generator.integers(170, size=(300, 3))
    whole = ranks(queries, gallery, relevant)
    for chunk_bytes in (1, 4 * 170 * 7, 4 * 170 * 299):
        assert np.array_equal(ranks(queries, gallery, relevant, chunk_bytes=chunk_bytes), whole)
    assert whole.dtype == np.int64


def test_overflowing_scores_count_against():
    huge = np.full((3, 4), 1e30, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        assert ranks(huge, huge, np.arange(3)).tolist() == [3, 3, 3]


def test_unit_keeps_zero_and_survives_huge_and_tiny():
    vectors = unit(as_vectors([[0, 0], [3e30, 4e30], [3e-30, 4e-30]], "vectors"))
    assert np.allclose(vectors, [[0, 0], [0.6, 0.8], [0.6, 0.8]])
    assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("queries", "gallery", "relevant", "groups", "message"),
    [
        (np.ones(3), np.ones((2, 3)), [0], None, r"queries have the shape \[3\]"),
        (np.ones((0, 3)), np.ones((2, 3)), [], None, "queries are empty"),
        ([["a"]], np.ones((2, 1)), [0], None, r"give real numbers as \[vectors, width\]\.$"),
        (np.ones((1, 3)), np.ones((2, 4)), [0], None, "width 3 and gallery vectors 4"),
        (np.ones((1, 3)), [[1], [np.nan], [1]] * np.ones(3), [0], None, "1 of 3 gallery vectors hold NaN.*row 1"),
        (np.ones((1, 1)), [[1e300]], [0], None, "infinity"),
        (np.ones((2, 3)), np.ones((2, 3)), [0], None, "2 queries and correct items for 1"),
        (np.ones((2, 3)), np.ones((2, 3)), [[0], []], None, "Query 1 has no correct item"),
        (np.ones((1, 3)), np.ones((2, 3)), [2], None, "relevant says 2 at position 0; indices go from 0 to 1"),
        (np.ones((1, 3)), np.ones((2, 3)), np.array([-1]), None, "says -1"),
        (np.ones((1, 3)), np.ones((2, 3)), np.array([0.0]), None, "type float64"),
        (np.ones((1, 3)), np.ones((2, 3)), [0], [0], "groups has the shape"),
        (np.ones((1, 3)), np.ones((2, 3)), [0], [1, 1], "Group 0 has no item"),
        (
            np.ones((1, 3)),
            np.ones((4, 3)),
            [0],
            [0, 3, 0, 0],
            "Group 1 has no item; number the groups from 0 without a gap",
        ),
        (
            np.ones((1, 3)),
            np.ones((3, 3)),
            [2],
            [0, 1, 0],
            "indices go from 0 to 1: check that the lists belong together",
        ),
    ],
)
def test_says_what_does_not_fit(queries, gallery, relevant, groups, message):
    with pytest.raises(DataError, match=message):
        ranks(queries, gallery, relevant, groups=groups)
