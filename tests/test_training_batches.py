"""Batches: each row once an epoch, of like length, by weight, and a function of the step alone."""

from collections import Counter

import numpy as np
import pytest

from mla_extend.training.batches import POOL, BucketedBatches

LENGTHS = np.random.default_rng(0).integers(3, 40, 1000)


def epoch(batches: BucketedBatches, number: int = 0) -> list[list[int]]:
    """Return the batches of an epoch."""
    steps = range(number * batches.per_epoch, (number + 1) * batches.per_epoch)
    return [batches.rows(step).tolist() for step in steps]


def test_an_epoch_takes_each_row_once_in_an_order_of_its_own() -> None:
    """Rows that fill no batch wait."""
    batches = BucketedBatches(LENGTHS, 32, seed=1)
    first, second = epoch(batches), epoch(batches, 1)
    assert batches.per_epoch == 31
    for rows in first, second:
        assert {len(batch) for batch in rows} == {32}
        assert len({row for batch in rows for row in batch}) == 31 * 32
    assert {row for batch in first for row in batch} != {row for batch in second for row in batch}
    whole = BucketedBatches(LENGTHS, 10, seed=1)
    assert sorted(row for batch in epoch(whole, 3) for row in batch) == list(range(1000))


def test_a_batch_is_a_function_of_the_seed_and_the_step() -> None:
    """No step before is needed, whatever was asked for in between."""
    batches = BucketedBatches(LENGTHS, 32, seed=1)
    found = {step: batches.rows(step).tolist() for step in (200, 3, 77, 40, 3, 130)}
    for step, rows in found.items():
        assert BucketedBatches(LENGTHS, 32, seed=1).rows(step).tolist() == rows
        assert BucketedBatches(LENGTHS, 32, seed=2).rows(step).tolist() != rows


def test_rows_of_a_batch_are_of_like_length_within_a_pool() -> None:
    """Pools of 32 batches are sorted by length; their batches come in a random order."""
    rows = POOL * 4 * 2
    lengths = np.arange(rows) % 8
    batches = BucketedBatches(lengths, 4, seed=0)
    assert batches.per_epoch == 2 * POOL
    found = epoch(batches)
    assert sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in found) < 0.1 * lengths.sum()
    heads = [int(lengths[batch].max()) for batch in found]
    assert heads != sorted(heads)
    assert heads[:POOL] != sorted(heads[:POOL])
    # A pool alone is not the whole: its lengths are sorted, so that at most one batch a length and pool is mixed.
    mixed = sum(len(set(lengths[batch].tolist())) > 1 for batch in found)
    assert 0 < mixed <= 2 * 7
    for batch in found:
        assert sorted(lengths[batch].tolist()) == lengths[batch].tolist()


def test_rows_are_drawn_by_weight_with_one_offset_for_all() -> None:
    """In each epoch a row comes as often as its share, rounded up or down, and over epochs as often as it says."""
    weights = np.array([1.0, 1.0, 1.0, 5.0] * 25)
    batches = BucketedBatches(np.ones(100, dtype=np.int64), 10, 3, weights)
    total: Counter[int] = Counter()
    orders = set()
    for number in range(40):
        rows = [row for batch in epoch(batches, number) for row in batch]
        counts = Counter(rows)
        assert {counts[row] for row in range(3, 100, 4)} <= {2, 3}
        assert {counts[row] for row in range(0, 100, 4)} <= {0, 1}
        total += counts
        orders.add(tuple(rows))
    assert len(orders) == 40
    assert sum(total.values()) == 4000
    assert total[3] / 40 == pytest.approx(2.5, abs=0.25)
    assert total[0] / 40 == pytest.approx(0.5, abs=0.25)


def test_copies_of_a_row_do_not_stand_together() -> None:
    """A batch of equal rows would have nothing to contrast."""
    weights = np.array([50.0, *[1.0] * 50])
    batches = BucketedBatches(np.ones(51, dtype=np.int64), 17, 0, weights)
    shares = [Counter(batch)[0] for batch in epoch(batches)]
    assert min(shares) > 3
