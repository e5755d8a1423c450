"""How many steps a run makes: what they cost, and as many as fit into the time that its user will wait."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mla_extend.errors import RecipeError

LONGEST = 4.0
"""Times the recipe's own steps that a long wait may buy: more passes than that taught nothing in any trial."""
EVALUATING = 0.15
"""Share of a stage's steps' time that goes to looks at the held-out slice, where the time is bounded."""
UNITS = {"d": 86_400, "h": 3_600, "m": 60}
NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
TIME = re.compile("".join(f"(?:{NUMBER}{unit})?" for unit in UNITS) + f"(?:{NUMBER}s?)?", re.ASCII)


@dataclass(frozen=True)
class StageCost:
    """Say what a stage costs, in seconds.

    Attributes:
        steps: how many there are.
        step: one of them.
        evaluations: looks at the held-out slice after the first step.
        evaluation: one of them.
        pairs: share of the parallel text that a step reads.
    """

    steps: int
    step: float
    evaluations: int
    evaluation: float
    pairs: float

    @property
    def seconds(self) -> float:
        """Return what steps and evaluations take, the one before the first step included."""
        looks = math.ceil(self.steps / max(1, self.steps // self.evaluations))
        return self.steps * self.step + (1 + looks) * self.evaluation

    def scaled(self, factor: float) -> "StageCost":
        """Return the stage with that many times its steps, and no more evaluations than those steps are worth."""
        steps = int(self.steps * factor)
        looks = min(self.evaluations, int(EVALUATING * steps * self.step / max(self.evaluation, 1e-9)))
        return replace(self, steps=steps, evaluations=max(1, looks))


@dataclass(frozen=True)
class RunCost:
    """Say what a run costs: its stages, and `teacher`, the seconds that encoding all of its native text would take."""

    stages: Sequence[StageCost]
    teacher: float

    @property
    def seconds(self) -> list[float]:
        """Return what each stage takes; native text is encoded in the stage that reads it first."""
        return [stage.seconds + self.teacher * share for stage, share in zip(self.stages, self.read, strict=True)]

    @property
    def read(self) -> list[float]:
        """Return the share of the native text that each stage is the first to read."""
        unread, shares = 1.0, []
        for stage in self.stages:
            still = unread * (1 - min(1.0, stage.steps * stage.pairs))
            shares.append(unread - still)
            unread = still
        return shares

    def fitted(self, seconds: float) -> "RunCost":
        """Return the run with as many steps as fit into some seconds, each stage's in proportion; perhaps none."""
        if sum(self._scaled(LONGEST).seconds) <= seconds:
            return self._scaled(LONGEST)
        few, many = 0.0, LONGEST
        for _ in range(30):
            middle = (few + many) / 2
            fits = sum(self._scaled(middle).seconds) <= seconds
            few, many = (middle, many) if fits else (few, middle)
        return self._scaled(few)

    def _scaled(self, factor: float) -> "RunCost":
        return replace(self, stages=[stage.scaled(factor) for stage in self.stages])


def seconds_of(time: str | float) -> float:
    """Return the seconds of a time as people write it: `90`, `30m`, `1h30m`.

    Raises:
        RecipeError: it is no time, or none at all.
    """
    found = TIME.fullmatch(str(time).strip().lower())
    parts = [float(number or 0) for number in found.groups()] if found else []
    total = sum(number * unit for number, unit in zip(parts, (*UNITS.values(), 1), strict=False))
    if not total:
        raise RecipeError(f"{time!r} is no time to train for. Write seconds, or 30m, 2h, 1h30m.")
    return total
