"""The folder of one run in progress: found again by what the run is made of, held by one process at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mla_extend.errors import TrainingError
from mla_extend.files import read_json, write_json
from mla_extend.processes import ALONE, Processes
from mla_extend.registry.languages import BaseRegistry

RUN = "run.json"


@dataclass
class RunFolder:
    """Say where a run is kept, whether it was there already, and what to tell the user; `done` deletes it."""

    folder: Path
    found: bool
    note: str = ""
    done: bool = False


@contextmanager
def claim_run(
    home: BaseRegistry, tag: str, identity: str, resume: bool, processes: Processes = ALONE
) -> Iterator[RunFolder]:
    """Give the folder of a run, kept when the context is left unless the run is done.

    Args:
        home: the registry of the base.
        tag: the language.
        identity: what makes it the same run.
        resume: continue the run if it is there; else it starts afresh.
        processes: are at the run together; the first one claims it for all.

    Raises:
        TrainingError: there is nothing to resume, or another process is at it.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only writers need it

    if not processes.first:
        yield RunFolder(*processes.from_first(None))
        return

    found = [folder for folder in home.work_folders(tag) if _identity(folder) == identity]
    if resume and not found:
        raise TrainingError(
            f"There is no interrupted run of {tag!r} with this data, recipe, base and seed in {home.work}. "
            "Start it without --resume."
        )
    note = ""
    if found:
        run = RunFolder(found[-1], found=resume)
        if not resume:
            note = f"An interrupted run of {tag} was found and is started afresh; --resume would have continued it."
    else:
        run = RunFolder(home.work_folder(tag), found=False)
    lock = FileLock(run.folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainingError(
            f"Another process is at this very run of {tag!r} ({run.folder}). Wait for it, or take another --seed."
        ) from error
    try:
        run.note = note
        if note:
            _empty(run.folder)
        write_json(run.folder / RUN, {"language": tag, "identity": identity})
        processes.from_first((run.folder, run.found))
        yield run
    finally:
        lock.release()
        if run.done:
            shutil.rmtree(run.folder, ignore_errors=True)


def _identity(folder: Path) -> str | None:
    try:
        value = read_json(folder / RUN)
    except (OSError, ValueError):
        return None
    return value.get("identity") if isinstance(value, dict) else None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ".lock":
            path.unlink(missing_ok=True)
