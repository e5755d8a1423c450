"""A run from data to trained weights: its stages, what its folder keeps, and where it goes on."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.errors import Interrupted, TrainingError
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.processes import Processes
from mla_extend.progress import Silent
from mla_extend.stop import StopRequest
from mla_extend.training import session
from mla_extend.training.recipe import load_recipe
from mla_extend.training.session import Session, Trained, write_log
from mla_extend.training.split import Split
from mla_extend.training.validation import Score
from tests.conftest import sentences

QUICK = ["transfer.max_steps=6", "transfer.batch=16", "exposure.max_steps=4", "exposure.batch=8"]
UNTRAINED = ["transfer.max_steps=0", "exposure.max_steps=0"]
QUICK += ["acquirer.bottleneck=4", "precision=fp32", "exposure.transfer_batch=8", "exposure.min_steps=4"]
HELD = np.arange(60) < 6
PART = Part("x.tsv")


class Pictures(Features):
    """Give images vectors without opening them."""

    def images(self, images: Sequence[Any], **_: Any) -> NDArray[np.float32]:
        return np.random.default_rng(0).standard_normal((len(images), 16)).astype(np.float32)


class After(StopRequest):
    """Ask to stop after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self.left -= 1
        return self.left == 0


class Heard(Silent):
    """Keep notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(
    base: Path,
    folder: Path,
    *settings: str,
    images: bool = True,
    seed: int = 0,
    heard: Heard | None = None,
    made: dict[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
    **more: Any,
) -> tuple[Trained, dict[str, Tensor]]:
    """Train in a folder; return how it went and what came out."""
    native, target = sentences(60)
    folder.mkdir(exist_ok=True)
    model = MultilingualModel(open_base(str(base), device="cpu"))
    recipe = load_recipe("quick", [*QUICK, *settings])
    session = Session(folder, model, "sw", recipe, seed=seed, progress=heard or Heard(), **(made or {}))
    order = np.arange(60)
    parallel = ParallelText((PART,), native, target, np.zeros(60, dtype=np.int64), order)
    captions, mask = None, None
    if images:
        names = [Path(f"{i}.png") for i in range(20)]
        captions = ImageText(
            (PART,),
            images=names,
            texts=target[:20],
            image_of_text=list(range(20)),
            part_of=np.zeros(20, dtype=np.int64),
            rows=order[:20],
        )
        mask = HELD[:20]
    trained = session.train(parallel, captions, Split(HELD, mask, **(beside or {})), Pictures(model.base), **more)
    return trained, {name: t.detach() for name, t in adapter_tensors(model.peft, model.language("sw").adapter).items()}


def undated(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what differs between no two runs alike."""
    return [{k: v for k, v in record.items() if k not in {"seconds", "pairs_per_second"}} for record in log]


def test_both_stages_are_run_and_logged(dual_folder: Path, tmp_path: Path) -> None:
    """Transfer, then exposure from where it left off; what came out is kept, and read again without training."""
    trained, tensors = run(dual_folder, tmp_path / "run")
    assert [(stage["stage"], stage["steps"]) for stage in trained.stages] == [("transfer", 6), ("exposure", 4)]
    assert trained.pairs == 6 * 16 + 4 * (8 + 8)
    assert trained.precision == "fp32"
    assert list(dict.fromkeys(record["stage"] for record in trained.log)) == ["transfer", "exposure"]
    assert trained.notes == [note for stage in trained.stages for note in stage["notes"]]
    again, read = run(dual_folder, tmp_path / "run", resume=True, stop=After(1))
    assert (again.stages, again.log, again.notes, again.built) == (
        trained.stages, trained.log, trained.notes, trained.built,
    )  # fmt: skip
    assert_equal(read, tensors)
    other, others = run(dual_folder, tmp_path / "other", seed=1)
    assert undated(other.log) != undated(trained.log)
    assert any(
        not torch.equal(others[name], tensors[name]) for name in tensors if others[name].shape == tensors[name].shape
    )


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Assert that tensors are equal bit for bit."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("steps", [3, 6, 8])
def test_a_run_goes_on_in_the_stage_that_it_was_in(steps: int, dual_folder: Path, tmp_path: Path) -> None:
    """Within transfer, at its end, and within exposure; what earlier stages said is carried along."""
    whole, tensors = run(dual_folder, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(dual_folder, tmp_path / "cut", stop=After(steps))
    heard = Heard()
    trained, found = run(dual_folder, tmp_path / "cut", resume=True, heard=heard)
    assert_equal(found, tensors)
    assert undated(trained.log) == undated(whole.log)
    for mine, other in zip(trained.stages, whole.stages, strict=True):
        assert {**mine, "seconds": 0} == {**other, "seconds": 0}


def test_a_run_that_is_started_afresh_takes_nothing_but_the_language_as_built(
    dual_folder: Path, tmp_path: Path
) -> None:
    whole, tensors = run(dual_folder, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(dual_folder, tmp_path / "cut", stop=After(3))
    steps = After(99)
    trained, found = run(dual_folder, tmp_path / "cut", stop=steps)
    assert steps.left == 99 - 10
    assert_equal(found, tensors)
    assert undated(trained.log) == undated(whole.log)


def test_the_language_is_built_of_what_is_trained_on(
    dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captions as well, where there are some, and what is given beside them."""
    asked: list[dict[str, Any]] = []
    build = session.build_language

    def keep(*given: Any, related: Any, **named: Any) -> Any:
        asked.append({**named, "related": related})
        return build(*given, related=None, **named)

    monkeypatch.setattr(session, "build_language", keep)
    words = ParallelText((PART,), ["dog"], ["mbwa"], np.zeros(1, dtype=np.int64), np.arange(1))
    beside, made = {"lexicon": words, "text": ["maneno"]}, {"related": "kin"}
    for images in (True, False):
        run(dual_folder, tmp_path / f"{images}", *UNTRAINED, seed=5, images=images, made=made, beside=beside)
    native, target = sentences(60)
    for named, captions in zip(asked, (target[6:20], []), strict=True):
        assert (named["native"], named["target"], named["more_text"]) == (native[6:], target[6:], captions)
        assert (named["lexicon"], named["text"]) == ([("dog", "mbwa")], ["maneno"])
        assert (named["seed"], named["related"], named["bottleneck"]) == (5, "kin", 4)


def test_a_language_is_read_as_it_was_built(dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tokenizer, on a frozen table; by a process that only follows too, which writes nothing."""
    asked: list[dict[str, Any]] = []
    add = MultilingualModel.add

    def keep(model: MultilingualModel, tag: str, **named: Any) -> Any:
        asked.append(named)
        return add(model, tag, **{key: value for key, value in named.items() if key not in stored})

    stored = {"pretrained": {"rows": 3}, "native_pieces": 2}
    settings = [*UNTRAINED, "embedding.start=native"]
    folder = tmp_path / "run"
    _, tensors = run(dual_folder, folder, *settings)
    built = folder / "start" / "built.json"
    built.write_text(json.dumps({**json.loads(built.read_text()), "table": {"rows": 3}, "native_pieces": 2}))
    shutil.rmtree(folder / session.DONE)
    monkeypatch.setattr(MultilingualModel, "add", keep)
    for processes, written in ((Processes(rank=1), False), (Processes(), True)):
        _, found = run(dual_folder, folder, *settings, made={"processes": processes})
        assert_equal(found, tensors)
        assert (folder / session.DONE).exists() == written
    assert asked == [{"tokenizer": None, "bottleneck": 4, **stored}] * 2


def test_stages_are_trained_as_the_session_is_asked(
    dual_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Kept(session.Trainer):
        def __init__(self, *given: Any, **named: Any) -> None:
            asked.append(named)
            super().__init__(*given, **named)

    monkeypatch.setattr(session, "Trainer", Kept)
    heard, processes = Heard(), Processes()
    run(dual_folder, tmp_path / "run", *UNTRAINED, "precision=bf16", heard=heard, made={"processes": processes})
    (named,) = asked
    assert named["precision"] == "bf16"
    assert named["progress"] is heard
    assert named["processes"] is processes


def test_stages_without_steps_are_scored(dual_folder: Path, tmp_path: Path) -> None:
    """Their entry says why; what was built is what comes out."""
    large = [*UNTRAINED, "transfer.batch=99"]  # which nothing is to be said about
    trained, tensors = run(dual_folder, tmp_path / "run", *large)
    for stage in trained.stages:
        assert (stage["steps"], stage["kept_step"], stage["pairs"]) == (0, 0, 0)
        assert stage["seconds"] == 0
        assert stage["stopped"] == "the recipe leaves this stage out"
        assert stage["step0_score"] == stage["best_score"]
        assert stage["notes"] == []
    first, second = trained.log
    for record, stage in zip((first, second), trained.stages, strict=True):
        assert record == {
            "stage": stage["stage"], "step": 0, "seconds": 0.0, "event": "evaluation",
            "score": round(stage["best_score"], 5), "chance": round(stage["chance"], 5),
            "mean_cosine": record["mean_cosine"],
        }  # fmt: skip
        assert -1 <= record["mean_cosine"] == round(record["mean_cosine"], 5) <= 1
    start = run(dual_folder, tmp_path / "run", *large, resume=True)[1]
    assert_equal(start, tensors)
    rounded = {"score": 0.33333, "chance": 0.14286, "mean_cosine": 0.16667}
    assert session._rounded(Score(1 / 3, 1 / 7, 1 / 6, 0.0)) == rounded


def test_without_images_exposure_is_left_out_and_that_is_said_unless_it_was_asked_for(
    dual_folder: Path, tmp_path: Path
) -> None:
    heard = Heard()
    trained, _ = run(dual_folder, tmp_path / "run", images=False, heard=heard)
    said = ["No images with text were given, so Language Exposure was skipped."]
    assert (trained.notes, heard.notes) == (said, said)
    assert [stage["stage"] for stage in trained.stages] == ["transfer"]
    heard = Heard()
    again, _ = run(dual_folder, tmp_path / "run", images=False, heard=heard, resume=True)
    assert again.notes == said
    trained, _ = run(dual_folder, tmp_path / "other", "exposure.max_steps=0", images=False, heard=heard)
    assert (trained.notes, heard.notes) == ([], [])


def test_what_the_loop_notes_is_said_and_kept(dual_folder: Path, tmp_path: Path) -> None:
    """A smaller batch before the stage, what it did not learn after it."""
    heard = Heard()
    still = ["transfer.learning_rate=0", "transfer.embedding_learning_rate=0", "transfer.batch=99"]
    still.append("embedding.start=native")
    trained, _ = run(dual_folder, tmp_path / "run", *still, images=False, heard=heard)
    assert heard.notes == trained.notes
    assert trained.stages[0]["notes"] == trained.notes[1:]
    assert [note.split(" to ")[0] for note in trained.notes[1:2]] == ["transfer has 54 pairs"]
    assert "transfer learned nothing that the held-out slice shows" in trained.notes[2]


def test_a_damaged_checkpoint_is_said(dual_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        run(dual_folder, tmp_path / "cut", stop=After(3))
    (tmp_path / "cut" / "checkpoint.safetensors").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors cannot be read .* Start without --resume"):
        run(dual_folder, tmp_path / "cut", resume=True)


def test_the_log_is_a_record_a_line(tmp_path: Path) -> None:
    records = [{"stage": "transfer", "step": 1}, {"stage": "exposure", "loss": 0.5}]
    write_log(tmp_path / "training.jsonl", records)
    assert [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()] == records
