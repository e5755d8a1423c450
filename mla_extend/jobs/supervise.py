"""Run one job as a process and wait for it, on this machine or as a task of a cluster."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from mla_extend.jobs.folder import JobFolder, asked_to_stop
from mla_extend.platform import ask_to_end

POLL_SECONDS = 0.2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def supervise(folder: str, threads: int) -> int:
    """Run the job of a folder in a process of its own; return its exit code.

    The process is handed a pipe that ends when this one does, however it ends, and then stops at a checkpoint by
    itself. It has a session of its own, so that Ctrl-C in a terminal reaches it through here alone.

    Args:
        folder: the job's folder; what asks the run to stop lies beside it.
        threads: for the process's computations.
    """
    job = JobFolder(Path(folder))
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "PYTHONUNBUFFERED": "1"}
    with job.log.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "mla_extend.jobs.child", folder],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    assert child.stdin is not None
    sent = 0
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(POLL_SECONDS)
            while sent < asked_to_stop(job.folder.parent):
                sent += 1
                ask_to_end(child, sent)
    except KeyboardInterrupt:  # a cluster cancels a task so
        child.stdin.close()
        return child.wait()
    finally:
        child.stdin.close()
