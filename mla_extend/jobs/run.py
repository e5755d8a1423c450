"""Do a plan: start each job when it can be, watch all of them, and keep what became of them for the next time."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from mla_extend.bases.source import DEMO, base_folder
from mla_extend.errors import MlaExtendError
from mla_extend.jobs.folder import JobFolder, ask_to_stop, held
from mla_extend.jobs.outcome import outcome, published
from mla_extend.jobs.plan import Job, Plan, home_of
from mla_extend.jobs.process import BY_FORCE
from mla_extend.jobs.runners import Runner
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import folder_name
from mla_extend.registry.lock import writing
from mla_extend.registry.store import Registry

JOBS = ".jobs"
"""Folder in the registry's, of one folder a plan."""
POLL_SECONDS = 0.2

State = Literal["waiting", "running", "done", "was there", "failed", "left out", "stopped"]
ENDED = ("done", "was there", "failed", "left out", "stopped")
GOOD = ("done", "was there")
WHY = {"failed": "failed", "left out": "was left out", "stopped": "was stopped"}


@dataclass
class Status:
    """Say how far one language is.

    Attributes:
        language: its tag.
        state: `was there`: an earlier run has done it; `left out`: the one that it starts from failed.
        stage, step, steps: of what is going on.
        score: on the held-out slice.
        mean_recall, ratio: of the evaluation, once it is done.
        seconds: that it has taken.
        where: machine and process.
        version: that was published.
        error: why it failed or stopped.
        log: its log's path.
    """

    language: str
    log: str
    state: State = "waiting"
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    score: float | None = None
    mean_recall: float | None = None
    ratio: float | None = None
    seconds: float | None = None
    where: str | None = None
    version: str | None = None
    error: str | None = None
    _started: float = field(default=0.0, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    def take(self, values: dict[str, Any]) -> None:
        """Take what the job's files say."""
        for name in ("stage", "step", "steps", "score", "mean_recall", "ratio", "where", "version", "error", "seconds"):
            if name in values:
                setattr(self, name, values[name])


Watch = Callable[[Sequence[Status], bool], None]
"""Is told of all statuses, and whether the run was asked to stop."""


class Run:
    """Do the jobs of a plan.

    Args:
        plan: what is to be done.
        runner: where.
        watch: told of all statuses about five times a second, and of how they are in the end.
    """

    def __init__(self, plan: Plan, runner: Runner, watch: Watch = lambda _statuses, _stopping: None) -> None:
        self.plan = plan
        self.runner = runner
        self.watch = watch
        self.folder = run_folder(plan)
        self.jobs = {job.language: job for job in plan.jobs}
        self.folders = {tag: JobFolder(self.folder / folder_name(tag)) for tag in self.jobs}
        self.statuses = {tag: Status(tag, str(folder.log)) for tag, folder in self.folders.items()}
        self.asked = 0

    @property
    def interrupted(self) -> bool:
        """Tell whether the user stopped it before all was done."""
        return self.asked > 0 and any(status.state in ("waiting", "stopped") for status in self.statuses.values())

    def go(self) -> list[Status]:
        """Do what is not done yet; return how each job is, in the plan's order.

        Raises:
            RegistryError: another process is at this plan, or the registry cannot be written.
        """
        with writing(f"The languages were not added, since {self.folder} cannot be made"):
            self.folder.mkdir(parents=True, exist_ok=True)
        busy = f"Another process is running the plan {self.plan.name!r} in {self.folder}. Wait for it, end it, or give "
        with held(self.folder, 0, f"{busy}the plan's file another name."):
            ask_to_stop(self.folder, 0)
            home = home_of(self.plan.registry, self.plan.base)
            for tag, job in self.jobs.items():
                self._look(tag, job, home)
            with self._listening():
                try:
                    self._loop()
                except BaseException:
                    ask_to_stop(self.folder, 1)  # nothing trains on unwatched
                    raise
            ask_to_stop(self.folder, 0)
        self.watch(self._all, self.asked > 0)
        return self._all

    @property
    def _all(self) -> list[Status]:
        return list(self.statuses.values())

    def _look(self, tag: str, job: Job, home: BaseRegistry | None) -> None:
        """See whether an earlier run has done a job."""
        if (card := published(job, home, self.folders[tag].read().get("published", {}))) is not None:
            self.statuses[tag].take(outcome(card))
            self.statuses[tag].state = "was there"

    def _loop(self) -> None:
        told = 0
        while True:
            if self.asked > told:
                told = min(self.asked, BY_FORCE)
                ask_to_stop(self.folder, told)
            running = [tag for tag, status in self.statuses.items() if status.state == "running"]
            for tag in running:
                self._follow(tag)
            changed = not self.asked and self._start_more()
            self.watch(self._all, self.asked > 0)
            if not changed and not any(status.state == "running" for status in self.statuses.values()):
                return
            time.sleep(POLL_SECONDS)

    def _start_more(self) -> bool:
        """Start what can be and leave out what cannot; return whether there was any."""
        before = [status.state for status in self._all]
        for tag, job in self.jobs.items():
            status = self.statuses[tag]
            if status.state != "waiting":
                continue
            first = self.statuses.get(job.start_from or "")
            if first is not None and first.state not in GOOD:
                if first.state in ENDED:
                    status.state = "left out"
                    status.error = f"It starts from {first.language!r}, which {WHY[first.state]}."
                continue
            busy = sum(other.state == "running" for other in self.statuses.values())
            if self.runner.places is None or busy < self.runner.places:
                self._start(tag, job)
        return before != [status.state for status in self._all]

    def _start(self, tag: str, job: Job) -> None:
        folder, status = self.folders[tag], self.statuses[tag]
        # What did not learn would not learn again; what broke off otherwise is taken up where it was.
        resume = folder.read().get("kind") != "TrainingError"
        folder.begin({"language": tag, "arguments": job.arguments, "digest": job.digest(), "resume": resume})
        status.state, status.stage = "running", "Starting"
        self.runner.start(folder.folder)

    def _follow(self, tag: str) -> None:
        folder, status = self.folders[tag], self.statuses[tag]
        trouble = self.runner.ended(folder.folder)
        told = folder.read()
        if begun := "where" in told:  # a cluster may let it wait
            status._started = status._started or time.monotonic()
            status.take({"seconds": round(time.monotonic() - status._started, 1)} | told)
        if trouble is None:
            return
        if "state" in told:
            status.state = told["state"]
        elif self.asked:
            status.state = "stopped"
            status.error = "Stopped at once; its last checkpoint is kept." if begun else "Stopped before it had begun."
        else:
            last = folder.last_line()
            status.state = "failed"
            status.error = trouble or f"The process ended without a message; the last line of its log is {last!r}."

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Count interrupts and termination signals instead of ending, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(_number: int, _frame: FrameType | None) -> None:
            self.asked += 1

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_folder(plan: Plan) -> Path:
    """Return where the jobs of a plan keep their files."""
    return plan.registry / JOBS / plan.name


def prepare_base(plan: Plan, progress: Progress = SILENT) -> None:
    """Build or fetch the base once, before several processes find that it is missing.

    Raises:
        MlaExtendError: it cannot be had.
    """
    base_folder(plan.base or Registry(plan.registry).base_source() or DEMO, progress)


def estimates(plan: Plan, progress: Progress = SILENT) -> list[dict[str, Any]]:
    """Return, for each job, its state and what `plan_language` expects of it, or why it cannot be done.

    A language of the plan that another starts from may be missing still: that other is estimated without it.
    """
    from mla_extend.add.job import plan_language  # noqa: PLC0415 - imports torch

    home, found = home_of(plan.registry, plan.base), []
    for job in plan.jobs:
        folder = JobFolder(run_folder(plan) / folder_name(job.language))
        row: dict[str, Any] = {"language": job.language, "recipe": job.recipe.name, "start_from": job.start_from}
        found.append(row)
        if published(job, home, folder.read().get("published", {})) is not None:
            row["state"] = "was there"
            continue
        arguments = dict(job.arguments)
        if arguments["start_from"] in {other.language for other in plan.jobs}:
            arguments["start_from"] = None
        try:
            row |= {**plan_language(job.language, progress=progress, **arguments), "start_from": job.start_from}
            row["state"] = "waiting"
        except (MlaExtendError, OSError) as error:
            row |= {"state": "failed", "error": " ".join(str(error).split())}
    return found
