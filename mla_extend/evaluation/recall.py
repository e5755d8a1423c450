"""Recall of image-text retrieval in both directions, under the protocols in use, and what chance would give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mla_extend.errors import DataError
from mla_extend.ranks import Integers, as_indices, as_vectors, ranks, unit

KS = (1, 5, 10)
ONE = np.ones(1, dtype=np.int64)
Protocol = Literal["standard", "first", "mla"]
Recalls = tuple[float, float, float]


@dataclass(frozen=True)
class Retrieval:
    """Hold R@1, R@5 and R@10 of both directions, as fractions from 0 to 1.

    R@k of a query is 1 if at least one correct item is among the first k (the CLIP convention, elsewhere "hit rate").
    """

    t2i: Recalls
    i2t: Recalls

    @property
    def mean_recall(self) -> float:
        """Return the mean of the six (AR)."""
        return float(np.mean(self.t2i + self.i2t))

    @property
    def t2i_mean(self) -> float:
        """Return the mean of the three of text to image."""
        return float(np.mean(self.t2i))

    def metrics(self) -> dict[str, float]:
        """Return the six by the names that CLIP_benchmark writes."""
        return dict(zip(METRICS, self.t2i + self.i2t, strict=True))


# CLIP_benchmark names a direction by what is found: `image_retrieval` is text to image.
METRICS = (*(f"image_retrieval_recall@{k}" for k in KS), *(f"text_retrieval_recall@{k}" for k in KS))


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """Hold every query's rank against the full gallery, and which image the query belongs to.

    `T` text queries, `N` image queries; `images` is the gallery that texts search, `captions` the texts that images
    search. Images without a caption are in the gallery and are no query.
    """

    protocol: Protocol
    images: int
    captions: int
    t2i_ranks: Integers  # [T]
    t2i_image: Integers  # [T]
    i2t_ranks: Integers  # [N]
    i2t_image: Integers  # [N]

    @property
    def recall(self) -> Retrieval:
        """Return the recalls that these ranks give."""
        return Retrieval(_recalls(self.t2i_ranks), _recalls(self.i2t_ranks))

    @property
    def mean_recall(self) -> float:
        """Return the mean of the six recalls (AR)."""
        return self.recall.mean_recall

    @property
    def t2i_mean(self) -> float:
        """Return the mean of the three recalls of text to image."""
        return self.recall.t2i_mean

    def metrics(self) -> dict[str, float]:
        """Return the six recalls by the names that CLIP_benchmark writes."""
        return self.recall.metrics()


def _recalls(of: Integers) -> Recalls:
    one, five, ten = (float(np.count_nonzero(of <= k) / len(of)) for k in KS)
    return one, five, ten


def evaluate_retrieval(
    image_vectors: npt.ArrayLike,
    text_vectors: npt.ArrayLike,
    image_of_text: npt.ArrayLike,
    protocol: Protocol = "standard",
) -> RetrievalResult:
    """Rank all images for each caption and all captions for each image, by cosine.

    Protocols:
        standard: every caption counts; an image is right at k if any of its captions is among the first k captions.
        first: only the first caption of each image, in the order given, is there at all.
        mla: text to image as in `standard`. Image to text ranks the images' caption *groups*, each by its best caption
            (as the evaluation of the MLA paper does). This takes the captions that one group has in front of another
            for one place, and so gives a higher R@5 and R@10: use it only beside that paper's figures.

    Args:
        image_vectors: `[I, D]`, I images of width D; any length above 0.
        text_vectors: `[C, D]`, C captions.
        image_of_text: `[C]`, the row in `image_vectors` of each caption's image. An image that no caption names stays
            in the gallery as a distractor.
        protocol: see above.

    Raises:
        DataError: shapes that do not fit, empty or NaN vectors, an image out of range, an unknown protocol.
    """
    check_protocol(protocol)
    images, texts = unit(as_vectors(image_vectors, "image vectors")), unit(as_vectors(text_vectors, "text vectors"))
    if images.shape[1] != texts.shape[1]:
        raise DataError(
            f"Image vectors have width {images.shape[1]} and text vectors {texts.shape[1]}; encode both with one base."
        )
    owner = as_indices(image_of_text, "image_of_text", len(texts), len(images))
    if protocol == "first":
        first = np.sort(np.unique(owner, return_index=True)[1])
        texts, owner = texts[first], owner[first]
    captioned, group, counts = np.unique(owner, return_inverse=True, return_counts=True)
    if protocol == "mla":
        i2t = ranks(images[captioned], texts, np.arange(len(captioned)), groups=group)
    else:
        captions = np.split(np.argsort(group), np.cumsum(counts)[:-1])
        i2t = ranks(images[captioned], texts, captions)
    return RetrievalResult(
        protocol=protocol,
        images=len(images),
        captions=len(texts),
        t2i_ranks=ranks(texts, images, owner),
        t2i_image=owner,
        i2t_ranks=i2t,
        i2t_image=captioned,
    )


def chance(
    images: int, captions_per_image: int | Sequence[int] | npt.NDArray[np.integer], protocol: Protocol = "standard"
) -> Retrieval:
    """Return the expected recalls of a random order, in closed form.

    Text to image: `k / I`. Image to text with m of C captions correct: `1 - C(C-m, k) / C(C, k)`, the chance that k
    draws without replacement hit, averaged over the images; with protocol `mla`, `k / N` for the N caption groups
    (exact for any sizes of the groups: k of them are among the first k). Each is 1 where k covers the gallery.

    Args:
        images: I, the number of images in the gallery.
        captions_per_image: one number for all, or I numbers; images with 0 are distractors.
        protocol: as for `evaluate_retrieval`.

    Raises:
        DataError: no image, no caption, a negative number, not I numbers, an unknown protocol.
    """
    check_protocol(protocol)
    counts = np.asarray(captions_per_image)
    if images < 1 or counts.dtype.kind not in "iu" or counts.shape not in ((), (images,)):
        raise DataError(
            f"{images} images and captions_per_image of shape {list(counts.shape)} and type {counts.dtype} "
            "do not fit; give one integer, or one for each of at least one image."
        )
    counts = np.broadcast_to(counts.astype(np.int64), (images,))
    if counts.min() < 0 or not counts.any():
        raise DataError(f"captions_per_image goes from {counts.min()} to {counts.max()}; give at least one caption.")
    counts = counts[counts > 0]
    if protocol == "first":
        counts = np.ones_like(counts)
    if protocol == "mla":
        return Retrieval(_hit_chances(images, ONE), _hit_chances(len(counts), ONE))
    return Retrieval(_hit_chances(images, ONE), _hit_chances(int(counts.sum()), counts))


def _hit_chances(total: int, correct: Integers) -> Recalls:
    sizes, weights = np.unique(correct, return_counts=True)
    one, five, ten = (float(np.average(_hit_chance(total, sizes, k), weights=weights)) for k in KS)
    return one, five, ten


def _hit_chance(total: int, correct: Integers, k: int) -> npt.NDArray[np.float64]:
    # 1 - prod_j (1 - m / (C - j)) for j < k, as a sum of logarithms: no binomial overflows, no digits cancel.
    result = np.ones(len(correct))
    partial = total - correct >= k
    drawn = total - np.arange(min(k, total))
    result[partial] = -np.expm1(np.log1p(-correct[partial, None] / drawn).sum(axis=1))
    return result


def check_protocol(protocol: str) -> Protocol:
    """Return a protocol; raise DataError if it is not one of those known."""
    known: tuple[Protocol, ...] = get_args(Protocol)
    for name in known:
        if name == protocol:
            return name
    raise DataError(f"There is no protocol {protocol!r}; use one of {', '.join(known)}.")
