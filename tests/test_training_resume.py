"""A run that is interrupted goes on as it would have: weights, moments, average, scores, patience, what is kept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mla_extend.errors import Interrupted, TrainingError
from mla_extend.progress import Silent
from mla_extend.stop import StopRequest
from mla_extend.training import loop
from mla_extend.training.loop import StageResult
from tests.fake_training import BIAS, MATRIX, TABLE, FakeModel, FakeTask, FakeValidation, Values, score, stage, trainer

STEPS = 12


def pull(_: int, values: Values, rows: Any) -> Values:
    """Pull the numbers to what the rows say, each in its own way."""
    wanted = float(rows.mean())
    return {name: values[name] - wanted * k for k, name in enumerate((MATRIX, BIAS, TABLE), start=1)}


class Ask(FakeTask):
    """Ask for a stop while a step is taken."""

    def __init__(self, stop: StopRequest, at: int) -> None:
        super().__init__(pull)
        self.stop = stop
        self.at = at

    def loss(self, *given: Any) -> Any:
        """Lose as the other does."""
        self.stop.requested = len(self.seen) + 1 == self.at
        return super().loss(*given)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "warm-up, decay and clipping": {"warmup": 0.5, "weight_decay": 0.1, "clip_norm": 0.5, "epsilon": 0.1},
    "average": {"average": 0.9},
    "patience": {"patience": 2, "average": 0.9},
}
SCORES = [0.1, score(0.6, error=0.05), 0.58, 0.3, 0.57, 0.3, 0.2]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("at", range(1, STEPS))
def test_an_interrupted_run_ends_as_one_that_was_not(settings: str, at: int, tmp_path: Path) -> None:
    """Bit for bit, wherever it stops: within warm-up, between evaluations, after a score that was worse."""
    changes = {"evaluations": 6, **SETTINGS[settings]}
    whole, model, scored, log = go(tmp_path / "whole", FakeTask(pull), **changes)
    stop = StopRequest()
    (tmp_path / "parts").mkdir()
    task, validation = Ask(stop, at), FakeValidation(SCORES)
    before: list[dict[str, Any]] = []
    first = trainer(FakeModel(), tmp_path / "parts", stop=stop, log=before.append)
    with pytest.raises(Interrupted) as caught:
        first.run(stage(task, validation, STEPS, **changes))
    assert str(caught.value) == (
        f"Stopped in transfer at step {at} of {STEPS}; the run is kept. Continue it with the same command and --resume."
    )
    assert len(task.seen) == at
    again = FakeModel(7, 7, 7)
    second = trainer(again, tmp_path / "parts", log=before.append)
    checkpoint = second.checkpoints.load()
    rest = FakeTask(pull)
    result = second.run(stage(rest, validation, STEPS, **changes), checkpoint)
    assert again.values == model.values
    assert validation.seen == scored.seen
    assert said_of(result) == said_of(whole)
    assert [undated(record) for record in before] == [undated(record) for record in log]


def go(folder: Path, task: FakeTask, **changes: Any) -> tuple[StageResult, FakeModel, FakeValidation, Any]:
    """Run a stage from start to end."""
    folder.mkdir()
    model, validation, log = FakeModel(), FakeValidation(SCORES), []
    result = trainer(model, folder, log=log.append).run(stage(task, validation, STEPS, **changes))
    return result, model, validation, log


def said_of(result: StageResult) -> dict[str, Any]:
    """Return what is said of a stage, but for its time."""
    return {**result.to_json(), "seconds": 0}


def undated(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of the log, but for its time."""
    return {name: value for name, value in record.items() if name not in {"seconds", "pairs_per_second"}}


class KilledError(Exception):
    """Stand for a process that ends."""


@pytest.mark.parametrize(("every", "costs", "saved"), [(1e9, 0, 0), (0.0, 0, 5), (20.0, 0, 3), (0.0, 2, 4)])
def test_a_run_that_dies_goes_on_from_its_last_checkpoint(
    every: float, costs: int, saved: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the start, then one every half minute, or more seldom where it takes long: here ten seconds, as a step."""
    whole, model, *_ = go(tmp_path / "whole", FakeTask(pull), average=0.9)
    (tmp_path / "parts").mkdir()
    clock = iter(range(1000, 100_000, 10))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", every)
    monkeypatch.setattr(loop, "CHECKPOINT_COSTS", costs)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))

    def dying(call: int, values: Values, rows: Any) -> Values:
        if call == 5:
            raise KilledError
        return pull(call, values, rows)

    with pytest.raises(KilledError):
        trainer(FakeModel(), tmp_path / "parts").run(stage(FakeTask(dying), FakeValidation(SCORES), STEPS, average=0.9))
    again = FakeModel(7, 7, 7)
    second = trainer(again, tmp_path / "parts")
    checkpoint = second.checkpoints.load()
    assert checkpoint is not None
    assert checkpoint.state["step"] == saved
    validation = FakeValidation(SCORES[1:])
    result = second.run(stage(FakeTask(pull), validation, STEPS, average=0.9), checkpoint)
    assert again.values == model.values
    assert said_of(result) == said_of(whole)


def test_a_checkpoint_holds_an_average_only_where_there_is_one(tmp_path: Path) -> None:
    """Weights, the average, the kept ones, and what Adam remembers of each."""
    for average, kinds in ((0.0, {"weights", "kept"}), (0.9, {"weights", "kept", "average"})):
        stop = StopRequest()
        run = trainer(FakeModel(), tmp_path, stop=stop)
        with pytest.raises(Interrupted):
            run.run(stage(Ask(stop, 1), FakeValidation(), STEPS, average=average))
        checkpoint = run.checkpoints.load()
        assert checkpoint is not None
        parts = {*kinds, *(f"optimiser/{key}" for key in ("step", "exp_avg", "exp_avg_sq"))}
        assert checkpoint.tensors.keys() == {f"{part}/{name}" for part in parts for name in (MATRIX, BIAS, TABLE)}


def test_seconds_of_before_are_added(tmp_path: Path) -> None:
    """What a run took is the sum over its parts."""
    stop = StopRequest()
    with pytest.raises(Interrupted):
        trainer(FakeModel(), tmp_path, stop=stop).run(stage(Ask(stop, 3), FakeValidation(), STEPS))
    second = trainer(FakeModel(), tmp_path)
    checkpoint = second.checkpoints.load()
    assert checkpoint is not None
    assert checkpoint.state["seconds"] > 0
    checkpoint.state["seconds"] = 100.0
    result = second.run(stage(FakeTask(pull), FakeValidation(), STEPS), checkpoint)
    assert 100 < result.seconds < 200


class Told(Silent):
    """Keep what is told of the steps."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def start(self, *given: Any, **named: Any) -> None:
        self.heard.append((given, named))

    def advance(self, count: int = 1, **figures: Any) -> None:
        self.heard.append((count, figures))

    def finish(self) -> None:
        self.heard.append("finished")


def test_progress_is_told_of_each_step_and_of_the_end(tmp_path: Path) -> None:
    """With loss, speed and the last score; a resumed run begins where it was, one that fails is finished too."""
    stop, told = StopRequest(), Told()
    task = Ask(stop, 2)
    with pytest.raises(Interrupted):
        trainer(FakeModel(), tmp_path, stop=stop, progress=told).run(stage(task, FakeValidation([0.25]), 4))
    start, none, *steps, end = told.heard
    assert start == (("Transfer",), {"total": 4, "unit": "steps"})
    assert (none, end) == ((0, {}), "finished")
    assert [count for count, _ in steps] == [1, 1]
    assert all(figures["score"] == 0.25 and figures["pairs/s"] > 0 for _, figures in steps)
    rows = np.array(task.asked[0][0])
    assert steps[0][1]["loss"] == pytest.approx(sum(pull(0, FakeModel().values, rows).values()))
    told = Told()
    second = trainer(FakeModel(), tmp_path, progress=told)
    second.run(stage(FakeTask(pull), FakeValidation(), 4), second.checkpoints.load())
    assert told.heard[1][0] == 2
    told = Told()
    with pytest.raises(TrainingError):
        trainer(FakeModel(), tmp_path, progress=told).run(stage(FakeTask({MATRIX: float("nan")}), FakeValidation(), 4))
    assert told.heard[-1] == "finished"
