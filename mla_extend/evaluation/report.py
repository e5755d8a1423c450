"""The report on a language and a test set: its figures beside native, floor and chance, as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mla_extend.evaluation.intervals import RESAMPLES, Interval, bootstrap, ratio_bootstrap
from mla_extend.evaluation.recall import Protocol, chance, check_protocol, evaluate_retrieval
from mla_extend.evaluation.transfer import TextTransfer


@dataclass(frozen=True)
class SplitReport:
    """Hold the figures of one language on one split; recalls are fractions from 0 to 1.

    `gallery` counts images and `captions` the captions that the protocol uses. `native` is the base's English on the
    same images, `floor` the base fed the language directly; what is not known is `None`. `ratio` is `mean_recall` over
    `native_mean_recall`, `None` also where that is 0.
    """

    gallery: int
    captions: int
    mean_recall: float
    ci95: Interval
    t2i_mean_recall: float
    native_mean_recall: float | None
    ratio: float | None
    ratio_ci95: Interval | None
    floor_mean_recall: float | None
    chance_mean_recall: float
    metrics: dict[str, float]
    native_metrics: dict[str, float] | None
    floor_metrics: dict[str, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, the names of the fields as keys."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def split_report(
    image_vectors: npt.ArrayLike,
    text_vectors: npt.ArrayLike,
    image_of_text: npt.ArrayLike,
    *,
    native_text_vectors: npt.ArrayLike | None = None,
    native_image_of_text: npt.ArrayLike | None = None,
    floor_text_vectors: npt.ArrayLike | None = None,
    seed: int = 0,
    protocol: Protocol = "standard",
    resamples: int = RESAMPLES,
) -> SplitReport:
    """Evaluate one language on one split, beside its native figure, its floor and chance.

    Args:
        image_vectors: `[I, D]`, I images of width D.
        text_vectors: `[C, D]`, C captions in the language.
        image_of_text: `[C]`, each caption's image.
        native_text_vectors: English captions of the same images, by the base itself; `None`: no native figure.
        native_image_of_text: their images; `None`: as `image_of_text`, caption by caption.
        floor_text_vectors: `[C, D]`, the same captions fed to the base directly; `None`: no floor.
        seed: of the bootstrap.
        protocol: as for `evaluate_retrieval`.
        resamples: of the bootstrap.

    Raises:
        DataError: as `evaluate_retrieval` does, for any of the three.
    """
    result = evaluate_retrieval(image_vectors, text_vectors, image_of_text, protocol)
    native = floor = ratio = None
    if native_text_vectors is not None:
        owner = image_of_text if native_image_of_text is None else native_image_of_text
        native = evaluate_retrieval(image_vectors, native_text_vectors, owner, protocol)
        ratio = ratio_bootstrap(result, native, resamples=resamples, seed=seed)
    if floor_text_vectors is not None:
        floor = evaluate_retrieval(image_vectors, floor_text_vectors, image_of_text, protocol)
    counts = np.bincount(result.t2i_image, minlength=result.images)
    return SplitReport(
        gallery=result.images,
        captions=result.captions,
        mean_recall=result.mean_recall,
        ci95=bootstrap(result, resamples=resamples, seed=seed).mean_recall,
        t2i_mean_recall=result.t2i_mean,
        native_mean_recall=native.mean_recall if native else None,
        ratio=ratio.value if ratio else None,
        ratio_ci95=ratio.interval if ratio else None,
        floor_mean_recall=floor.mean_recall if floor else None,
        chance_mean_recall=chance(result.images, counts, protocol).mean_recall,
        metrics=result.metrics(),
        native_metrics=native.metrics() if native else None,
        floor_metrics=floor.metrics() if floor else None,
    )


def evaluation_json(
    language: str,
    base: str,
    test_set: str,
    splits: Mapping[str, SplitReport | TextTransfer],
    *,
    seed: int,
    protocol: Protocol = "standard",
) -> dict[str, Any]:
    """Return the JSON object of one evaluation: what was evaluated on what, and a report for each split.

    Raises:
        DataError: an unknown protocol.
    """
    check_protocol(protocol)
    return {
        "language": language,
        "base": base,
        "test_set": test_set,
        "protocol": protocol,
        "seed": seed,
        "splits": {name: report.to_json() for name, report in splits.items()},
    }
