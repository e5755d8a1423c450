"""Which rows of a batch go through which language's adapter."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BASE_PATH = "__base__"
"""PEFT's name for the path without an adapter; here the native language."""


@dataclass(frozen=True)
class Run:
    """Say that the rows from `start` to `stop` go through one adapter (`None`: the native path)."""

    adapter: str | None
    start: int
    stop: int


Plan = tuple[Run, ...]


def plan_of(names: Sequence[str]) -> Plan:
    """Return the runs of equal names; `__base__` is the native path."""
    runs: list[Run] = []
    for row, name in enumerate(names):
        adapter = None if name == BASE_PATH else name
        if runs and runs[-1].adapter == adapter:
            runs[-1] = Run(adapter, runs[-1].start, row + 1)
        else:
            runs.append(Run(adapter, row, row + 1))
    return tuple(runs)


class Routing(threading.local):
    """Hold the plan of the batch that this thread is encoding; `None` leaves the choice to PEFT's active adapter."""

    plan: Plan | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Routing":
        """Let a model be copied: the copy routes for itself."""
        return Routing()
