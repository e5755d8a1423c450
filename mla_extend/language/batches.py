"""Encode item after item in batches, with a progress bar, as sentence-transformers' `encode` does."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mla_extend.bases.base import chunks
from mla_extend.errors import DataError

T = TypeVar("T")


def encode_in_batches(
    items: Sequence[T],
    encode: Callable[[list[int]], Tensor],
    length: Callable[[T], int],
    *,
    batch_size: int,
    convert_to_numpy: bool,
    show_progress_bar: bool,
) -> NDArray[np.float32] | Tensor:
    """Return one vector an item, `[B, D]`, in the order of the items.

    Args:
        items: what is encoded.
        encode: returns the vectors of the items at these places.
        length: of an item; items of like length share a batch.
        batch_size: how many at once.
        convert_to_numpy: return an array, not a tensor.
        show_progress_bar: draw a bar on standard error.

    Raises:
        DataError: the batch size is less than 1.
    """
    check_batch(batch_size)
    order = sorted(range(len(items)), key=lambda i: length(items[i]))
    batches = [list(batch) for batch in chunks(order, batch_size)] or [[]]  # `encode` refuses an empty one
    vectors = torch.cat([encode(batch) for batch in shown(batches, show_progress_bar)])[torch.tensor(order).argsort()]
    return vectors.numpy() if convert_to_numpy else vectors


def check_batch(batch_size: int | None) -> None:
    """Check the size of a batch that a user gave.

    Raises:
        DataError: it is less than 1.
    """
    if batch_size is not None and batch_size < 1:
        raise DataError(f"A batch of {batch_size} items cannot be encoded. Give a batch_size of 1 or more.")


def shown(items: Sequence[T], bar: bool) -> Iterable[T]:
    """Return items, with a bar on standard error of how far they are gone through if it is asked for."""
    return track(items, "Encoding", console=Console(stderr=True), disable=not bar)
