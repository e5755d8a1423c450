"""Where jobs run: on this machine, or on a Ray cluster."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from mla_extend.errors import DataError
from mla_extend.extras import optional
from mla_extend.jobs.process import supervise
from mla_extend.platform import cores

LOCAL = "local"


class Runner(Protocol):
    """Run jobs, each by its folder."""

    places: int | None
    """Jobs that it takes at once; `None` leaves that to the cluster."""

    def start(self, folder: Path) -> None:
        """Start the job of a folder."""

    def ended(self, folder: Path) -> str | None:
        """Return `None` while a job runs, then an empty text, or what kept its process from running or ending well."""

    def close(self) -> None:
        """Let go of everything; jobs that are still running stop at a checkpoint."""


class LocalRunner:
    """Run jobs as processes of this machine.

    Args:
        jobs: how many at once.
        threads: of each; `None` shares the cores out.
    """

    def __init__(self, jobs: int = 1, threads: int | None = None) -> None:
        self.places: int | None = jobs
        self.threads = threads or max(1, cores() // jobs)
        self._pool = ThreadPoolExecutor(jobs)
        self._running: dict[Path, Future[int]] = {}

    def start(self, folder: Path) -> None:
        """Start a process."""
        self._running[folder] = self._pool.submit(supervise, str(folder), self.threads)

    def ended(self, folder: Path) -> str | None:
        """Return what became of the process."""
        future = self._running[folder]
        if not future.done():
            return None
        error = future.exception()
        return told(future.result()) if error is None else f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Wait for the threads, whose processes have ended."""
        self._pool.shutdown(cancel_futures=True)


class RayRunner:
    """Run jobs as tasks of a Ray cluster, which decides where and when.

    Args:
        address: of the cluster, or `local` for one on this machine that ends with the run.
        jobs: how many at once; `None` leaves that to the cluster.
        threads: of each, and the CPUs that it asks the cluster for.
        gpus: that each asks the cluster for; less than 1 shares one.

    Raises:
        DataError: Ray is not installed or cannot be reached.
    """

    def __init__(self, address: str, jobs: int | None = None, threads: int | None = None, gpus: float = 0.0) -> None:
        # Without these, Ray reports its use to its makers, and warns about GPUs where none is asked for.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray = optional("ray", "--ray")
        self.places = jobs
        self.threads = threads or 1
        where: dict[str, Any] = {"address": address}
        if address == LOCAL:
            where = {"address": LOCAL, "num_cpus": max(cores(), (jobs or 1) * self.threads), "include_dashboard": False}
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"There is no Ray at {address!r} ({_first_line(error)}). Give the address of a cluster's head node, "
                "auto, or local."
            ) from error
        self._ray = ray
        self._run: Callable[..., Any] = ray.remote(supervise).options(num_cpus=self.threads, num_gpus=gpus).remote
        self._running: dict[Path, Any] = {}

    def start(self, folder: Path) -> None:
        """Hand a task to the cluster."""
        self._running[folder] = self._run(str(folder), self.threads)

    def ended(self, folder: Path) -> str | None:
        """Return what became of the task."""
        done, _ = self._ray.wait([self._running[folder]], timeout=0)
        if not done:
            return None
        try:
            return told(self._ray.get(done[0]))
        except self._ray.exceptions.RayError as error:
            return f"Ray: {_first_line(error)}"

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        self._ray.shutdown()


def told(code: int) -> str:
    """Return what an exit code tells beyond what the process itself has said."""
    if code >= 0:
        return "" if code in (0, 1, 130) else f"The process ended with exit code {code}."
    remedy = " The likely cause is too little memory: take fewer --jobs." if code == -9 else ""
    return f"The process was killed by signal {-code}.{remedy}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
