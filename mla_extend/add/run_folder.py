"""The folder of one run in progress: found again by what the run is made of, held by one process at a time."""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend.add.run_identity import RunIdentity
from mla_extend.errors import TrainingError
from mla_extend.files import folder_beside, publish_folder, read_json, write_json
from mla_extend.processes import ALONE, Processes
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.publish import remove

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
    home: BaseRegistry, tag: str, identity: RunIdentity, resume: bool, processes: Processes = ALONE
) -> Iterator[RunFolder]:
    """Give the folder of a run, kept when the context is left unless the run is done.

    Args:
        home: the registry of the base.
        tag: the language.
        identity: what makes it the same run.
        resume: continue the run if it is there; else it starts afresh.
        processes: are at the run together; the first one claims it for all.

    Raises:
        TrainingError: there is nothing to resume, the interrupted run is another one, or another process is at it.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only writers need it

    if not processes.first:
        yield RunFolder(*processes.from_first(None))
        return

    about = {"language": tag, "identity": identity.digest, **identity.to_json()}
    interrupted = {folder: said for folder in home.work_folders(tag) if (said := _about(folder)) is not None}
    found = [folder for folder, said in interrupted.items() if said["identity"] == identity.digest]
    if resume and not found:
        raise TrainingError(_nothing_to_resume(home, tag, identity, list(interrupted.values())))
    note = ""
    if found:
        run = RunFolder(found[-1], found=resume)
        if not resume:
            note = f"An interrupted run of {tag} was found and is started afresh; --resume would have continued it."
    else:
        run = RunFolder(home.work / f"{tag}-{secrets.token_hex(4)}", found=False)
        with folder_beside(home.work / "run") as made:  # it says what it is from the beginning, or is swept
            write_json(made / RUN, about)
            publish_folder(made, run.folder)
    lock = FileLock(run.folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainingError(
            f"Another process is already at this run of {tag!r} ({run.folder}). Wait for it, or take another --seed."
        ) from error
    try:
        run.note = note
        if note:
            _empty(run.folder)
        write_json(run.folder / RUN, about)
        processes.from_first((run.folder, run.found))
        yield run
    finally:
        lock.release()
        if run.done:
            with contextlib.suppress(OSError):
                remove(run.folder, home.work)


def _nothing_to_resume(home: BaseRegistry, tag: str, identity: RunIdentity, interrupted: list[dict[str, Any]]) -> str:
    """Say that there is no such run, and what sets the last one that was interrupted apart."""
    if not interrupted:
        return f"There is no interrupted run of {tag!r} in {home.work}. Start it without --resume."
    lines = identity.differences(interrupted[-1])
    return (
        f"The interrupted run of {tag!r} is another one than this command would continue. What differs:\n  "
        + "\n  ".join(lines)
        + "\nGive the command as it was to continue it, or start without --resume."
    )


def _about(folder: Path) -> dict[str, Any] | None:
    """Return what a run's folder says of it, or `None` if it says nothing."""
    try:
        value = read_json(folder / RUN)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and "identity" in value else None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != ".lock":
            path.unlink(missing_ok=True)
