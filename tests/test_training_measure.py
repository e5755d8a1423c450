"""What a dry run expects, from what is measured, as added up by hand."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ImageText, ParallelText, Part
from mla_extend.language.model import MultilingualModel
from mla_extend.platform import PACKAGES, package_versions
from mla_extend.training import loop, measure
from mla_extend.training.measure import estimate
from mla_extend.training.memory import KEPT_FREE
from mla_extend.training.recipe import load_recipe
from mla_extend.training.split import Split
from mla_extend.training.stages import Term
from tests.conftest import sentences
from tests.fake_training import MATRIX, FakeModel, FakeTask, recipe

NATIVE, TARGET = sentences(40)
HELD = np.arange(40) < 4
PARALLEL = ParallelText((Part("x"),), NATIVE, TARGET, np.zeros(40, dtype=np.int64), np.arange(40))
CAPTIONS = ImageText(
    (Part("y"),),
    [Path(f"{i}.png") for i in range(7)],
    TARGET[:20],
    [i % 7 for i in range(20)],
    np.zeros(20, dtype=np.int64),
    np.arange(20),
)
DIFFERENT = len({NATIVE[i] for i in np.flatnonzero(~HELD)})
TEXT, ROW, IMAGE, STEP = 1e2, 1e4, 1e6, {"transfer": 1e8, "exposure": 1e10}
SETTINGS = ["transfer.batch=8", "transfer.max_steps=7", "transfer.epochs=100", "transfer.evaluations=3"]
SETTINGS += ["exposure.batch=4", "exposure.max_steps=3", "exposure.epochs=100", "exposure.evaluations=3"]
SETTINGS += ["exposure.transfer=0", "acquirer.bottleneck=4"]


@pytest.fixture
def planned(dual_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that plans with fixed costs: of a text, of a row, of an image and of a step.

    What is measured is what the stages would train on. Building takes seven seconds, which are taken off before.
    """
    model = MultilingualModel(open_base(str(dual_folder)))
    asked: list[Any] = []

    def step(given: Any, tag: str, terms: Any, stage: Any, steps: int, precision: str, seed: int) -> float:
        assert given is model
        name = "exposure" if terms[0].task.unit == "captions" else "transfer"
        assert stage is terms[0].recipe
        asked.append((tag, [term.rows for term in terms], steps, precision, seed))
        if name == "exposure":
            captions = terms[0].task
            assert captions.ids == model.tokenise("sw", TARGET[4:20])
            assert captions.images.shape == (7, 16)
            assert captions.images.dtype == np.float32
            assert captions.images.strides[0] == 0  # of a million pictures, none takes memory
            assert captions.image_of_text.tolist() == [i % 7 for i in range(4, 20)]
            assert captions.drawn.texts == TARGET[4:20]
            assert len(set(captions.meaning.tolist())) == len(set(TARGET[4:20]))
        return STEP[name]

    def texts_take(base: Any, texts: Any) -> float:
        assert base is model.base
        assert texts == list(dict.fromkeys(NATIVE[4:]))
        return TEXT

    def rows_take(given: Any, tag: str, pairs: Any) -> float:
        assert (given, tag) == (model, "sw")
        assert pairs.ids == model.tokenise("sw", TARGET[4:])
        assert pairs.teacher.shape == (36, 16)
        assert pairs.teacher.dtype == np.float32
        assert pairs.drawn.texts == TARGET[4:]
        return ROW

    def images_take(base: Any, pictures: Any, lacking: int) -> float:
        assert (base, pictures) == (model.base, CAPTIONS)
        return IMAGE * lacking

    def lacks_images(_: Any, paths: Any) -> int:
        assert paths == CAPTIONS.images
        return 5

    monkeypatch.setattr(measure, "_step_seconds", step)
    monkeypatch.setattr(measure, "_encode_seconds", texts_take)
    monkeypatch.setattr(measure, "_row_seconds", rows_take)
    monkeypatch.setattr(measure, "_image_seconds", images_take)
    monkeypatch.setattr(Features, "lacks_images", lacks_images)

    def plan(
        *settings: str,
        images: bool = True,
        lacking: int = DIFFERENT,
        before: float = -7.0,
        related: Any = None,
        **beside: Any,
    ) -> dict[str, Any]:
        def lacks_text(_: Any, texts: Any) -> int:
            assert len(texts) == len(set(texts)) == DIFFERENT
            return lacking

        clock = iter((100.0, 107.0))
        monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(Features, "lacks_text", lacks_text)
        split = Split(HELD, HELD[:20], CAPTIONS, **beside) if images else Split(HELD, None)
        rule = load_recipe("quick", [*SETTINGS, *settings])
        pictures = CAPTIONS if images else None
        if "sw" in model.languages:
            model.remove("sw")
        found = estimate(model, "sw", PARALLEL, pictures, split, rule, Features(model.base), 5, related, before)
        return found | {"asked": list(asked)}

    return plan


def test_transfer_is_its_steps_its_scores_and_its_teachers(planned: Any) -> None:
    """Seven steps of eight pairs see all 36; scores at 0, 2, 4, 6 and 7, and one more at the end by both paths."""
    found = planned(images=False, before=-4.0)
    assert found["stages"] == {"transfer": 7}
    assert found["steps"] == 7
    stage = 7 * STEP["transfer"] + 5 * 4 * ROW + DIFFERENT * TEXT
    assert found["seconds"] == pytest.approx(stage + 4 * (ROW + TEXT) + 3, abs=0.06)
    assert found["notes"] == []
    assert found["asked"] == [("sw", [8], 7, "auto", 5)]


def test_a_quick_run_is_told_to_a_tenth(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven steps of 0.107 seconds, and one more for all else."""
    for name in ("TEXT", "ROW"):
        monkeypatch.setitem(globals(), name, 1e-9)
    monkeypatch.setitem(STEP, "transfer", 0.107)
    found = planned(images=False, before=-6.0)
    assert (found["seconds"], found["pairs_per_second"]) == (1.7, 74.8)  # of 1.749, and of 56 / 0.749 = 74.77


def test_sentences_that_few_steps_do_not_see_are_encoded_for_the_gallery_alone(planned: Any) -> None:
    """One step of nine sees a quarter; the other three quarters of those that are looked among count."""
    found = planned("transfer.max_steps=1", "transfer.batch=9", images=False)
    gallery = 0.75 * (DIFFERENT + 4) * TEXT
    expected = STEP["transfer"] + 2 * 4 * ROW + DIFFERENT * TEXT / 4 + gallery + 4 * (ROW + TEXT)
    assert found["seconds"] == pytest.approx(expected, rel=1e-9)


def test_the_language_is_built_of_what_is_trained_on(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run builds it, from the related language if there is one."""
    asked: list[tuple[dict[str, Any], Any]] = []
    build = measure.build_language

    def keep(*given: Any, related: Any, **named: Any) -> Any:
        asked.append(({**named, "related": related}, build(*given, related=None, **named)))
        return asked[-1][1]

    monkeypatch.setattr(measure, "build_language", keep)
    words = ParallelText((Part("w"),), ["dog"], ["mbwa"], np.zeros(1, dtype=np.int64), np.arange(1))
    found = planned("transfer.lexicon=0", related="kin", lexicon=words, text=["maneno"])
    ((named, built),) = asked
    assert (found["vocabulary"], found["parameters"]) == (built.pieces, built.parameters)
    assert named["target"] == TARGET[4:]
    assert named["native"] == NATIVE[4:]
    assert named["more_text"] == TARGET[4:20]
    assert (named["lexicon"], named["text"]) == ([("dog", "mbwa")], ["maneno"])
    assert (named["seed"], named["related"], named["bottleneck"]) == (5, "kin", 4)


def test_what_is_cached_is_not_counted(planned: Any) -> None:
    all_of_it, none = planned(images=False), planned(images=False, lacking=0)
    assert all_of_it["seconds"] - none["seconds"] == pytest.approx(DIFFERENT * TEXT)


def test_exposure_adds_its_steps_and_the_images_that_are_lacking(planned: Any) -> None:
    """Sixteen captions in steps of four, scores at each of three steps and before, no pairs beside."""
    found = planned(before=-4.0)
    assert found["stages"] == {"transfer": 7, "exposure": 3}
    assert found["steps"] == 10
    alone = planned(images=False)["seconds"]
    expected = 3 + alone + 5 * IMAGE + 3 * STEP["exposure"] + 4 * 4 * ROW + 4 * (ROW + TEXT)
    assert found["seconds"] == pytest.approx(expected, abs=0.06)
    assert found["asked"][1] == ("sw", [4], 3, "auto", 5)


def test_a_stage_left_out_has_no_steps_and_no_note(planned: Any) -> None:
    """Its held-out slice is scored; pairs that exposure takes beside are encoded then, as far as it sees them."""
    found = planned("transfer.max_steps=0", "transfer.batch=99")
    assert found["stages"] == {"transfer": 0, "exposure": 3}
    assert (found["pairs_per_second"], found["notes"]) == (0, [])
    unseen = (DIFFERENT + 4) * TEXT
    expected = 5 * IMAGE + 3 * STEP["exposure"] + (1 + 4) * 4 * ROW + unseen + 8 * (ROW + TEXT)
    assert found["seconds"] == pytest.approx(expected, rel=1e-9)
    beside = planned("transfer.max_steps=0", "exposure.transfer=1", "exposure.transfer_batch=6")
    assert beside["seconds"] == pytest.approx(expected - unseen / 2 + DIFFERENT * TEXT / 2, rel=1e-9)
    assert beside["asked"][-1] == ("sw", [4, 6], 3, "auto", 5)
    none = planned("exposure.max_steps=0")
    assert none["stages"] == {"transfer": 7, "exposure": 0}


def test_small_batches_are_told(planned: Any) -> None:
    notes = planned("transfer.batch=99", "exposure.batch=17")["notes"]
    assert [note.split(" to ")[0] for note in notes] == ["transfer has 36 pairs", "exposure has 16 captions"]


def test_memory_is_the_peak_the_kept_weights_and_what_the_heap_keeps(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure.Measure, "peak_memory", staticmethod(lambda: 10**9))
    found = planned(images=False)
    assert found["parameters"] > 0
    assert found["memory_bytes"] == 10**9 + 4 * found["parameters"] + KEPT_FREE
    monkeypatch.setattr(measure, "in_parts", lambda _: False)
    assert planned(images=False)["memory_bytes"] == 10**9 + 4 * found["parameters"]


class Clocked(FakeModel):
    """Be a model whose steps take half a second a token, and a second more where a shape is new."""

    def __init__(self, fixed: int | None) -> None:
        super().__init__()
        self.base.family = SimpleNamespace(padded_length=lambda _: fixed)
        self.base.model = None


@pytest.mark.parametrize(("fixed", "tokens"), [(None, [9 * 4, 3 * 4]), (20, [20 * 4])])
def test_a_step_takes_as_long_as_its_tokens(
    fixed: int | None, tokens: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over all steps of an epoch; what is compiled once for a shape is not counted; nothing is trained."""
    model, now, shapes = Clocked(fixed), [0.0], set()
    task = FakeTask({MATRIX: 1.0}, rows=16)
    task.lengths = np.array([9] * 4 + [3] * 12)
    first: list[int] = []

    def add(given: Any, term: Term, rows: Any, *_: Any) -> Any:
        assert (given, term) == (model, terms[0])
        longest = fixed or int(task.lengths[rows].max())
        first.append(longest)
        model.tensors[MATRIX].grad = torch.ones(1, 1, dtype=torch.float64)
        now[0] += 0.5 * longest * len(rows) + (0 if longest in shapes else 1000)
        shapes.add(longest)
        return torch.zeros(())

    monkeypatch.setattr(loop, "add_gradients", add)
    picked = {("auto", model.base.device): "fp32"}
    monkeypatch.setattr(measure, "pick_precision", lambda *given: picked[given])
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: now[0]))
    rule = recipe(average=0.9, batch=4)
    terms: Any = [Term(task, 1.0, rule, 4)]  # type: ignore[arg-type]
    before = model.values
    found = measure._step_seconds(model, "sw", terms, rule, 100, "auto", 0)  # type: ignore[arg-type]
    mean = sum(tokens) / len(tokens) if len(tokens) == 1 else (tokens[0] + 3 * tokens[1]) / 4
    assert found == pytest.approx(0.5 * mean)
    assert first[0] == max(first)  # so that the memory is that of the run
    assert len(first) == (4 if fixed else 7)  # where shapes differ, each of three steps is run twice
    assert model.values == before
    assert all(tensor.grad is None for tensor in model.tensors.values())


def test_a_sample_says_what_a_text_a_row_and_an_image_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """192 texts at most, spread over all; 16 images after two to warm up."""
    now = [0.0]
    encoded: list[int] = []

    def work(things: Any) -> Any:
        encoded.append(len(things))
        now[0] += 2.0 * len(things)
        return things

    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: now[0]))
    base: Any = SimpleNamespace(native_vectors=work, encoded=work)
    assert measure._encode_seconds(base, [str(i) for i in range(1000)]) == 2.0
    assert measure._encode_seconds(base, ["a", "b"]) == 2.0
    assert encoded == [192, 2]
    pictures = SimpleNamespace(images=list(range(40)))
    encoded.clear()
    assert measure._image_seconds(base, pictures, 0) == 0  # type: ignore[arg-type]
    assert measure._image_seconds(base, pictures, 30) == 60  # type: ignore[arg-type]
    assert encoded == [2, 16]
    encoded.clear()

    class Model:
        @contextmanager
        def training(self, tag: str) -> Iterator[None]:
            assert tag == "sw"
            yield

    model: Any = Model()
    monkeypatch.setattr(measure, "encode_ids", lambda given, ids: work(ids if given is model else None))
    for rows in (500, 100):
        pairs: Any = SimpleNamespace(ids=[[1]] * rows)
        assert measure._row_seconds(model, "sw", pairs) == 2.0
    assert encoded == [192, 100]


def test_versions_name_what_a_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = package_versions()
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert set(found) == {"python", *PACKAGES}
    monkeypatch.setattr("mla_extend.platform.PACKAGES", ("no-such-package",))
    assert package_versions()["no-such-package"] == "unknown"


def test_a_measure_counts_seconds_from_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: now[0]))
    made = measure.Measure()
    now[0] = 12.5
    assert made.seconds() == 2.5
    assert made.peak_memory() > 10 * 2**20
