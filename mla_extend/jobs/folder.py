"""The folder of one job.

status.json      what is to be done, how far it is, how it ended, and what it published last
log.txt          of all its attempts
.lock            held by the process that is at it
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend.errors import RegistryError
from mla_extend.files import read_json, write_json

STOP = "stop.json"
"""Lies in the folder of the run, beside those of its jobs, and asks all of them to stop."""


@dataclass(frozen=True)
class JobFolder:
    """Say where a job's files are, and read and write its status."""

    folder: Path

    @property
    def log(self) -> Path:
        """Return the path of its log."""
        return self.folder / "log.txt"

    def begin(self, job: dict[str, Any]) -> None:
        """Write what is to be done; of the attempts before, what was published is remembered, and the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write({"job": job, "published": self.read().get("published", {})})

    def read(self) -> dict[str, Any]:
        """Return the job's status; empty if it was never started, or the file is damaged."""
        try:
            value = read_json(self.folder / "status.json")
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, status: dict[str, Any]) -> None:
        """Write the job's status."""
        write_json(self.folder / "status.json", status)

    def last_line(self) -> str:
        """Return the last line of the log that is not empty."""
        with contextlib.suppress(OSError):
            lines = self.log.read_bytes()[-4000:].decode("utf-8", "replace").splitlines()
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


@contextlib.contextmanager
def held(folder: Path, seconds: float, what: str) -> Iterator[None]:
    """Hold a folder against other processes, waiting for them a while; `what` is told where one does not let go.

    Raises:
        RegistryError: another process holds it.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - as elsewhere, by writers alone

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise RegistryError(what) from error
    try:
        yield
    finally:
        lock.release()


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
