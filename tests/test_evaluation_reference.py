"""Recalls against other people's software and against the definitions written out once more."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from ir_measures import Success, calc_aggregate
from numpy.typing import NDArray
from torch import from_numpy
from torchmetrics.functional.retrieval import retrieval_hit_rate

from mla_extend.evaluation.recall import Retrieval, evaluate_retrieval

KS = (1, 5, 10)
CASES = 100
CLOSE = 1e-5
PROTOCOLS = ("standard", "first", "mla")
Floats = NDArray[np.float64]
Case = tuple[Floats, Floats, NDArray[np.int64]]
Hits = Callable[[Floats, NDArray[np.bool_]], list[float]]


def owners(generator: np.random.Generator) -> tuple[int, NDArray[np.int64]]:
    """Draw how many images there are, and an image for each caption, in any order: one to five an image, or none."""
    images = int(generator.integers(2, 24))
    counts = generator.integers(0, 6, images)
    counts[generator.integers(images)] = 3
    return images, generator.permutation(np.repeat(np.arange(images), counts))


def scores_of(images: Floats, texts: Floats) -> Floats:
    """Return the cosines `[texts, images]` in double precision."""
    lengths = np.linalg.norm(texts, axis=1)[:, None] * np.linalg.norm(images, axis=1)
    return (texts @ images.T) / lengths


def without_ties() -> Iterator[Case]:
    """Give cases in which captions lie near their images, and no two scores of a query are closer than rounding."""
    generator, found = np.random.default_rng(0), 0
    while found < CASES:
        count, owner = owners(generator)
        images = generator.standard_normal((count, 12))
        texts = images[owner] + generator.uniform(0.3, 3) * generator.standard_normal((len(owner), 12))
        scores = scores_of(images, texts)
        if all(np.diff(np.sort(one, axis=1)).min(initial=1) > CLOSE for one in (scores, scores.T)):
            found += 1
            yield images, texts, owner


def with_ties() -> Iterator[Case]:
    """Give cases of equally long vectors of signs: few different scores, so that most queries have ties."""
    generator = np.random.default_rng(1)
    for _ in range(CASES):
        count, owner = owners(generator)
        images = generator.choice([-1.0, 1.0], (count, 4))
        flipped = generator.random((len(owner), 4)) < generator.uniform(0, 0.5)
        yield images, np.where(flipped, -images[owner], images[owner]), owner


def problems(case: Case, protocol: str) -> tuple[tuple[Floats, NDArray[np.bool_]], tuple[Floats, NDArray[np.bool_]]]:
    """Return scores and what is correct, `[queries, items]` each, of text to image and of image to text."""
    images, texts, owner = case
    if protocol == "first":
        kept = sorted({int(image): place for place, image in reversed(list(enumerate(owner)))}.values())
        texts, owner = texts[kept], owner[kept]
    scores, correct = scores_of(images, texts), owner[:, None] == np.arange(len(images))
    captioned = np.flatnonzero(correct.any(axis=0))
    back, right = scores.T[captioned], correct.T[captioned]
    if protocol == "mla":
        back = np.stack([back[:, owner == image].max(axis=1) for image in captioned], axis=1)
        right = np.eye(len(captioned), dtype=bool)
    return (scores, correct), (back, right)


def pessimistic(scores: Floats, correct: NDArray[np.bool_]) -> Floats:
    """Return scores in the same order, with the correct last among equals: what breaks ties has no say any more."""
    steps = np.unique(np.round(scores, 6), return_inverse=True)[1].reshape(scores.shape)
    return np.asarray(2.0 * steps + ~correct)


def by_definition(scores: Floats, correct: NDArray[np.bool_]) -> list[float]:
    """Return R@k: the share of queries with fewer than k incorrect items at or above their best correct one."""
    ahead = []
    for row, right in zip(scores.tolist(), correct.tolist(), strict=True):
        best = max(score for score, good in zip(row, right, strict=True) if good)
        ahead.append(sum(score >= best - CLOSE / 2 for score, good in zip(row, right, strict=True) if not good))
    return [sum(count < k for count in ahead) / len(ahead) for k in KS]


def by_torchmetrics(scores: Floats, correct: NDArray[np.bool_]) -> list[float]:
    rows = [(from_numpy(row), from_numpy(right)) for row, right in zip(scores, correct, strict=True)]
    return [sum(retrieval_hit_rate(*row, top_k=k).item() for row in rows) / len(rows) for k in KS]


def by_ir_measures(scores: Floats, correct: NDArray[np.bool_]) -> list[float]:
    run = {str(q): {str(item): score for item, score in enumerate(row)} for q, row in enumerate(scores.tolist())}
    judged = {str(q): {str(item): 1 for item in np.flatnonzero(row)} for q, row in enumerate(correct)}
    found = calc_aggregate([Success @ k for k in KS], judged, run)
    return [found[Success @ k] for k in KS]


def by_clip_benchmark(scores: Floats, correct: NDArray[np.bool_]) -> list[float]:
    """Return the share of queries whose classical recall (correct items found of all correct) is above 0 at k."""
    best = np.argsort(-scores, axis=1)
    found = [np.take_along_axis(correct, best[:, :k], axis=1).sum(axis=1) / correct.sum(axis=1) for k in KS]
    return [float((share > 0).mean()) for share in found]


REFERENCES = [by_torchmetrics, by_ir_measures, by_clip_benchmark, by_definition]


def ours(case: Case, protocol: str) -> tuple[float, ...]:
    recall = evaluate_retrieval(*case, protocol).recall  # type: ignore[arg-type]
    return (*recall.t2i, *recall.i2t)


@pytest.mark.parametrize("reference", REFERENCES)
def test_equals_the_reference_where_nothing_ties(reference: Hits) -> None:
    for number, case in enumerate(without_ties()):
        protocol = PROTOCOLS[number % 3]
        there, back = problems(case, protocol)
        assert ours(case, protocol) == pytest.approx([*reference(*there), *reference(*back)], abs=1e-9), number


@pytest.mark.parametrize("reference", [by_torchmetrics, by_ir_measures, by_clip_benchmark])
def test_equals_the_reference_with_ties_put_against_the_system(reference: Hits) -> None:
    for number, case in enumerate(with_ties()):
        protocol = PROTOCOLS[number % 3]
        expected = [figure for one in problems(case, protocol) for figure in reference(pessimistic(*one), one[1])]
        assert ours(case, protocol) == pytest.approx(expected, abs=1e-9), number


def test_equals_the_definition_with_ties() -> None:
    for number, case in enumerate(with_ties()):
        protocol = PROTOCOLS[number % 3]
        expected = [figure for one in problems(case, protocol) for figure in by_definition(*one)]
        assert ours(case, protocol) == pytest.approx(expected, abs=1e-9), number


def test_the_cases_are_worth_comparing() -> None:
    """Ties change figures in most tied cases, and recalls of both kinds of case go from low to high."""
    tied = [problems(case, "standard")[0] for case in with_ties()]
    hopeful = [by_torchmetrics(-pessimistic(-scores, correct), correct) for scores, correct in tied]
    pairs = zip(hopeful, (by_definition(*one) for one in tied), strict=True)
    assert sum(best != worst for best, worst in pairs) > CASES / 2
    for cases in (without_ties(), with_ties()):
        first = [ours(case, "standard")[0] for case in cases]
        assert min(first) < 0.25
        assert max(first) > 0.7


def test_mean_recall_is_the_mean_of_the_six() -> None:
    for case in without_ties():
        there, back = problems(case, "standard")
        expected = np.mean([*by_definition(*there), *by_definition(*back)])
        assert evaluate_retrieval(*case).mean_recall == pytest.approx(expected, abs=1e-9)


def at(rank: int) -> tuple[float, float, float]:
    """Return the recalls of queries that all have one rank."""
    return float(rank <= 1), float(rank <= 5), float(rank <= 10)


@pytest.mark.parametrize("captions", [1, 3, 5])
@pytest.mark.parametrize("images", [1, 2, 5, 10, 11, 40])
def test_equal_vectors_rank_last(images: int, captions: int) -> None:
    """All images tie for a text; for an image, all captions but its own stand before its own."""
    owner = np.repeat(np.arange(images), captions)
    result = evaluate_retrieval(np.full((images, 7), 0.3), np.full((len(owner), 7), -2.0), owner)
    assert result.recall == Retrieval(at(images), at(1 + captions * (images - 1)))


@pytest.mark.parametrize("captions", [1, 2, 4])
@pytest.mark.parametrize("together", [1, 2, 3, 6, 11])
def test_one_hot_vectors_that_images_share_tie_among_those(together: int, captions: int) -> None:
    images = np.repeat(np.eye(9), together, axis=0)
    owner = np.repeat(np.arange(len(images)), captions)
    result = evaluate_retrieval(images, images[owner], owner)
    assert result.recall == Retrieval(at(together), at(1 + captions * (together - 1)))


@pytest.mark.parametrize("shift", [1, 3, 12])
def test_texts_of_other_images_rank_behind_everything(shift: int) -> None:
    """With one-hot vectors, the correct image scores 0 as all do but one, which scores 1: nothing is below it."""
    owner = (np.arange(13) + shift) % 13
    wrong = evaluate_retrieval(np.eye(13), np.eye(13), owner)
    assert set(wrong.t2i_ranks) == set(wrong.i2t_ranks) == {13}


@pytest.mark.parametrize("shift", [0, 1, 2, 5])
def test_texts_displaced_along_an_arc_rank_by_the_images_between(shift: int) -> None:
    """A text `shift` and a quarter steps past its image has the `2 shift` next images nearer, as far as there are."""
    count = 40
    steps = np.arange(count)

    def arc(positions: Floats) -> Floats:
        angles = np.pi / 2 * positions / (count + 6)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    result = evaluate_retrieval(arc(steps.astype(float)), arc(steps + shift + 0.25), steps)
    assert result.t2i_ranks.tolist() == [1 + min(2 * shift, count - 1 - step) for step in steps]
    assert result.i2t_ranks.tolist() == [1 + min(2 * shift, step) for step in steps]
