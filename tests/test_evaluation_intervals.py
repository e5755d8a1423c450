"""Intervals: degenerate and closed forms, sanity of the bootstrap, coverage, and two systems on the same images."""

import numpy as np
import pytest
from scipy.stats import binom

from mla_extend.errors import DataError
from mla_extend.evaluation import intervals
from mla_extend.evaluation.intervals import Interval, bootstrap, paired_bootstrap, ratio_bootstrap, wilson
from mla_extend.evaluation.recall import RetrievalResult, evaluate_retrieval


def noisy(noise, images=80, captions=3, seed=0, noise_seed=1):
    vectors = np.random.default_rng(seed).standard_normal((images, 8))
    owner = np.repeat(np.arange(images), captions)
    texts = vectors[owner] + noise * np.random.default_rng(noise_seed).standard_normal((len(owner), 8))
    return evaluate_retrieval(vectors, texts, owner)


def with_ranks(t2i, i2t, images=None):
    """Build a result with one caption an image from two lists of ranks."""
    count = len(t2i)
    each = np.arange(count)
    return RetrievalResult("standard", images or count, count, np.array(t2i), each, np.array(i2t), each)


def inside(value, interval):
    return interval.low <= value <= interval.high


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_interval_holds_the_estimate(noise):
    result = noisy(noise)
    found = bootstrap(result)
    assert inside(result.mean_recall, found.mean_recall)
    assert inside(result.t2i_mean, found.t2i_mean)
    for name, value in result.metrics().items():
        assert inside(value, found.metrics[name]), name
    assert 0 < found.mean_recall.high - found.mean_recall.low < 0.3


def test_same_seed_same_interval_and_another_seed_another():
    result = noisy(1.0)
    assert bootstrap(result, seed=3) == bootstrap(result, seed=3)
    assert bootstrap(result, seed=3) != bootstrap(result, seed=4)
    other = noisy(1.2)
    for made in (
        bootstrap,
        lambda one, **seed: paired_bootstrap(one, other, **seed),
        lambda one, **seed: ratio_bootstrap(one, other, **seed),
    ):
        assert made(result) == made(result, seed=0)
        assert made(result) != made(result, seed=1)


def test_the_interval_of_half_the_images_is_the_binomial_distributions():
    hits = np.where(np.arange(200) % 2, 1, 99)
    found = bootstrap(with_ranks(hits, hits), resamples=20_000, level=0.9)
    assert found.mean_recall == pytest.approx(binom.ppf([0.05, 0.95], 200, 0.5) / 200, abs=0.0051)


def test_no_level_gives_the_median_and_one_resample_a_point():
    found = bootstrap(noisy(1.0), level=1e-9)
    for interval in (found.mean_recall, found.t2i_mean):
        assert interval.low == pytest.approx(interval.high, abs=1e-9)
    alone = bootstrap(noisy(1.0), resamples=1)
    assert alone.mean_recall.low == alone.mean_recall.high
    assert bootstrap(with_ranks([1], [1])).mean_recall == Interval(1.0, 1.0)


def test_blocks_do_not_change_the_draws(monkeypatch):
    result = noisy(1.0)
    whole = bootstrap(result)
    monkeypatch.setattr(intervals, "BLOCK", 80 * 7)
    assert bootstrap(result) == whole


@pytest.mark.parametrize("rank", [1, 4, 9, 30])
def test_equal_images_give_zero_width(rank):
    result = with_ranks([rank] * 40, [rank] * 40)
    found = bootstrap(result)
    assert found.mean_recall == Interval(result.mean_recall, result.mean_recall)
    for name, value in result.metrics().items():
        assert found.metrics[name] == Interval(value, value)


def test_captions_of_one_image_move_together():
    owner = np.repeat(np.arange(100), 5)
    together = RetrievalResult(
        "standard", 100, 500, np.where(owner % 2, 1, 99), owner, np.ones(100, int), np.arange(100)
    )
    apart = RetrievalResult(
        "standard", 100, 500, np.where(np.arange(500) % 2, 1, 99), owner, np.ones(100, int), np.arange(100)
    )

    def width(result):
        interval = bootstrap(result).metrics["image_retrieval_recall@1"]
        return interval.high - interval.low

    # Fifty of a hundred images: 2 * 1.96 * sqrt(0.25 / 100). Nearly nothing is left where each image has half.
    assert width(together) == pytest.approx(0.196, rel=0.15)
    assert width(apart) < width(together) / 3


def test_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        hits = np.where(generator.random(100) < 0.6, 1, 50)
        covered += inside(0.6, bootstrap(with_ranks(hits, hits), seed=trial, resamples=400).mean_recall)
    assert 0.88 <= covered / 200 <= 0.99


def test_images_without_captions_are_never_drawn():
    sparse = evaluate_retrieval(np.eye(12), np.eye(12)[[0, 11]], [0, 11])
    assert bootstrap(sparse).mean_recall == Interval(1.0, 1.0)


def test_paired_with_itself_differs_by_nothing():
    result = noisy(1.0)
    found = paired_bootstrap(result, result)
    assert (found.difference, found.interval, found.p_value) == (0.0, Interval(0.0, 0.0), 1.0)


def test_paired_sees_a_clear_difference_and_its_sign():
    better, worse = noisy(0.5), noisy(1.5)
    found, reverse = paired_bootstrap(better, worse), paired_bootstrap(worse, better)
    assert found.p_value == pytest.approx(2 / 1001)
    assert inside(found.difference, found.interval)
    assert found.interval.low > 0
    assert reverse.interval == pytest.approx((-found.interval.high, -found.interval.low))
    assert reverse.difference == -found.difference


def test_paired_does_not_see_one_where_there_is_none():
    found = paired_bootstrap(noisy(1.0, noise_seed=5), noisy(1.0, noise_seed=6))
    assert found.p_value > 0.05
    assert inside(0, found.interval)


def test_pairing_is_narrower_than_two_intervals():
    first, second = noisy(1.0, images=200), noisy(1.05, images=200)
    alone = bootstrap(first).mean_recall
    paired = paired_bootstrap(first, second).interval
    assert paired.high - paired.low < alone.high - alone.low


def test_ratio_to_native():
    native = noisy(0.5)
    same = ratio_bootstrap(native, native)
    assert (same.value, same.interval) == (1.0, Interval(1.0, 1.0))
    ours = noisy(1.2, captions=2)
    found = ratio_bootstrap(ours, native)
    assert found.value == ours.mean_recall / native.mean_recall
    assert inside(found.value, found.interval)
    assert found.interval.high < 1


def test_ratio_where_native_finds_nothing():
    ours = with_ranks([1] * 30, [1] * 30)
    assert ratio_bootstrap(ours, with_ranks([30] * 30, [30] * 30)) is None
    rare = ratio_bootstrap(ours, with_ranks([1] + [30] * 29, [30] * 30))
    assert rare.value == pytest.approx(1 / (3 / 30 / 6))
    assert rare.interval is None


def test_systems_with_captions_for_other_images_compare():
    first = evaluate_retrieval(np.eye(20), np.eye(20), np.arange(20))
    second = evaluate_retrieval(np.eye(20), np.eye(20)[:15], np.arange(15))
    assert paired_bootstrap(first, second).difference == 0.0
    assert paired_bootstrap(first, second).interval == Interval(0.0, 0.0)


def test_wilson_closed_forms():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(1, 1) == pytest.approx((0.2065, 1.0), abs=1e-4)
    assert wilson(0, 10).low == 0.0
    assert wilson(10, 10).high == 1.0
    # Newcombe 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(50, 100, level=0.5).high < wilson(50, 100).high


def test_wrong_arguments():
    result = with_ranks([1, 2], [1, 2])
    with pytest.raises(DataError, match=r"\[2, 3\] images; evaluate both on the same"):
        paired_bootstrap(result, with_ranks([1, 2], [1, 2], images=3))
    with pytest.raises(DataError, match="0 resamples"):
        bootstrap(result, resamples=0)
    for level in (95, 1, 0):
        with pytest.raises(DataError, match=f"level {level} is not between 0 and 1"):
            bootstrap(result, level=level)
    with pytest.raises(DataError, match="3 hits of 2"):
        wilson(3, 2)
    with pytest.raises(DataError, match="0 hits of 0"):
        wilson(0, 0)
