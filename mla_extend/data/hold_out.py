"""Choose the slice of the training data that training does not see, by the texts' hashes alone.

An image is held out with all its captions, and a sentence wherever it stands, also where it is written with another
case, punctuation, spacing or Unicode form.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex
from numpy.typing import NDArray

from mla_extend.data.leaks import folded
from mla_extend.data.pairs import Integers, Mask

Hashes = NDArray[np.uint64]

LEAST = 2
"""Sentences that are held out at least: one could not be told from another."""
MOST = 0.6
"""Share of the captions that may be held out together."""
APART = regex.compile(r"[\p{P}\p{S}\p{Z}\p{C}]+")


@dataclass(frozen=True)
class HeldOut:
    """Say which rows are held out, and which are used for nothing.

    Attributes:
        pairs: `[P]`, of parallel text.
        captions: `[C]`, of images' texts.
        dropped: `[C]`, captions of held-out images that say what others' do, or that say what a held-out pair does.
    """

    pairs: Mask
    captions: Mask
    dropped: Mask


def normalised(text: str) -> str:
    """Return a text without case, punctuation, symbols, repeated spaces and compatible forms of Unicode.

    A text that is nothing else stays as it is.
    """
    plain = folded(text)
    return APART.sub(" ", plain).strip() or plain


def hold_out(
    targets: Sequence[str], captions: Sequence[str], image_of_text: Sequence[int], *, fraction: float, largest: int
) -> HeldOut:
    """Choose what is held out of parallel text and of images' texts.

    Images whose captions say the same belong together, and are held out together. Where that ties too many of them
    (captions of one word), single images are held out, and those of their captions that others have too are used for
    nothing; where no other captions are left, these stand on both sides.

    Args:
        targets: P sentences of the language, repetitions included.
        captions: C texts.
        image_of_text: the image of each, from 0; pictures with the same content are one.
        fraction: share of the different sentences of each.
        largest: how many at most, and a few more where an image has several captions.
    """
    of_pairs, of_captions = _hashes(targets), _hashes(captions)
    # In the order of their hashes, so in no order.
    texts, place = np.unique(np.concatenate([of_pairs, of_captions]), return_inverse=True)
    pair_text, caption_text = place[: len(targets)], place[len(targets) :]
    images = np.asarray(image_of_text, dtype=np.int64)
    group = _groups(len(texts), caption_text, images)
    sizes = [np.bincount(group[np.unique(each)], minlength=len(texts)) for each in (pair_text, caption_text)]
    quotas = [_quota(int(size.sum()), fraction, largest) for size in sizes]
    chosen = np.isin(group, _walk(sizes, quotas))
    own = chosen[caption_text]  # an image's captions are in one group
    dropped = np.zeros(len(captions), dtype=np.bool_)
    if captions and (len(np.unique(caption_text[own])) < LEAST or own.mean() > MOST):
        own = _single_images(caption_text, images, quotas[1])[images]
        chosen[caption_text] = False
        alone = own & ~np.isin(caption_text, caption_text[~own])
        if len(np.unique(caption_text[alone])) >= LEAST:
            own, dropped = alone, own & ~alone
        chosen[caption_text[alone]] = True
    if targets and len(np.unique(pair_text[chosen[pair_text]])) < LEAST:
        chosen[np.unique(pair_text)[: quotas[0]]] = True
        dropped |= chosen[caption_text] & ~own
    return HeldOut(chosen[pair_text], own, dropped)


def _hashes(texts: Sequence[str]) -> Hashes:
    """Return a number for each text, equal for texts that are so in their normalised form."""
    return np.fromiter(
        (
            int.from_bytes(hashlib.sha256(normalised(text).encode("utf-8", "surrogatepass")).digest()[:8], "big")
            for text in texts
        ),
        dtype=np.uint64,
        count=len(texts),
    )


def _quota(different: int, fraction: float, largest: int) -> int:
    return max(LEAST, min(round(fraction * different), largest)) if different else 0


def _groups(texts: int, caption_text: Integers, images: Integers) -> Integers:
    """Return the first text `[T]` of those that each one is tied to: by an image that has both as captions."""
    parent = {text: text for text in caption_text.tolist()}

    def root(text: int) -> int:
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    group = np.arange(texts)
    seen: dict[int, int] = {}
    for text, image in zip(caption_text.tolist(), images.tolist(), strict=True):
        one, other = root(text), root(seen.setdefault(image, text))
        parent[max(one, other)] = min(one, other)
    group[list(parent)] = [root(text) for text in parent]
    return group


def _walk(sizes: Sequence[Integers], quotas: Sequence[int]) -> Integers:
    """Return the groups that fill the quotas, in the order of their hashes; one that is far too large is passed over.

    Args:
        sizes: of each group `[T]`, the different sentences of parallel text, and the different captions.
        quotas: of both.
    """
    taken: list[int] = []
    have = [0, 0]
    for group in map(int, np.flatnonzero(sizes[0] + sizes[1])):
        new = [int(size[group]) for size in sizes]
        lacking = [n > 0 and h < q for n, h, q in zip(new, have, quotas, strict=True)]
        fits = [h + n <= q + max(5, q // 4) for n, h, q in zip(new, have, quotas, strict=True)]
        if any(lacking) and all(fits):
            taken.append(group)
            have = [h + n for h, n in zip(have, new, strict=True)]
        if have[0] >= quotas[0] and have[1] >= quotas[1]:
            break
    return np.array(taken, dtype=np.int64)


def _single_images(caption_text: Integers, images: Integers, quota: int) -> Mask:
    """Return which images `[I]` to hold out by themselves: those first whose captions say what few others do."""
    shared = np.bincount(caption_text)[caption_text]
    count = images.max() + 1
    cost = np.bincount(images, weights=shared, minlength=count)
    captions = np.bincount(images, minlength=count)
    order = np.lexsort([np.arange(count), cost])
    order = order[captions[order] > 0][:-1]  # one stays to be learned from
    held = np.zeros(count, dtype=np.bool_)
    held[order[: np.searchsorted(np.cumsum(captions[order]), quota) + 1]] = True
    return held
