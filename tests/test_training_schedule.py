"""Steps that fit into a time: what they cost, how a time is read, and a run that keeps what it was given."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mla_extend import add_language
from mla_extend.add import job
from mla_extend.add.job import plan_language
from mla_extend.errors import Interrupted, RecipeError, TrainingError
from mla_extend.progress import Silent
from mla_extend.stop import StopRequest
from mla_extend.training.schedule import LONGEST, RunCost, StageCost, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), (90, 90), (0.5, 0.5), ("30m", 1800), (" 2H ", 7200), ("1h30m", 5400), ("1.5h", 5400),
     ("2d", 172_800), ("1d2h3m4s", 93_784)],
)  # fmt: skip
def test_a_time_is_read_as_people_write_it(text: str | float, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "m", "-3", "3x", "30m1h", "٣m", "1e3", float("nan"), float("inf")])
def test_what_is_no_time_is_refused_with_the_value(text: Any) -> None:
    with pytest.raises(RecipeError, match=r"is no time to train for\. Write seconds, or 30m") as caught:
        seconds_of(text)
    assert repr(text) in str(caught.value)


TRANSFER = StageCost(steps=400, step=0.5, evaluations=4, evaluation=2.0, pairs=0.005)
EXPOSURE = StageCost(steps=100, step=1.0, evaluations=5, evaluation=3.0, pairs=0.002)


def test_a_stage_costs_its_steps_and_its_evaluations() -> None:
    assert TRANSFER.seconds == 400 * 0.5 + 5 * 2.0
    assert StageCost(7, 1.0, 3, 10.0, 0).seconds == 7 + 5 * 10  # at 0, 2, 4, 6 and 7
    assert StageCost(0, 1.0, 3, 10.0, 0).seconds == 10


def test_text_is_encoded_by_the_stage_that_reads_it_first() -> None:
    assert RunCost([TRANSFER, EXPOSURE], 60).seconds == [270, 118]  # 400 steps read all of it
    half = StageCost(100, 0.5, 4, 2.0, 0.005)
    run = RunCost([half, EXPOSURE], 60)
    assert run.read == pytest.approx([0.5, 0.1])
    assert run.seconds == pytest.approx([half.seconds + 30, EXPOSURE.seconds + 6])


@pytest.mark.parametrize("seconds", [10, 20, 45, 100, 388, 900, 1e9])
def test_as_many_steps_are_made_as_fit(seconds: float) -> None:
    """In the stages' proportion, with evaluations that cost a part of it; never more than four times the recipe's."""
    fitted = RunCost([TRANSFER, EXPOSURE], 60).fitted(seconds)
    assert sum(fitted.seconds) <= seconds or [stage.steps for stage in fitted.stages] == [0, 0]
    assert abs(fitted.stages[0].steps - 4 * fitted.stages[1].steps) <= 4
    if seconds < 1e9:  # a little longer would not fit
        more = [StageCost(s.steps + 9, s.step, s.evaluations, s.evaluation, s.pairs) for s in fitted.stages]
        assert sum(RunCost(more, 60).seconds) > seconds
    else:
        assert [stage.steps for stage in fitted.stages] == [400 * LONGEST, 100 * LONGEST]
    for stage, whole in zip(fitted.stages, (TRANSFER, EXPOSURE), strict=True):
        assert 1 <= stage.evaluations <= whole.evaluations
        assert stage.evaluations == 1 or stage.evaluations * stage.evaluation <= 0.15 * stage.steps * stage.step


SETTINGS = ["acquirer.bottleneck=4", "transfer.batch=16", "exposure.batch=8", "transfer.epochs=40"]


def given(dual_folder: Path, data: dict[str, Path], registry: Path, **more: Any) -> dict[str, Any]:
    """Return what a language is added with."""
    return {
        "parallel_data": data["parallel"], "image_text": data["images"], "base": str(dual_folder), "registry": registry,
        "overrides": SETTINGS, **more,
    }  # fmt: skip


def test_a_run_takes_the_steps_that_its_time_allows_and_keeps_them(
    dual_folder: Path, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted and resumed it goes on with the schedule that it began; another time is another run."""

    def cost(model: Any, tag: str, stages: Any, held_out: Any, *_: Any) -> Any:
        parts = [StageCost(s.steps, 1.0, s.recipe.evaluations, 0.0, 0.0) for s in stages]
        assert all(isinstance(count, int) and count > 0 for count in held_out)
        return type("Cost", (), {"run": RunCost(parts, 0.0), "row": 0.0, "native": 0.0})

    monkeypatch.setattr(job, "measured_cost", cost)
    monkeypatch.setattr(job.Measure, "seconds", lambda _: 5.0)
    arguments = given(dual_folder, data, tmp_path / "registry", time=30)
    looks = iter(range(1000))
    begun = lambda: any((tmp_path / "registry").rglob("schedule.json"))  # noqa: E731
    monkeypatch.setattr(StopRequest, "requested", property(lambda _: begun() and next(looks) > 6))
    with pytest.raises(Interrupted, match=r"Stopped in transfer at step \d+ of (\d+)"):
        add_language("sw", **arguments)
    (schedule,) = (tmp_path / "registry").rglob("schedule.json")
    steps = json.loads(schedule.read_text())
    assert sum(count for count, _ in steps) in (21, 22)  # 30 seconds without five that were over, and three to publish
    monkeypatch.setattr(StopRequest, "requested", property(lambda _: False))
    monkeypatch.setattr(job, "measured_cost", None)
    with pytest.raises(TrainingError, match=r"time: 40.0, was 30.0"):
        add_language("sw", **{**arguments, "time": 40}, resume=True)
    card = add_language("sw", **arguments, resume=True)
    assert [stage["steps"] for stage in card.stages[1:]] == [count for count, _ in steps]
    assert card.cost["time"] == 30


def test_a_time_that_is_over_leaves_the_aligned_start(dual_folder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    card = add_language("sw", **given(dual_folder, data, tmp_path, time="1s"), progress=Notes())
    assert [stage["steps"] for stage in card.stages[1:]] == [0, 0]
    assert any("1 s leave no time to train" in note for note in notes)


def test_a_dry_run_says_how_many_steps_fit(dual_folder: Path, data: dict[str, Path], tmp_path: Path) -> None:
    arguments = given(dual_folder, data, tmp_path)
    whole, short = (plan_language("sw", **arguments, time=time) for time in (None, 5))
    assert short["stages"]["transfer"] > 0 or whole["seconds"] < 5
    assert np.all([short["stages"][name] <= LONGEST * steps for name, steps in whole["stages"].items()])
    with pytest.raises(RecipeError, match="'soon' is no time"):
        plan_language("sw", **arguments, time="soon")
