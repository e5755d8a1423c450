"""One job as a process: `supervise` starts `python -m mla_extend.jobs.process FOLDER` and waits for it.

The process adds the language as `add-language` does and says in its folder how far it is. Each byte on its standard
input asks it to stop, and so does the end of that pipe, which comes when whoever started it has died.
"""

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

from mla_extend.errors import Interrupted, MlaExtendError, TrainingError
from mla_extend.jobs.folder import JobFolder, asked_to_stop, held
from mla_extend.platform import interrupt_self, listen_to_interrupts
from mla_extend.progress import Pace

POLL_SECONDS = 0.2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
BY_FORCE = 3
"""Requests to stop from which a process is killed."""
FAILED, INTERRUPTED = 1, 130
PATIENCE = 60.0
"""Seconds between asking to stop, asking to stop at once, and ending, once whoever started this has died."""
LOCK_SECONDS = 180.0
"""How long to wait for an earlier attempt that is still stopping."""
EVERY = 1.0
"""Seconds between two words on how far it is."""


def supervise(folder: str, threads: int) -> int:
    """Run the job of a folder in a process of its own, on this machine or as a task of a cluster.

    The process has a session of its own, so that Ctrl-C in a terminal reaches it through here alone.

    Args:
        folder: the job's folder; what asks the run to stop lies beside it.
        threads: for the process's computations.

    Returns:
        Its exit code.
    """
    job = JobFolder(Path(folder))
    with job.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "mla_extend.jobs.process", folder],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **dict.fromkeys(THREADS, str(threads)), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    assert child.stdin is not None
    told = 0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(POLL_SECONDS)
            asked = asked_to_stop(job.folder.parent)
            if asked >= BY_FORCE:
                child.kill()
            elif asked > told:
                told += 1
                with contextlib.suppress(OSError):  # it has just ended
                    os.write(child.stdin.fileno(), b"\n")
    except KeyboardInterrupt:  # a cluster cancels a task so
        child.stdin.close()
        return child.wait()
    finally:
        child.stdin.close()


class JobProgress:
    """Write long work to the job's status for the one who waits, and to the log."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {**folder.read(), "where": where()}
        self._figures: dict[str, float] = {}
        self._said = 0.0
        self._pace = Pace()
        self._tell()

    def start(self, task: str, total: int | None = None, unit: str = "") -> None:
        """Begin a task."""
        self.state |= {"stage": task, "step": 0, "steps": total}
        self._figures = {}
        say(f"{task}{f': {total} {unit}'.rstrip() if total else ''}")
        self._tell()

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count what is done; the score stays with what comes after."""
        self.state["step"] = self.state.get("step", 0) + amount
        self._figures = figures or self._figures
        if "score" in figures:
            self.state["score"] = figures["score"]
        if time.monotonic() - self._said >= EVERY:
            self._tell()
        if self._pace.due():
            self._log()

    def note(self, text: str) -> None:
        """Write a sentence to the log."""
        say(text)

    def finish(self) -> None:
        """End the task."""
        if self._figures:
            self._log()
            self._figures = {}
        self._tell()

    def _log(self) -> None:
        figures = "".join(f", {name} {value:.4g}" for name, value in self._figures.items())
        total = f" of {self.state['steps']}" if self.state["steps"] else ""
        say(f"{self.state['stage']}: {self.state['step']}{total} done{figures}")

    def _tell(self) -> None:
        self._said = time.monotonic()
        self.folder.write(self.state)


def where() -> str:
    """Return the machine and process that this is."""
    return f"{socket.gethostname()} {os.getpid()}"


def say(text: str) -> None:
    """Write a line to the log, with the time."""
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def command(language: str, arguments: dict[str, Any]) -> str:
    """Return the command that does the same by hand."""
    names = {"overrides": "set", "licence": "license"}
    words = ["mla-extend", "add-language", language]
    for name, value in arguments.items():
        option = f"--{names.get(name, name).replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [word for one in value for word in (option, one)]
        elif value is not None and value is not False:
            words += [option, str(value)]
    return shlex.join(words)


def main(folder: JobFolder) -> int:
    """Do the job of a folder; return the exit code."""
    started, code = time.monotonic(), FAILED
    result: dict[str, Any]
    try:
        busy = f"An earlier process is still running this job ({folder.folder}). Wait for it, or end it, and try again."
        with held(folder.folder, LOCK_SECONDS, busy):
            progress = JobProgress(folder)
            progress.start("Loading")
            job = progress.state["job"]
            result, code = {"state": "done", **_add(job, progress)}, 0
        result["published"] = {"version": result["version"], "digest": job["digest"]}
    except (Interrupted, KeyboardInterrupt) as stopped:
        code = INTERRUPTED
        result = {"state": "stopped", "error": str(stopped) or "Stopped before the first checkpoint."}
    except Exception as error:  # noqa: BLE001 - whatever it is, the table must say it and the log must show it
        text = " ".join(str(error).split())
        if not isinstance(error, MlaExtendError | OSError):
            traceback.print_exc()
            text = f"{type(error).__name__}: {text}"
        result = {"state": "failed", "kind": type(error).__name__, "error": text}
    say(result.get("error") or f"Published as {result['version']}.")
    folder.write({**folder.read(), **result, "where": where(), "seconds": round(time.monotonic() - started, 1)})
    return code


def _add(job: dict[str, Any], progress: JobProgress) -> dict[str, Any]:
    """Add the language, going on with an interrupted attempt where there is one; return what the table says of it."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the command does
    from mla_extend.add.job import add_language  # noqa: PLC0415 - imports torch
    from mla_extend.jobs.outcome import outcome  # noqa: PLC0415 - stopping early must not wait for these
    from mla_extend.jobs.plan import home_of  # noqa: PLC0415

    language, arguments = job["language"], job["arguments"]
    home = home_of(arguments["registry"], arguments["base"])
    resume = bool(job["resume"] and home is not None and home.work_folders(language))
    print(f"$ {command(language, arguments | {'resume': resume})}", file=sys.stderr, flush=True)
    if resume:
        try:
            return outcome(add_language(language, **arguments, resume=True, progress=progress))
        except TrainingError as error:
            say(f"{error} It is started afresh.")
    return outcome(add_language(language, **arguments, progress=progress))


def _watch() -> None:
    """Stop this process when its standard input says so, and when that ends: gently, then firmly, then by force."""
    while os.read(sys.stdin.fileno(), 1):
        interrupt_self()
    for _ in range(2):
        interrupt_self()
        time.sleep(PATIENCE)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    listen_to_interrupts()
    threading.Thread(target=_watch, daemon=True).start()
    sys.exit(main(JobFolder(Path(sys.argv[1]))))
