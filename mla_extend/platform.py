"""What differs by operating system: signals, memory, processors, folders. Nothing else asks which one this is."""

import _thread
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

WINDOWS = os.name == "nt"
PACKAGES = ("mla-extend", "torch", "transformers", "peft", "tokenizers", "sentencepiece", "numpy")


def peak_memory() -> int:
    """Return the largest resident size that this process had, in bytes."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        import psutil  # noqa: PLC0415 - 20 ms

        told = psutil.Process().memory_info()
        return int(getattr(told, "peak_wset", told.rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cores() -> int:
    """Return the processors that this process may use."""
    own = getattr(os, "sched_getaffinity", None)  # Linux
    return len(own(0)) if own else os.cpu_count() or 1


def malloc_trim() -> Callable[[int], int] | None:
    """Return the function by which glibc gives freed memory back, `None` where another C library is used."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no glibc
        return None
    return found


def open_folder(folder: os.PathLike[str]) -> int | None:
    """Return a descriptor through which a folder's names can be made durable; `None` where folders cannot be opened."""
    flag = getattr(os, "O_DIRECTORY", None)
    try:
        return None if flag is None else os.open(folder, os.O_RDONLY | flag)
    except OSError:
        return None


def hold_folder(folder: os.PathLike[str]) -> int | None:
    """Hold a folder against other processes, until the descriptor is closed or this process dies.

    Returns:
        The descriptor; `None` where folders cannot be held.

    Raises:
        OSError: another process holds it, or it is not there.
    """
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # some networked file systems
        os.close(descriptor)
        return None
    return descriptor


def swap_folders(one: Path, other: Path) -> None:
    """Let two folders change names: in one step on Linux and macOS, elsewhere in three."""
    names = os.fsencode(one), os.fsencode(other)
    system: Any = None if WINDOWS else ctypes.CDLL(None)
    if hasattr(system, "renameat2") and not system.renameat2(_HERE, names[0], _HERE, names[1], _SWAP):
        return
    if hasattr(system, "renamex_np") and not system.renamex_np(*names, _SWAP):
        return
    spare = one.with_name(f"{one.name}.part")
    other.rename(spare)
    one.rename(other)
    spare.rename(one)


_HERE, _SWAP = -100, 2
"""`AT_FDCWD` of Linux; `RENAME_EXCHANGE` of Linux and `RENAME_SWAP` of macOS."""


def sync_flags() -> int:
    """Return how a file is opened whose bytes are to be made durable: Windows does so only where it may be written."""
    return os.O_RDWR if WINDOWS else os.O_RDONLY


def listen_to_interrupts() -> None:
    """Let Ctrl-C interrupt this process: it may be inherited as ignored or blocked, from a shell or a Ray worker."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt_self() -> None:
    """Do from any thread what Ctrl-C does; on Windows `os.kill` would end the process."""
    if WINDOWS:
        _thread.interrupt_main(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


def package_versions() -> dict[str, str]:
    """Return the versions of what a result depends on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
