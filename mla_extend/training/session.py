"""One run from data to trained weights: build, step 0, the stages, all of it resumable."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from mla_extend.bases.features import Features
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.files import atomic_folder, atomic_path, read_json, write_json
from mla_extend.language.build import BuildResult, build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors, load_tensors
from mla_extend.language.related import Related
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.processes import ALONE, Processes
from mla_extend.progress import SILENT, Progress
from mla_extend.stop import StopRequest
from mla_extend.training.checkpoint import Checkpoint, CheckpointFile
from mla_extend.training.loop import StageResult, Trainer
from mla_extend.training.precision import pick_precision
from mla_extend.training.recipe import Recipe
from mla_extend.training.schedule import RunCost
from mla_extend.training.split import Split
from mla_extend.training.stages import Stage, exposure_stage, smaller_batches, transfer_stage
from mla_extend.training.validation import Score

DONE = "trained"
SCHEDULE = "schedule.json"
Fit = Callable[[Sequence[Stage]], RunCost]


@dataclass
class Trained:
    """Say how a run went: what was built, each stage, the log, what to tell the user."""

    built: BuildResult
    stages: list[dict[str, Any]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    precision: str = "fp32"

    @property
    def pairs(self) -> int:
        """Return the pairs that were stepped over, repetitions included."""
        return sum(stage["pairs"] for stage in self.stages)


class Session:
    """Train one language of a model in a folder of its own.

    Args:
        folder: keeps the untrained language, the checkpoint and the log of a run in progress.
        model: where the language goes.
        tag: its code.
        recipe: how.
        seed: of everything that is drawn.
        progress: told of all long work.
        related: a language that it starts from a copy of.
        processes: train it together; the first one builds the language and writes.
        schedule: fits the stages' steps into the time that the user will wait; `None` takes the recipe's.
    """

    def __init__(
        self,
        folder: Path,
        model: MultilingualModel,
        tag: str,
        recipe: Recipe,
        *,
        seed: int,
        progress: Progress = SILENT,
        related: Related | None = None,
        processes: Processes = ALONE,
        schedule: Fit | None = None,
    ) -> None:
        self.folder = folder
        self.model = model
        self.tag = tag
        self.recipe = recipe
        self.seed = seed
        self.progress = progress
        self.related = related
        self.processes = processes
        self.schedule = schedule
        self.log: list[dict[str, Any]] = []
        self.checkpoints = CheckpointFile(folder / "checkpoint.safetensors")

    def build(self, parallel: ParallelText, image_text: ImageText | None, split: Split) -> BuildResult:
        """Build the language from its training pairs, or take it from the folder if this run has built it already."""
        start = self.folder / "start"
        if not self.processes.first:
            self.processes.wait()
            return self._load_start(start)
        built = self._load_start(start) if start.is_dir() else self._build(start, parallel, image_text, split)
        self.processes.wait()
        return built

    def _build(self, start: Path, parallel: ParallelText, image_text: ImageText | None, split: Split) -> BuildResult:
        kept = parallel.subset(~split.pairs)
        captions: list[str] = []
        if image_text is not None and split.captions is not None:
            captions = [text for text, held in zip(image_text.texts, split.captions, strict=True) if not held]
        built = build_language(
            self.model,
            self.tag,
            native=kept.native,
            target=kept.target,
            more_text=captions,
            lexicon=split.words,
            text=split.text,
            seed=self.seed,
            related=self.related,
            **self.recipe.build_arguments(),
        )
        self._save_start(start, built)
        return built

    def train(
        self,
        parallel: ParallelText,
        image_text: ImageText | None,
        split: Split,
        features: Features,
        *,
        resume: bool = False,
        stop: StopRequest | None = None,
    ) -> Trained:
        """Build and train; the model holds the best weights afterwards.

        Raises:
            TrainingError: a stage went wrong.
            Interrupted: the user asked to stop; the folder holds what is needed to continue.
        """
        trained = Trained(self.build(parallel, image_text, split))
        trained.precision = pick_precision(self.recipe.precision, self.model.base.device)
        if resume and (self.folder / DONE).is_dir():
            return self._load_done(trained)
        checkpoint = self.checkpoints.load() if resume else None
        carried = self.checkpoints.carried if checkpoint else {"stages": [], "log": []}
        self.log = list(carried["log"])
        trained.stages = list(carried["stages"])
        transfer = transfer_stage(self.model, self.tag, parallel, split.pairs, self.recipe, features, split.lexicon)
        stages = [transfer]
        if image_text is not None and split.captions is not None:
            stages.append(
                exposure_stage(self.model, self.tag, image_text, split.captions, self.recipe, features, transfer)
            )
        elif self.recipe.exposure.max_steps:
            self._note(trained, "No images with text were given, so Language Exposure was skipped.")
        if self.schedule is not None:
            stages = self._scheduled(stages, self.schedule)
        trainer = Trainer(
            self.model,
            self.tag,
            seed=self.seed,
            precision=trained.precision,
            checkpoints=self.checkpoints,
            progress=self.progress,
            log=self._log,
            stop=stop,
            processes=self.processes,
        )
        done = len(trained.stages)
        for stage in stages[done:]:
            self.checkpoints.carried = {"stages": trained.stages, "log": self.log}
            mine = checkpoint if checkpoint is not None and checkpoint.state["stage"] == stage.name else None
            checkpoint = None
            before = smaller_batches(stage.name, stage.terms) if stage.steps else []
            for note in before:
                self._note(trained, note)
            result = self._run(trainer, stage, mine)
            for note in result.notes:
                self._note(trained, note)
            trained.stages.append(result.to_json() | {"notes": [*before, *result.notes]})
        trained.log = self.log
        if self.processes.first:
            self._save_done(trained)
        return trained

    def _scheduled(self, stages: list[Stage], fit: Fit) -> list[Stage]:
        """Return the stages with steps that fit into the time there is; a run that goes on keeps those that it had."""
        path = self.folder / SCHEDULE
        steps: list[list[int]] | None = None
        if self.processes.first:
            steps = read_json(path) if path.is_file() else None
            if steps is None:
                steps = [[part.steps, part.evaluations] for part in fit(stages).stages]
                write_json(path, steps)
        steps = self.processes.from_first(steps)
        return [
            replace(stage, steps=count, recipe=stage.recipe.model_copy(update={"evaluations": evaluations}))
            for stage, (count, evaluations) in zip(stages, steps, strict=True)
        ]

    def _run(self, trainer: Trainer, stage: Stage, checkpoint: Checkpoint | None) -> StageResult:
        if stage.steps:
            return trainer.run(stage, checkpoint)
        with self.model.training(self.tag):
            score = stage.validation(self.model)
        self._log({"stage": stage.name, "step": 0, "seconds": 0.0, "event": "evaluation", **_rounded(score)})
        return StageResult(stage.name, 0, 0, score, score, 0.0, 0, "the recipe leaves this stage out")

    def _note(self, trained: Trained, note: str) -> None:
        trained.notes.append(note)
        self.progress.note(note)

    def _log(self, record: dict[str, Any]) -> None:
        """Keep a record; the list is shared with the checkpoint, which saves it together with the weights."""
        self.log.append(record)

    def _save_start(self, start: Path, built: BuildResult) -> None:
        with atomic_folder(start) as temporary:
            language = self.model.language(self.tag)
            if language.tokenizer is not None:
                language.tokenizer.save(temporary)
            save_file(self._tensors(), temporary / "tensors.safetensors")
            (temporary / "built.json").write_text(json.dumps(asdict(built)))

    def _save_done(self, trained: Trained) -> None:
        """Keep the trained language, so that what comes after training can be tried again without it."""
        with atomic_folder(self.folder / DONE) as temporary:
            save_file(self._tensors(), temporary / "tensors.safetensors")
            (temporary / "trained.json").write_text(json.dumps(asdict(trained)))

    def _load_done(self, trained: Trained) -> Trained:
        done = self.folder / DONE
        values = json.loads((done / "trained.json").read_text())
        load_tensors(self.model.peft, self.model.language(self.tag).adapter, load_file(done / "tensors.safetensors"))
        return Trained(**{**values, "built": trained.built})

    def _tensors(self) -> dict[str, Tensor]:
        tensors = adapter_tensors(self.model.peft, self.model.language(self.tag).adapter)
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def _load_start(self, start: Path) -> BuildResult:
        tokenizer = None
        if (start / "tokenizer.json").is_file():
            tokenizer = LanguageTokenizer.load(start, self.model.base.max_tokens)
        built = BuildResult(**json.loads((start / "built.json").read_text()))
        language = self.model.add(
            self.tag,
            tokenizer=tokenizer,
            native_pieces=built.native_pieces,
            bottleneck=self.recipe.acquirer.bottleneck,
            pretrained=built.table,
        )
        load_tensors(self.model.peft, language.adapter, load_file(start / "tensors.safetensors"))
        return built


def write_log(path: Path, log: list[dict[str, Any]]) -> None:
    """Write `training.jsonl`."""
    with atomic_path(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in log), encoding="utf-8")


def _rounded(score: Score) -> dict[str, float]:
    return {
        "score": round(score.score, 5),
        "chance": round(score.chance, 5),
        "mean_cosine": round(score.mean_cosine, 5),
    }
