"""Confidence intervals of recalls: bootstrap over images, two systems on the same images, and Wilson's interval."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError
from mla_extend.evaluation.recall import KS, METRICS, RetrievalResult
from mla_extend.ranks import Integers

RESAMPLES = 1000
LEVEL = 0.95
# Draws are made in blocks of about this many numbers, so that 100,000 images fit too; the result is the same.
BLOCK = 1 << 22

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """Hold the two ends of an interval."""

    low: float
    high: float


@dataclass(frozen=True)
class RecallIntervals:
    """Hold an interval for each figure of one system."""

    mean_recall: Interval
    t2i_mean: Interval
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """Hold by how much one system's mean recall exceeds another's, the interval of that, and a two-sided p."""

    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class Ratio:
    """Hold one system's mean recall over another's; the interval is `None` where a resample divides by 0."""

    value: float
    interval: Interval | None


def bootstrap(
    result: RetrievalResult, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> RecallIntervals:
    """Return percentile bootstrap intervals of every figure (Efron and Tibshirani 1993, chapter 13).

    The image is the unit: images are drawn with replacement, each with all its queries, because the captions of one
    image are correlated. Ranks stay those against the full gallery, so that a resample asks what other *queries*
    would have given and not what a smaller gallery would.

    Args:
        result: the ranks of one system.
        resamples: how many times to draw.
        seed: the same seed gives the same interval.
        level: the share of resamples that lie inside.

    Raises:
        DataError: no resamples, or a level that is not between 0 and 1.
    """
    _check_level(level)
    recalls = _resample([result], resamples, seed)[0]
    return RecallIntervals(
        mean_recall=_percentiles(recalls.mean(axis=1), level),
        t2i_mean=_percentiles(recalls[:, : len(KS)].mean(axis=1), level),
        metrics={name: _percentiles(recalls[:, index], level) for index, name in enumerate(METRICS)},
    )


def paired_bootstrap(
    ours: RetrievalResult,
    theirs: RetrievalResult,
    *,
    seed: int = 0,
) -> Comparison:
    """Compare the mean recalls of two systems on the same images, drawn together.

    `p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) / (R + 1))` over the R differences d: the largest level at which the
    percentile interval still holds 0, with one added so that it is never 0.

    Args:
        ours: the ranks of one system.
        theirs: those of the other; the captions may be others, the images must be the same in the same order.
        seed: as for `bootstrap`.

    Raises:
        DataError: another number of images.
    """
    first, second = (recalls.mean(axis=1) for recalls in _resample([ours, theirs], RESAMPLES, seed))
    differences = first - second
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return Comparison(
        difference=ours.mean_recall - theirs.mean_recall,
        interval=_percentiles(differences),
        p_value=min(1.0, 2 * (1 + tail) / (RESAMPLES + 1)),
    )


def ratio_bootstrap(
    ours: RetrievalResult,
    native: RetrievalResult,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratio | None:
    """Return our mean recall over the native one on the same images, with its interval from the same resamples.

    Args:
        ours: the ranks of the added language.
        native: those of the base's own English on the same images, in the same order.
        resamples, seed: as for `bootstrap`.

    Returns:
        `None` where the native mean recall is 0, so that there is no ratio.

    Raises:
        DataError: as `paired_bootstrap` does.
    """
    first, second = (recalls.mean(axis=1) for recalls in _resample([ours, native], resamples, seed))
    if native.mean_recall == 0:
        return None
    return Ratio(ours.mean_recall / native.mean_recall, _percentiles(first / second) if second.all() else None)


def wilson(hits: int, queries: int, level: float = LEVEL) -> Interval:
    """Return Wilson's score interval of a share, which stays honest near 0 and 1 (Wilson 1927).

    `(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)` with `p = hits / n`. It takes queries to be
    independent: for several captions an image it is too narrow, so give the number of images there.

    Args:
        hits: how many of the queries were right.
        queries: n, at least 1.
        level: how often the interval covers the truth.

    Raises:
        DataError: hits not from 0 to n, n under 1, or a level that is not between 0 and 1.
    """
    _check_level(level)
    if queries < 1 or not 0 <= hits <= queries:
        raise DataError(f"{hits} hits of {queries} queries is not a share; give 0 <= hits <= queries, queries >= 1.")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = hits / queries, z * z / queries
    half = z * math.sqrt(share * (1 - share) / queries + square / (4 * queries))
    low, high = (share + square / 2 - half) / (1 + square), (share + square / 2 + half) / (1 + square)
    return Interval(0.0 if hits == 0 else low, 1.0 if hits == queries else high)


def _percentiles(samples: Floats, level: float = LEVEL) -> Interval:
    low, high = np.percentile(samples, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise DataError(f"The level {level} is not between 0 and 1; 0.95 is usual.")


def _resample(results: list[RetrievalResult], resamples: int, seed: int) -> list[Floats]:
    """Return `[R, 6]` recalls of each result over R draws of images, the same draws for all."""
    if resamples < 1:
        raise DataError(f"{resamples} resamples give no interval; {RESAMPLES} is usual.")
    sizes = {result.images for result in results}
    if len(sizes) > 1:
        raise DataError(f"The systems saw {sorted(sizes)} images; evaluate both on the same images in the same order.")
    units = np.unique(np.concatenate([result.i2t_image for result in results]))
    tables = np.concatenate([_table(result)[units] for result in results], axis=1)
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // len(units))
    sums = np.concatenate(
        [_draw(generator, min(step, resamples - low), len(units)) @ tables for low in range(0, resamples, step)]
    )
    # Only a draw of images that all lack captions in one of two systems has no queries; it counts as no hit.
    return [
        np.concatenate([part[:, :3] / np.maximum(part[:, 3:4], 1), part[:, 4:7] / np.maximum(part[:, 7:], 1)], axis=1)
        for part in np.split(sums, len(results), axis=1)
    ]


def _table(result: RetrievalResult) -> Floats:
    """Return `[I, 8]` sums an image: hits at 1, 5, 10 and queries of text to image, then of image to text."""
    columns = []
    for of, image in ((result.t2i_ranks, result.t2i_image), (result.i2t_ranks, result.i2t_image)):
        columns += [np.bincount(image, weights=of <= k, minlength=result.images) for k in KS]
        columns.append(np.bincount(image, minlength=result.images).astype(np.float64))
    return np.stack(columns, axis=1)


def _draw(generator: np.random.Generator, resamples: int, units: int) -> Floats:
    """Return `[R, units]`: how often each image was drawn, a multinomial by drawing and counting."""
    drawn: Integers = generator.integers(units, size=(resamples, units))
    drawn += np.arange(resamples)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)
