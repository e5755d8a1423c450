"""The folder of one job: what is to be done, how far it is, how it ended, and its log.

job.json         what is to be done, written before it is started
progress.json    how far it is, replaced about once a second
result.json      how it ended; not there while it runs, or if its process was killed
log.txt          of all its attempts
.lock            held by the process that is at it
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend.files import read_json, write_json

STOP = "stop.json"
"""Lies in the folder of the run, beside those of its jobs, and asks all of them to stop."""


@dataclass(frozen=True)
class JobFolder:
    """Say where a job's files are."""

    folder: Path

    @property
    def log(self) -> Path:
        """Return the path of its log."""
        return self.folder / "log.txt"

    @property
    def lock(self) -> Path:
        """Return the path of its lock."""
        return self.folder / ".lock"

    def begin(self, job: dict[str, Any]) -> None:
        """Write what is to be done, and forget how the attempt before went but for its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._result.unlink(missing_ok=True)
        self._progress.unlink(missing_ok=True)
        write_json(self._job, job)

    def job(self) -> dict[str, Any]:
        """Return what is to be done, or was at the last attempt; empty if nothing was ever."""
        return _read(self._job)

    def progress(self) -> dict[str, Any]:
        """Return how far it is: `stage`, `step`, `steps`, `score`, `where`; empty before it has begun."""
        return _read(self._progress)

    def result(self) -> dict[str, Any]:
        """Return how it ended; empty if it has not, or was killed."""
        return _read(self._result)

    def done(self) -> dict[str, Any]:
        """Return `version` and `digest` of what was published last; empty if nothing was."""
        return _read(self._done)

    def write_progress(self, progress: dict[str, Any]) -> None:
        """Say how far it is."""
        write_json(self._progress, progress)

    def write_result(self, result: dict[str, Any]) -> None:
        """Say how it ended; what was published is remembered over further attempts."""
        if result.get("state") == "done":
            write_json(self._done, {"version": result["version"], "digest": result["digest"]})
        write_json(self._result, result)

    def last_line(self) -> str:
        """Return the last line of the log that is not empty."""
        with contextlib.suppress(OSError):
            lines = self.log.read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    @property
    def _job(self) -> Path:
        return self.folder / "job.json"

    @property
    def _progress(self) -> Path:
        return self.folder / "progress.json"

    @property
    def _done(self) -> Path:
        return self.folder / "done.json"

    @property
    def _result(self) -> Path:
        return self.folder / "result.json"


def ask_to_stop(run: Path, times: int) -> None:
    """Ask all jobs of a run to stop: once at their next step, twice at once, three times by force; 0 takes it back."""
    if times:
        write_json(run / STOP, times)
    else:
        (run / STOP).unlink(missing_ok=True)


def asked_to_stop(run: Path) -> int:
    """Return how often the jobs of a run were asked to stop."""
    try:
        return int(read_json(run / STOP))
    except (OSError, ValueError, TypeError):
        return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
