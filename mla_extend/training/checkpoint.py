"""A run's state in one safetensors file, written atomically: what it takes to continue as if nothing had happened.

There is no random state to keep: every batch is a function of the seed and the step.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mla_extend.errors import TrainingError
from mla_extend.files import atomic_path


@dataclass(frozen=True)
class Checkpoint:
    """Hold tensors (weights, optimiser, average, best weights) and plain values (stage, step, scores)."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


class CheckpointFile:
    """Keep the newest checkpoint of a run, with what earlier stages left (`carried`) and the log so far.

    Args:
        path: the file; its folder must exist when something is saved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.carried: dict[str, Any] = {}

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in one step."""
        state = json.dumps({**checkpoint.state, "carried": self.carried})
        with atomic_path(self.path) as temporary:
            save_file(checkpoint.tensors, temporary, metadata={"state": state})

    def load(self) -> Checkpoint | None:
        """Return the checkpoint, or None if there is none.

        Raises:
            TrainingError: the file is damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"The checkpoint {self.path} cannot be read ({error}). Start without --resume."
            ) from error
        self.carried = state.pop("carried")
        return Checkpoint(tensors, state)
