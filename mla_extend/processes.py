"""Several processes that train one language together, as `accelerate launch -m mla_extend` starts them.

Each process runs the rows of a batch that are its share; the vectors are exchanged, so that every process sees the loss
of the whole batch, contrasts included, and the gradients of the shares add up to those of one process with all rows.
No torch is imported before there is something to exchange.

Shapes: `B` rows of the whole batch, `D` width of the shared space.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mla_extend.errors import TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PATIENCE = timedelta(hours=12)
"""How long the others wait while the first process evaluates and publishes."""


def follows() -> bool:
    """Say whether this is one of several processes and not the first, which alone speaks and writes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("RANK", "0") != "0"


@dataclass(frozen=True)
class Processes:
    """Say which of how many processes this is, and exchange between them; alone, every exchange is nothing.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
        device: where this one computes, if the launcher says so.
    """

    rank: int = 0
    count: int = 1
    device: "torch.device | None" = None

    @property
    def first(self) -> bool:
        """Say whether this process writes and speaks."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Return which of a batch's rows are this process's."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def join(self, own: "Tensor", rows: int) -> "Tensor":
        """Return the vectors `[B, D]` of all processes' rows; gradients flow into this process's own alone.

        Args:
            own: the vectors of this process's share.
            rows: B.
        """
        if self.count == 1:
            return own
        import torch.distributed  # noqa: PLC0415 - with several processes only

        whole = own.new_zeros(rows, own.shape[1])
        whole[self.share(rows)] = own.detach()
        with _others_live():
            torch.distributed.all_reduce(whole)
        whole[self.share(rows)] = own
        return whole

    def sum_gradients(self, tensors: Iterable["Tensor"]) -> None:
        """Add up the gradients of all processes, each those of its share of the rows."""
        if self.count == 1:
            return
        import torch  # noqa: PLC0415
        import torch.distributed  # noqa: PLC0415

        trained = list(tensors)
        for tensor in trained:
            if tensor.grad is None:  # no row of this process's share came by
                tensor.grad = torch.zeros_like(tensor)
        flat = torch.cat([tensor.grad.flatten() for tensor in trained if tensor.grad is not None])
        with _others_live():
            torch.distributed.all_reduce(flat)
        for tensor, gradient in zip(trained, torch.split(flat, [tensor.numel() for tensor in trained]), strict=True):
            tensor.grad = gradient.view_as(tensor)

    def any(self, flag: bool) -> bool:
        """Say whether it is so in any process."""
        if self.count == 1:
            return flag
        import torch  # noqa: PLC0415
        import torch.distributed  # noqa: PLC0415

        flags = torch.tensor([int(flag)], device=self.device)
        with _others_live():
            torch.distributed.all_reduce(flags)
        return bool(flags.item())

    def from_first(self, value: Any) -> Any:
        """Return the first process's value, so that all decide alike."""
        return self._all(value if self.first else None)[0]

    def wait(self) -> None:
        """Wait until all processes have come this far."""
        self._all(None)

    def _all(self, value: Any) -> list[Any]:
        if self.count == 1:
            return [value]
        import torch.distributed  # noqa: PLC0415

        values: list[Any] = [None] * self.count
        with _others_live():
            torch.distributed.all_gather_object(values, value)
        return values


@contextmanager
def _others_live() -> Iterator[None]:
    """Say what has happened where an exchange fails."""
    try:
        yield
    except RuntimeError as error:  # of which all errors of the backends are kinds
        raise TrainingError(
            f"Another of the processes that train together has ended, or is out of reach ({error}). What it said tells "
            "why. The run is kept as it last was: start all of them again with --resume."
        ) from error


ALONE = Processes()


def join_processes(device: str) -> Processes:
    """Return the processes that a launcher has started, which are then joined; `ALONE` where none has.

    Args:
        device: as the user gave it; `auto` leaves the choice to the launcher.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    from accelerate import PartialState  # noqa: PLC0415 - a second

    state = PartialState(cpu=device == "cpu" or None, timeout=PATIENCE)
    return Processes(state.process_index, state.num_processes, state.device)
