"""Find the images and videos below a folder, and count what is left out and passed over.

Links are followed; a folder that they lead to twice is read once.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mla_extend.errors import DataError
from mla_extend.search.index.exclude import Excludes
from mla_extend.search.index.kinds import passed_over, readable, sniffed, suffix_of


@dataclass(frozen=True)
class Found:
    """A file that may be an image: its absolute path, size in bytes and time in nanoseconds."""

    path: Path
    size: int
    mtime_ns: int


@dataclass
class Findings:
    """Say what lies below a folder.

    Attributes:
        files: images and videos, in the order of their paths.
        failed: what cannot be looked at: its path and the reason.
        left_out: how many pictures and whole folders each pattern left out.
        passed_over: how many pictures and videos cannot be read, by suffix.
    """

    files: list[Found] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)


def find_images(source: Path, excludes: Excludes) -> Findings:
    """Look for images and videos below a folder, or take a file that is given by itself, whatever its name.

    Raises:
        DataError: it is not there.
    """
    root = absolute(source)
    try:
        about = root.stat()
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror or error}). Check the path.") from error
    if not stat.S_ISDIR(about.st_mode):
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{source} is neither a folder nor a file. Give a folder of images, or an image.")
        return Findings([Found(root, about.st_size, about.st_mtime_ns)])
    findings = Findings()
    findings.files = sorted(_walk(root, excludes, findings), key=lambda found: found.path)
    return findings


def absolute(path: Path) -> Path:
    """Return a path from the root on, without `..`, in which links stay as they are named."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def gone(names: list[str]) -> list[str]:
    """Return the names whose files are no more; one in a folder that cannot be read just now stays."""
    missing = []
    for name in names:
        try:
            os.stat(name)  # noqa: PTH116 - many
        except (FileNotFoundError, NotADirectoryError):
            missing.append(name)
        except OSError:
            continue
    return missing


def _walk(root: Path, excludes: Excludes, findings: Findings) -> Iterator[Found]:
    """Give the images below a folder."""
    waiting, seen = [(root, "")], set()  # the folders read so far, so that links make no loop
    while waiting:
        here, prefix = waiting.pop()
        try:
            about = here.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            findings.failed.append((_shown(here), f"The folder cannot be read ({error.strerror or error})."))
            continue
        folders = []
        for entry in entries:
            path, below = here / entry.name, prefix + entry.name
            rule = excludes.rule(below)
            try:
                # Real folders come before links to them, so that a file goes by its own name.
                if entry.is_dir():
                    if rule is None:
                        folders.append((entry.is_symlink(), path, f"{below}/"))
                    else:
                        findings.left_out[rule] += 1
                elif rule is not None:
                    findings.left_out[rule] += suffix_of(path) in readable() | passed_over().keys()
                elif (found := _file(entry, path, findings)) is not None:
                    yield found
            except OSError as error:
                findings.failed.append((_shown(path), f"It cannot be read ({error.strerror or error})."))
            except UnicodeEncodeError:
                findings.failed.append((_shown(path), "Its name is not valid UTF-8. Rename it."))
        waiting.extend((path, below) for _, path, below in sorted(folders, reverse=True))


def _file(entry: os.DirEntry[str], path: Path, findings: Findings) -> Found | None:
    """Return a file that may be an image, counting what cannot be read; raise UnicodeEncodeError over its name."""
    suffix = suffix_of(path)
    if suffix and suffix not in readable():
        findings.passed_over[suffix] += suffix in passed_over()
        return None
    if not suffix and (suffix := _kind_within(entry, path)) not in readable():
        findings.passed_over[suffix] += bool(suffix)
        return None
    about = entry.stat()
    if not stat.S_ISREG(about.st_mode):
        return None
    str(path).encode("utf-8")
    return Found(path, about.st_size, about.st_mtime_ns)


def _kind_within(entry: os.DirEntry[str], path: Path) -> str:
    """Return what kind of picture a file without a suffix is; nobody misses one that cannot be read."""
    try:
        return sniffed(path) if entry.is_file() else ""
    except OSError:
        return ""


def _shown(path: Path) -> str:
    return str(path).encode("utf-8", "replace").decode("utf-8")
