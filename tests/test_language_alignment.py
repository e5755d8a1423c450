"""The alignment of two vocabularies: against IBM Model 1 by brute force, closed forms, and what it is for."""

from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest

from mla_extend.language import alignment as module
from mla_extend.language.alignment import align
from tests.conftest import NATIVE_WORDS, TARGET_WORDS, sentences

NATIVE, TARGET = sentences(400)
SIZES = (9, 8)
Text = list[list[int]]
Pairs = dict[tuple[int, int], float]


def ten_sentences(seed: int) -> tuple[Text, Text]:
    """Draw ten pairs of sentences in which words repeat; some are empty on one side or on both."""
    generator = np.random.default_rng(seed)
    sides = [
        [generator.integers(size - 1, size=generator.integers(0, 6)).tolist() for _ in range(10)] for size in SIZES
    ]
    sides[0][3] = sides[1][4] = sides[0][7] = sides[1][7] = []
    return sides[0], sides[1]


def one_round(values: Pairs, given: Text, made: Text, turned: bool) -> Pairs:
    """Let each token of `made` share itself out among those of `given` in its sentence; return what each pair got."""
    counts: Pairs = defaultdict(float)
    for ours, theirs in zip(given, made, strict=True):
        for token in theirs:
            pairs = [pair for other in ours if (pair := (token, other) if turned else (other, token)) in values]
            whole = sum(values[pair] for pair in pairs)
            for pair in pairs:
                counts[pair] += values[pair] / whole
    return counts


def normalised(counts: Pairs, side: int) -> Pairs:
    sums: dict[int, float] = defaultdict(float)
    for pair, count in counts.items():
        sums[pair[side]] += count
    return {pair: count / sums[pair[side]] for pair, count in counts.items()}


def by_brute_force(
    target: Text,
    native: Text,
    power: float,
    best: int,
    rounds: int,
    every: int = 1,
    sizes: tuple[int, int] = SIZES,
    most: int = 1000,
) -> np.ndarray:
    """Return the weights `[S, V]` by the definitions, in loops over all links of all sentences."""
    once = [(set(ours), set(theirs)) for ours, theirs in zip(target, native, strict=True)]
    ours_in, theirs_in = Counter(t for ours, _ in once for t in ours), Counter(t for _, theirs in once for t in theirs)
    both_in = Counter(pair for sentence in once for pair in product(*sentence))
    dice = {(s, t): (2 * count / (ours_in[s] + theirs_in[t])) ** power for (s, t), count in both_in.items()}
    tops = {s: max(value for (other, _), value in dice.items() if other == s) for s, _ in dice}
    least = sorted(dice.values(), reverse=True)[most - 1] if most < len(dice) else 0.0
    dice = {pair: value for pair, value in dice.items() if value >= least or value == tops[pair[0]]}
    found: Pairs = {}
    to_native = to_target = dice
    for _ in range(rounds):
        native_got = one_round(to_native, target[::every], native[::every], turned=False)
        target_got = one_round(to_target, native[::every], target[::every], turned=True)
        found = {pair: native_got[pair] + target_got[pair] for pair in native_got}
        to_native, to_target = normalised(native_got, 0), normalised(target_got, 1)
    weights = np.zeros(sizes)
    for token in range(sizes[0]):
        values = {t: value for (s, t), value in found.items() if s == token}
        values = values or {t: value for (s, t), value in dice.items() if s == token}
        kept = sorted(values, key=lambda t: (-values[t], t))[:best]
        for partner in kept:
            weights[token, partner] = values[partner] / sum(values[t] for t in kept)
    return weights


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
@pytest.mark.parametrize(("power", "best"), [(2.0, 8), (1.0, 8), (3.5, 8), (2.0, 2), (2.0, 1)])
def test_equals_ibm_model_1_over_all_links(power: float, best: int, rounds: int) -> None:
    for seed in range(5):
        target, native = ten_sentences(seed)
        found = align(target, native, *SIZES, power=power, best=best, rounds=rounds)
        expected = by_brute_force(target, native, power, best, rounds)
        np.testing.assert_allclose(found.weights.toarray(), expected, rtol=1e-5, atol=1e-9)
        assert found.aligned.tolist() == expected.any(axis=1).tolist()
        assert found.weights.has_sorted_indices


def test_what_is_not_said_is_five_rounds_of_squares_and_the_eight_best() -> None:
    generator = np.random.default_rng(1)
    target, native = ([generator.integers(20, size=9).tolist() for _ in range(10)] for _ in range(2))
    found = align(target, native, 20, 20).weights.toarray()
    expected = by_brute_force(target, native, 2.0, 8, 5, sizes=(20, 20))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert (found > 0).sum(axis=1).max() == 8


def test_counts_alone_are_the_dice_coefficient() -> None:
    """Tokens 0 and 0 occur 3 and 2 times, twice together: 2 * 2 / 5; tokens 0 and 1: 2 * 1 / 4."""
    target, native = [[0, 0], [0], [0]], [[0], [0, 1], []]
    found = align(target, native, 1, 2, power=1.0, rounds=0).weights.toarray()
    np.testing.assert_allclose(found, [[0.8 / 1.3, 0.5 / 1.3]], rtol=1e-6)
    found = align(target, native, 1, 2, power=2.0, rounds=0).weights.toarray()
    np.testing.assert_allclose(found, [[0.64 / 0.89, 0.25 / 0.89]], rtol=1e-6)


def test_the_lower_id_stays_where_partners_tie() -> None:
    assert align([[0]], [[3, 1, 2]], 1, 4, best=2).weights.toarray().tolist() == [[0, 0.5, 0.5, 0]]


def test_counting_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    target, native = ten_sentences(0)
    whole = align(target, native, *SIZES, rounds=0).weights.toarray()
    for size in (1, 3, 10):
        monkeypatch.setattr(module, "CHUNK", size)
        np.testing.assert_allclose(align(target, native, *SIZES, rounds=0).weights.toarray(), whole, rtol=1e-6)


@pytest.mark.parametrize(("links", "every"), [(0, 1), (-1, 2)])
def test_rounds_go_over_every_nth_sentence_where_links_are_too_many(
    monkeypatch: pytest.MonkeyPatch, links: int, every: int
) -> None:
    """Tokens that the sample lacks keep what the counts say."""
    for seed in range(5):
        target, native = ten_sentences(seed)
        count = sum(len(ours) * len(theirs) for ours, theirs in zip(target, native, strict=True))
        monkeypatch.setattr(module, "LINKS", count + links)
        found = align(target, native, *SIZES).weights.toarray()
        np.testing.assert_allclose(found, by_brute_force(target, native, 2.0, 8, 5, every), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("chunk", [3, 10])
@pytest.mark.parametrize("rounds", [0, 5])
def test_of_very_many_token_pairs_those_stay_that_belong_together_most(
    monkeypatch: pytest.MonkeyPatch, rounds: int, chunk: int
) -> None:
    """And of each token the best one. Counted in parts, a few more may go before all is known."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    for seed, most in product(range(5), (1, 12, 25)):
        monkeypatch.setattr(module, "KEPT", most)
        target, native = ten_sentences(seed)
        found = align(target, native, *SIZES, rounds=rounds).weights.toarray()
        expected = by_brute_force(target, native, 2.0, 8, rounds, most=most)
        assert ((found > 0).any(axis=1) == (expected > 0).any(axis=1)).all()
        if chunk == 10:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_nothing_aligns_with_nothing() -> None:
    for text in ([], [[]], [[], []]):
        found = align(text, text, 3, 4)
        assert found.weights.shape == (3, 4)
        assert found.aligned.tolist() == [False] * 3


def test_pairs_of_large_vocabularies_are_told_apart() -> None:
    """There are 2 ** 36 pairs of these ids, more than 32 bits tell apart."""
    size = 1 << 18
    last = size - 1
    found = align([[last], [0], [1 << 14]], [[last], [0], [7]], size, size).weights
    assert dict(zip(zip(*map(list, found.nonzero()), strict=True), found.data, strict=True)) == {
        (last, last): 1.0,
        (0, 0): 1.0,
        (1 << 14, 7): 1.0,
    }


def test_a_dictionary_is_found_in_parallel_text() -> None:
    words = {word: i for i, word in enumerate(NATIVE_WORDS)}
    target_words = {word: i for i, word in enumerate(TARGET_WORDS)}
    alignment = align(
        [[target_words[w] for w in text.split()] for text in TARGET],
        [[words[w] for w in text.split()] for text in NATIVE],
        len(target_words) + 1,
        len(words),
    )
    weights = alignment.weights.toarray()
    assert np.argmax(weights[:-1], axis=1).tolist() == list(range(len(TARGET_WORDS)))
    assert weights[:-1].sum(axis=1) == pytest.approx(1)
    assert alignment.aligned.tolist() == [True] * len(TARGET_WORDS) + [False]
    assert (weights > 0).sum(axis=1).max() <= 8


def test_rounds_tell_a_word_from_what_usually_stands_beside_it() -> None:
    """By counts a dog is nearly as black as it is a dog; the sentences without "black" decide."""
    # Native 1 = "black", 2 = "dog", 3 = "runs", 4 = "sleeps"; the language says 11, 12, 13, 14.
    native = [[1, 2, 3], [1, 2, 4]] * 10 + [[2, 3], [2, 4]] * 5
    target = [[10 + word for word in row] for row in native]
    counted = align(target, native, 20, 10, rounds=0).weights.toarray()
    found = align(target, native, 20, 10).weights.toarray()
    for word in (1, 2, 3, 4):
        assert counted[10 + word, word] < 0.6
        assert found[10 + word, word] > 0.75
