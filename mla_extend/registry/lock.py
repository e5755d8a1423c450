"""Writing beside other processes: one writer at a time, and errors of the disk said in full."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mla_extend.errors import Interrupted, RegistryError, fault, remedy
from mla_extend.registry.layout import LOCK

LOCK_SECONDS = 600.0
"""How long to wait for others that publish: each takes a moment, and seconds where it proves again."""


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a base's registry against other writers; the system lets go of it if the process dies.

    Raises:
        RegistryError: another process holds it for longer than `LOCK_SECONDS`.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - 50 ms that reading need not wait for

    held = FileLock(folder / LOCK)
    try:
        held.acquire(timeout=LOCK_SECONDS)
    except Timeout as error:
        raise RegistryError(
            f"Another process has held {folder / LOCK} for {LOCK_SECONDS:.0f} seconds. Let it finish "
            "publishing, or end it, and try again."
        ) from error
    try:
        yield
    finally:
        held.release()


@contextlib.contextmanager
def writing(outcome: str) -> Iterator[None]:
    """Turn an error of the disk into a RegistryError that begins with the outcome and ends with what to do."""
    try:
        yield
    except OSError as error:
        raise _disk_error(outcome, error=error) from error


@contextlib.contextmanager
def telling(look: Callable[[], tuple[str, str]]) -> Iterator[None]:
    """Let an error of the disk, or Ctrl-C, tell what it has left on the disk.

    Args:
        look: returns what has come of the change, without a full stop, and a sentence on the registry.

    Raises:
        RegistryError: the disk has failed.
        Interrupted: the user pressed Ctrl-C.
    """
    try:
        yield
    except OSError as error:
        raise _disk_error(*look(), error=error) from error
    except KeyboardInterrupt as error:
        raise Interrupted("Stopped. {}. {}".format(*look()).strip()) from error


def _disk_error(outcome: str, state: str = "", *, error: OSError) -> RegistryError:
    return RegistryError(" ".join(part for part in (f"{outcome}: {fault(error)}.", state, remedy(error)) if part))
