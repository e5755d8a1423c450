"""Measure what a minute buys: German and Czech from 29,000 caption pairs, beside full fine-tuning of the same tower.

    python benchmarks/multi30k.py [--languages de cs] [--minutes 6.5] [--ours-minutes 3] [--write]
    python benchmarks/multi30k.py --curves peer_own_tokenizer --rates 1e-4 3e-4 1e-3 --epochs 5 --minutes 60 \\
        --until 0.9 --name multi30k_peer --write

Curves of accuracy against wall time, on the demo base's text tower, with the same pairs on the same machine:

- `ours`: tokenizer, aligned start and Native Language Transfer with the default recipe;
- `peer`: the multilingual distillation that sentence-transformers documents (its trainer and `MSELoss`, batch 64, rate
  2e-5, a tenth of the steps to warm up) on a copy of the tower with the tower's own English tokenizer, which is what
  its user gets who has an English model: it cuts German into pieces of English words, and takes the accents off Czech.
  Both sides of a pair are trained towards the teacher's vector, as documented. One epoch instead of the documented
  five, so that the rate does not spend the budget rising;
- `peer_from_our_start`: the same loop on a copy of the tower with our tokenizer and aligned table in place of its own.
  Only the translations are trained: with its own table gone the copy cannot read English;
- `peer_own_tokenizer`: the same with our tokenizer alone: a SentencePiece vocabulary of its text, the tower's table
  resized to it and drawn anew from N(0, 0.02), as models of its kind begin.

A peer's best chance: of several `--rates`, each has `--trial-minutes` for an epoch, and the one that ends nearest to
the teacher on Multi30K's own validation set takes the whole budget. `--until` ends a peer that has got there.

A sentence of the test set looks for its English original among those of the test set and all English training captions,
by the frozen teacher's vectors; without the captions nearly everything is found. (English itself finds itself always.)

The clock starts with the pairs in memory and the tower loaded. All that depends on the pairs is charged, the teacher's
vectors of the English captions too, which both sides need and each computes in its own way with an empty cache; the
clock stops while a curve is looked at. Before training a curve reads what there is: the tower fed the language
directly, then for ours the aligned start. Of ours, the averaged weights are looked at: those that a run would keep.
"""

import argparse
import copy
import gzip
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, ROOT, cold_features, load, machine, save
from numpy.typing import NDArray
from starts import random_start

from mla_extend.bases.base import Base
from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ParallelText, Part
from mla_extend.errors import Interrupted
from mla_extend.evaluation.transfer import text_transfer
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_parameters
from mla_extend.platform import package_versions
from mla_extend.progress import Silent
from mla_extend.stop import StopRequest
from mla_extend.training.checkpoint import CheckpointFile
from mla_extend.training.loop import Trainer
from mla_extend.training.precision import pick_precision
from mla_extend.training.recipe import Recipe, load_recipe
from mla_extend.training.split import split
from mla_extend.training.stages import transfer_stage

DATA = ROOT.parent / "shared" / "data" / "multi30k"
TEST, SECOND_TEST, VALIDATION = "test_2016_flickr", "test_2018_flickr", "val"
MARKS = (15, 30, 45, 60, 75, 90, 105, 120, 150, 180, 210, 240, 270, 300, 330, 360)
"""Seconds at which a curve is looked at, up to its budget."""
LATER = 120
"""Seconds from one look to the next after that."""
PEER_SECONDS = 360
GOOD = 0.9
PEER = {"batch": 64, "learning_rate": 2e-5, "warmup": 0.1, "epochs": 1, "max_seq_length": 128}
TITLES = {
    "ours": "ours",
    "peer": "sentence-transformers",
    "peer_own_tokenizer": "its loop, an own tokenizer",
    "peer_from_our_start": "its loop from our start",
}

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]
Point = dict[str, Any]


class Clock:
    """Count wall time from when it is made, but not while a curve is looked at.

    Args:
        budget: seconds after which a curve ends; it is looked at then.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        marks = (*MARKS, *range(MARKS[-1] + LATER, int(budget), LATER))
        self.marks = sorted({mark for mark in marks if mark < budget} | {budget})
        self._started = time.monotonic()
        self._paused: float | None = None

    def seconds(self) -> float:
        """Return the seconds counted so far."""
        return (time.monotonic() if self._paused is None else self._paused) - self._started

    def charge(self, seconds: float) -> None:
        """Count seconds that were spent before, on what several curves share."""
        self._started -= seconds

    def pause(self) -> None:
        """Stop counting."""
        self._paused = time.monotonic()

    def go_on(self) -> None:
        """Count again, if it was stopped."""
        if self._paused is not None:
            self._started += time.monotonic() - self._paused
            self._paused = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop counting while the context lasts; a clock that was stopped before stays so."""
        counting = self._paused is None
        if counting:
            self.pause()
        try:
            yield
        finally:
            if counting:
                self.go_on()

    def skip(self) -> None:
        """Forget the marks that have passed: nothing was trained that could be looked at."""
        self.marks = [mark for mark in self.marks if mark > self.seconds()]

    def due(self) -> float | None:
        """Return the last mark that has passed and was not looked at, or `None`."""
        passed = [mark for mark in self.marks if mark <= self.seconds()]
        self.marks = [mark for mark in self.marks if mark not in passed]
        return passed[-1] if passed else None

    @property
    def over(self) -> bool:
        """Say whether the budget is spent."""
        return not self.marks


class Data:
    """Hold one language's pairs and test sentences."""

    def __init__(self, folder: Path, language: str, most: int | None) -> None:
        self.language = language
        native, target = read(folder, "train", "en")[:most], read(folder, "train", language)[:most]
        parts = (Part(f"Multi30K en-{language}"),)
        self.pairs = ParallelText(
            parts, native, target, np.zeros(len(target), dtype=np.int64), np.arange(len(target)) + 1
        )
        tests = (TEST, SECOND_TEST, VALIDATION)
        self.tests = {name: (read(folder, name, "en"), read(folder, name, language)) for name in tests}
        self._labels: tuple[Vectors, float] | None = None

    def labels(self, teacher: Any) -> tuple[Vectors, float]:
        """Return the peer's teacher vectors of the English captions, encoded once, and the seconds that they took."""
        if self._labels is None:
            started = time.monotonic()
            vectors = teacher.encode(self.pairs.native, batch_size=PEER["batch"], show_progress_bar=False)
            self._labels = vectors, time.monotonic() - started
        return self._labels


class Judge:
    """Say how near a language's sentences come to the teacher; what is constant is encoded when it is made.

    Args:
        base: the teacher.
        data: the pairs, whose English captions are the distractors, and the test sets.
    """

    def __init__(self, base: Base, data: Data) -> None:
        features = Features(base)
        self.data = data
        captions = dict.fromkeys(data.pairs.native)
        self.teacher = {name: features.text(english) for name, (english, _) in data.tests.items()}
        self.others = {
            name: features.text([caption for caption in captions if caption not in set(english)])
            for name, (english, _) in data.tests.items()
        }

    def __call__(self, encode: Encode, name: str = TEST) -> Point:
        """Return the figures of an encoder of the language on a test set."""
        result = text_transfer(
            encode(self.data.tests[name][1]), self.teacher[name], native_distractors=self.others[name]
        )
        return {
            "accuracy": round(result.to_native_accuracy, 4),
            "accuracy_ci95": [round(value, 4) for value in result.to_native_ci95],
            "mse": round(result.mse, 6),
            "cosine": round(result.cosine, 4),
        }

    def own_english(self, encode: Encode) -> Point:
        """Return the accuracy with English encoded by the student too, and how far its English has moved."""
        english, _ = self.data.tests[TEST]
        captions = [caption for caption in dict.fromkeys(self.data.pairs.native) if caption not in set(english)]
        own = encode(english)
        found = text_transfer(encode(self.data.tests[TEST][1]), own, native_distractors=encode(captions))
        moved = text_transfer(own, self.teacher[TEST], native_distractors=self.others[TEST])
        return {
            "accuracy": round(found.to_native_accuracy, 4),
            "english_to_teacher": round(moved.to_native_accuracy, 4),
            "english_mse": round(moved.mse, 6),
        }


class Curve:
    """Collect the points of one curve."""

    def __init__(self, name: str, judge: Judge, clock: Clock) -> None:
        self.name = name
        self.judge = judge
        self.clock = clock
        self.points: list[Point] = []
        self.spent: dict[str, float] = {}
        self.at_the_end: Point = {}

    def look(self, encode: Encode, mark: float | None = None, **more: Any) -> None:
        """Add a point; `mark` is the time that it stands for, where a step ended a little after it."""
        seconds = self.clock.seconds()
        with self.clock.paused():
            point = {"seconds": round(seconds, 2), "mark": mark, **more, **self.judge(encode)}
            self.points.append(point)
            print(f"{self.judge.data.language} {TITLES[self.name]}: {point}", flush=True)

    @contextmanager
    def spending(self, what: str) -> Iterator[None]:
        """Add the seconds that the context takes to what was spent on something."""
        before = self.clock.seconds()
        try:
            yield
        finally:
            self.spent[what] = round(self.spent.get(what, 0.0) + self.clock.seconds() - before, 2)

    def to_json(self) -> dict[str, Any]:
        """Return it for the result file."""
        return {"points": self.points, "spent": self.spent, "at_the_end": self.at_the_end}


def read(folder: Path, name: str, language: str) -> list[str]:
    """Return the lines of one file."""
    path = folder / f"{name}.{language}.gz"
    if not path.is_file():
        raise SystemExit(
            f"There is no {path}. Put the raw text of Multi30K's task 1 (train, val, {TEST} and {SECOND_TEST}, each as "
            "NAME.LANGUAGE.gz, with the languages en, de and cs) into a folder and name it with --data."
        )
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


# Ours -----------------------------------------------------------------------------------------------------------------


class _Looks(StopRequest):
    """Ask the loop to stop whenever the curve is to be looked at; the run is then resumed as a user's would be."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.mark: float | None = None

    @property
    def requested(self) -> bool:  # type: ignore[override]
        """Say whether a mark has passed, and stop the clock if so: saving the run is part of the look."""
        self.mark = self.clock.due()
        if self.mark is not None:
            self.clock.pause()
        return self.mark is not None


class _Resumes(Silent):
    """Start the clock again when the loop does."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def start(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Go on."""
        self.clock.go_on()


def ours(model: MultilingualModel, data: Data, judge: Judge, recipe: Recipe, seed: int, budget: float) -> Curve:
    """Build the language and train it until the budget is spent."""
    tag = data.language

    def encode(texts: list[str]) -> Vectors:
        return model.text_vectors(texts, tag).numpy()

    clock = Clock(budget)
    curve = Curve("ours", judge, clock)
    curve.look(lambda texts: model.text_vectors(texts, model.native).numpy(), step=0)
    with tempfile.TemporaryDirectory() as folder, cold_features():
        features = Features(model.base)
        held_out = split(data.pairs, None, recipe)
        kept = data.pairs.subset(~held_out.pairs)
        with curve.spending("start"):
            build_language(model, tag, native=kept.native, target=kept.target, seed=seed, **recipe.build_arguments())
        curve.look(encode, step=0)
        with curve.spending("teacher and ids"):
            stage = transfer_stage(model, tag, data.pairs, held_out.pairs, recipe, features)
        clock.skip()
        looks = _Looks(clock)
        checkpoints = CheckpointFile(Path(folder) / "checkpoint.safetensors")
        trainer = Trainer(
            model,
            tag,
            seed=seed,
            precision=pick_precision(recipe.precision, model.base.device),
            checkpoints=checkpoints,
            progress=_Resumes(clock),
            stop=looks,
        )
        tensors = adapter_parameters(model.peft, model.language(tag).adapter)
        checkpoint = None
        while not clock.over:
            try:
                with curve.spending("training"):
                    result = trainer.run(stage, checkpoint)
                    clock.pause()
            except Interrupted:
                checkpoint = checkpoints.load()
                assert checkpoint is not None
                with torch.no_grad():
                    for name, tensor in tensors.items():
                        tensor.copy_(checkpoint.tensors[f"average/{name}"])
                curve.look(encode, looks.mark, step=checkpoint.state["step"], steps=stage.steps)
                continue
            curve.look(encode, step=result.steps, steps=stage.steps)
            break
        curve.at_the_end = {SECOND_TEST: judge(encode, SECOND_TEST)}
    model.remove(tag)
    return curve


# The peer -------------------------------------------------------------------------------------------------------------


def student_of(tower: Any, tokenizer: Any, folder: Path) -> Any:
    """Return a text tower and a tokenizer as sentence-transformers loads them from a folder: mean pooling, no head."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    tower.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=PEER["max_seq_length"])
    return SentenceTransformer(modules=[transformer, Pooling(tower.config.hidden_size, "mean")], device="cpu")


def our_start(
    model: MultilingualModel, data: Data, recipe: Recipe, seed: int, *, aligned: bool = True
) -> tuple[Any, Any]:
    """Return a copy of the tower with our aligned table (or a random one), and our tokenizer; the model stays as is."""
    from transformers import PreTrainedTokenizerFast

    held_out = split(data.pairs, None, recipe)
    kept = data.pairs.subset(~held_out.pairs)
    tag = data.language
    how = recipe.build_arguments() | ({} if aligned else {"start": random_start, "native_words": False})
    build_language(model, tag, native=kept.native, target=kept.target, seed=seed, **how)
    language = model.language(tag)
    own_table = model.own_table(tag)
    assert own_table is not None
    assert language.tokenizer is not None
    with tempfile.TemporaryDirectory() as folder:
        language.tokenizer.save(Path(folder))
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(Path(folder) / "tokenizer.json"),
            pad_token="<pad>",
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
        )
    table = own_table.table()
    model.remove(tag)
    tower: Any = copy.deepcopy(model.base.text_tower)
    own = torch.nn.Embedding(*table.shape)
    own.weight.data.copy_(table)
    tower.set_input_embeddings(own)
    tower.config.vocab_size = len(table)
    return tower, tokenizer


@dataclass(frozen=True)
class Loop:
    """Say how a peer is trained: its rate, its epochs, the accuracy at which it may end (above 1: never).

    A trial's clock counts the training alone, and not the teacher's vectors.
    """

    rate: float
    epochs: float
    until: float = 2.0
    trial: bool = False


def best_peer(arguments: argparse.Namespace, name: str, *what: Any) -> Curve:
    """Try each rate for a while where there are several, and train a peer with the best until the budget is spent.

    Args:
        arguments: `rates`, `epochs`, `until`, `minutes`, `trial_minutes`.
        name: the curve.
        what: the model and all that `peer` takes after it, but for the loop.
    """
    trials = {}
    for rate in arguments.rates if len(arguments.rates) > 1 else []:
        trial = peer(name, *what, Loop(rate, 1, trial=True), 60 * arguments.trial_minutes)
        trials[rate] = trial.at_the_end[VALIDATION]
        print(f"rate {rate:g}: {trials[rate]} on {VALIDATION}", flush=True)
    rate = min(trials, key=lambda rate: trials[rate]["mse"], default=arguments.rates[0])
    curve = peer(name, *what, Loop(rate, arguments.epochs, arguments.until), 60 * arguments.minutes)
    curve.at_the_end |= {"rate": rate, "epochs": arguments.epochs, "trials": trials}
    return curve


def peer(
    name: str, model: MultilingualModel, data: Data, judge: Judge, recipe: Recipe, seed: int, loop: Loop, budget: float
) -> Curve:
    """Train a copy of the tower by sentence-transformers' loop until the budget is spent."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MSELoss
    from transformers import PrinterCallback, TrainerCallback

    base = model.base
    with tempfile.TemporaryDirectory() as folder:
        teacher = student_of(base.text_tower, base.tokenizer, Path(folder) / "teacher")
        native = student_of(base.text_tower, base.tokenizer, Path(folder) / "student")
        same(native, base, judge.data.tests[TEST][0])
        labels, seconds = data.labels(teacher)
        clock = Clock(budget)
        curve = Curve(name, judge, clock)
        curve.look(encoder(native), step=0)
        columns = {"english": data.pairs.native, "non_english": data.pairs.target}
        student = native
        if name != "peer":
            with curve.spending("start"):
                start = our_start(model, data, recipe, seed, aligned=name == "peer_from_our_start")
                student = student_of(*start, Path(folder) / "start")
            curve.look(encoder(student), step=0)
            del columns["english"]
        with curve.spending("teacher and data set"):
            if not loop.trial:
                clock.charge(seconds)
            dataset = Dataset.from_dict({**columns, "label": labels})
        clock.skip()

        class Looks(TrainerCallback):  # type: ignore[misc]
            """Look at the marks, and end with the budget."""

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                mark = clock.due()
                if mark is not None:
                    curve.look(encoder(student), mark, step=state.global_step, steps=state.max_steps)
                good = curve.points[-1]["accuracy"] >= loop.until
                control.should_training_stop = control.should_training_stop or clock.over or good

        trainer = SentenceTransformerTrainer(
            model=student,
            args=SentenceTransformerTrainingArguments(
                output_dir=str(Path(folder) / "run"),
                num_train_epochs=loop.epochs,
                per_device_train_batch_size=PEER["batch"],
                learning_rate=loop.rate,
                warmup_steps=PEER["warmup"],
                bf16=pick_precision("auto", base.device) == "bf16",
                use_cpu=True,
                seed=seed,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=dataset,
            loss=MSELoss(model=student),
            callbacks=[Looks()],
        )
        trainer.remove_callback(PrinterCallback)
        with curve.spending("training"):
            trainer.train()
        if not clock.over and curve.points[-1].get("step") != trainer.state.global_step:
            curve.look(encoder(student), step=trainer.state.global_step, steps=trainer.state.max_steps)
        curve.at_the_end = {test: judge(encoder(student), test) for test in (SECOND_TEST, VALIDATION)}
        if name == "peer":
            curve.at_the_end["with_its_own_english"] = judge.own_english(encoder(student))
    return curve


def encoder(student: Any) -> Encode:
    """Return a student's encoder: unnormalised vectors."""

    def encode(texts: list[str]) -> Vectors:
        vectors: Vectors = student.encode(texts, batch_size=256, show_progress_bar=False)
        return vectors

    return encode


def same(student: Any, base: Base, texts: Sequence[str]) -> None:
    """Stop if a student is not the tower that it is a copy of."""
    texts = list(texts[:64])
    apart = float(np.abs(encoder(student)(texts) - base.native_vectors(texts).numpy()).max())
    if apart > 1e-4:
        raise SystemExit(f"The copy of the text tower is another tower: its vectors differ by up to {apart:.2g}.")


# Results --------------------------------------------------------------------------------------------------------------


def accuracy_at(points: Sequence[Point], seconds: float) -> float:
    """Return the accuracy of what a curve has at a time."""
    return float([point["accuracy"] for point in points if (point["mark"] or point["seconds"]) <= seconds][-1])


def seconds_to(points: Sequence[Point], accuracy: float) -> float | None:
    """Return when a curve is seen to reach an accuracy first."""
    return next((float(point["seconds"]) for point in points if point["accuracy"] >= accuracy), None)


def summary(curves: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the figures that the curves are measured for, as far as they were run."""
    points = {name: curve["points"] for name, curve in curves.items()}
    result: dict[str, Any] = {
        f"{name}_seconds_to_{GOOD:.0%}".replace("%", ""): seconds_to(rows, GOOD) for name, rows in points.items()
    }
    if "ours" not in points:
        return result
    for name in [name for name in points if name != "ours"]:
        reached = accuracy_at(points[name], PEER_SECONDS)
        sooner = seconds_to(points["ours"], reached)
        times = [point["seconds"] for rows in (points["ours"], points[name]) for point in rows if point["seconds"] > 1]
        result[name] = {
            f"accuracy_at_{PEER_SECONDS}s": reached,
            "ours_seconds_to_that": sooner,
            "times_sooner": round(PEER_SECONDS / sooner, 1) if sooner else None,
            "ours_ahead_everywhere": all(
                accuracy_at(points["ours"], when) >= accuracy_at(points[name], when) for when in times
            ),
        }
    return result


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the curves: one picture a language, time on a log axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    looks = {"ours": ("#1f5fa8", "o"), "peer": ("#c2571a", "s"), "peer_from_our_start": ("#777777", "^")}
    looks["peer_own_tokenizer"] = ("#8a3d8a", "D")
    names = {"de": "German", "cs": "Czech"}
    figure = Figure(figsize=(5.2 * len(result["curves"]), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (language, curves) in zip(
        figure.subplots(1, len(result["curves"]), squeeze=False, sharey=True)[0], result["curves"].items(), strict=True
    ):
        end = max(point["seconds"] for curve in curves.values() for point in curve["points"])
        for name, curve in curves.items():
            colour, marker = looks[name]
            points = curve["points"]
            times = [max(1.0, point["seconds"]) for point in points]
            values = [100 * point["accuracy"] for point in points]
            # Between two looks nobody has more than was seen at the first.
            axes.plot(
                times, values, drawstyle="steps-post", color=colour, lw=1.6, marker=marker, ms=4.5, clip_on=False,
                label=TITLES[name],
            )  # fmt: skip
        axes.set(xscale="log", xlim=(1, 1.08 * end), ylim=(0, 100), xlabel="seconds since the pairs were read")
        axes.set_title(names.get(language, language))
        axes.set_xticks([1, 5, 10, 30, 60, 120, 180, 360])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        axes.grid(alpha=0.3)
        axes.axhline(100 * GOOD, color="#777777", lw=0.8, ls="dotted")
    first = figure.axes[0]
    first.set_ylabel("finds its English original among 30,000 (%)")
    first.legend(loc="center right", frameon=False)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def show(result: dict[str, Any]) -> None:
    """Print the curves and the summary."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for language, curves in result["curves"].items():
        table = Table(title=f"{language}: accuracy on {TEST} in per cent (mean squared error, cosine)")
        table.add_column("seconds", justify="right")
        for name in curves:
            table.add_column(TITLES[name], justify="right", overflow="fold")
        rows: dict[float, dict[str, str]] = {}
        for name, curve in curves.items():
            for point in curve["points"]:
                cell = f"{100 * point['accuracy']:.1f} ({point['mse']:.4f}, {point['cosine']:.3f})"
                rows.setdefault(point["mark"] or round(point["seconds"], 1), {})[name] = cell
        for seconds in sorted(rows):
            table.add_row(f"{seconds:g}", *[rows[seconds].get(name, "") for name in curves])
        console.print(table)
        for name, curve in curves.items():
            console.print(f"{TITLES[name]}: spent {curve['spent']}, at the end {curve['at_the_end']}", highlight=False)
        console.print(result["summary"][language], highlight=False)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the curves of all languages."""
    quiet()
    recipe = load_recipe("default", arguments.set)
    datas = {language: Data(arguments.data, language, arguments.pairs) for language in arguments.languages}
    model = MultilingualModel(open_base("demo"))
    curves: dict[str, Any] = {}
    for language, data in datas.items():
        judge = Judge(model.base, data)
        curves[language] = {}
        for name in arguments.curves:
            if name == "ours":
                curve = ours(model, data, judge, recipe, arguments.seed, 60 * arguments.ours_minutes)
            else:
                curve = best_peer(arguments, name, model, data, judge, recipe, arguments.seed)
            curves[language][name] = curve.to_json()
    libraries = ("sentence-transformers", "datasets", "accelerate")
    return {
        "settings": {
            "pairs": {language: len(data.pairs) for language, data in datas.items()},
            "test": TEST,
            "minutes": arguments.minutes,
            "ours_minutes": arguments.ours_minutes,
            "overrides": arguments.set,
            "recipe": recipe.model_dump(mode="json"),
            "peer": PEER,
            "precision": pick_precision(recipe.precision, model.base.device),
            "base_fingerprint": model.base.identity.fingerprint,
        },
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "seed": arguments.seed,
        "versions": {**package_versions(), **{name: version(name) for name in libraries}},
        "curves": curves,
        "summary": {language: summary(rows) for language, rows in curves.items()},
    }


def quiet() -> None:
    """Keep the libraries' bars and reports out of what is printed."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of train.en.gz and the others")
    parser.add_argument("--languages", nargs="+", default=["de", "cs"])
    parser.add_argument("--pairs", type=int, help="only so many of the pairs, to try the script")
    parser.add_argument("--curves", nargs="+", default=list(TITLES), choices=list(TITLES))
    parser.add_argument("--minutes", type=float, default=6.5, help="budget of the peer's curves")
    parser.add_argument("--rates", nargs="+", type=float, default=[PEER["learning_rate"]], help="of the peer's curves")
    parser.add_argument("--trial-minutes", type=float, default=1.0, help="budget of each of several rates")
    parser.add_argument("--epochs", type=float, default=PEER["epochs"], help="of the peer's curves, in the budget")
    parser.add_argument("--until", type=float, default=2.0, help="accuracy at which a peer's curve ends")
    parser.add_argument("--ours-minutes", type=float, default=3.0, help="budget of ours")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a value of our recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="multi30k", help="of what is written")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}/NAME.json and docs/NAME.png")
    parser.add_argument("--reuse", action="store_true", help="take the last result instead of measuring")
    arguments = parser.parse_args()
    result = load(arguments.name) if arguments.reuse else measure(arguments)
    show(result)
    if arguments.write:
        save(arguments.name, result)
        draw(result, ROOT / "docs" / f"{arguments.name}.png")


if __name__ == "__main__":
    main()
