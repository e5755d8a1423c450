"""Recalls: closed forms, equality with exact arithmetic in plain Python, chance against simulation and binomials."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mla_extend.errors import DataError
from mla_extend.evaluation.recall import METRICS, Retrieval, chance, check_protocol, evaluate_retrieval

PROTOCOLS = ("standard", "first", "mla")


def order_key(query, item):
    """Return an exact number that orders items of one query as their cosines do."""
    dot, square = sum(a * b for a, b in zip(query, item, strict=True)), sum(b * b for b in item)
    return Fraction(dot * abs(dot), square) if square else Fraction(0)


def naive(images, texts, owner, protocol):
    """Return the hits of all queries, by sorting with the incorrect first among equals."""
    kept = range(len(texts))
    if protocol == "first":
        kept = [caption for caption in kept if owner[caption] not in owner[:caption]]
    texts, owner = [texts[caption] for caption in kept], [owner[caption] for caption in kept]

    def first_correct(scored):
        ordered = sorted(scored, key=lambda pair: (-pair[0], pair[1]))
        return next(place for place, (_, correct) in enumerate(ordered) if correct)

    t2i = [
        first_correct([(order_key(text, image), number == mine) for number, image in enumerate(images)])
        for text, mine in zip(texts, owner, strict=True)
    ]
    i2t = []
    for number in sorted(set(owner)):
        keys = [(order_key(images[number], text), mine) for text, mine in zip(texts, owner, strict=True)]
        if protocol == "mla":
            keys = [(max(key for key, mine in keys if mine == group), group) for group in sorted(set(owner))]
        i2t.append(first_correct([(key, mine == number) for key, mine in keys]))
    return tuple(tuple(sum(place < k for place in places) / len(places) for k in (1, 5, 10)) for places in (t2i, i2t))


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 14), st.integers(1, 24), st.sampled_from(PROTOCOLS))
def test_equals_exact_arithmetic(data, width, image_count, caption_count, protocol):
    vector = st.lists(st.integers(-2, 2), min_size=width, max_size=width)
    images = data.draw(st.lists(vector, min_size=image_count, max_size=image_count))
    texts = data.draw(st.lists(vector, min_size=caption_count, max_size=caption_count))
    owner = data.draw(st.lists(st.integers(0, image_count - 1), min_size=caption_count, max_size=caption_count))
    recall = evaluate_retrieval(images, texts, owner, protocol).recall
    assert (recall.t2i, recall.i2t) == naive(images, texts, owner, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("captions", [1, 2, 5, 40])
@pytest.mark.parametrize("vector", [np.zeros(24), np.random.default_rng(0).standard_normal(24)], ids=["zero", "any"])
def test_collapsed_is_at_most_chance(protocol, captions, vector):
    for images in (1, 2, 7, 60):
        owner = np.repeat(np.arange(images), captions)
        result = evaluate_retrieval(np.tile(vector, (images, 1)), np.tile(vector, (len(owner), 1)), owner, protocol)
        expected = chance(images, captions, protocol)
        for got, bound in zip(result.metrics().values(), expected.metrics().values(), strict=True):
            assert got <= bound


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_perfect_whatever_the_order(protocol):
    generator = np.random.default_rng(0)
    images, owner = generator.standard_normal((50, 16)), generator.permutation(np.repeat(np.arange(50), 5))
    result = evaluate_retrieval(images, 3 * images[owner] + 0.001, owner, protocol)
    assert result.recall == Retrieval((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert result.mean_recall == result.t2i_mean == 1.0
    assert result.protocol == protocol
    assert result.captions == (50 if protocol == "first" else 250)


def test_shifted_by_one_finds_nothing_first():
    result = evaluate_retrieval(np.eye(30), np.eye(30), np.roll(np.arange(30), 1))
    assert result.recall == Retrieval((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def test_protocols_differ_as_they_should():
    # Image 0 is nearest to both captions of image 1 and then to its own second caption.
    images = np.array([[1.0, 0.0], [0.9, 0.1]])
    texts = np.array([[0.0, 1.0], [0.95, 0.3], [1.0, 0.02], [1.0, 0.05]])
    owner = [0, 0, 1, 1]
    assert evaluate_retrieval(images, texts, owner, "standard").i2t_ranks.tolist() == [3, 1]
    assert evaluate_retrieval(images, texts, owner, "first").i2t_ranks.tolist() == [2, 1]
    assert evaluate_retrieval(images, texts, owner, "mla").i2t_ranks.tolist() == [2, 1]


def test_image_without_caption_distracts_and_asks_nothing():
    result = evaluate_retrieval([[1, 0], [1, 0], [0, 1]], [[1, 0], [0, 1]], [0, 2])
    assert (result.images, result.captions) == (3, 2)
    assert result.t2i_ranks.tolist() == [2, 1]
    assert result.i2t_ranks.tolist() == [1, 1]
    assert result.i2t_image.tolist() == [0, 2]


def test_metrics_have_the_names_of_clip_benchmark():
    recall = Retrieval((0.1, 0.2, 0.3), (0.4, 0.5, 0.9))
    assert recall.metrics()["image_retrieval_recall@1"] == recall.t2i[0]
    assert recall.metrics()["text_retrieval_recall@10"] == recall.i2t[2]
    assert tuple(recall.metrics()) == METRICS
    assert recall.mean_recall == pytest.approx(0.4)
    assert recall.t2i_mean == pytest.approx(0.2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any))
def test_chance_equals_binomials(counts):
    total, queries, images = sum(counts), [m for m in counts if m], len(counts)
    i2t = [
        sum(1 - Fraction(comb(total - m, min(k, total)), comb(total, min(k, total))) for m in queries) / len(queries)
        for k in (1, 5, 10)
    ]
    t2i = [min(k, images) / images for k in (1, 5, 10)]
    assert chance(images, counts).i2t == pytest.approx([float(value) for value in i2t], rel=1e-12)
    assert chance(images, counts).t2i == pytest.approx(t2i, rel=1e-12)
    groups = [min(k, len(queries)) / len(queries) for k in (1, 5, 10)]
    for protocol in ("first", "mla"):
        assert chance(images, counts, protocol).i2t == pytest.approx(groups, rel=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chance_is_what_random_vectors_get(protocol):
    generator = np.random.default_rng(0)
    counts = np.arange(24) % 4 + 1
    owner = np.repeat(np.arange(24), counts)
    figures = [
        list(
            evaluate_retrieval(*(generator.standard_normal((n, 8)) for n in (24, len(owner))), owner, protocol)
            .metrics()
            .values()
        )
        for _ in range(1500)
    ]
    error = np.std(figures, axis=0) / np.sqrt(len(figures))
    expected = list(chance(24, counts, protocol).metrics().values())
    assert (np.abs(np.mean(figures, axis=0) - expected) < 4 * error).all()


def test_known_protocols_are_taken_as_they_are():
    assert [check_protocol(name) for name in PROTOCOLS] == list(PROTOCOLS)


def test_chance_of_large_and_small_galleries():
    assert chance(10**6, 5).i2t == pytest.approx((1e-6, 5e-6, 1e-5), rel=1e-4)
    assert chance(1, 3).metrics() == dict.fromkeys(METRICS, 1.0)
    assert chance(1000, 5).t2i == pytest.approx((0.001, 0.005, 0.01))


@pytest.mark.parametrize(
    ("images", "texts", "owner", "protocol", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), [0, 1], "standard", "width 3 and text vectors 4"),
        (np.ones((2, 3)), np.ones((2, 3)), [0], "standard", r"image_of_text has the shape \[1\].*give 2 integers"),
        (np.ones((2, 3)), np.ones((2, 3)), [0, 2], "standard", "says 2 at position 1"),
        (np.ones((0, 3)), np.ones((2, 3)), [0, 0], "standard", "image vectors are empty"),
        (np.ones((2, 3)), [[np.nan] * 3] * 2, [0, 1], "standard", "2 of 2 text vectors hold NaN"),
        (np.ones((2, 3)), np.ones((2, 3)), [0, 1], "all", "no protocol 'all'; use one of standard, first, mla"),
    ],
)
def test_says_what_does_not_fit(images, texts, owner, protocol, message):
    with pytest.raises(DataError, match=message):
        evaluate_retrieval(images, texts, owner, protocol)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "^0 images and captions_per_image"),
        (
            (2, [1]),
            r"^2 images and .* shape \[1\] and type int64 do not fit; give one integer, .* at least one image\.$",
        ),
        ((2, [0, 0]), "goes from 0 to 0; give at least one caption"),
        ((2, [1, -1]), "goes from -1 to 1"),
        ((2, 0.5), "type float64 do not fit"),
        ((2, 1, "all"), "no protocol 'all'"),
    ],
)
def test_chance_says_what_does_not_fit(arguments, message):
    with pytest.raises(DataError, match=message):
        chance(*arguments)
